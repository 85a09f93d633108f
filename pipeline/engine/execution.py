"""How stages are executed: workers, progress reports, and who runs the jobs. Nothing here changes what a stage writes.

    documents(source, root)                                                 in this process, silently
    documents(source, root, execution=Execution(workers=8, report=print))   in eight worker processes, with progress
    documents(source, root, execution=Execution(dry_run=True))              found if it is finished, else NotFinished

An `Execution` is passed from the command down to each job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.engine.steps import Job

Report = Callable[[int, int, str], None]
"""Called with the progress of a stage: units done, units in total (0 = unknown), and a line of text."""

Executor = Callable[["Job", int], None]
"""Runs a job's unfinished steps with a number of workers."""


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


SERIAL = Execution()
"""One worker in this process, no reports."""
