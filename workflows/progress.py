"""Show progress while stages run: a bar on a terminal, otherwise a line every half minute. All on standard error.

[ 3/10] dedup                 17,469 kept of 34,206 documents  1.2 s
[ 4/10] vocabulary            unchanged
[ 7/10] pretrain: step 420 of 1,200, loss 5.310, 21,400 tokens/s (35 %, 6:10 left)
pretrain: restarting after a failure (attempt 2)
"""

import os
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from model.training.tracking.summary import duration
from pipeline.engine.execution import News
from pipeline.engine.stages import Finished
from pipeline.redaction import printable, redact
from workflows.kinds import summary, warning

SECONDS_BETWEEN_LINES = float(os.environ.get("NEZHA_PIPE_PROGRESS_SECONDS", 30))
PACE_SECONDS = 120.0
"""The time left follows from the pace of this long."""


class Display:
    """Progress of some steps, as a context. Pass `report` to the stages, and call `finish` after each step."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._last_line = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(table_column=Column(min_width=7)),
            BarColumn(bar_width=24),  # last: on a narrow terminal it gives way
            console=self.console,
            transient=True,
            speed_estimate_period=PACE_SECONDS,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._done = 0
        self._resumed = False
        """Whether the step has reported where it resumed: what was done before says nothing about its pace."""
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def report(self, done: int, total: int, what: str) -> None:
        """Show the progress of the current step (an `execution.Report`). `News` stay on the screen, and wait for nothing."""
        if isinstance(what, News):
            self.console.print(printable(redact(what)), markup=False)
            return
        what = printable(redact(what))
        if done and not self._resumed:
            self._resumed = True
            self._bar.reset(self._task, completed=done)
        self._bar.update(self._task, completed=done, total=total or None, description=f"{self._position()} {what}")
        if not self.console.is_terminal and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.console.print(f"{self._position()} {what}{self._how_far(done, total)}", markup=False)

    def _how_far(self, done: int, total: int) -> str:
        left = self._bar.tasks[self._task].time_remaining
        return f" ({100 * done // total} %{f', {duration(left)} left' if left else ''})" if total else ""

    def finish(self, name: str, stage: Finished, seconds: float) -> None:
        """Print the line of a finished step."""
        position = self._position()
        self._done += 1
        text = f"{summary(stage)}  {seconds:.1f} s" if stage.fresh else "unchanged"
        self.console.print(printable(f"{position} {name:<22} {text}"), markup=False)
        if (warned := warning(stage)) and warned not in self._warned:
            self._warned.add(warned)  # stages of several sources may have the same
            self.console.print(printable(f"warning: {warned}"), markup=False)
        self._bar.reset(self._task, completed=0, total=None, description=f"{self._position()} ...")
        self._resumed = False
        self._last_line = time.monotonic()

    def _position(self) -> str:
        total = len(self.steps)
        return f"[{min(self._done + 1, total):>2}/{total}]"
