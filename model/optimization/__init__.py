"""Optimization: what turns gradients into updates. Start with schedule.py, then gradients.py and lamb.py; the others are short.

    gradients.py    the gradients of a step, summed over the workers while the last backward pass still runs
    schedule.py     learning rate and batch size of each step, as pure functions
    lamb.py         LAMB in two variants, clipping by the global norm, and which parameters decay
    optimizers.py   the optimizer that a recipe names; trust ratios per layer, for the metrics
    spikes.py       steps that are left out because their loss or gradient norm is far above the recent ones
    loss_scale.py   the loss scale of fp16

Nothing here knows about checkpoints or data, and only gradients.py about workers; model/training puts it to use.
"""
