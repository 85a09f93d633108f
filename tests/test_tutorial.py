"""The tutorial and the how-to pages are done as they are written: their blocks, in order, in one shell and an empty folder.

A block of a file (its name stands above it, before a colon) is written there, a block `sh` is run, and each line of a block
without a name has to be printed, whatever its figures. What takes minutes is made shorter by `SHORTER`.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import stores, tiny
from tests.blocks import ROOT, SESSIONS, Block, blocks

store = stores.store_fixture()
proxy = stores.proxy_fixture()

SHORTER = {
    "steps = 1000": "steps = 12",
    "warmup_steps = 100": "warmup_steps = 2",
    "validate_every = 250": "validate_every = 4",
    "checkpoint_every = 250": "checkpoint_every = 6",
    "seeds = 3": "seeds = 2",
    "train_examples = 1000": "train_examples = 32",
    "test_examples = 500": "test_examples = 32",
    "epochs = 2": "epochs = 1",
    "\n[checks]\n": "\n[checks]\nloss_falls = false\n",
}
"""Settings of the tutorial's recipe: what takes minutes takes seconds. Every one of them must be on the page."""


def program(folder: Path) -> Path:
    """A folder for PATH with `nezha-pipe` and `python` of this environment."""
    folder.mkdir()
    command = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    for name, line in (("nezha-pipe", f"-c {shlex.quote(command)}"), ("python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {line} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def session(page: Path, folder: Path, settings: Mapping[str, str], shorter: Mapping[str, str] = {}) -> None:
    """Do what a page says in `folder`."""
    assert all(any(long in block.text for block in blocks(page)) for long in shorter), (
        f"{page.name} no longer has all of SHORTER"
    )
    todo = [block for block in blocks(page) if not block.reason]
    script = ["set -e"]
    for number, block in enumerate(todo):
        text = block.text
        for long, short in shorter.items():
            text = text.replace(long, short)
        if block.file:
            written = folder / f"block-{number}"
            written.write_text(text, encoding="utf-8")
            script.append(f"cp {shlex.quote(str(written))} {block.file}")
        elif block.name == "sh":
            script += [f"echo '<<<{number}'", text]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("NEZHA_PIPE_", "DAGSTER_"))},
        **settings,
        "PATH": f"{program(folder / 'programs')}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
    }
    place = folder / "empty"
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout[-4_000:]}"
    compare(todo, done.stdout)


def compare(todo: list[Block], printed: str) -> None:
    """Look for each line of output below the commands that it follows."""
    parts = {int(part.split("\n")[0]): part for part in printed.split("<<<")[1:]}
    last = 0
    for number, block in enumerate(todo):
        if block.name == "sh" and not block.file:
            last = number
        elif not block.name and not block.file and "─" not in block.text:
            found = {pattern(line) for line in parts[last].splitlines()}
            for line in block.text.splitlines():
                assert pattern(line) in found, f"{block.place}: not printed: {line}\n{parts[last][-3_000:]}"


def pattern(line: str) -> str:
    """A line without its figures, and without spaces that align them."""
    line = re.sub(r"-[0-9a-f]{12}\b", "-#", line)
    return " ".join(re.sub(r"\d[\d,.]*", "#", line).replace("[ ", "[").replace("files", "file").split())


def test_lines_are_the_same_but_for_their_figures() -> None:
    line = "[ 1/15] documents_news         2,565 of 2,853 records, 288 skipped  7.1 s"
    assert pattern(line) == pattern("[12/15] documents_news 5 of 6 records, 0 skipped 17.1 s")
    assert pattern(line) != pattern(line.replace("skipped", "unchanged"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tutorial_is_done_as_it_is_written(tmp_path: Path) -> None:
    page = ROOT / "docs" / "tutorial.md"
    session(page, tmp_path, {}, SHORTER)
    assert len([*(tmp_path / "empty" / "first" / "registry" / "history").iterdir()]) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SESSIONS if name.startswith("howto/") and name != "howto/s3.md"])
def test_a_how_to_is_done_as_it_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    model(tmp_path / "empty" / "my-nezha")
    session(ROOT / "docs" / name, tmp_path, {})


def model(folder: Path) -> None:
    """A network that has learned nothing, and knows the characters that the pages ask it for."""
    characters = dict.fromkeys("他在大学读书房间的空调坏了第次报修账单多收了钱申诉，。")
    folder.mkdir()
    tiny.exported(folder, tiny.ENCODER, Vocab((*SPECIALS, *characters)), seed=1)


@pytest.mark.slow
def test_the_how_to_of_s3_is_done_as_it_is_written(tmp_path: Path, store: str) -> None:
    bucket = store.removeprefix("s3://").split("/")[0]
    page = ROOT / "docs" / "howto" / "s3.md"
    settings = {**stores.SETTINGS, "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
    session(page, tmp_path, settings, {"//bucket/": f"//{bucket}/", '"bucket/': f'"{bucket}/'})
