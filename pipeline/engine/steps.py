"""The steps of a job: plain callables over descriptors, which any engine can run."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.engine import counting, processes
from pipeline.engine.counting import Counts
from pipeline.engine.spill import SpillRange, read_spills, write_spill
from pipeline.engine.stages import (
    WORK,
    FileEntry,
)
from pipeline.errors import UserError


class Task(Protocol):
    """A chunk of work; its name is its identity and must not depend on anything but the plan."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Mapped:
    """What a task made, or a chunk of it: rows, the bucket of each, and what was counted on the way."""

    table: pa.Table
    buckets: npt.NDArray[np.integer]
    counts: Counts


@dataclass(frozen=True)
class Reduced:
    """What became of a bucket (or, without a reduce, of a task): finished files and what was counted."""

    files: tuple[FileEntry, ...]
    counts: Counts


@dataclass(frozen=True)
class Job:
    """A map and a reduce over tasks; `map` and `reduce` are picklable and know nothing of Beam."""

    name: str
    folder: str
    """The stage's folder: finished files go here, spill files into `work-<plan>` below it."""
    tasks: Sequence[Task]
    map: Callable[[Any], Mapped | Iterable[Mapped] | Reduced]
    """Of a task: rows at once, or chunk by chunk where a task is too large to be held; without `reduce`, finished files."""
    reduce: Callable[[int, pa.Table], Reduced] | None = None

    @property
    def work(self) -> str:
        """Folder of unfinished business. Another plan (other tasks) has another, so that parts never mix."""
        plan = hashlib.blake2b("\n".join(task.name for task in self.tasks).encode(), digest_size=6).hexdigest()
        return storage.join(self.folder, f"{WORK}{plan}")


Executor = Callable[[Job, int], None]
"""Runs the steps of a job (what is not finished of them) with so many workers."""


@dataclass(frozen=True)
class MapStep:
    """A task, unless it is done: its rows go into spill files, its counts and their places into `map-<task>.json`."""

    work: str
    map: Callable[[Any], Mapped | Iterable[Mapped] | Reduced]

    def __call__(self, task: Any) -> list[tuple[int, SpillRange]]:
        done = storage.join(self.work, f"map-{task.name}.json")
        if storage.exists(done):
            content = storage.read_json(done)
        else:
            with noting_errors(self.work):
                content = self._content(task)
                storage.write_json(done, content)
            processes.release_memory(processes.KEPT_BYTES)
        return [
            (int(bucket), SpillRange(self._spill(task, number), *place))
            for bucket, places in content["ranges"].items()
            for number, *place in places
        ]

    def _spill(self, task: Any, number: int) -> str:
        return storage.join(self.work, f"spill-{task.name}-{number}.arrow")

    def _content(self, task: Any) -> dict[str, Any]:
        mapped = self.map(task)
        if isinstance(mapped, Reduced):
            return {"ranges": {}, "files": [asdict(entry) for entry in mapped.files], "counts": mapped.counts}
        ranges: dict[str, list[tuple[int, ...]]] = {}
        counts: Counts = {}
        for number, chunk in enumerate([mapped] if isinstance(mapped, Mapped) else mapped):
            for bucket, place in write_spill(self._spill(task, number), chunk.table, chunk.buckets).items():
                ranges.setdefault(str(bucket), []).append((number, place.start, place.end, place.rows))
            counting.add(counts, chunk.counts)
        return {"ranges": ranges, "files": [], "counts": counts}


@dataclass(frozen=True)
class ReduceStep:
    """A bucket, unless it is done: the rows of its ranges become finished files, noted in `reduce-<bucket>.json`."""

    work: str
    reduce: Callable[[int, pa.Table], Reduced]

    def __call__(self, element: tuple[int, Any]) -> list[int]:
        bucket, ranges = element
        done = storage.join(self.work, f"reduce-{bucket:05d}.json")
        if not storage.exists(done):
            with noting_errors(self.work):
                table = read_spills(ranges)
                reduced = self.reduce(bucket, table)
                files = [asdict(entry) for entry in reduced.files]
                storage.write_json(done, {"rows": table.num_rows, "files": files, "counts": reduced.counts})
            del table, reduced
            processes.release_memory(processes.KEPT_BYTES)
        return [bucket]


task_errors: dict[str, UserError] = {}
"""Errors of tasks of this process, by work folder: on a full disk, or in a store that is gone, none can be written."""


class noting_errors:
    """Keep a user's error where the driver finds it, whichever process or machine it happens on."""

    def __init__(self, work: str) -> None:
        self.work = work

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError):
            task_errors[self.work] = error
            with contextlib.suppress(UserError):
                said = {"error": str(error), "kind": type(error).__name__}
                storage.write_json(storage.join(self.work, "error.json"), said)
