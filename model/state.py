"""Where training stands, in a few numbers: all that a checkpoint holds beside weights and moments.

    {"phase": 0, "step": 200, "consumed_samples": 51200, "skipped_ranges": [[0, 30464, 30720]],
     "best": {"checkpoint": "attempt-0001/checkpoint-00000200", "step": 200, "validation_loss": 5.31}}

No state of a random generator is among them: samples, masks and dropout are functions of the seed and these numbers.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class State:
    """What a checkpoint says beside weights and moments."""

    phase: int = 0
    step: int = 0
    """Steps done, over all phases."""
    consumed_samples: int = 0
    """In this phase."""
    skipped_ranges: list[list[int]] = field(default_factory=list)
    """[phase, first sample, end]: taken, but without effect, because loss or gradient were not finite."""
    best: dict[str, Any] | None = None
    """The best validation loss so far: checkpoint (below the output folder), step, validation_loss."""

    def skip(self, start: int, end: int) -> int:
        """Note a step without effect; returns how many samples in a row have had none."""
        last = self.skipped_ranges[-1] if self.skipped_ranges else None
        if last and last[0] == self.phase and last[2] == start:
            last[2] = end
        else:
            self.skipped_ranges.append([self.phase, start, end])
        return end - self.skipped_ranges[-1][1]
