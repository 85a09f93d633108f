"""Show progress while stages run: a bar on a terminal, otherwise a line every few seconds. All on standard error.

[ 3/10] dedup                 17,469 kept of 34,206 documents  1.2 s
[ 4/10] vocabulary            unchanged
[ 7/10] checkpoint            step 420 of 1,200, loss 5.31, 21,400 tokens/s   ...
"""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from pipeline.engine.stages import Finished
from workflows.kinds import summary, warning

SECONDS_BETWEEN_LINES = 10.0


class Display:
    """Progress of some steps, as a context. Pass `report` to the stages, and call `finish` after each step."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._last_line = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._done = 0

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def report(self, done: int, total: int, what: str) -> None:
        """Show the progress of the current step (an `execution.Report`)."""
        self._bar.update(self._task, completed=done, total=total or None, description=f"{self._position()} {what}")
        if not self.console.is_terminal and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            percent = f" ({100 * done // total} %)" if total else ""
            self.console.print(f"{self._position()} {what}{percent}", markup=False)

    def finish(self, name: str, stage: Finished, seconds: float) -> None:
        """Print the line of a finished step."""
        position = self._position()
        self._done += 1
        text = f"{summary(stage)}  {seconds:.1f} s" if stage.fresh else "unchanged"
        self.console.print(f"{position} {name:<22} {text}", markup=False)
        if warned := warning(stage):
            self.console.print(f"warning: {warned}", markup=False)
        self._bar.update(self._task, completed=0, total=None, description=f"{self._position()} ...")
        self._last_line = time.monotonic()

    def _position(self) -> str:
        total = len(self.steps)
        return f"[{min(self._done + 1, total):>2}/{total}]"
