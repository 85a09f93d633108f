"""Who runs the runs of an evaluation: other processes of this machine, or the machines of a Ray cluster.

    with on_cluster("10.0.0.1:6379", None, output, files) as cluster:
        evaluate(..., executor=cluster)

Each run writes its scores and predictions itself, so a run that was lost is repeated alone, and what is finished stays.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pipeline.engine import slots

if TYPE_CHECKING:
    from cluster.tasks import RayTasks

Run = TypeVar("Run")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs runs, several at a time."""

    def __call__(
        self,
        runs: Sequence[Run],
        work: Callable[[Run], Result],
        done: Callable[[Run, Result], None],
        killed: Callable[[Run], None],
    ) -> None:
        """Call `work` with each run, somewhere; `done` here with each that is finished, `killed` with each that is repeated."""


@dataclass(frozen=True)
class Processes:
    """Processes of this machine."""

    workers: int

    def __call__(
        self,
        runs: Sequence[Run],
        work: Callable[[Run], Result],
        done: Callable[[Run, Result], None],
        killed: Callable[[Run], None],
    ) -> None:
        """Raises: slots.WorkersKilled when processes are killed again and again."""
        slots.run_each(runs, work, min(self.workers, len(runs)), done, killed)


@dataclass(frozen=True)
class Cluster:
    """The machines of a connected Ray. Ray itself repeats a run whose process or machine is lost."""

    workers: int
    tasks: "RayTasks"

    def __call__(
        self,
        runs: Sequence[Run],
        work: Callable[[Run], Result],
        done: Callable[[Run, Result], None],
        killed: Callable[[Run], None],
    ) -> None:
        """Raises: ClusterError when a run is lost too often, or a machine does not see the output folder."""
        self.tasks.each(self.workers, work, runs, done=lambda number, result: done(runs[number], result))


@contextlib.contextmanager
def on_cluster(address: str, workers: int | None, output: str, files: Mapping[str, int]) -> Iterator[Cluster]:
    """Connect to a Ray cluster; yields an executor.

    A run claims one CPU, and a GPU where the cluster has any.

    Args:
        workers: runs at a time; None = as many as the cluster has room for.
        files: sizes of the local files that runs read, by path: all machines must see the same.

    Raises: ClusterError when there is no cluster, or one of its machines does not see the files or the output folder.
    """
    from cluster.config import ClusterConfig
    from cluster.nodes import alive, check_nodes
    from cluster.session import connected
    from cluster.tasks import RayTasks
    from pipeline.engine import places

    with connected(ClusterConfig(workers=1, address=address)):
        gpus = sum(int(node.resources.get("GPU", 0)) for node in alive())
        claimed: dict[str, Any] = {"CPU": 1, **({"GPU": 1} if gpus else {})}
        check_nodes(output, files, claimed)
        room = gpus or sum(int(node.resources.get("CPU", 0)) for node in alive())
        with places.marked(output) as mark:
            yield Cluster(workers or max(room, 1), RayTasks(mark=mark, gpus=claimed.get("GPU", 0)))
