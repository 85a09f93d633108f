"""What a run says about itself: rows for reports, a line for people, progress.json for whoever draws a bar.

    step     100/2000  phase 1  loss 7.214  masked 12.1%  rate 9.00e-05  182,311 tokens/s
    valid    100/2000  phase 1  loss 7.402  masked 10.8%  (news 7.100, reviews 7.704)

    {"kind": "train", "step": 100, "phase": 0, "loss": 7.214, "mlm_loss": 6.52, "pair_loss": 0.69, "grad_norm": 3.1, ...}
    {"kind": "validation", "step": 100, "phase": 0, "source": "news", "loss": 7.1, ...}     one per source, and one of "all"

Figures are those of the step itself, no running means, so that a resumed run writes the same rows.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from model.checkpoint import Attempt
from model.steps import Outcome
from pipeline import storage

PROGRESS = "progress.json"
log = logging.getLogger(__name__)


class Metrics:
    """Rows since the last checkpoint, and the time that steps took."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.rows: list[dict[str, Any]] = []
        self._started = self._told = time.monotonic()
        self._tokens, self._seconds = 0, 0.0
        self._tokens_per_second: float | None = None

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Counts as time of training: steps, and waiting for their batches; not validation, not checkpoints."""
        started = time.monotonic()
        yield
        self._seconds += time.monotonic() - started

    def step(self, step: int, phase: int, outcome: Outcome, learning_rate: float, log_every: int) -> None:
        """Count a step; every `log_every` and at the very end, keep a row and write a line."""
        self._tokens += outcome.tokens
        if step % log_every and step != self.steps:
            return
        self._tokens_per_second = self._tokens / max(self._seconds, 1e-9)
        self._tokens, self._seconds = 0, 0.0
        row = {
            **{"kind": "train", "step": step, "phase": phase},
            **{name: value for name, value in outcome.figures.items() if name != "pair_accuracy"},
            "learning_rate": learning_rate,
            "grad_norm": outcome.grad_norm if outcome.updated else None,
            "tokens_per_second": self._tokens_per_second,
            "seconds": time.monotonic() - self._started,
        }
        self.rows.append(row)
        rate = f"rate {learning_rate:.2e}  {self._tokens_per_second:,.0f} tokens/s"
        log.info("%s  %s", self._line("step", row), rate)

    def validation(self, step: int, phase: int, rows: Sequence[dict[str, Any]]) -> None:
        """Keep the rows of a validation, the last of which sums up the others, and write a line."""
        added = [{"kind": "validation", "step": step, "phase": phase, **row} for row in rows]
        self.rows += added
        sources = ", ".join(f"{row['source']} {_told(row['loss'])}" for row in added[:-1])
        log.info("%s  (%s)", self._line("valid", added[-1]), sources)

    def progress(self, attempt: Attempt, step: int, phase: int, loss: float | None) -> None:
        """Overwrite progress.json, about once a second."""
        now = time.monotonic()
        every = 1 if storage.is_local(attempt.output) else 10  # an object store is slower, and bills each write
        if now - self._told < every and step != self.steps:
            return
        self._told = now
        attempt.check()
        facts = {"step": step, "steps": self.steps, "phase": phase, "loss": loss, "attempt": attempt.number}
        facts |= {"tokens_per_second": self._tokens_per_second, "updated": time.time()}
        storage.write_json(storage.join(attempt.output, PROGRESS), facts)

    def _line(self, kind: str, row: dict[str, Any]) -> str:
        accuracy = row["masked_accuracy"]
        at = f"{kind:<5} {row['step']:>6}/{self.steps}  phase {row['phase'] + 1}"
        return f"{at}  loss {_told(row['loss'])}  masked {'-' if accuracy is None else f'{accuracy:.1%}'}"


def _told(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.3f}"
