"""Documents say what is true: the tree in the README is the real one, and the manual is what the commands say of themselves."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from workflows.cli import main
from workflows.manual import manual

ROOT = Path(__file__).parent.parent


def commands() -> dict[str, click.Command]:
    return dict(main.commands)


@pytest.mark.parametrize("name", commands())
def test_a_command_has_help_with_an_example_and_every_option_has_its_own(name: str) -> None:
    command = commands()[name]
    assert command.help and "Example" in command.help and f"nezha-pipe {name}" in command.help
    helps = [option.help for option in command.params if isinstance(option, click.Option)]
    assert all(helps), f"{name}: an option without help"
    assert len(set(helps)) == len(helps), f"{name}: two options share one help text"


def test_the_manual_is_what_the_commands_say() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == manual(), "run `make docs`"


def test_the_tree_in_the_readme_is_the_real_one() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```tree\n(.*?)```", readme, re.DOTALL)
    assert block, "the README has no ```tree block"
    shown, folder = set(), ""
    for line in block[1].splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        folder = name if name.endswith("/") and not indent else folder if indent else ""
        shown.add(name if not indent else folder + name)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    rooms = {f"{room}/" for room in ("pipeline", "model", "cluster", "workflows", "tests", "benchmarks", "docs")}
    top = {f"{name.split('/')[0]}/" if "/" in name else name for name in tracked}
    files = {name for name in tracked if name.split("/")[0] in ("pipeline", "model", "cluster", "workflows")}
    direct = {name for name in files if name.count("/") == 1 and not name.endswith("__init__.py")}
    folders = {"/".join(name.split("/")[:2]) + "/" for name in files if name.count("/") > 1}
    assert shown == top | rooms | direct | folders


def test_documents_name_only_files_and_commands_that_exist() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
        for command in re.findall(r"nezha-pipe ([a-z][a-z-]+)", text):
            assert command in commands(), f"{page.name} names nezha-pipe {command}"
        for target in re.findall(r"\bmake ([a-z-]+)", text):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"{page.name} names make {target}"
