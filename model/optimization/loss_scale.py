"""The loss scale of fp16: gradients too small for it are lifted by a factor, which is found by trial and taken out again.

    LossScale.of("torch")     65,536; doubled after 2,000 steps without overflow, halved at each overflow
    LossScale.of("2019")      2^32; doubled after 1,000, halved at the second overflow since it last changed

Order of a step: sum over workers, take the scale out, look whether all is finite, clip, update. A step that overflows changes
nothing but the scale. What a scale was and counted goes into checkpoints, so that a resumed run goes on bit for bit.

Sources: torch.amp.GradScaler; tf.contrib's ExponentialUpdateLossScaleManager as Huawei's optimization.py, lines 80-92, sets it.
"""

import math
from dataclasses import dataclass
from typing import Literal

LEAST = 1.0
"""Below it an overflow is no longer the scale's fault."""


@dataclass(frozen=True)
class Policy:
    """How a scale begins and moves; always by a factor of two, so that taking it out costs no digit."""

    start: float
    good_steps: int
    """Steps without overflow after which the scale is doubled."""
    bad_steps: int
    """Overflows, in a row or not, after which it is halved."""


POLICIES = {"torch": Policy(2.0**16, 2_000, 1), "2019": Policy(2.0**32, 1_000, 2)}


@dataclass
class LossScale:
    """A scale, and what was counted since it last changed."""

    scale: float
    good: int = 0
    bad: int = 0

    @staticmethod
    def of(policy: Literal["torch", "2019"]) -> "LossScale":
        """The scale of a run that begins."""
        return LossScale(POLICIES[policy].start)

    def count(self, overflow: bool, policy: Literal["torch", "2019"]) -> None:
        """Count a step; doubles or halves the scale when it is time."""
        rule = POLICIES[policy]
        if overflow:
            self.good, self.bad = 0, self.bad + 1
            if self.bad >= rule.bad_steps:
                self.scale, self.bad = max(LEAST, self.scale / 2), 0
        else:
            self.good += 1
            if self.good >= rule.good_steps:
                grown = self.scale * 2
                self.scale, self.good, self.bad = grown if math.isfinite(grown) else self.scale, 0, 0
