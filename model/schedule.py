"""The learning rate of each step, as a pure function: a resumed run needs nothing but the number of its step.

warmup_steps 4, steps 12, learning_rate 1.0, linear
step    0     1     2     3     4     5     ...   11      12
rate    0     0.25  0.5   0.75  1.0   0.875       0.125   0
"""

import math

from model.config import PhaseConfig


def learning_rate(step: int, phase: PhaseConfig) -> float:
    """The learning rate of `step`, counted from 0 within the phase.

    With peak p, W warm-up steps and N steps: p * t / W while t < W, so step 0 has rate 0 if there is a warm-up; then
    p * ((1 - t/N) / (1 - W/N)) ** power, which is p at t = W and 0 from t = N on. `linear` is power 1.
    Source: Huawei's optimization.py, lines 31-63; BERT's own code jumps at W.
    """
    t, warmup, steps = step, phase.warmup_steps, phase.steps
    if t < warmup:
        return phase.learning_rate * t / warmup
    if t >= steps:
        return 0.0
    left = (1 - t / steps) / (1 - warmup / steps)
    return phase.learning_rate * (left if phase.schedule == "linear" else math.pow(left, phase.power))
