"""Spikes: steps whose loss or gradient norm is far above those of recent steps. They make no update.

    window of losses    7.1 7.3 7.2 7.0 ...     mean 7.15, deviation 0.11, sigma 6    limit 7.81
    a step of           9.4                     a spike: no update, and the window stays as it is

The window holds updates only, so it is the same for a run that met the spikes and for one that is told to skip their samples.
A loss that stays high is therefore never accepted as normal: after `rollback_after` such steps the run rolls back.

Source: SkipStepOptimizer of OLMo-core (128 steps, 6 sigma), which does put spikes into its window.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIN_RELATIVE_DEVIATION = 1e-3
"""Smallest deviation, relative to the mean: where all values are nearly equal, rounding is no spike."""


@dataclass(frozen=True)
class Limits:
    """The highest values that are no spike."""

    loss: float = math.inf
    grad_norm: float = math.inf


def limit(window: Sequence[float], length: int, sigma: float) -> float:
    """The highest value that is no spike. Infinite until half of `length` values are known, and if `sigma` is 0."""
    if not sigma or len(window) < max(2, length // 2):
        return math.inf
    mean = math.fsum(window) / len(window)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in window) / len(window))
    return mean + sigma * max(deviation, MIN_RELATIVE_DEVIATION * abs(mean))


def add(window: list[float], value: float, length: int) -> None:
    """Append a value, and drop the oldest beyond `length`."""
    window.append(value)
    del window[: max(0, len(window) - length)]
