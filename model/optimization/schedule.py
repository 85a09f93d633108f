"""Learning rate and batch size of each step, as pure functions: a resumed run needs nothing but its step number.

warmup_steps 4, steps 12, learning_rate 1.0        batch_size 256, ramp_batch_size 64, ramp_steps 6
step        0     1     2     3     4     5      ...   7     8     9     10     11     12
linear      0     0.25  0.5   0.75  1.0   0.875        0.625 0.5   0.375 0.25   0.125  0
wsd         0     0.25  0.5   0.75  1.0   1.0          1.0   1.0   0.5   0.293  0.134  0        decay_steps 4
constant    0     0.25  0.5   0.75  1.0   1.0          1.0   1.0   1.0   1.0    1.0    0
sequences   64    64    128   128   192   192    256   256   256   256   256    256
"""

import math

from model.config import PhaseConfig


def learning_rate(step: int, phase: PhaseConfig) -> float:
    """The learning rate of `step`, counted from 0 within the phase.

    With peak p, W warm-up steps and N steps: p * t / W while t < W, so step 0 has rate 0 if there is a warm-up; 0 for t >= N;
    in between:

        linear, polynomial  p * ((1 - t/N) / (1 - W/N)) ** power, which is p at t = W; `linear` is power 1
        constant            p
        wsd                 p, then p * (1 - sqrt((t - (N - D)) / D)) in the last D = decay_steps steps

    Sources: Huawei's optimization.py, lines 31-63 (BERT's own code jumps at W); "1 - sqrt" is arXiv 2405.18392, section 4.
    """
    t, warmup, steps, peak = step, phase.warmup_steps, phase.steps, phase.learning_rate
    if t < warmup:
        return peak * t / warmup
    if t >= steps:
        return 0.0
    if phase.schedule == "constant":
        return peak
    if phase.schedule == "wsd":
        return peak * (1 - math.sqrt(max(0.0, (t - (steps - phase.decay_steps)) / phase.decay_steps)))
    left = (1 - t / steps) / (1 - warmup / steps)
    return peak * (left if phase.schedule == "linear" else math.pow(left, phase.power))


def batch_size(step: int, phase: PhaseConfig) -> int:
    """Sequences in `step`, counted from 0 within the phase, over all workers.

    Without a ramp always `batch_size`. With one, the batch grows by `ramp_batch_size` at a time (ramp, 2 ramp, 3 ramp, ...), in
    stairs of equal width, and is `batch_size` from step `ramp_steps` on. Every stair is a multiple of the first, so whatever
    divides the first among workers divides all. The mean over the ramp is half of `batch_size`.

    Source: arXiv 2412.13663 (ModernBERT), which grows from 768 to 4,608, six times as many.
    """
    if phase.ramp_batch_size is None or step >= phase.ramp_steps:
        return phase.batch_size
    stairs = phase.batch_size // phase.ramp_batch_size - 1
    return phase.ramp_batch_size * (1 + step * stairs // phase.ramp_steps)


def sequences(phase: PhaseConfig) -> int:
    """Sequences in all steps of a phase together."""
    ramp = sum(batch_size(step, phase) for step in range(phase.ramp_steps))
    return ramp + (phase.steps - phase.ramp_steps) * phase.batch_size
