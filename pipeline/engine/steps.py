"""Jobs and their steps: plain callables over descriptors, which Beam, Ray or a loop can run.

    Job(tasks, map, reduce)
    MapStep(work, map)(task)                    rows -> spill-<task>-0.arrow, counts and ranges -> map-<task>.json
    ReduceStep(work, reduce)((bucket, ranges))  rows of the ranges -> finished files, noted in reduce-<bucket>.json

A step whose JSON file exists is finished and only read: that is how a killed job resumes.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.engine import counting, startup
from pipeline.engine.counting import Counts
from pipeline.engine.spill import SpillRange, read_spills, write_spill
from pipeline.engine.stages import WORK, FileEntry
from pipeline.errors import MemoryFullError, UserError, is_memory_full


class Task(Protocol):
    """A chunk of work. Its name identifies it, so it may depend on nothing but the plan."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Mapped:
    """Rows that a task produced (all, or some of them), with the bucket of each row, and counts."""

    table: pa.Table
    buckets: npt.NDArray[np.integer]
    """(rows,)"""
    counts: Counts


@dataclass(frozen=True)
class Reduced:
    """Finished files of a bucket (of a task, in a job without a reduce), and counts."""

    files: tuple[FileEntry, ...]
    counts: Counts


MapFunction = Callable[[Any], Mapped | Iterable[Mapped] | Reduced]
ReduceFunction = Callable[[int, pa.Table], Reduced]


@dataclass(frozen=True)
class Job:
    """A map and a reduce over tasks; both functions are picklable and know nothing of Beam."""

    name: str
    folder: str
    """The stage's folder: finished files go here, spill files into `work-<plan>` below it."""
    tasks: Sequence[Task]
    map: MapFunction
    """Maps a task to rows, in chunks if it is too large for memory; in a job without `reduce`, to finished files."""
    reduce: ReduceFunction | None = None
    made_of: str = ""
    """What identifies the contents that the tasks read, if the stage's key does not: files that may be written meanwhile."""

    @property
    def work(self) -> str:
        """Folder of intermediate files. Its name is a hash of the tasks and of what they read: different plans never mix."""
        names = "\n".join([*(task.name for task in self.tasks), *filter(None, [self.made_of])])
        plan = hashlib.blake2b(names.encode(), digest_size=6).hexdigest()
        return storage.join(self.folder, f"{WORK}{plan}")


@dataclass(frozen=True)
class MapStep:
    """Map one task, unless it is finished, and return the ranges of its spill files by bucket."""

    work: str
    map: MapFunction

    def __call__(self, task: Any) -> list[tuple[int, SpillRange]]:
        done = storage.join(self.work, f"map-{task.name}.json")
        if storage.exists(done):
            content = storage.read_json(done)
        else:
            with noting_errors(self.work):
                content = self._content(task)
                storage.write_json(done, content)
            startup.release_memory(startup.KEPT_BYTES)
        return [
            (int(bucket), SpillRange(self._spill(task, number), *place))
            for bucket, places in content["ranges"].items()
            for number, *place in places
        ]

    def _spill(self, task: Any, number: int) -> str:
        return storage.join(self.work, f"spill-{task.name}-{number}.arrow")

    def _content(self, task: Any) -> dict[str, Any]:
        """Map a task, write its spill files, and return what its JSON file holds."""
        mapped = self.map(task)
        if isinstance(mapped, Reduced):
            return {"ranges": {}, "files": [asdict(entry) for entry in mapped.files], "counts": mapped.counts}
        ranges: dict[str, list[tuple[int, ...]]] = {}
        counts: Counts = {}
        for number, chunk in enumerate([mapped] if isinstance(mapped, Mapped) else mapped):
            for bucket, place in write_spill(self._spill(task, number), chunk.table, chunk.buckets).items():
                ranges.setdefault(str(bucket), []).append((number, place.start, place.end, place.rows, place.checksum))
            counting.add(counts, chunk.counts)
        return {"ranges": ranges, "files": [], "counts": counts}


@dataclass(frozen=True)
class ReduceStep:
    """Reduce one bucket, unless it is finished."""

    work: str
    reduce: ReduceFunction

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
            startup.release_memory(startup.KEPT_BYTES)
        return [bucket]


def distribute(job: Job, each: Callable[[Any, Sequence[Any]], list[Any]]) -> None:
    """Run the steps of a job without Beam: all tasks, then all buckets.

    Args:
        each: runs a step on every element, on machines of its choice, and returns all results in the order of the elements.
    """
    buckets: dict[int, list[SpillRange]] = {}
    for bucket, place in each(MapStep(job.work, job.map), job.tasks):
        buckets.setdefault(bucket, []).append(place)
    if job.reduce is not None:
        each(ReduceStep(job.work, job.reduce), sorted(buckets.items()))


task_errors: dict[str, UserError] = {}
"""Errors of tasks in this process, by work folder: on a full disk, or in a lost store, error.json cannot be written."""


class noting_errors:
    """Keep an error that a user can fix where `job.run` finds it, whichever process or machine raised it."""

    def __init__(self, work: str) -> None:
        self.work = work

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        cause = error
        if is_memory_full(error):
            error = MemoryFullError()
        if isinstance(error, UserError):
            task_errors[self.work] = error
            with contextlib.suppress(UserError):
                noted = {"error": str(error), "kind": type(error).__name__}
                storage.write_json(storage.join(self.work, "error.json"), noted)
            if error is not cause:
                raise error from cause  # what it came of does not travel between processes
