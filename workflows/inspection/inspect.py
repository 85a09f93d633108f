"""Show the content of stages and checkpoints (`inspect`), and check it (`verify`)."""

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError, StorageError

LINE_WIDTH = 120
"""Characters per line of facts."""


def inspect(url: str, rows: int, draw: int | None = None) -> dict[str, Any]:
    """Return `facts` and some `rows` of a stage or checkpoint, and both as `text` for the terminal.

    Args:
        draw: which static mask to show, for shards; None = the first.

    Raises: StorageError if the folder is neither a stage nor a checkpoint; CorpusError for shards without that mask.
    """
    from model.checkpoints.checkpoint import MARKER
    from workflows.inspection.previews import preview

    if storage.exists(storage.join(url, MARKER)):
        return _checkpoint(url)
    stage = stages.load(url)
    facts = {name: value for name, value in stage.manifest.items() if name not in ("files", "length_histogram", "samples")}
    shown = preview(stage, rows, draw)
    return {"facts": facts, "rows": shown, "text": "\n".join([*_lines(facts), "", *shown])}


def follow(root: str, document: str) -> dict[str, Any]:
    """Return what every finished stage below `root` records of a document.

    Raises: CorpusError for an invalid id, or a document that is in no stage.
    """
    from pipeline.checks.provenance import where
    from pipeline.dedup.decisions import parse_id
    from workflows.kinds import KINDS

    if (number := parse_id(document)) is None:
        raise CorpusError(f"--document {document}: an id has 16 hexadecimal digits, as `nezha-pipe inspect` shows them")
    facts = where(root, number, {kind.name: trace for kind in KINDS.values() if (trace := kind.function("trace"))})
    lines = [f"{fact.stage:<40} {fact.text}" for fact in facts]
    return {"facts": [dataclasses.asdict(fact) for fact in facts], "rows": lines, "text": "\n".join(lines)}


def _checkpoint(url: str) -> dict[str, Any]:
    state = storage.read_json(storage.join(url, "state.json"))
    config = storage.read_json(storage.join(url, "config.json"))
    facts = {"state": state, "config": config}
    names = storage.list_names(url)
    shown = [f"{storage.file_size(storage.join(url, name)):>14,} bytes  {name}" for name in names]
    return {"facts": facts, "rows": shown, "text": "\n".join([*_lines(facts), "", *shown])}


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield one fact per line, nested facts as JSON. Facts that repeat a setting are left out."""
    settings = facts.get("settings", {})
    shown = {name: value for name, value in facts.items() if name not in settings or settings[name] != value}
    width = max(map(len, shown)) + 2
    for name, value in sorted(shown.items(), key=lambda fact: fact[0] != "stage"):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield from textwrap.wrap(text, LINE_WIDTH, initial_indent=name.ljust(width), subsequent_indent=" " * width) or [name]


def content_problems(stage: Finished) -> list[str]:
    """Check the content of a stage's files by the rules of its kind, if it has any and this program writes such stages."""
    from pipeline.checks.invariants import problems
    from workflows.kinds import kind_of

    kind = kind_of(stage)
    if (rules := kind.function("verify")) is None or not kind.writes(stage.manifest["version"]):
        return []
    return problems(stage, rules)


def of_other_versions(url: str) -> list[str]:
    """Return the stages in a folder whose content is not checked: another version of this program wrote them."""
    from workflows.kinds import kind_of

    found = [stages.load(folder) for folder in _stage_folders(url)]
    return [stage.name for stage in found if (kind := kind_of(stage)).verify and not kind.writes(stage.manifest["version"])]


def _stage_folders(url: str) -> list[str]:
    """Return this folder if it is a finished stage, else the finished stages in it."""
    if storage.exists(storage.join(url, stages.MANIFEST)):
        return [url]
    folders = [storage.join(url, name) for name in storage.list_names(url)]
    return [folder for folder in folders if storage.exists(storage.join(folder, stages.MANIFEST))]


def verify(url: str) -> tuple[int, list[str]]:
    """Check this folder, or all finished stages and checkpoints in it; return how many were checked, and the problems found.

    Checksums are compared first, then the content of the files is checked (pipeline/checks/invariants.py). Of a training, the
    samples of its steps are checked too: none may be missing or used twice (model/checkpoints/ledger.py).

    Raises: StorageError if there is no stage and no checkpoint.
    """
    from model.checkpoints import ledger
    from model.checkpoints.checkpoint import MARKER, committed, damage

    storage.refuse_file(url)
    folders = _stage_folders(url)
    # The content of damaged files is not checked.
    problems = [problem for folder in folders for problem in stages.verify(folder) or content_problems(stages.load(folder))]
    checkpoints = (
        [url] if storage.exists(storage.join(url, MARKER)) else [c for folder in {url, *folders} for c in committed(folder)]
    )
    problems += [f"{place}: {problem}" for place in sorted(checkpoints) if (problem := damage(place))]
    problems += [problem for folder in sorted({url, *folders}) for problem in ledger.problems(folder)]
    if not folders and not checkpoints:
        raise StorageError(f"{url}: nothing to verify: no {stages.MANIFEST} in it or in its folders")
    return len(folders) + len(checkpoints), problems
