"""Training: shards and a recipe become checkpoints. The same code runs in one process, under torchrun and under Ray.

    python -m model.training run.json

Read `train` in loop.py first, then trainer.py; the others as needed. Samples come from model/samples, checkpoints from
model/checkpoints.

    loop.py         train: the training loop, on one screen
    trainer.py      one step: forward, backward, all-reduce, clip, update
    outcome.py      names for what a step did, and for what the loop does about it
    state.py        the few numbers that a run resumes from

    phase.py        what the loop needs during one phase: data, schedule, trainer, validation

    validation.py   the validation loss of each source
    commits.py      when to validate and checkpoint
    restoring.py    the newest checkpoint, read by rank 0 for all workers
    rollback.py     back to the last checkpoint after too many bad steps
    metrics.py      metrics rows, log lines, progress.json

    run.py          what a run is, and which settings may change when it resumes
    setup.py        wiring: builds everything above for the loop
    tracking/       what a person sees: metrics when they are made, where the time went, what failed
    health/         finds training that hangs, and workers that are slow for long
    workers.py      ranks, all-reduce, broadcast
    stopping.py     asking a run to stop: SIGTERM, or a file in its folder
    __main__.py     the command

From `train` to the network it is four calls: `Trainer.step`, `Trainer._backward`, `measure`, `PretrainingModel.forward`.
"""
