"""What a run says about itself: rows for reports, a line for people, progress.json for whoever draws a bar.

    step     100/2000  phase 1  loss 7.214  masked 12.1%  rate 9.00e-05  182,311 tokens/s  MFU 41.2%
    valid    100/2000  phase 1  loss 7.402  masked 10.8%  (news 7.100, reviews 7.704)

    {"kind": "train", "step": 100, "phase": 0, "loss": 7.214, "mlm_loss": 6.52, "pair_loss": 0.69, "grad_norm": 3.1,
     "loss_scale": null, "skipped_samples": 256, "trust_ratios": {"embeddings": [0.9, 2.1], ...}, "mfu": 0.412, ...}
    {"kind": "skipped", "step": 56, "phase": 0, "reason": "spike", "samples": [14592, 14848], "loss": 9.871, ...}
    {"kind": "rollback", "step": 50, "phase": 0, "from_step": 57, "samples": [12800, 17152]}
    {"kind": "validation", "step": 100, "phase": 0, "source": "news", "loss": 7.1, ...}     one per source, and one of "all"

Figures are those of the step itself, no running means, so that a resumed run writes the same rows. What the clock and the
machine decide (`BY_THE_CLOCK`) is of the steps since the row before.
"""

import contextlib
import logging
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from model.config import EncoderConfig
from model.flops import PEAK_TERAFLOPS, sequence_flops
from model.training import workers
from model.training.checkpoint import Attempt
from model.training.learner import Outcome
from model.training.state import State
from pipeline import storage

PROGRESS = "progress.json"
BY_THE_CLOCK = (
    *("tokens_per_second", "mfu", "mfu_without_relative", "memory_bytes"),
    *("data_seconds", "compute_seconds", "optimizer_seconds", "seconds"),
)
log = logging.getLogger(__name__)


def peak_flops(device_name: str) -> float | None:
    """Of a GPU by its name; None of one that is not known, and of processors."""
    return next((peak * 1e12 for name, peak in PEAK_TERAFLOPS.items() if name in device_name), None)


def peak_memory(device: torch.device) -> int:
    """Most bytes that were in use at once: of the GPU by torch, elsewhere of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass
class Spent:
    """Since the last row: time of steps, by what it went to, and what was done in it."""

    steps: int = 0
    tokens: int = 0
    flops: float = 0.0
    flops_without_relative: float = 0.0
    seconds: float = 0.0
    compute: float = 0.0
    optimizer: float = 0.0


class Metrics:
    """Rows since the last checkpoint, and the time that steps took."""

    def __init__(self, steps: int, encoder: EncoderConfig, vocabulary_size: int) -> None:
        self.steps, self.encoder, self.vocabulary_size = steps, encoder, vocabulary_size
        self.rows: list[dict[str, Any]] = []
        self.device = workers.device()
        peak = peak_flops(torch.cuda.get_device_name(self.device)) if self.device.type == "cuda" else None
        self.peak = peak * workers.world() if peak else None
        self._started = self._told = time.monotonic()
        self._spent = Spent()
        self._tokens_per_second: float | None = None

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Counts as time of training: steps, and waiting for their batches; not validation, not checkpoints."""
        started = time.monotonic()
        yield
        self._spent.seconds += time.monotonic() - started

    def count(self, outcome: Outcome) -> None:
        """Add up what a step took and did, whether it made an update or not."""
        spent = self._spent
        spent.steps += 1
        spent.tokens += outcome.tokens
        spent.compute += outcome.compute_seconds
        spent.optimizer += outcome.optimizer_seconds
        if outcome.tokens:
            # Sequences of the mean length, weighed by tokens: the sum of squares, which attention takes, is the same.
            length = max(1, round(outcome.squares / outcome.tokens))
            shape = (self.encoder, length, self.vocabulary_size, outcome.masked / outcome.tokens)
            spent.flops += sequence_flops(*shape) * outcome.tokens / length
            spent.flops_without_relative += sequence_flops(*shape, relative=False) * outcome.tokens / length

    def due(self, step: int, log_every: int) -> bool:
        """Every `log_every` steps and at the very end."""
        return step % log_every == 0 or step == self.steps

    def step(self, state: State, outcome: Outcome, learning_rate: float, trust_ratios: Mapping[str, Sequence[float]]) -> None:
        """Keep a row and write a line."""
        speeds = self._speeds()
        row = {
            **{"kind": "train", "step": state.step, "phase": state.phase},
            **{name: value for name, value in outcome.figures.items() if name != "pair_accuracy"},
            "learning_rate": learning_rate,
            "grad_norm": outcome.grad_norm,
            "loss_scale": state.loss_scale.scale if state.loss_scale else None,
            "skipped_samples": state.skipped_samples,
            "trust_ratios": trust_ratios,
            **speeds,
            "seconds": time.monotonic() - self._started,
        }
        self.rows.append(row)
        mfu = "" if speeds["mfu"] is None else f"  MFU {speeds['mfu']:.1%}"
        rate = f"rate {learning_rate:.2e}  {speeds['tokens_per_second']:,.0f} tokens/s{mfu}"
        log.info("%s  %s", self._line("step", row), rate)

    def _speeds(self) -> dict[str, Any]:
        """Of the steps since this was last asked."""
        spent, self._spent = self._spent, Spent()
        seconds, steps = max(spent.seconds, 1e-9), max(spent.steps, 1)
        self._tokens_per_second = spent.tokens / seconds
        known = self.peak and self.peak * seconds
        return {
            "tokens_per_second": self._tokens_per_second,
            "mfu": spent.flops / known if known else None,
            "mfu_without_relative": spent.flops_without_relative / known if known else None,
            "memory_bytes": peak_memory(self.device),
            "data_seconds": max(0.0, spent.seconds - spent.compute - spent.optimizer) / steps,
            "compute_seconds": spent.compute / steps,
            "optimizer_seconds": spent.optimizer / steps,
        }

    def skipped(self, state: State, outcome: Outcome, samples: tuple[int, int]) -> None:
        """Keep a row of a step without effect, and say so."""
        loss, norm = outcome.figures["loss"], outcome.grad_norm
        row = {"kind": "skipped", "step": state.step, "phase": state.phase, "reason": outcome.verdict}
        scale = state.loss_scale.scale if state.loss_scale else None
        self.rows.append({**row, "samples": list(samples), "loss": loss, "grad_norm": _finite(norm), "loss_scale": scale})
        told = {"not finite": "loss or gradient is not finite", "overflow": f"overflow in fp16, loss scale now {scale}"}
        reason = told.get(outcome.verdict, f"spike of loss ({_told(loss)}) or gradient norm ({norm:.3g})")
        log.warning(
            "after step %d: %s, no update, samples %d to %d of phase %d are passed by (%d bad in a row)",
            *(state.step, reason, *samples, state.phase + 1, max(0, -state.streak)),
        )

    def rollback(self, state: State, from_step: int, samples: tuple[int, int]) -> None:
        """Keep a row of a return to the step that `state` is at, and those that say why."""
        row = {"kind": "rollback", "step": state.step, "phase": state.phase}
        why = [row for row in self.rows if row["kind"] == "skipped"]
        self.rows = [*why, {**row, "from_step": from_step, "samples": list(samples)}]
        log.warning("back from step %d to step %d; samples %d to %d are passed by", from_step, state.step, *samples)

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


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
