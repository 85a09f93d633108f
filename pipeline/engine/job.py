"""The one Beam graph of every job: tasks -> spill files -> buckets -> finished files.

    Create(tasks) | map: a task writes spill files | GroupByKey(bucket) | reduce: a bucket becomes one finished file
    Create(tasks) | map: a task becomes finished files                                    (a job without a reduce)

Elements are descriptors: Beam moves task names and byte ranges, never text, because its local runner would hold all of it in
memory. Each finished task and bucket leaves a small JSON file in the work folder. From these files a killed job resumes and
progress is reported. At the end their row counts are compared, so that a record lost on the way is an error.

Steps are plain callables over descriptors, so they can also run without Beam: see `Execution.executor`.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import errors, storage
from pipeline.engine import counting, processes, startup
from pipeline.engine.beam import import_beam, local_runner, new_pipeline, run_beam
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution, Report, silent
from pipeline.engine.spill import SpillRange
from pipeline.engine.stages import WORK, FileEntry
from pipeline.engine.steps import Job, MapStep, ReduceStep, noting_errors, task_errors
from pipeline.errors import CorpusError, StorageError

REPORT_SECONDS = 0.3


def run(job: Job, execution: Execution = SERIAL) -> tuple[list[FileEntry], Counts]:
    """Run the unfinished steps of a job and return its files and the sum of all counts.

    Raises: UserError as a task raised it; CorpusError when a worker process died or rows were lost.
    """
    startup.skip_pandas_in_arrow()
    startup.release_memory()
    task_errors.pop(job.work, None)
    _remove_parts_of_others(job)
    storage.remove(storage.join(job.work, "error.json"))
    with _Watch(job, execution.report):
        try:
            (execution.executor or _run_on_this_machine)(job, execution.workers)
        except Exception as error:
            _raise_task_error(job)
            if _was_ctrl_c(error):
                raise KeyboardInterrupt from None
            raise
    return _collect(job)


def _remove_parts_of_others(job: Job) -> None:
    """Remove what a killed run left that was made of other content: not even its finished files may be mixed with ours."""
    names = storage.list_names(job.folder) if job.made_of else []
    if any(name.startswith(WORK) and name != storage.base_name(job.work) for name in names):
        storage.remove(job.folder)


def _run_on_this_machine(job: Job, workers: int) -> None:
    """Run a job in this process, or in worker processes, which start on it while Beam is imported (1.5 s)."""
    if workers == 1 or not job.tasks:
        return run_beam(job, *local_runner())
    map_step = MapStep(job.work, job.map)
    started = _started[job.work] = processes.pool.start(map_step, job.tasks, workers)
    try:
        _run_on_workers(job, map_step, workers)
    except BaseException:
        started.stop()
        raise
    finally:
        _started.pop(job.work, None)


def _run_on_workers(job: Job, map_step: MapStep, workers: int) -> None:
    """Run a Beam graph of one element, the list of all tasks; its steps distribute the tasks over worker processes."""
    beam = import_beam()
    with new_pipeline(*local_runner()) as pipeline:
        tasks = pipeline | "tasks" >> beam.Create([list(job.tasks)])
        mapped = tasks | "map" >> beam.Map(_Distributed(map_step, workers))
        if job.reduce is not None:
            reduce_step = _Distributed(ReduceStep(job.work, job.reduce), workers)
            mapped | "gather by bucket" >> beam.Map(_by_bucket) | "reduce" >> beam.Map(reduce_step)


_started: dict[str, processes.Started[Any]] = {}
"""Maps that started before Beam was imported, by work folder; `_Distributed` cannot carry them, because Beam pickles it."""


@dataclass(frozen=True)
class _Distributed:
    """A step over a list, each element in one of the worker processes."""

    step: MapStep | ReduceStep
    workers: int

    def __call__(self, elements: Sequence[Any]) -> list[Any]:
        with noting_errors(self.step.work):
            started = _started.pop(self.step.work, None) or processes.pool.start(self.step, elements, self.workers)
            return [one for found in started.results() for one in found]


def _by_bucket(found: Sequence[tuple[int, SpillRange]]) -> list[tuple[int, list[SpillRange]]]:
    """Group the ranges of spill files by bucket."""
    ranges: dict[int, list[SpillRange]] = {}
    for bucket, spill_range in found:
        ranges.setdefault(bucket, []).append(spill_range)
    return list(ranges.items())


def _raise_task_error(job: Job) -> None:
    """Raise the one-line error of the task that failed, if there is one; Beam's own error wraps it in pages."""
    if error := task_errors.pop(job.work, None):
        raise error
    url = storage.join(job.work, "error.json")
    if storage.exists(url):
        noted = storage.read_json(url)
        raise getattr(errors, noted["kind"])(noted["error"])


def _was_ctrl_c(error: BaseException | None) -> bool:
    """Return whether an error is what Beam makes of a KeyboardInterrupt, or of what Dagster raises in its place."""
    while isinstance(error, Exception):
        error = error.__cause__ or error.__context__
    return error is not None


def _collect(job: Job) -> tuple[list[FileEntry], Counts]:
    """Add up what tasks and buckets left, and check that no row was lost between them."""
    maps = [storage.read_json(storage.join(job.work, f"map-{task.name}.json")) for task in job.tasks]
    written: dict[int, int] = {}
    for content in maps:
        for bucket, places in content["ranges"].items():
            written[int(bucket)] = written.get(int(bucket), 0) + sum(rows for _, _, _, rows, _ in places)
    reduces: dict[int, Any] = {}
    for bucket in sorted(written):
        url = storage.join(job.work, f"reduce-{bucket:05d}.json")
        reduces[bucket] = storage.read_json(url) if storage.exists(url) else {"rows": 0}
        if reduces[bucket]["rows"] != written[bucket]:
            raise CorpusError(
                f"{job.name}: bucket {bucket} received {reduces[bucket]['rows']:,} of {written[bucket]:,} rows; "
                f"nothing was committed: delete {job.work} and run again"
            )
    contents = [*maps, *reduces.values()]
    files = [FileEntry(**fields) for content in contents for fields in content["files"]]
    return files, counting.total(content["counts"] for content in contents)


class _Watch:
    """Report the number of finished tasks and buckets while a job runs."""

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
                self._report()

    def _watch(self) -> None:
        while not self.stop.wait(REPORT_SECONDS):
            self._report()

    def _report(self) -> None:
        try:
            names = storage.list_names(self.job.work)
        except StorageError:  # the tasks will raise it, if it lasts
            return
        total = len(self.job.tasks)
        maps = sum(name.startswith("map-") for name in names)
        reduces = sum(name.startswith("reduce-") for name in names)
        self.report(maps, total, f"{self.job.name}: {maps} of {total} parts read, {reduces} written")
