"""How stages are executed: workers, progress reports, and who runs the jobs. Nothing here changes what a stage writes.

    documents(source, root)                                                 in this process, silently
    documents(source, root, execution=Execution(workers=8, report=print))   in eight worker processes, with progress
    documents(source, root, execution=Execution(dry_run=True))              found if it is finished, else NotFinished

An `Execution` is passed from the command down to each job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import RecipeError

if TYPE_CHECKING:
    from pipeline.engine.steps import Job

Report = Callable[[int, int, str], None]
"""Called with the progress of a stage: units done, units in total (0 = unknown), and a line of text."""

Executor = Callable[["Job", int], None]
"""Runs a job's unfinished steps with a number of workers."""


MANY = 32
"""Workers that any machine may be meant to run."""


class News(str):
    """A line that is reported once and must not be missed: something happened. Other lines replace each other."""


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Execution:
    """Settings of a run that are no part of a stage's key."""

    workers: int = 1
    """Processes, or tasks at a time on a cluster."""
    report: Report = silent
    executor: Executor | None = None
    """None = Beam on this machine (pipeline/engine/job.py)."""
    dry_run: bool = False
    """Run nothing: a stage that is not finished raises `stages.NotFinished`."""
    reuse: bool = True
    """Take from earlier stages of the same source what has not changed (pipeline/engine/earlier.py)."""

    def __post_init__(self) -> None:
        if self.executor is None:
            check_workers(self.workers)


def cpus() -> int:
    """Return how many CPUs this process may use: those of the machine, of its affinity, or of its container's quota."""
    import loky  # takes 0.1 s

    return int(loky.cpu_count())


def check_workers(workers: int) -> None:
    """Raise RecipeError for more workers than this machine can be meant to run: each takes 0.2 GB or more."""
    if workers > MANY and workers > (most := max(MANY, 4 * (here := cpus()))):
        raise RecipeError(f"{workers:,} workers on a machine with {here} CPUs; use at most {most}, or as many as it has CPUs")


SERIAL = Execution()
"""One worker in this process, no reports."""
