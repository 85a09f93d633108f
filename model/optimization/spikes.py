"""Spikes: a step whose loss, or gradient norm, stands far above those of the steps before. It is left out.

    window of losses    7.1 7.3 7.2 7.0 ...     mean 7.15, deviation 0.11, sigma 6    limit 7.81
    a step of           9.4                     a spike: no update, and the window stays as it is

The window holds steps that made an update, so it is the same for a run that met the spikes and one that is told to pass those
samples by. A loss that stays high is therefore never got used to: after `rollback_after` such steps the run goes back.

Source: SkipStepOptimizer of OLMo-core (128 steps, 6 sigma), which does put spikes into its window.
"""

import math
from collections.abc import Sequence

LEAST_DEVIATION = 1e-3
"""Of the mean: where all values are nearly equal, rounding is no spike."""


def limit(window: Sequence[float], length: int, sigma: float) -> float:
    """The highest value that is no spike. Infinite until half of `length` is known, and when `sigma` is 0."""
    if not sigma or len(window) < max(2, length // 2):
        return math.inf
    mean = math.fsum(window) / len(window)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in window) / len(window))
    return mean + sigma * max(deviation, LEAST_DEVIATION * abs(mean))


def add(window: list[float], value: float, length: int) -> None:
    """Let a value in, and what is too old out."""
    window.append(value)
    del window[: max(0, len(window) - length)]
