"""The Ray Train trainer that runs our loop: which parts of it are left out, and which are ours."""

import contextlib
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

# Imported from v2, which ray.train picks at run time: type checkers would see the classes of version 1.
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.preemption import PreemptionWatcher
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from cluster.config import START_ATTEMPTS, ClusterConfig
from cluster.group import GroupConfig
from cluster.policies.elastic import LossPolicy, RoomPolicy
from cluster.policies.failures import FailurePolicy
from cluster.stops import Request
from cluster.worker import work
from model.training.stopping import StopReason
from model.training.tracking.events import EventLog
from model.training.workers import COLLECTIVE_SECONDS
from pipeline import storage

if TYPE_CHECKING:
    from model.training.run import PretrainRun

DATASETS = "DatasetsCallback"
"""Part of Ray Train for Ray datasets, of which we have none. It starts a process at each start of the workers."""
CLEANER = "PlacementGroupCleanerCallback"
"""Part of Ray Train that starts a process for a cluster that outlives the run."""

WAIT_SECONDS = 1.0
"""A shorter wait for machines is none."""
DRAIN_SECONDS = 1.0
"""Interval of looks for machines that will be taken away; Ray's is 5 s."""


class Trainer(TorchTrainer):
    """TorchTrainer with our policies, and without helper processes that have nothing to do; on our own Ray that saves 2.5 s and
    230 MB.

    The two methods are not public. If a later Ray drops them, it decides by its own rules: `max_failures` in the whole run, and
    always the most workers, on machines that may be lost.
    """

    policies: dict[str, Any]
    """`failure_policy` and `scaling_policy` of the controller."""
    lean: bool

    def _create_default_callbacks(self) -> list[Any]:
        unused = {DATASETS, CLEANER} if self.lean else {DATASETS}
        return [callback for callback in super()._create_default_callbacks() if type(callback).__name__ not in unused]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        return super()._initialize_and_run_controller(**{**settings, **self.policies})


class WholeGroup(WorkerGroup):
    """A group of workers that gives its places back if one of them dies while it starts.

    Ray's does so until its processes are there. If one dies after that, before the loop has begun, the places of all are taken
    until the run ends, and the next workers find no room.
    """

    def _start(self) -> None:
        try:
            super()._start()  # type: ignore[no-untyped-call]
        except Exception:
            if self._worker_group_state is not None:
                self._worker_group_state.shutdown()  # type: ignore[no-untyped-call]
                self._clear_state()  # type: ignore[no-untyped-call]
            raise


class StartWholeGroups(ControllerCallback):
    """Makes the controller, in whose process it is called, start such groups."""

    def after_controller_start(self, train_run_context: Any) -> None:
        TrainController.worker_group_cls = WholeGroup


class WatchDrains(WorkerGroupCallback):
    """Tells the workers when Ray announces that a machine with some of them will be taken away.

    Ray's own watch, but as a thread of the controller. In a process of its own, one more would load Ray Train at each start of
    the workers, just when they do.
    """

    _watcher: PreemptionWatcher | None = None

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Watch the machines of these workers."""
        self._stop()  # of workers whose start failed after this
        ranks: dict[str, list[int]] = {}
        actors = {}
        for worker in worker_group.get_workers():
            rank = worker.distributed_context.world_rank
            ranks.setdefault(worker.metadata.node_id, []).append(rank)
            actors[rank] = worker.actor
        self._watcher = PreemptionWatcher(ranks, DRAIN_SECONDS, actors)

    def before_worker_group_shutdown(self, worker_group: Any) -> None:
        """Watch no longer."""
        self._stop()

    def _stop(self) -> None:
        if self._watcher is not None:
            self._watcher._stop_event.set()  # it has no method for this: Ray kills its process
            self._watcher = None


class StopBeforeDrain(WorkerGroupCallback):
    """Stops training with a checkpoint when Ray announces that a machine with workers will be taken away.

    If that is the driver's machine too, the run ends as it does after SIGTERM; otherwise it continues on other machines.
    """

    def __init__(self, output: str) -> None:
        self.request = Request(output)

    def after_worker_group_poll_status(self, worker_group_status: Any) -> None:
        """Ask the workers to stop. Those that have not begun their attempt yet are asked again when they have."""
        import ray

        info = worker_group_status.get_preemption_info()
        if info is None:
            return
        here = ray.get_runtime_context().get_node_id() in info.preempted_node_to_ranks
        self.request.make(StopReason.SIGTERM if here else StopReason.DRAIN)


class RecordWorkers(WorkerGroupCallback):
    """Records which workers started on which machines, and how long machines were waited for."""

    def __init__(self, output: str) -> None:
        self.events = EventLog(output, "controller")

    def before_worker_group_start(self, worker_group_context: Any) -> None:
        """Note since when machines are asked for."""
        self._asked = time.time()

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Record the hosts by rank, and the wait for the placement group, if there was one."""
        from ray.util import placement_group_table

        state = worker_group.get_worker_group_state()
        with contextlib.suppress(Exception):  # not public: another Ray may not say
            table: Any = placement_group_table(state.placement_group_handle.placement_group)
            waited = table["stats"]["end_to_end_creation_latency_ms"] / 1_000
            if waited >= WAIT_SECONDS:
                self.events.add("waited", since=self._asked, time=self._asked + waited)
        workers = sorted(state.workers, key=lambda worker: worker.distributed_context.world_rank)
        self.events.add("workers", hosts=[worker.metadata.hostname for worker in workers])


def trainer(run: "PretrainRun", cluster: ClusterConfig, folder: str | None, mark: str, before: int = 0) -> Trainer:
    """A trainer for one call of `pretrain`, ready to `fit`. `folder`: that of our own Ray; None in a running cluster.
    `mark`: of the training folder, which the workers must see (pipeline/engine/places.py). `before`: how many workers stopped
    because there was room for more.

    The Ray run gets a unique name, so that Ray never resumes by itself: it would take the last checkpoint reported to it, whole
    or not. What Ray writes (a marker) is removed afterwards.
    """
    path, file_system = _storage(run.output) if folder is None else (f"{folder}/results", None)
    backend = "nccl" if cluster.gpus_per_worker else "gloo"
    callbacks: list[Any] = [StartWholeGroups(), StopBeforeDrain(run.output), RecordWorkers(run.output)]
    if folder is None:  # our own machine is not taken away
        callbacks.append(WatchDrains())
    settings = {
        "run": run.to_json(),
        "threads": cluster.threads,
        "step_timeout_seconds": cluster.step_timeout_seconds,
        "mark": mark,
    }
    made = Trainer(
        partial(work, settings),  # Ray's dashboard may show a `train_loop_config`, with the URLs of inputs as they are
        torch_config=GroupConfig(backend=backend, timeout_s=COLLECTIVE_SECONDS, folder=folder or ""),
        scaling_config=ScalingConfig(
            num_workers=cluster.max_workers,
            use_gpu=bool(cluster.gpus_per_worker),
            resources_per_worker=cluster.resources,
        ),
        run_config=RunConfig(
            name=uuid.uuid4().hex,
            storage_path=path,
            storage_filesystem=file_system,
            failure_config=FailureConfig(max_failures=cluster.max_failures, controller_failure_limit=START_ATTEMPTS - 1),
            logging_config=LoggingConfig("WARNING"),
            callbacks=callbacks,
        ),
    )
    failures = LossPolicy if cluster.elastic else FailurePolicy
    scaling = RoomPolicy(made.scaling_config, run.output, cluster, before)
    made.policies = {"failure_policy": failures(run.output, cluster), "scaling_policy": scaling}
    made.lean = folder is not None
    return made


def _storage(output: str) -> tuple[str, Any]:
    """Path and file system of Ray's own files in a cluster: below the training folder, which all machines can reach."""
    url = storage.join(output, "ray")
    if storage.is_local(url):
        return str(storage.local_path(url)), None
    import fsspec
    import pyarrow.fs

    file_system, path = fsspec.core.url_to_fs(url)
    return path, pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(file_system))
