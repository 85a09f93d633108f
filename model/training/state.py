"""Training state: the few numbers that a checkpoint holds beside weights and moments, and how a step changes them.

    {"phase": 0, "step": 200, "consumed_samples": 51456, "skipped_ranges": [[0, 30464, 30720]],
     "best": {"checkpoint": "attempt-0001/checkpoint-00000200", "step": 200, "validation_loss": 5.31},
     "losses": [5.41, 5.38, ...], "grad_norms": [1.7, 1.6, ...], "streak": 81, "rollbacks": 0, "loss_scale": null}

No random generator's state is among them: samples, masks and dropout are functions of the seed and these numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from model.config import TrainingConfig
from model.optimization import spikes
from model.optimization.loss_scale import LossScale
from model.samples import taken
from model.training.outcome import Outcome, Verdict


@dataclass
class State:
    """The content of a checkpoint's state.json."""

    phase: int = 0
    step: int = 0
    """Updates made, over all phases. A step without an update does not count: another takes its place."""
    consumed_samples: int = 0
    """Samples of this phase that were trained on or skipped."""
    skipped_ranges: list[list[int]] = field(default_factory=list)
    """[phase, first sample, end], without effect. A run that is given them from the start skips them, and ends the same."""
    best: dict[str, Any] | None = None
    """The best validation so far: checkpoint (relative to the output folder), step, validation_loss."""
    losses: list[float] = field(default_factory=list)
    """Losses of the newest updates of this phase, which define a spike."""
    grad_norms: list[float] = field(default_factory=list)
    """Gradient norms of the same updates."""
    streak: int = 0
    """Updates in a row up to now; if negative, bad steps in a row."""
    rollbacks: int = 0
    """Rollbacks since the last `rollback_after` updates in a row."""
    loss_scale: LossScale | None = None
    """The loss scale of fp16; None in other precisions."""
    examples: str | None = f"{0:016x}"
    """Digest of the examples of all updates (model/checkpoints/ledger.py); None if an older version began the run."""

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "State":
        """The state in a state.json; one written by an older version lacks fields, which take their defaults."""
        scale = document.get("loss_scale")
        return State(**{"examples": None, **document, "loss_scale": scale and LossScale(**scale)})

    def begin_phase(self, number: int) -> None:
        """Enter a phase. Its sequences are longer, so losses and norms of the phase before say nothing about spikes."""
        self.phase, self.consumed_samples, self.losses, self.grad_norms = number, 0, [], []

    def advance(self, samples: tuple[int, int], outcome: Outcome, training: TrainingConfig) -> None:
        """Move past a step that took the samples first..end of this phase; only an update counts as a step."""
        self.consumed_samples = samples[1]
        if self.loss_scale and outcome.verdict in (Verdict.UPDATED, Verdict.OVERFLOW):
            self.loss_scale.count(outcome.verdict is Verdict.OVERFLOW, training.loss_scale)
        if outcome.updated:
            self.step, self.streak = self.step + 1, max(self.streak, 0) + 1
            self.examples = None if self.examples is None else taken.add([self.examples, outcome.examples])
            self.rollbacks = 0 if self.streak >= training.rollback_after else self.rollbacks
            loss = outcome.figures["loss"]
            assert loss is not None
            spikes.add(self.losses, loss, training.spike_window)
            spikes.add(self.grad_norms, outcome.grad_norm, training.spike_window)
        else:
            self.skip(self.phase, *samples)
            if outcome.verdict is not Verdict.OVERFLOW:  # that one cures itself: the scale falls
                self.streak = min(self.streak, 0) - 1

    def spike_limits(self, training: TrainingConfig) -> spikes.Limits:
        """The highest loss and gradient norm of the next step that are no spike."""
        windows = (self.losses, self.grad_norms)
        return spikes.Limits(*(spikes.limit(window, training.spike_window, training.spike_sigma) for window in windows))

    def sample_ranges(self, batch_sizes: Iterator[int]) -> Iterator[tuple[int, int]]:
        """(first sample, end) of each coming step, given their batch sizes; none overlaps a skipped range."""
        skipped = ((first, end) for phase, first, end in self.skipped_ranges if phase == self.phase)
        return taken.sample_ranges(self.consumed_samples, batch_sizes, skipped)

    def skip(self, phase: int, start: int, end: int) -> None:
        """Add samples to `skipped_ranges`; ranges that touch are merged."""
        self.skipped_ranges.append([phase, start, end])
        merged: list[list[int]] = []
        for part in sorted(self.skipped_ranges):
            if merged and merged[-1][0] == part[0] and part[1] <= merged[-1][2]:
                merged[-1][2] = max(merged[-1][2], part[2])
            else:
                merged.append(list(part))
        self.skipped_ranges = merged

    @property
    def loss_factor(self) -> float:
        """What the loss of the next step is multiplied by."""
        return self.loss_scale.scale if self.loss_scale else 1.0

    @property
    def skipped_samples(self) -> int:
        """Samples skipped so far, over all phases."""
        return sum(end - start for _, start, end in self.skipped_ranges)
