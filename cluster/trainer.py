"""The Ray Train trainer that runs our loop: which parts of it are left out, and which errors are not retried."""

import uuid
from typing import TYPE_CHECKING, Any

# Imported from v2, which ray.train picks at run time: type checkers would see the classes of version 1.
from ray.train.torch import TorchConfig
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from cluster.config import ClusterConfig
from cluster.worker import work
from pipeline import storage
from pipeline.errors import StorageError, UserError

if TYPE_CHECKING:
    from model.training.run import PretrainRun

START_ATTEMPTS = 10
"""Attempts to place the workers. Ray's own default is to try forever."""
UNUSED = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
"""Parts of Ray Train that start a process each: for Ray datasets, and for a cluster that outlives the run."""


class LeanTrainer(TorchTrainer):
    """TorchTrainer without two helper processes, for our own Ray: saves 2.5 s and 230 MB with two workers.

    `_create_default_callbacks` is not public. If a later Ray drops it, this class has no effect.
    """

    def _create_default_callbacks(self) -> list[Any]:
        return [callback for callback in super()._create_default_callbacks() if type(callback).__name__ not in UNUSED]


class StopOnUserError(UserCallback):
    """Ends a run whose error would only recur: bad data, another recipe. Ray itself retries every error.

    An exception in a callback counts as an error of Ray's controller, and those are not retried. A store that cannot be reached
    may be back in a minute, so a `StorageError` is treated like a worker's death.
    """

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for error in worker_exceptions.values():
            if isinstance(error, UserError) and not isinstance(error, StorageError):
                raise error


def trainer(run: "PretrainRun", cluster: ClusterConfig, folder: str | None) -> TorchTrainer:
    """A trainer for one call of `pretrain`, ready to `fit`. `folder`: that of our own Ray; None in a running cluster.

    The Ray run gets a unique name, so that Ray never resumes by itself: it would take the last checkpoint reported to it, whole
    or not. What Ray writes (a marker) is removed afterwards.
    """
    resources = {"CPU": cluster.cpus_per_worker, **({"GPU": 1} if cluster.gpus_per_worker else {})}
    path, file_system = _storage(run.output) if folder is None else (f"{folder}/results", None)
    return (TorchTrainer if folder is None else LeanTrainer)(
        work,
        train_loop_config={"run": run.to_json(), "threads": cluster.threads},
        torch_config=TorchConfig(
            backend="nccl" if cluster.gpus_per_worker else "gloo", timeout_s=int(cluster.hang_timeout_seconds)
        ),
        scaling_config=ScalingConfig(
            num_workers=cluster.workers, use_gpu=bool(cluster.gpus_per_worker), resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=uuid.uuid4().hex,
            storage_path=path,
            storage_filesystem=file_system,
            failure_config=FailureConfig(max_failures=cluster.max_failures, controller_failure_limit=START_ATTEMPTS - 1),
            logging_config=LoggingConfig("WARNING"),
            callbacks=[StopOnUserError()],
        ),
    )


def _storage(output: str) -> tuple[str, Any]:
    """Path and file system of Ray's own files in a cluster: below the training folder, which all machines can reach."""
    url = storage.join(output, "ray")
    if storage.is_local(url):
        return str(storage.local_path(url)), None
    import fsspec
    import pyarrow.fs

    file_system, path = fsspec.core.url_to_fs(url)
    return path, pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(file_system))
