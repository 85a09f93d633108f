"""The one Beam graph that every stage of prepare runs: tasks -> spill files -> buckets -> finished files.

    Create(tasks) | map: a task writes spill files | GroupByKey(bucket) | reduce: a bucket becomes one finished file
    Create(tasks) | map: a task becomes finished files                                    (a job without a reduce)

Elements are descriptors: Beam moves task names and byte ranges, text never passes through it (its local runner would hold all
of it in memory). Each finished task and bucket leaves a small JSON file in the work folder. These make a killed job go on where
it was, they are how progress is seen, and their sums are compared at the end, so that a record lost on the way is an error.

Steps are plain callables over descriptors, so that others than Beam can run them too: see `using_executor`.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pipeline import errors, storage
from pipeline.engine import counting, processes
from pipeline.engine.beam import import_beam, local_runner, run_beam
from pipeline.engine.counting import Counts
from pipeline.engine.spill import SpillRange
from pipeline.engine.stages import (
    FileEntry,
    Report,
    silent,
)
from pipeline.engine.steps import Executor, Job, MapStep, ReduceStep, noting_errors, task_errors
from pipeline.errors import CorpusError, StorageError

_executor: ContextVar[Executor | None] = ContextVar("executor", default=None)


@contextlib.contextmanager
def using_executor(executor: Executor | None) -> Iterator[None]:
    """Inside, jobs are run by `executor`; None: by Beam on this machine. What they write is the same."""
    token = _executor.set(executor)
    try:
        yield
    finally:
        _executor.reset(token)


def run(job: Job, workers: int = 1, report: Report = silent) -> tuple[list[FileEntry], Counts]:
    """Run what is not finished of a job; finished files, and the sum of all counts.

    Raises: UserError as a task raised it; CorpusError when a worker process died or rows were lost.
    """
    processes.leave_pandas_out()
    processes.release_memory()
    task_errors.pop(job.work, None)
    storage.remove(storage.join(job.work, "error.json"))
    with _watched(job, report), processes.rare_collections():
        try:
            (_executor.get() or _run_on_this_machine)(job, workers)
        except Exception as error:
            _raise_task_error(job)
            if _was_ctrl_c(error):
                raise KeyboardInterrupt from None
            raise
    return _collect(job)


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
        with noting_errors(self.step.work):
            begun = _begun.pop(self.step.work, None) or processes.begin(self.step, elements, self.workers)
            return [one for found in begun.results() for one in found]


def _by_bucket(found: Sequence[tuple[int, SpillRange]]) -> list[tuple[int, list[SpillRange]]]:
    """Buckets with their ranges."""
    ranges: dict[int, list[SpillRange]] = {}
    for bucket, place in found:
        ranges.setdefault(bucket, []).append(place)
    return list(ranges.items())


def _raise_task_error(job: Job) -> None:
    """The one-line error of the task that failed, if it left one: Beam's own wraps it in pages."""
    if error := task_errors.pop(job.work, None):
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


def _collect(job: Job) -> tuple[list[FileEntry], Counts]:
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
