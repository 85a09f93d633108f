"""Run tasks in worker processes of this machine, kept from one stage to the next so that no stage waits for them to start.

    pool.start(step, [task, task, ...], workers=2).results()   ->   [step(task), step(task), ...]   in the order of the tasks

A free worker takes the next task. A worker that dies is an error at once. Idle workers exit after some seconds, or soon after
`pool.shutdown`, so that training has their memory; all exit with the program that started them. Workers grown large (with
dictionaries that the next stage may not need) are replaced before the next stage.
"""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, Generic, TypeVar

from pipeline.engine import startup
from pipeline.errors import CorpusError

IDLE_SECONDS = 10
"""Time after which a worker without a task exits."""
LARGE_BYTES = 512 << 20
"""Memory of a worker above which the next stage starts new workers."""

Result = TypeVar("Result")


class WorkerPool:
    """The worker processes of this program; none until the first task."""

    def __init__(self) -> None:
        self._executor: Any = None
        self._replace = False
        """Whether the next stage starts new workers."""

    def start(self, step: Callable[[Any], Result], tasks: Sequence[Any], workers: int) -> "Started[Result]":
        """Start a picklable step for each task and return without waiting."""
        futures = self._submit(workers, [(_with_memory, step, task) for task in tasks])
        return Started(self, self._executor, futures)

    def shutdown(self) -> None:
        """Let the workers exit, without waiting for them; later tasks start new ones."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def replace_workers(self) -> None:
        """Give the next tasks new workers."""
        self._replace = True

    def _submit(self, workers: int, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Submit functions with their arguments, starting workers if there are none; one future each."""
        import loky

        # On a busy machine an idle worker may exit just when tasks arrive. loky starts another, and a page about it.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor", UserWarning)
        _start_trackers()
        # Ctrl-C is for the program alone, which ends its workers: they start, at the first submit, with the signal blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._executor = loky.get_reusable_executor(
                workers,
                timeout=IDLE_SECONDS,
                kill_workers=self._replace,
                reuse=False if self._replace else "auto",
                initializer=_start_worker,
                initargs=(os.getpid(),),
                env=startup.loky_environment(),
            )
            self._replace = False
            return [self._executor.submit(*call) for call in calls]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


pool = WorkerPool()
"""The only one: loky, too, keeps one set of workers a program."""


@dataclass(frozen=True)
class Started(Generic[Result]):
    """Tasks that workers are running."""

    _pool: WorkerPool
    _executor: Any
    _futures: list[Any]

    def results(self) -> list[Result]:
        """Wait for all results, in the order of the tasks. The first error stops the workers.

        Raises: what a step raised; CorpusError when a worker process was killed.
        """
        from loky.process_executor import TerminatedWorkerError

        try:
            results = [future.result() for future in self._futures]
        except BaseException as error:
            self.stop()  # else the others keep writing behind the caller's back
            if isinstance(error, TerminatedWorkerError):
                raise CorpusError(
                    "a worker process was killed (out of memory?); run again, finished parts are kept, or use fewer --workers"
                ) from None
            raise
        if any(size > LARGE_BYTES for _, size in results):
            self._pool.replace_workers()
        return [result for result, _ in results]

    def stop(self) -> None:
        """Kill the workers, busy or not."""
        self._executor.shutdown(wait=True, kill_workers=True)


def _with_memory(step: Callable[[Any], Result], task: Any) -> tuple[Result, int]:
    """Return a step's result, and the resident memory of its process afterwards in bytes."""
    return step(task), startup.resident_bytes()


def _start_worker(parent: int) -> None:
    """Set up a new worker process."""
    exit_with(parent)
    startup.skip_pandas_in_arrow()


def _start_trackers() -> None:
    """Start the processes that clean up what workers share if the program is killed.

    Before Ctrl-C is blocked, since starting them unblocks it, and with warnings off, since they print a page of their own.
    """
    from loky.backend import resource_tracker as loky_tracker

    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        for tracker in (resource_tracker, loky_tracker):
            tracker.ensure_running()
    finally:
        os.environ.pop("PYTHONWARNINGS")
        os.environ |= {"PYTHONWARNINGS": before} if before is not None else {}


def exit_with(parent: int) -> None:
    """Make this worker exit when the program that started it does, or it might write where the next run does."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
