"""What each worker runs: `model.training.loop.train`, in the process group that Ray has made, with reports to Ray.

Workers keep nothing between attempts: `train` finds the checkpoint to resume from by our own markers at every start.
"""

import platform
import time
from dataclasses import asdict
from typing import Any

END_SECONDS = 30
"""Time that Ray has to end a worker that hangs."""


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """Train as one of the workers.

    `settings`: `{"run": PretrainRun as JSON, "threads": 1, "step_timeout_seconds": 45, "mark": "/runs/x/seen-by-all-1f"}`, the
    last the driver's (pipeline/engine/places.py): workers may move to a machine with another folder of that name. Returns a
    `TrainResult` as a dict.

    Raises: `ClusterError` when this machine does not see the driver's folder.
    """
    import torch

    from model.training.loop import train
    from model.training.run import PretrainRun
    from pipeline.credentials import hidden_errors, hide_in_this_process
    from pipeline.engine import places
    from pipeline.errors import ClusterError

    hide_in_this_process()
    torch.set_num_threads(settings["threads"])
    if problem := places.unseen(settings["mark"], {}):
        raise ClusterError(f"the worker on {platform.node()} does not see what the driver sees: {problem}; {places.WAY_ON}")
    run, seconds = PretrainRun.from_json(settings["run"]), settings["step_timeout_seconds"]
    with hidden_errors():
        return asdict(train(run, on_commit=report, on_hang=report_hang, step_timeout_seconds=seconds))


def report(metrics: dict[str, Any], checkpoint: str | None) -> None:
    """Report a checkpoint or validation to Ray. `ray.train.report` is a barrier for all workers, so steps are not reported.

    The checkpoint is passed as a URL among the metrics. A `ray.train.Checkpoint` would have to be inside the folder of the Ray
    run, even with CheckpointUploadMode.NO_UPLOAD (is_managed_checkpoint in ray/train/v2/_internal/execution/context.py). Ray
    would then write its own snapshot file beside our attempts, not atomically, and refuse to start once our retention has
    removed a checkpoint that this file names.
    """
    import ray.train

    ray.train.report({**metrics, "checkpoint": checkpoint})


def report_hang(reason: str) -> None:
    """Report a hang to Ray as this worker's error, from another thread than the one that hangs; Ray then ends all workers.

    One that is cut off from Ray ends by itself: when the network is back, it must not go on.
    """
    from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
    from ray.train.v2._internal.execution.context import get_train_context

    from model.training.health import watchdog

    try:
        errors: Any = get_train_context().execution_context.training_thread_runner.get_exception_queue()
    except AttributeError:  # another Ray
        watchdog.end_process(reason)
    errors.put(UserExceptionWithTraceback(watchdog.HangError(reason), reason))
    time.sleep(END_SECONDS)
    watchdog.end_process(reason)
