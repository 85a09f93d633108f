"""What each worker runs: the loop of `model.training.loop`, its process group already there, told to Ray as it goes.

A worker finds nothing out for itself. Where to go on from is found by `train`, by our own markers, at every start.
"""

from dataclasses import asdict
from typing import Any


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """Train as one of the workers. Takes `{"run": PretrainRun as JSON, "threads": 1}`, gives a `TrainResult` as a dict."""
    import torch

    from model.training.loop import train
    from model.training.run import PretrainRun

    torch.set_num_threads(settings["threads"])
    return asdict(train(PretrainRun.from_json(settings["run"]), on_commit=report))


def report(metrics: dict[str, Any], checkpoint: str | None) -> None:
    """Tell Ray. All workers meet here (`ray.train.report` is a barrier), so call it for checkpoints only, not for steps.

    The checkpoint goes along as a URL among the metrics. A `ray.train.Checkpoint` would have to lie inside the folder of the
    Ray run, even with CheckpointUploadMode.NO_UPLOAD (is_managed_checkpoint in ray/train/v2/_internal/execution/context.py).
    Ray would then write its own snapshot file beside our attempts, not atomically, and refuse to start once our retention has
    removed a checkpoint that this file names.
    """
    import ray.train

    ray.train.report({**metrics, "checkpoint": checkpoint})
