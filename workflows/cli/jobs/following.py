"""Show a job as a local run is shown: its log has the lines of a run that has no terminal, which become a bar again here."""

import re
import time

from cluster.jobs.entry import RESULT
from cluster.jobs.following import RAY
from pipeline.redaction import printable, redact
from workflows.progress import SECONDS_BETWEEN_LINES, Display

PROGRESS = re.compile(r"(\[ *\d+/\d+\] .*?)(?: \((\d+) %\))?")
FINISHED = re.compile(r"\[ *\d+/\d+\] .*(?:  [\d.]+ s|unchanged)")


class JobDisplay(Display):
    """Progress of a job, as a context. Pass `line` each line of its log."""

    def __init__(self) -> None:
        super().__init__([])
        self.results: list[str] = []
        """What a local run would have printed to standard output."""
        self._shown = float("-inf")

    def line(self, text: str) -> None:
        """Show a line of the log."""
        text = printable(redact(text))
        if text.startswith(RESULT):
            self.results.append(text.removeprefix(RESULT))
        elif (progress := PROGRESS.fullmatch(text)) and not FINISHED.fullmatch(text):
            self._show(progress[1], progress[2], text)
        elif not RAY.fullmatch(text):
            self.note(text)

    def note(self, text: str) -> None:
        """Print a line that is no progress."""
        self.console.print(printable(redact(text)), markup=False)

    def _show(self, what: str, percent: str | None, text: str) -> None:
        """Move the bar; without a terminal print a line now and then, since those of the past come all at once."""
        known = percent is not None
        self._bar.update(self._task, completed=int(percent or 0), total=100 if known else None, description=what)
        if not self.console.is_terminal and time.monotonic() - self._shown > SECONDS_BETWEEN_LINES:
            self._shown = time.monotonic()
            self.console.print(text, markup=False)
