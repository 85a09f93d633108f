"""Looking at what stages wrote (`inspect`), and checking that it is as it was written (`verify`)."""

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import storage
from pipeline.engine import stages
from pipeline.errors import CorpusError, StorageError

LINE = 120
"""Characters."""


def inspect(url: str, rows: int, draw: int | None = None) -> dict[str, Any]:
    """Facts and some rows of a stage folder or a checkpoint; `text` holds them as a person reads them.

    Args:
        draw: of shards, which of their static masks is shown.

    Raises: StorageError when the folder is none of ours; CorpusError for shards without that mask.
    """
    from model.training.checkpoint import MARKER
    from workflows.inspection.previews import excerpt

    if storage.exists(storage.join(url, MARKER)):
        return _checkpoint(url)
    stage = stages.load(url)
    facts = {name: value for name, value in stage.manifest.items() if name not in ("files", "length_histogram", "samples")}
    shown = excerpt(stage, rows, draw)
    return {"facts": facts, "rows": shown, "text": "\n".join([*_told(facts), "", *shown])}


def follow(root: str, document: str) -> dict[str, Any]:
    """Where a document went: what every finished stage below `root` says of it.

    Raises: CorpusError for what is no id, or a document that no stage knows.
    """
    from pipeline.checks.provenance import where
    from pipeline.dedup.decisions import parse_id

    if (number := parse_id(document)) is None:
        raise CorpusError(f"--document {document}: an id has 16 hexadecimal digits, as `nezha-pipe inspect` shows them")
    facts = where(root, number)
    lines = [f"{fact.stage:<40} {fact.text}" for fact in facts]
    return {"facts": [dataclasses.asdict(fact) for fact in facts], "rows": lines, "text": "\n".join(lines)}


def _checkpoint(url: str) -> dict[str, Any]:
    state = storage.read_json(storage.join(url, "state.json"))
    config = storage.read_json(storage.join(url, "config.json"))
    facts = {"state": state, "config": config}
    names = storage.list_names(url)
    shown = [f"{storage.file_size(storage.join(url, name)):>14,} bytes  {name}" for name in names]
    return {"facts": facts, "rows": shown, "text": "\n".join([*_told(facts), "", *shown])}


def _told(facts: Mapping[str, Any]) -> Iterator[str]:
    """A fact a line, what is inside it as JSON; not those that stand among the settings too."""
    settings = facts.get("settings", {})
    told = {name: value for name, value in facts.items() if name not in settings or settings[name] != value}
    width = max(map(len, told)) + 2
    for name, value in sorted(told.items(), key=lambda fact: fact[0] != "stage"):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield from textwrap.wrap(text, LINE, initial_indent=name.ljust(width), subsequent_indent=" " * width) or [name]


def verify(url: str) -> tuple[int, list[str]]:
    """How many folders were checked (this one, or all finished ones below it), and what is wrong in them.

    Checksums are compared, then what the files hold (pipeline/checks/invariants.py).

    Raises: StorageError when there is nothing of ours.
    """
    from model.training.checkpoint import MARKER, committed, damage
    from pipeline.checks import invariants

    folders = [url] if storage.exists(storage.join(url, stages.MANIFEST)) else []
    folders = folders or [
        f for n in storage.list_names(url) if storage.exists(storage.join(f := storage.join(url, n), stages.MANIFEST))
    ]
    # What is not as it was written is not looked into.
    problems = [problem for folder in folders for problem in stages.verify(folder) or invariants.problems(stages.load(folder))]
    checkpoints = (
        [url] if storage.exists(storage.join(url, MARKER)) else [c for folder in {url, *folders} for c in committed(folder)]
    )
    problems += [f"{place}: {problem}" for place in sorted(checkpoints) if (problem := damage(place))]
    if not folders and not checkpoints:
        raise StorageError(f"{url}: nothing to verify: no {stages.MANIFEST} in it or in a folder of it")
    return len(folders) + len(checkpoints), problems
