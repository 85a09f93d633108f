"""Each block of code in the documents is run, or checked without running it, or says above it why it is not run."""

import configparser
import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.blocks import PAGES, Block, blocks, fault
from workflows.recipe import as_dict, build, load

ALL = [block for page in PAGES for block in blocks(page)]
PARSERS: dict[str, Callable[[str], Any]] = {
    "toml": tomllib.loads,
    "tasks": tomllib.loads,
    "json": lambda text: [json.loads(line) for line in text.splitlines()],
    "yaml": lambda text: [*yaml.safe_load_all(text)],
}
OUTPUT = ("", "text", "tree", "wikitext", "boilerplate", "furniture", "prose", "personal", "markdown")
"""Names of blocks that nobody runs: output, drawings, and examples that tests/test_docs.py compares with the code."""


@pytest.mark.parametrize("block", [one for one in ALL if one.commands and not one.is_run], ids=lambda block: block.place)
def test_commands_are_those_of_the_program_or_say_why_they_are_not_run(block: Block) -> None:
    made = re.findall(r"New file `([^`]+)`:", block.page.read_text(encoding="utf-8"))
    for line in block.commands:
        if made:  # settings of its own too; tests/test_contributing.py runs its examples
            line = re.sub(r" --set \S+", "", line)
        found = fault(" ".join(word for word in line.split(" ") if word not in made))
        assert not found, f"{block.place}: {line.strip()}: {found}"
        assert found is not None or block.reason, (
            f"{block.place}: {line.strip()}: no test runs this; write <!-- not run: REASON --> above the block"
        )


@pytest.mark.parametrize(
    "block", [one for one in ALL if not one.commands and one.name not in OUTPUT], ids=lambda block: block.place
)
def test_other_blocks_are_what_they_say(block: Block) -> None:
    if block.name == "python":
        if block.page.name != "extending.md":  # whose blocks tests/test_contributing.py applies to the code
            compile(block.text, block.place, "exec")
    elif block.name == "ini":
        if not block.text.lstrip().startswith("["):
            tomllib.loads(block.text)  # the settings of a cluster
        else:
            configparser.ConfigParser(strict=False, interpolation=None).read_string(block.text)
    elif block.name in PARSERS:
        assert PARSERS[block.name](block.text), f"{block.place}: is empty"
    else:
        raise AssertionError(f"{block.place}: nothing checks a block {block.name!r}; see tests/test_blocks.py")


@pytest.mark.parametrize("block", [one for one in ALL if one.name == "toml"], ids=lambda block: block.place)
def test_settings_are_those_of_a_recipe(block: Block) -> None:
    content = tomllib.loads(block.text)
    whole = content if "phase" in content else {**as_dict(load("tiny")), **content}
    if "source" in content and "phase" not in content:
        whole["phase"] = [{**phase, "weights": {}} for phase in whole["phase"]]
    if one_by_one := content.get("evaluation", {}).get("settings"):
        whole["evaluation"] = {"tasks": [*one_by_one], **content["evaluation"]}
    build(whole, block.place)


def test_output_has_no_commands_that_nobody_checks() -> None:
    for block in ALL:
        if block.name in ("", "text"):
            first = block.text.split("\n")[0]
            assert not re.match(r"(nezha-pipe|pip|make|python|export|docker|kubectl) [a-z-]", first), (
                f"{block.place}: {first}: a block of commands is ```sh"
            )
