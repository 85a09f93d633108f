"""Long pieces of work, some at a time, each in a process of its own: a process that is killed costs its own piece alone.

    run_each(runs, fine_tune, workers=4, done=record, killed=report)

A pool of N processes would not do: when one of them is killed, it ends them all. Nor would processes that are kept for tasks of
seconds (processes.py), where such a death is an error.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pipeline.engine import processes

ATTEMPTS = 3
"""Deaths in a row, without a finished piece between them, after which no process is started again."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class WorkersKilled(Exception):
    """Processes are killed again and again."""


def run_each(
    pieces: Iterable[Piece],
    work: Callable[[Piece], Result],
    workers: int,
    done: Callable[[Piece, Result], None],
    killed: Callable[[Piece], None],
) -> None:
    """Call `work` with each piece in its order, in `workers` processes; a piece whose process was killed is repeated.

    Args:
        work: can be pickled, as pieces and results can.
        done: called here with each piece that is finished, and its result.
        killed: called here when the process of a piece was killed.

    Raises: what `work` raised first, or WorkersKilled, after the pieces under way are finished and given to `done`.
    """
    waiting = deque(pieces)
    idle: list[ProcessPoolExecutor] = []
    running: dict[Future[Result], tuple[Piece, ProcessPoolExecutor]] = {}
    deaths = 0
    failed: Exception | None = None
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                slot = idle.pop() if idle else _slot()
                try:
                    running[slot.submit(work, waiting[0])] = (waiting[0], slot)
                except BrokenProcessPool:  # killed while it was idle
                    slot.shutdown()
                    continue
                waiting.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                piece, slot = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    slot.shutdown()
                    deaths += 1
                    if deaths == ATTEMPTS:
                        failed = failed or WorkersKilled()
                    if failed is None:
                        waiting.appendleft(piece)
                        killed(piece)
                    continue
                idle.append(slot)
                if error is None:
                    deaths = 0
                    done(piece, future.result())
                elif isinstance(error, Exception):
                    failed = failed or error
                else:  # Ctrl-C in the process of a piece
                    raise error
            if failed is not None:
                waiting.clear()
        if failed is not None:
            raise failed
    except KeyboardInterrupt:  # also where it is for this process alone
        for _, slot in running.values():
            for process in slot._processes.values():
                process.terminate()
        raise
    finally:
        for slot in (*idle, *(slot for _, slot in running.values())):
            slot.shutdown()


def _slot() -> ProcessPoolExecutor:
    """Return a process of its own, which ends with this one. Spawned, not forked: torch's threads do not survive a fork."""
    import multiprocessing

    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), processes.exit_with, (os.getpid(),))
