"""The one Beam graph that every stage of prepare runs: tasks -> spill files -> buckets -> finished files.

    Create(tasks) | map: a task writes one spill file | GroupByKey(bucket) | reduce: a bucket becomes one finished file

Elements are descriptors: Beam moves task names and byte ranges, text never passes through it (its local runner would hold all
of it in memory). Each finished task and bucket leaves a small JSON file in the work folder. These make a killed job go on where
it was, they are how progress is seen, and their sums are compared at the end, so that a record lost on the way is an error.
"""

import hashlib
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage, tally
from pipeline.errors import CorpusError, StorageError, UserError
from pipeline.runner import WORKER_DIED, exit_when_a_worker_dies, exit_with, import_beam, local_runner
from pipeline.spill import SpillRange, read_spills, write_spill
from pipeline.stages import WORK, FileEntry, Report, silent
from pipeline.tally import Tally


class Task(Protocol):
    """A piece of work; its name is its identity and must not depend on anything but the plan."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Mapped:
    """What a task made: rows, the bucket of each, and what was counted on the way."""

    table: pa.Table
    buckets: npt.NDArray[np.integer]
    counts: Tally


@dataclass(frozen=True)
class Reduced:
    """What became of a bucket: finished files and what was counted."""

    files: tuple[FileEntry, ...]
    counts: Tally


@dataclass(frozen=True)
class Job:
    """A map and a reduce over tasks; `map` and `reduce` are picklable and know nothing of Beam."""

    name: str
    folder: str
    """The stage's folder: finished files go here, spill files into `work-<plan>` below it."""
    tasks: Sequence[Task]
    map: Callable[[Any], Mapped]
    reduce: Callable[[int, pa.Table], Reduced]

    @property
    def work(self) -> str:
        """Folder of unfinished business. Another plan (other tasks) has another, so that parts never mix."""
        plan = hashlib.blake2b("\n".join(task.name for task in self.tasks).encode(), digest_size=6).hexdigest()
        return storage.join(self.folder, f"{WORK}{plan}")


def run(job: Job, workers: int = 1, report: Report = silent) -> tuple[list[FileEntry], Tally]:
    """Run what is not finished of a job; finished files, and the sum of all counts.

    Raises: UserError as a task raised it; CorpusError when a worker process died or rows were lost.
    """
    storage.remove(storage.join(job.work, "error.json"))
    with _watched(job, report):
        if workers == 1:
            _run_here(job, 1)
        else:
            _run_in_a_process(job, workers)
    return _collect(job)


def _run_here(job: Job, workers: int) -> None:
    beam = import_beam()
    runner, options = local_runner(workers)
    try:
        with beam.Pipeline(runner=runner, options=options) as pipeline:
            (
                pipeline
                | "tasks" >> beam.Create(list(job.tasks))
                | "map" >> beam.FlatMap(_MapStep(job.name, job.work, job.map))
                | "gather by bucket" >> beam.GroupByKey()
                | "reduce" >> beam.Map(_ReduceStep(job.name, job.work, job.reduce))
            )
    except Exception:
        _raise_what_a_task_said(job)
        raise


def _run_in_a_process(job: Job, workers: int) -> None:
    """Several workers: a process of its own, because the guard against dead workers ends the process it is in."""
    with tempfile.TemporaryDirectory() as folder:
        specification = Path(folder) / "job.pickle"
        specification.write_bytes(pickle.dumps((job, workers, os.getpid())))
        log = Path(folder) / "log"
        # Workers of Beam are started as `python`: it must be this one, and find these rooms.
        places = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(Path(__file__).parents[1])}
        found = {name: os.pathsep.join(filter(None, [place, os.environ.get(name)])) for name, place in places.items()}
        with log.open("wb") as output:
            command = [sys.executable, "-m", "pipeline.job", str(specification)]
            code = subprocess.run(command, stdout=output, stderr=output, env={**os.environ, **found}).returncode
        if code:
            _raise_what_a_task_said(job)
            if code in (WORKER_DIED, -9):
                raise CorpusError(
                    f"{job.name}: a worker process was killed (out of memory?); run again, finished parts are kept, "
                    "or use fewer --workers"
                )
            raise RuntimeError(f"{job.name}: the pipeline process ended with {code}\n{log.read_text(errors='replace')[-4000:]}")


def _raise_what_a_task_said(job: Job) -> None:
    """The one-line error of the task that failed, if it left one: Beam's own wraps it in pages."""
    url = storage.join(job.work, "error.json")
    if storage.exists(url):
        raise CorpusError(storage.read_json(url)["error"])


@dataclass(frozen=True)
class _MapStep:
    job: str
    work: str
    map: Callable[[Any], Mapped]

    def __call__(self, task: Any) -> Iterator[tuple[int, SpillRange]]:
        done, spill = (storage.join(self.work, name) for name in (f"map-{task.name}.json", f"spill-{task.name}.arrow"))
        if not storage.exists(done):
            with _noting_errors(self.work):
                mapped = self.map(task)
                ranges = write_spill(spill, mapped.table, mapped.buckets)
                places = {str(bucket): (place.start, place.end, place.rows) for bucket, place in ranges.items()}
                storage.write_json(done, {"ranges": places, "counts": mapped.counts})
        for bucket, place in storage.read_json(done)["ranges"].items():
            yield int(bucket), SpillRange(spill, *place)


@dataclass(frozen=True)
class _ReduceStep:
    job: str
    work: str
    reduce: Callable[[int, pa.Table], Reduced]

    def __call__(self, element: tuple[int, Any]) -> int:
        bucket, ranges = element
        done = storage.join(self.work, f"reduce-{bucket:05d}.json")
        if not storage.exists(done):
            with _noting_errors(self.work):
                table = read_spills(ranges)
                reduced = self.reduce(bucket, table)
                files = [asdict(entry) for entry in reduced.files]
                storage.write_json(done, {"rows": table.num_rows, "files": files, "counts": reduced.counts})
        return bucket


class _noting_errors:
    """Write a user's error where the driver finds it, whichever process it happens in."""

    def __init__(self, work: str) -> None:
        self.work = work

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError):
            storage.write_json(storage.join(self.work, "error.json"), {"error": str(error)})


def _collect(job: Job) -> tuple[list[FileEntry], Tally]:
    """Add up what tasks and buckets left, and check that nothing was lost between them."""
    maps = [storage.read_json(storage.join(job.work, f"map-{task.name}.json")) for task in job.tasks]
    wrote: dict[int, int] = {}
    for content in maps:
        for bucket, (_, _, rows) in content["ranges"].items():
            wrote[int(bucket)] = wrote.get(int(bucket), 0) + rows
    reduces: dict[int, Any] = {}
    for bucket in sorted(wrote):
        url = storage.join(job.work, f"reduce-{bucket:05d}.json")
        reduces[bucket] = storage.read_json(url) if storage.exists(url) else {"rows": 0}
        if reduces[bucket]["rows"] != wrote[bucket]:
            raise CorpusError(
                f"{job.name}: bucket {bucket} received {reduces[bucket]['rows']:,} of {wrote[bucket]:,} rows; "
                f"nothing was committed: remove {job.work} and run again"
            )
    files = [FileEntry(**fields) for content in reduces.values() for fields in content["files"]]
    return files, tally.total(content["counts"] for content in [*maps, *reduces.values()])


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


def main(specification: str) -> None:
    """Run a pickled job with several workers: `python -m pipeline.job FILE`."""
    logging.basicConfig(level=logging.WARNING)
    job, workers, parent = pickle.loads(Path(specification).read_bytes())
    exit_with(parent)
    exit_when_a_worker_dies()
    # This file is running as __main__; what workers unpickle must come from the module that they can import.
    from pipeline import job as this_module

    this_module._run_here(job, workers)


if __name__ == "__main__":
    main(sys.argv[1])
