"""What each worker runs: `model.training.loop.train`, in the process group that Ray has made, with reports to Ray.

Workers keep nothing between attempts: `train` finds the checkpoint to resume from by our own markers at every start.
"""

from dataclasses import asdict
from typing import Any


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """Train as one of the workers.

    `settings`: `{"run": PretrainRun as JSON, "threads": 1}`. Returns a `TrainResult` as a dict.
    """
    import torch

    from model.training.loop import train
    from model.training.run import PretrainRun

    torch.set_num_threads(settings["threads"])
    return asdict(train(PretrainRun.from_json(settings["run"]), on_commit=report))


def report(metrics: dict[str, Any], checkpoint: str | None) -> None:
    """Report a checkpoint or validation to Ray. `ray.train.report` is a barrier for all workers, so steps are not reported.

    The checkpoint is passed as a URL among the metrics. A `ray.train.Checkpoint` would have to be inside the folder of the Ray
    run, even with CheckpointUploadMode.NO_UPLOAD (is_managed_checkpoint in ray/train/v2/_internal/execution/context.py). Ray
    would then write its own snapshot file beside our attempts, not atomically, and refuse to start once our retention has
    removed a checkpoint that this file names.
    """
    import ray.train

    ray.train.report({**metrics, "checkpoint": checkpoint})
