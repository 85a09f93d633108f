"""Where training stands, in a few numbers: all that a checkpoint holds beside weights and moments.

    {"phase": 0, "step": 200, "consumed_samples": 51456, "skipped_ranges": [[0, 30464, 30720]],
     "best": {"checkpoint": "attempt-0001/checkpoint-00000200", "step": 200, "validation_loss": 5.31},
     "losses": [5.41, 5.38, ...], "grad_norms": [1.7, 1.6, ...], "streak": 81, "rollbacks": 0, "loss_scale": null}

No state of a random generator is among them: samples, masks and dropout are functions of the seed and these numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from model.optimization.loss_scale import LossScale


@dataclass
class State:
    """What a checkpoint says beside weights and moments."""

    phase: int = 0
    step: int = 0
    """Updates made, over all phases. A step without effect does not count: another takes its place."""
    consumed_samples: int = 0
    """In this phase."""
    skipped_ranges: list[list[int]] = field(default_factory=list)
    """[phase, first sample, end]: without effect. A run that is given them from the start passes them by, and ends the same."""
    best: dict[str, Any] | None = None
    """The best validation loss so far: checkpoint (below the output folder), step, validation_loss."""
    losses: list[float] = field(default_factory=list)
    """Of the newest updates of this phase, which tell what a spike is."""
    grad_norms: list[float] = field(default_factory=list)
    streak: int = 0
    """Updates in a row up to here; negative: steps in a row that were bad."""
    rollbacks: int = 0
    """Since so many updates in a row as `rollback_after` says."""
    loss_scale: LossScale | None = None
    """Of fp16."""

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "State":
        """From the state.json of a checkpoint, of an older version too: it lacks what was added since."""
        scale = document.get("loss_scale")
        return State(**{**document, "loss_scale": scale and LossScale(**scale)})

    def begin(self, phase: int) -> None:
        """Enter a phase: its losses and norms are others, because its sequences are longer."""
        self.phase, self.consumed_samples, self.losses, self.grad_norms = phase, 0, [], []

    def ranges(self, sizes: Iterator[int]) -> Iterator[tuple[int, int]]:
        """First sample and end of each step to come, given the numbers of their sequences; none touches a skipped range."""
        start = self.consumed_samples
        skipped = sorted(part[1:] for part in self.skipped_ranges if part[0] == self.phase)
        for size in sizes:
            for first, end in skipped:
                if start < end and first < start + size:
                    start = end
            yield start, start + size
            start += size

    def skip(self, phase: int, start: int, end: int) -> None:
        """Note samples as without effect; ranges that touch become one."""
        self.skipped_ranges.append([phase, start, end])
        merged: list[list[int]] = []
        for part in sorted(self.skipped_ranges):
            if merged and merged[-1][0] == part[0] and part[1] <= merged[-1][2]:
                merged[-1][2] = max(merged[-1][2], part[2])
            else:
                merged.append(list(part))
        self.skipped_ranges = merged

    @property
    def skipped_samples(self) -> int:
        return sum(end - start for _, start, end in self.skipped_ranges)
