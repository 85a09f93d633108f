"""Documents say what is true: the tree in the README is the real one, and the manual is what the commands say of themselves."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from workflows.cli import main
from workflows.manual import MANUALS
from workflows.recipe import as_dict, load

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


@pytest.mark.parametrize("name", MANUALS)
def test_a_manual_is_what_the_program_says_of_itself(name: str) -> None:
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == MANUALS[name](), "run `make docs`"


def test_every_setting_of_a_recipe_has_a_line_in_the_manual() -> None:
    manual = MANUALS["recipe"]()
    for name, content in as_dict(load("tiny")).items():
        for table in content if isinstance(content, list) else [content]:
            for setting in table if isinstance(table, dict) else [name]:
                assert f"| `{setting}` |" in manual, f"{name}.{setting}"
    assert "|  |" not in manual, "a setting has no string under its field that says what it means"


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
