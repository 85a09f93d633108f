"""Optimization: what turns gradients into updates. Start with schedule.py, then lamb.py; the others are short.

    schedule.py     learning rate and batch size of each step, as pure functions
    lamb.py         LAMB in two variants, clipping by the global norm, and which parameters decay
    optimizers.py   the optimizer that a recipe names; trust ratios per layer, for the metrics
    spikes.py       steps that are left out because their loss or gradient norm is far above the recent ones
    loss_scale.py   the loss scale of fp16

Nothing here knows about workers, checkpoints or data; model/training puts it to use.
"""
