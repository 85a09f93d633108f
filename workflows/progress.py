"""What a person sees while a stage runs: a bar on a terminal, a line now and then elsewhere. All of it on standard error.

[ 3/10] duplicates            17,469 kept of 34,206 documents                 1.2 s
[ 4/10] vocabulary            unchanged
[ 7/10] checkpoint            step 420 of 1,200, loss 5.31, 21,400 tokens/s   ...
"""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from pipeline.engine.stages import Finished

SECONDS_BETWEEN_LINES = 10.0


class Display:
    """Shows the steps of a run. Use it as a context; give `report` to stages and `tell` to whoever runs them."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.started = time.monotonic()
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
        """How far the present step is."""
        self._bar.update(self._task, completed=done, total=total or None, description=f"{self._place()} {what}")
        if not self.console.is_terminal and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            share = f" ({100 * done // total} %)" if total else ""
            self.console.print(f"{self._place()} {what}{share}", markup=False)

    def tell(self, name: str, done: Finished, seconds: float) -> None:
        """A step is through."""
        place = self._place()
        self._done += 1
        what = f"{summary(done)}  {seconds:.1f} s" if done.fresh else "unchanged"
        self.console.print(f"{place} {name:<22} {what}", markup=False)
        if warned := warning(done):
            self.console.print(f"warning: {warned}", markup=False)
        self._bar.update(self._task, completed=0, total=None, description=f"{self._place()} ...")
        self._last_line = time.monotonic()

    def _place(self) -> str:
        total = len(self.steps)
        return f"[{min(self._done + 1, total):>2}/{total}]"


def warning(done: Finished) -> str:
    """What somebody must look at in a finished stage, whether it is new or not; "" if nothing."""
    missing = done.manifest.get("comparison", {}).get("withdrawn_not_found", 0)
    return f"withdrawn ids not found: {missing:,}; what they mean may be used; check them with `inspect`" if missing else ""


def summary(done: Finished) -> str:
    """One line on what a finished stage holds."""
    facts = done.manifest
    name = done.name
    if name.startswith("documents_"):
        counts = facts["counts"]
        skipped = sum(facts["skipped"].values())
        passed = f", {skipped:,} passed by" if skipped else ""
        bad = f", {counts['bad']:,} unreadable" if counts["bad"] else ""
        return f"{counts['kept']:,} of {counts['read']:,} records{passed}{bad}, {counts['characters']:,} characters"
    if name == "dedup":
        kept = sum(counts["kept"] for counts in facts["counts"].values())
        return f"{kept:,} kept of {sum(counts['documents'] for counts in facts['counts'].values()):,} documents"
    if name.startswith("tokens_"):
        counts = facts["counts"]
        return f"{counts['tokens']:,} tokens, {counts['units']:,} words, {counts['sentences']:,} sentences"
    if name == "vocabulary":
        return f"{facts['size']:,} tokens"
    if name.startswith("shards_"):
        counts = facts["counts"]["train"]
        return f"{counts['rows']:,} examples, {counts['tokens']:,} tokens"
    if name == "checkpoint":
        loss = facts["validation_loss"]
        return f"{facts['steps']:,} steps" + (f", best validation loss {loss:.3f}" if loss is not None else "")
    size = sum(entry["bytes"] for entry in facts["files"])
    return f"{len(facts['files'])} files, {size / 1e6:,.1f} MB"
