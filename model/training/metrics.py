"""Metrics: rows for reports, log lines for people, progress.json for progress bars.

    step     100/2000  phase 1  loss 7.214  masked 12.1%  rate 9.00e-05  182,311 tokens/s  MFU 41.2%
    valid    100/2000  phase 1  loss 7.402  masked 10.8%  (news 7.100, reviews 7.704)

    {"kind": "train", "step": 100, "phase": 0, "loss": 7.214, "mlm_loss": 6.52, "pair_loss": 0.69, "grad_norm": 3.1,
     "loss_scale": null, "skipped_samples": 256, "examples": "9f3a0c1b2d4e5f60", "trust_ratios": {...}, "mfu": 0.412, ...}
    {"kind": "skipped", "step": 56, "phase": 0, "reason": "spike", "samples": [14592, 14848], "loss": 9.871, ...}
    {"kind": "rollback", "step": 50, "phase": 0, "from_step": 57, "samples": [12800, 17152]}
    {"kind": "slow", "step": 140, "phase": 0, "rank": 3, "host": "h3", "ratio": 2.4}        a worker slower than the others
    {"kind": "validation", "step": 100, "phase": 0, "source": "news", "loss": 7.1, ...}     one per source, and one of "all"
    {"kind": "samples", "step": 100, "phase": 0, ...}      with each checkpoint (model/checkpoints/ledger.py)

Figures are those of the step itself, not running means, so a resumed run writes the same rows, except those of samples: there
is one for each checkpoint. Only the rows of slow workers and the fields in `MACHINE_DEPENDENT` may differ; they
cover the steps since the last row.
"""

import contextlib
import logging
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from model.checkpoints import ledger
from model.checkpoints.checkpoint import Attempt
from model.config import EncoderConfig
from model.flops import PEAK_TERAFLOPS, sequence_flops
from model.training import workers
from model.training.health.slow_workers import EVERY, Slow
from model.training.outcome import Outcome, Verdict
from model.training.state import State
from model.training.tracking.live import Live
from pipeline import storage
from pipeline.errors import StorageError

PROGRESS = "progress.json"
PATIENCE = 5.0
"""Longest wait for it, at the last step, in seconds."""
MACHINE_DEPENDENT = (
    *("tokens_per_second", "mfu", "mfu_without_relative", "memory_bytes"),
    *("data_seconds", "compute_seconds", "optimizer_seconds", "seconds", "token_spread"),
)
"""Fields of training rows that depend on the machine and its load, or on the number of workers."""
log = logging.getLogger(__name__)


def peak_flops(device_name: str) -> float | None:
    """Peak FLOP/s of a GPU by its name; None for unknown ones, and for CPUs."""
    return next((peak * 1e12 for name, peak in PEAK_TERAFLOPS.items() if name in device_name), None)


def peak_memory(device: torch.device) -> int:
    """Most bytes in use at once: on a GPU those that torch allocated, on a CPU those of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass
class Interval:
    """Work done since the last training row, and the seconds that it took."""

    steps: int = 0
    tokens: int = 0
    flops: float = 0.0
    flops_without_relative: float = 0.0
    seconds: float = 0.0
    compute: float = 0.0
    optimizer: float = 0.0


class Metrics:
    """Rows since the last checkpoint, and the work since the last training row."""

    def __init__(
        self,
        steps: int,
        encoder: EncoderConfig,
        vocabulary_size: int,
        on_overtaken: Callable[[BaseException], None],
        live: Live,
    ) -> None:
        """`on_overtaken` gets the error when progress.json could not be written because a later attempt has begun."""
        self._on_overtaken, self.live = on_overtaken, live
        self._writing: threading.Thread | None = None
        self.steps, self.encoder, self.vocabulary_size = steps, encoder, vocabulary_size
        self.rows: list[dict[str, Any]] = []
        self.device = workers.device()
        peak = peak_flops(torch.cuda.get_device_name(self.device)) if self.device.type == "cuda" else None
        self.peak = peak * workers.world_size() if peak else None
        self._started = self._progress_written = time.monotonic()
        self._interval = Interval()
        self._position = (0, 0, 0)
        self._idle = 0
        """Most workers without a micro-batch in a step so far."""
        self.listed: list[dict[str, Any]] = []
        """This worker's examples since the last checkpoint, if they are listed."""
        self._tokens_per_second: float | None = None

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the block as training time: steps and the wait for their batches, not validations and checkpoints."""
        started = time.monotonic()
        yield
        self._interval.seconds += time.monotonic() - started

    def count(self, outcome: Outcome) -> None:
        """Add the work of a step, with or without an update, to the interval."""
        interval = self._interval
        interval.steps += 1
        interval.tokens += outcome.tokens
        interval.compute += outcome.compute_seconds
        interval.optimizer += outcome.optimizer_seconds
        if outcome.tokens:
            # Sequences of the mean length, weighted by tokens: their sum of squares, which attention costs, is the same.
            length = max(1, round(outcome.squares / outcome.tokens))
            shape = (self.encoder, length, self.vocabulary_size, outcome.masked / outcome.tokens)
            interval.flops += sequence_flops(*shape) * outcome.tokens / length
            interval.flops_without_relative += sequence_flops(*shape, relative=False) * outcome.tokens / length

    def due(self, step: int, log_every: int) -> bool:
        """Whether a training row is due: every `log_every` steps and at the very end."""
        return step % log_every == 0 or step == self.steps

    def log_update(self, state: State, outcome: Outcome, trust_ratios: Mapping[str, Sequence[float]]) -> None:
        """Add a training row and write a log line."""
        speeds = self._speeds()
        row = {
            **{"kind": "train", "step": state.step, "phase": state.phase},
            **{name: value for name, value in outcome.figures.items() if name != "pair_accuracy"},
            "learning_rate": outcome.learning_rate,
            "grad_norm": outcome.grad_norm,
            "loss_scale": state.loss_scale.scale if state.loss_scale else None,
            "skipped_samples": state.skipped_samples,
            "examples": state.examples,
            "token_spread": outcome.token_spread,
            "trust_ratios": trust_ratios,
            **speeds,
            "seconds": time.monotonic() - self._started,
        }
        self._add(row, pair_accuracy=outcome.figures["pair_accuracy"])
        mfu = "" if speeds["mfu"] is None else f"  MFU {speeds['mfu']:.1%}"
        rate = f"rate {outcome.learning_rate:.2e}  {speeds['tokens_per_second']:,.0f} tokens/s{mfu}"
        log.info("%s  %s", self._line("step", row), rate)

    def _add(self, row: dict[str, Any], **more: Any) -> None:
        """Add a row to those of the next checkpoint, and show it now, there with `more`."""
        self.rows.append(row)
        self.live.add({**row, **more})

    def _speeds(self) -> dict[str, Any]:
        """Speed, MFU and seconds per step of the interval; begins a new one."""
        interval, self._interval = self._interval, Interval()
        seconds, steps = max(interval.seconds, 1e-9), max(interval.steps, 1)
        self._tokens_per_second = interval.tokens / seconds
        most_flops = self.peak and self.peak * seconds
        return {
            "tokens_per_second": self._tokens_per_second,
            "mfu": interval.flops / most_flops if most_flops else None,
            "mfu_without_relative": interval.flops_without_relative / most_flops if most_flops else None,
            "memory_bytes": peak_memory(self.device),
            "data_seconds": max(0.0, interval.seconds - interval.compute - interval.optimizer) / steps,
            "compute_seconds": interval.compute / steps,
            "optimizer_seconds": interval.optimizer / steps,
        }

    def begin(self, state: State) -> None:
        """Note where the rows of an attempt begin."""
        self._position = (state.phase, state.step, state.consumed_samples)
        self.listed.clear()

    def log_samples(self, state: State) -> None:
        """Add a row of the samples since the last such row."""
        phase, after, start = self._position
        start, end = start if phase == state.phase else 0, state.consumed_samples
        samples = ledger.Samples(
            step=state.step,
            phase=state.phase,
            after=after,
            start=start,
            end=end,
            skipped=ledger.inside(state.skipped_ranges, state.phase, start, end),
            examples=state.examples,
        )
        self._add(samples.row())
        self._position = (state.phase, state.step, state.consumed_samples)

    def log_idle(self, outcome: Outcome) -> None:
        """Warn once of workers that have nothing to do."""
        first, self._idle = not self._idle, max(self._idle, outcome.idle_workers)
        if first and self._idle:
            log.warning(
                "%d of %d workers have no micro-batch in some steps: raise batch_size, lower micro_batch_tokens, or use fewer",
                *(outcome.idle_workers, workers.world_size()),
            )

    def log_skipped(self, state: State, outcome: Outcome, samples: tuple[int, int]) -> None:
        """Add a row for a step without an update, and warn. `samples`: the first and the end of those skipped."""
        loss, norm = outcome.figures["loss"], outcome.grad_norm
        row = {"kind": "skipped", "step": state.step, "phase": state.phase, "reason": str(outcome.verdict)}
        scale = state.loss_scale.scale if state.loss_scale else None
        self._add({**row, "samples": list(samples), "loss": loss, "grad_norm": _finite(norm), "loss_scale": scale})
        reasons = {
            Verdict.NOT_FINITE: "loss or gradient is not finite",
            Verdict.OVERFLOW: f"overflow in fp16, loss scale now {scale}",
            Verdict.SPIKE: f"spike of loss ({_formatted(loss)}) or gradient norm ({norm:.3g})",
        }
        log.warning(
            "after step %d: %s, no update, samples %d to %d of phase %d are skipped (%d bad in a row)",
            *(state.step, reasons[outcome.verdict], *samples, state.phase + 1, max(0, -state.streak)),
        )

    def log_rollback(self, state: State, from_step: int, samples: tuple[int, int]) -> None:
        """Add a row for a rollback to the step that `state` is at. Of the rows since the checkpoint, the skips are kept."""
        row = {"kind": "rollback", "step": state.step, "phase": state.phase}
        self.rows = [one for one in self.rows if one["kind"] == "skipped"]
        self._add({**row, "from_step": from_step, "samples": list(samples)})
        log.warning("rolled back from step %d to step %d; samples %d to %d are skipped", from_step, state.step, *samples)

    def log_slow(self, state: State, slow: Sequence[Slow]) -> None:
        """Add a row for each worker that was much slower than the others, and warn."""
        for one in slow:
            row = {"kind": "slow", "step": state.step, "phase": state.phase, "rank": one.rank, "host": one.host}
            self._add({**row, "ratio": one.ratio})
            log.warning(
                "rank %d on %s took %.1f times as long as the others for the %d steps before step %d",
                *(one.rank, one.host, one.ratio, EVERY, state.step),
            )

    def log_validation(self, step: int, phase: int, rows: Sequence[dict[str, Any]]) -> None:
        """Add the rows of a validation, the last of which is that of all sources, and write a log line."""
        added = [{"kind": "validation", "step": step, "phase": phase, **row} for row in rows]
        for row in added:
            self._add(row)
        sources = ", ".join(f"{row['source']} {_formatted(row['loss'])}" for row in added[:-1])
        log.info("%s  (%s)", self._line("valid", added[-1]), sources)

    def write_progress(self, attempt: Attempt, step: int, phase: int, loss: float | None) -> None:
        """Overwrite progress.json, about once a second, and at the last step. No step waits for it.

        It is only for looking at: a store that does not take it ends no training.
        """
        now = time.monotonic()
        last = step == self.steps
        every = 1 if storage.is_local(attempt.output) else 10  # an object store is slower, and bills each write
        if self._writing is not None:
            self._writing.join(PATIENCE if last else 0)
        if not last and (now - self._progress_written < every or (self._writing is not None and self._writing.is_alive())):
            return
        self._progress_written = now
        facts = {"step": step, "steps": self.steps, "phase": phase, "loss": loss, "attempt": attempt.number}
        facts["idle_workers"] = self._idle
        facts |= {"tokens_per_second": self._tokens_per_second, "updated": time.time()}
        self._writing = threading.Thread(target=self._write, args=(attempt, facts), daemon=True, name="progress")
        self._writing.start()
        if last:
            self._writing.join(PATIENCE)

    def close(self) -> None:
        """Wait for what is being written, if that is possible soon."""
        if self._writing is not None:
            self._writing.join(PATIENCE)

    def _write(self, attempt: Attempt, facts: dict[str, Any]) -> None:
        try:
            attempt.check()
            storage.write_json(storage.join(attempt.output, PROGRESS), facts)
        except StorageError as error:
            log.warning("%s is not up to date: %s", PROGRESS, error)
        except Exception as error:
            self._on_overtaken(error)

    def _line(self, kind: str, row: dict[str, Any]) -> str:
        accuracy = row["masked_accuracy"]
        at = f"{kind:<5} {row['step']:>6}/{self.steps}  phase {row['phase'] + 1}"
        return f"{at}  loss {_formatted(row['loss'])}  masked {'-' if accuracy is None else f'{accuracy:.1%}'}"


def _formatted(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.3f}"


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
