"""The loss scale of fp16: the loss is multiplied by a factor, found by trial, so that small gradients do not become 0.

    LossScale.of("torch")     65,536; doubled after 2,000 steps without overflow, halved at each overflow
    LossScale.of("2019")      2^32; doubled after 1,000, halved at the second overflow since it last changed

Order of a step: all-reduce, unscale, check that all is finite, clip, update. A step that overflows changes nothing but the
scale. The scale and its counters are in checkpoints, so that a resumed run continues bit for bit.

Sources: torch.amp.GradScaler; tf.contrib's ExponentialUpdateLossScaleManager as Huawei's optimization.py, lines 80-92, sets it.
"""

import math
from dataclasses import dataclass
from typing import Literal

MIN_SCALE = 1.0
"""Smallest scale: an overflow at this one has another cause."""


@dataclass(frozen=True)
class Policy:
    """How a scale begins and changes: always by a factor of two, so that unscaling is exact."""

    start: float
    growth_interval: int
    """Steps without overflow, in a row, after which the scale is doubled."""
    overflows: int
    """Overflows, in a row or not, after which the scale is halved."""


POLICIES = {"torch": Policy(2.0**16, 2_000, 1), "2019": Policy(2.0**32, 1_000, 2)}


@dataclass
class LossScale:
    """A scale, with counters since it last changed."""

    scale: float
    good: int = 0
    """Steps without overflow, in a row."""
    bad: int = 0
    """Overflows."""

    @staticmethod
    def of(policy: Literal["torch", "2019"]) -> "LossScale":
        """The scale at the start of a run."""
        return LossScale(POLICIES[policy].start)

    def count(self, overflow: bool, policy: Literal["torch", "2019"]) -> None:
        """Count a step, and double or halve the scale where that is due."""
        rule = POLICIES[policy]
        if overflow:
            self.good, self.bad = 0, self.bad + 1
            if self.bad >= rule.overflows:
                self.scale, self.bad = max(MIN_SCALE, self.scale / 2), 0
        else:
            self.good += 1
            if self.good >= rule.growth_interval:
                grown = self.scale * 2
                self.scale, self.good, self.bad = grown if math.isfinite(grown) else self.scale, 0, 0
