"""Rows of metrics as JSON lines, readable while training runs. What a checkpoint keeps is in other files (checkpoints/rows.py).

    live/metrics-0001-000.jsonl    of attempt 1: {"kind": "train", "step": 10, "loss": 9.31, "time": 1796042751.2, ...}
    live/metrics-0002-000.jsonl    of attempt 2, which resumed at step 200

What earlier attempts wrote after the step that an attempt resumes at is removed then: all files together have a step once.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from model.checkpoints import ledger
from model.training.tracking.growing import GrowingFile, GrowingFolder
from pipeline import storage

PREFIX = "metrics-"
Row = dict[str, Any]


class Lines:
    """The JSON lines of one attempt."""

    def __init__(self, folder: GrowingFolder, attempt: int) -> None:
        self._file = GrowingFile(folder, f"{PREFIX}{attempt:04d}", "jsonl")

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows."""
        self._file.append(_bytes(rows))

    def close(self, ended: str) -> None:
        """Nothing is left to do."""


def read(folder: str) -> Iterator[Row]:
    """Yield all rows in the order in which they were made.

    Args:
        folder: URL of the folder `live`.
    """
    for name in _names(folder):
        yield from _rows(storage.read_bytes(storage.join(folder, name)))


def cut(folder: str, step: int) -> int:
    """Remove the rows that were made after the checkpoint of a step; returns the last step that they had.

    Raises: StorageError.
    """
    reached = step
    for name in reversed(_names(folder)):
        url = storage.join(folder, name)
        rows = list(_rows(storage.read_bytes(url)))
        reached = max([reached, *(int(row["step"]) for row in rows)])
        kept = rows[: _end(rows, step)]
        if not kept:
            storage.remove(url)
            continue
        if len(kept) < len(rows):
            storage.write_bytes(url, _bytes(kept))
        break
    return reached


def _names(folder: str) -> list[str]:
    return [name for name in storage.list_names(folder) if name.startswith(PREFIX)]


def _end(rows: Sequence[Row], step: int) -> int:
    """Return how many rows are of the time up to the checkpoint of a step, whose row of samples is their last."""
    marks = [number for number, row in enumerate(rows) if row["kind"] == ledger.KIND and row["step"] == step]
    if marks:
        return marks[-1] + 1
    late = (
        number for number, row in enumerate(rows) if row["step"] > step or (row["kind"] == "skipped" and row["step"] >= step)
    )
    return next(late, len(rows))


def _bytes(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _rows(data: bytes) -> Iterator[Row]:
    """Yield the rows of whole lines: the last line may be cut short, and what a disk has damaged is passed over."""
    for line in data.splitlines(keepends=True):
        try:
            row = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int) and "kind" in row:
            yield row
