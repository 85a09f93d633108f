"""Metrics rows in a training folder: a file for each checkpoint, with a last line by which damage and gaps are noticed.

    attempt-0001/metrics-00000200.jsonl     {"kind": "train", "step": 110, ...}
                                            ...
                                            {"kind": "end", "from": 100, "step": 200, "sha256": "5e88..."}

Rows that are lost stop nothing: a row of kind "lost" takes their place, which the report shows, and a warning names the file.

    {"kind": "lost", "step": 200, "from": 100, "file": "attempt-0001/metrics-00000200.jsonl", "problem": "is missing"}
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model.checkpoints.listing import ATTEMPT, MARKER, attempt_name, attempts, is_checkpoint, step_of
from pipeline import storage

LOST = "lost"
"""Kind of the row that stands for rows that cannot be read any more."""
_END = "end"
_FILE = re.compile(r"metrics-(\d{8,})\.jsonl")

Row = dict[str, Any]
log = logging.getLogger(__name__)


def file_name(step: int) -> str:
    """Name of the file with the rows up to a step, within the folder of its attempt."""
    return f"metrics-{step:08d}.jsonl"


def to_bytes(rows: Sequence[Mapping[str, Any]], start: int, step: int) -> bytes:
    """The content of a file with the rows after step `start` up to `step`."""
    lines = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode()
    end = {"kind": _END, "from": start, "step": step, "sha256": storage.bytes_digest(lines)}
    return lines + (json.dumps(end) + "\n").encode()


def read_metrics(output: str) -> list[Row]:
    """Metrics rows of all attempts, by step; a later attempt replaces the rows after the step that it resumed at.

    Raises: `StorageError` for a file that cannot be read now.
    """
    rows: list[Row] = []
    covered, last = 0, 1
    for number in attempts(output):
        folder = attempt_name(number)
        names = storage.list_names(storage.join(output, folder))
        numbers = {name: int(m[1]) for name in names if (m := _FILE.fullmatch(name))}
        files = {step: _read(output, f"{folder}/{name}") for name, step in numbers.items()}
        files |= {step: _File(problem="is missing") for step in _checkpoints(output, folder, names) if step not in files}
        if ATTEMPT not in names and not files:
            continue  # died as it began
        # Later rows of earlier attempts do not count.
        resumed, problem = _resumed(output, folder, files)
        rows = [row for row in rows if row["step"] <= resumed]
        rows += [_lost(f"{folder}/{ATTEMPT}", resumed, resumed, problem)] if problem else []
        covered = min(covered, resumed)
        for step, file in sorted(files.items()):
            start = covered if file.start is None else file.start
            if start > covered:
                owner = attempt_name(last) if start == resumed else folder
                rows.append(_lost(f"{owner}/{file_name(start)}", covered, start, "is missing"))
            rows += [_lost(f"{folder}/{file_name(step)}", covered, step, file.problem)] if file.problem else file.rows
            covered, last = step, number
    return sorted(rows, key=lambda row: int(row["step"]))


@dataclass(frozen=True)
class _File:
    """What one file has."""

    rows: list[Row] = field(default_factory=list)
    start: int | None = None
    """The step before its first; None for a file of an older version, or one that is lost."""
    problem: str = ""


def _read(output: str, name: str) -> _File:
    data = storage.read_bytes(storage.join(output, name))
    lines = data.splitlines(keepends=True)
    try:
        rows: list[Row] = [json.loads(line) for line in lines]
        rows.sort(key=lambda row: int(row["step"]))  # stable: the end stays last
    except (ValueError, RecursionError, KeyError, TypeError):
        return _File(problem="is damaged")
    end = rows.pop() if rows and rows[-1].get("kind") == _END else None
    if end is None:  # an older version has written it
        return _File(rows)
    if end.get("sha256") != storage.bytes_digest(b"".join(lines[:-1])):
        return _File(problem="differs from its SHA-256")
    return _File(rows, int(end["from"]))


def _resumed(output: str, folder: str, files: Mapping[int, _File]) -> tuple[int, str]:
    """The step that an attempt resumed at, and what is wrong with the file that says so."""
    url = storage.join(output, folder, ATTEMPT)
    first = min(((step if file.start is None else file.start) for step, file in files.items()), default=0)
    if not storage.exists(url):
        return first, "is missing"
    try:
        return int(json.loads(storage.read_bytes(url))["step"]), ""
    except (ValueError, RecursionError, KeyError, TypeError):
        return first, "is damaged"


def _checkpoints(output: str, folder: str, names: Sequence[str]) -> Iterator[int]:
    """Steps of the whole checkpoints of an attempt that have no rows: each was written together with some."""
    for name in names:
        alone = is_checkpoint(name) and file_name(step_of(name)) not in names
        if alone and storage.exists(storage.join(output, folder, name, MARKER)):
            yield step_of(name)


def _lost(file: str, start: int, step: int, problem: str) -> Row:
    log.warning("%s %s: metrics of steps %d to %d are lost", file, problem, start + 1, step)
    return {"kind": LOST, "step": step, "from": start, "file": file, "problem": problem}
