"""The one Beam graph that every stage of prepare runs: tasks -> spill files -> buckets -> finished files.

    Create(tasks) | map: a task writes spill files | GroupByKey(bucket) | reduce: a bucket becomes one finished file
    Create(tasks) | map: a task becomes finished files                                    (a job without a reduce)

Elements are descriptors: Beam moves task names and byte ranges, text never passes through it (its local runner would hold all
of it in memory). Each finished task and bucket leaves a small JSON file in the work folder. These make a killed job go on where
it was, they are how progress is seen, and their sums are compared at the end, so that a record lost on the way is an error.

Steps are plain callables over descriptors, so that others than Beam can run them too: see `executed_by`.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import errors, storage
from pipeline.engine import counting, processes
from pipeline.engine.beam import import_beam, local_runner
from pipeline.engine.counting import Tally
from pipeline.engine.spill import SpillRange, read_spills, write_spill
from pipeline.engine.stages import (
    WORK,
    FileEntry,
    Report,
    silent,
)
from pipeline.errors import CorpusError, StorageError, UserError


class Task(Protocol):
    """A piece of work; its name is its identity and must not depend on anything but the plan."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Mapped:
    """What a task made, or a piece of it: rows, the bucket of each, and what was counted on the way."""

    table: pa.Table
    buckets: npt.NDArray[np.integer]
    counts: Tally


@dataclass(frozen=True)
class Reduced:
    """What became of a bucket (or, without a reduce, of a task): finished files and what was counted."""

    files: tuple[FileEntry, ...]
    counts: Tally


@dataclass(frozen=True)
class Job:
    """A map and a reduce over tasks; `map` and `reduce` are picklable and know nothing of Beam."""

    name: str
    folder: str
    """The stage's folder: finished files go here, spill files into `work-<plan>` below it."""
    tasks: Sequence[Task]
    map: Callable[[Any], Mapped | Iterable[Mapped] | Reduced]
    """Of a task: rows at once, or piece by piece where a task is too large to be held; without `reduce`, finished files."""
    reduce: Callable[[int, pa.Table], Reduced] | None = None

    @property
    def work(self) -> str:
        """Folder of unfinished business. Another plan (other tasks) has another, so that parts never mix."""
        plan = hashlib.blake2b("\n".join(task.name for task in self.tasks).encode(), digest_size=6).hexdigest()
        return storage.join(self.folder, f"{WORK}{plan}")


Executor = Callable[[Job, int], None]
"""Runs the steps of a job (what is not finished of them) with so many workers."""

_executor: ContextVar[Executor | None] = ContextVar("executor", default=None)


@contextlib.contextmanager
def executed_by(executor: Executor | None) -> Iterator[None]:
    """Inside, jobs are run by `executor`; None: by Beam on this machine. What they write is the same."""
    token = _executor.set(executor)
    try:
        yield
    finally:
        _executor.reset(token)


def run(job: Job, workers: int = 1, report: Report = silent) -> tuple[list[FileEntry], Tally]:
    """Run what is not finished of a job; finished files, and the sum of all counts.

    Raises: UserError as a task raised it; CorpusError when a worker process died or rows were lost.
    """
    processes.leave_pandas_out()
    processes.release_memory()
    _said.pop(job.work, None)
    storage.remove(storage.join(job.work, "error.json"))
    with _watched(job, report), processes.rare_collections():
        try:
            (_executor.get() or _run_on_this_machine)(job, workers)
        except Exception as error:
            _raise_what_a_task_said(job)
            if _was_ctrl_c(error):
                raise KeyboardInterrupt from None
            raise
    return _collect(job)


def run_beam(job: Job, runner: Any, options: Any, spread: bool = False) -> None:
    """Run a job as a Beam pipeline, a task an element. `spread` parts them where a runner would fuse all into one step."""
    beam = import_beam()
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        tasks = pipeline | "tasks" >> beam.Create(list(job.tasks))
        if spread:
            tasks |= "spread" >> beam.Reshuffle()
        mapped = tasks | "map" >> beam.FlatMap(MapStep(job.work, job.map))
        if job.reduce is not None:
            mapped | "gather by bucket" >> beam.GroupByKey() | "reduce" >> beam.FlatMap(ReduceStep(job.work, job.reduce))


def _run_on_this_machine(job: Job, workers: int) -> None:
    """In this process, or in worker processes, which are at it while Beam is imported and makes ready: a second and a half."""
    if workers == 1 or not job.tasks:
        return run_beam(job, *local_runner())
    map_step = MapStep(job.work, job.map)
    begun = _begun[job.work] = processes.begin(map_step, job.tasks, workers)
    try:
        _share_out(job, map_step, workers)
    except BaseException:
        begun.stop()
        raise
    finally:
        _begun.pop(job.work, None)


def _share_out(job: Job, map_step: "MapStep", workers: int) -> None:
    """One element, the list of all tasks, becomes that of all buckets. Its steps share it out; Beam has nothing to group."""
    beam = import_beam()
    runner, options = local_runner()
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        tasks = pipeline | "tasks" >> beam.Create([list(job.tasks)])
        mapped = tasks | "map" >> beam.Map(_Shared(map_step, workers))
        if job.reduce is not None:
            reduce_step = _Shared(ReduceStep(job.work, job.reduce), workers)
            mapped | "gather by bucket" >> beam.Map(_by_bucket) | "reduce" >> beam.Map(reduce_step)


_begun: dict[str, processes.Begun[Any]] = {}
"""Maps that workers began before Beam was ready, by work folder."""


@dataclass(frozen=True)
class _Shared:
    """A step over a list, in worker processes."""

    step: "MapStep | ReduceStep"
    workers: int

    def __call__(self, elements: Sequence[Any]) -> list[Any]:
        with _noting_errors(self.step.work):
            begun = _begun.pop(self.step.work, None) or processes.begin(self.step, elements, self.workers)
            return [one for found in begun.results() for one in found]


def _by_bucket(found: Sequence[tuple[int, SpillRange]]) -> list[tuple[int, list[SpillRange]]]:
    """Buckets with their ranges."""
    ranges: dict[int, list[SpillRange]] = {}
    for bucket, place in found:
        ranges.setdefault(bucket, []).append(place)
    return list(ranges.items())


def _raise_what_a_task_said(job: Job) -> None:
    """The one-line error of the task that failed, if it left one: Beam's own wraps it in pages."""
    if error := _said.pop(job.work, None):
        raise error
    url = storage.join(job.work, "error.json")
    if storage.exists(url):
        said = storage.read_json(url)
        raise getattr(errors, said["kind"])(said["error"])


def _was_ctrl_c(error: BaseException | None) -> bool:
    """Whether an error is what Beam makes of a KeyboardInterrupt, or of what Dagster raises in its place."""
    while isinstance(error, Exception):
        error = error.__cause__ or error.__context__
    return error is not None


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
            with _noting_errors(self.work):
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
        counts: Tally = {}
        for number, piece in enumerate([mapped] if isinstance(mapped, Mapped) else mapped):
            for bucket, place in write_spill(self._spill(task, number), piece.table, piece.buckets).items():
                ranges.setdefault(str(bucket), []).append((number, place.start, place.end, place.rows))
            counting.add(counts, piece.counts)
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
            with _noting_errors(self.work):
                table = read_spills(ranges)
                reduced = self.reduce(bucket, table)
                files = [asdict(entry) for entry in reduced.files]
                storage.write_json(done, {"rows": table.num_rows, "files": files, "counts": reduced.counts})
            del table, reduced
            processes.release_memory(processes.KEPT_BYTES)
        return [bucket]


_said: dict[str, UserError] = {}
"""Errors of tasks of this process, by work folder: on a full disk, or in a store that is gone, none can be written."""


class _noting_errors:
    """Keep a user's error where the driver finds it, whichever process or machine it happens on."""

    def __init__(self, work: str) -> None:
        self.work = work

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError):
            _said[self.work] = error
            with contextlib.suppress(UserError):
                said = {"error": str(error), "kind": type(error).__name__}
                storage.write_json(storage.join(self.work, "error.json"), said)


def _collect(job: Job) -> tuple[list[FileEntry], Tally]:
    """Add up what tasks and buckets left, and check that nothing was lost between them."""
    maps = [storage.read_json(storage.join(job.work, f"map-{task.name}.json")) for task in job.tasks]
    wrote: dict[int, int] = {}
    for content in maps:
        for bucket, places in content["ranges"].items():
            wrote[int(bucket)] = wrote.get(int(bucket), 0) + sum(place[-1] for place in places)
    reduces: dict[int, Any] = {}
    for bucket in sorted(wrote):
        url = storage.join(job.work, f"reduce-{bucket:05d}.json")
        reduces[bucket] = storage.read_json(url) if storage.exists(url) else {"rows": 0}
        if reduces[bucket]["rows"] != wrote[bucket]:
            raise CorpusError(
                f"{job.name}: bucket {bucket} received {reduces[bucket]['rows']:,} of {wrote[bucket]:,} rows; "
                f"nothing was committed: remove {job.work} and run again"
            )
    contents = [*maps, *reduces.values()]
    files = [FileEntry(**fields) for content in contents for fields in content["files"]]
    return files, counting.total(content["counts"] for content in contents)


class _watched:
    """Report finished tasks and buckets of a job while it runs."""

    def __init__(self, job: Job, report: Report) -> None:
        self.job, self.report = job, report
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        if self.report is not silent:
            self.thread.start()

    def __exit__(self, kind: object, *details: object) -> None:
        self.stop.set()
        if self.thread.is_alive():
            self.thread.join()
            if kind is None:
                self._tell()

    def _watch(self) -> None:
        while not self.stop.wait(0.3):
            self._tell()

    def _tell(self) -> None:
        try:
            names = storage.list_names(self.job.work)
        except StorageError:  # the work itself will meet it, if it lasts
            return
        total = len(self.job.tasks)
        maps = sum(name.startswith("map-") for name in names)
        reduces = sum(name.startswith("reduce-") for name in names)
        self.report(maps, total, f"{self.job.name}: {maps} of {total} parts read, {reduces} written")
