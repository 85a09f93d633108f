"""Worker processes of this machine, kept from one stage to the next, so that a stage does not wait for them to start.

    each(step, [task, task, ...], workers=2)   ->   [step(task), step(task), ...]   in the order of the tasks

A free worker takes the next task. A worker that dies is an error at once; an idle one ends after some seconds, so that training
finds its memory free; all end with the program that started them.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pipeline.errors import CorpusError

IDLE_SECONDS = 10

Result = TypeVar("Result")


def each(step: Callable[[Any], Result], tasks: Sequence[Any], workers: int) -> list[Result]:
    """Results of a picklable step for each task.

    Raises: what a step raised; CorpusError when a worker process was killed.
    """
    import loky

    pool = loky.get_reusable_executor(workers, timeout=IDLE_SECONDS, initializer=_begin, initargs=(os.getpid(),))
    try:
        futures = [pool.submit(step, task) for task in tasks]
        return [future.result() for future in futures]
    except BaseException as error:
        pool.shutdown(wait=True, kill_workers=True)  # else the others go on writing behind the caller's back
        if isinstance(error, loky.process_executor.TerminatedWorkerError):
            raise CorpusError(
                "a worker process was killed (out of memory?); run again, finished parts are kept, or use fewer --workers"
            ) from None
        raise


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program: it ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A worker whose program was killed would write where the next run may be."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
