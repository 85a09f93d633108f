"""Jobs of `prepare` as Ray tasks: `nezha-pipe prepare --runner ray`.

    with connected(cluster):
        chain.prepare(Execution(cluster.workers, executor=RayTasks()))

A step of a job (pipeline/engine/job.py) is a plain callable over a descriptor, so it runs as a Ray task unchanged, and writes
the same bytes. Ray passes descriptors; documents go through storage that all machines can reach.

What a lost machine takes with it: its tasks, which run again elsewhere, and results of more than 100 kB, whose tasks run again
too and find their work done. The step itself is an object of the driver, on the driver's machine: it is lost with the driver
alone, and copies of it elsewhere are fetched again.
"""

import functools
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster import local
from pipeline.credentials import hidden_errors
from pipeline.engine import places
from pipeline.engine.steps import Job, distribute
from pipeline.errors import ClusterError

ATTEMPTS = 4
"""Most times that a task runs if its machine or process dies. Steps write whole files to fixed names: a retry does no harm."""


@dataclass(frozen=True)
class RayTasks:
    """An executor of jobs: each task, and then each bucket, is a Ray task. Needs a connected Ray (cluster/session.py)."""

    cpus: float = 1.0
    """CPUs that each task claims."""
    gpus: float = 0.0
    """GPUs that each task claims."""
    mark: str = ""
    """Mark of the output folder (pipeline/engine/places.py), which each process looks for before it works: machines may join
    while work goes on. Empty: there is no other machine."""

    def __call__(self, job: Job, workers: int) -> None:
        """Run a job with at most `workers` tasks at a time.

        Raises: what a step raised; `ClusterError` when Ray lost a task too often, or a machine does not see the output folder.
        """
        distribute(job, functools.partial(self.each, workers))

    def each(
        self, workers: int, step: Any, elements: Sequence[Any], *, done: Callable[[int, Any], None] | None = None
    ) -> list[Any]:
        """Run a step on every element, `workers` at a time; returns all results, in the order of the elements.

        `done`: called with the number of each element that is finished, and its result.
        """
        import ray

        # Spread over the machines: by default Ray fills half of one before it takes the next.
        options = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=ATTEMPTS - 1, scheduling_strategy="SPREAD")
        remote = options(_apply)
        shared = ray.put(step)
        running: dict[Any, int] = {}
        results: dict[int, list[Any]] = {}
        try:
            for number, element in enumerate(elements):
                if len(running) >= workers:
                    self._collect(running, results, done)
                running[remote.remote(shared, element, self.mark)] = number
            while running:
                self._collect(running, results, done)
        except ray.exceptions.RayTaskError as error:
            for task in running:
                ray.cancel(task, force=True)
            cause: Any = error.as_instanceof_cause  # the exception that the step raised, as its own type
            raise cause() from error
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"Ray lost a task {ATTEMPTS} times ({type(error).__name__}); run again, finished parts are kept"
            ) from error
        return [result for number in sorted(results) for result in results[number]]

    @staticmethod
    def _collect(running: dict[Any, int], results: dict[int, Any], done: Callable[[int, Any], None] | None) -> None:
        """Wait for one task, and move its results over."""
        import ray

        while not (ready := ray.wait(list(running), num_returns=1, timeout=1)[0]):
            local.check()
        number = running.pop(ready[0])
        results[number] = ray.get(ready[0])
        if done:
            done(number, results[number])


def _apply(step: Any, element: Any, mark: str) -> Any:
    with hidden_errors():
        if mark:
            _look_for(mark)
        return step(element)


@functools.cache
def _look_for(mark: str) -> None:
    """Raise `ClusterError` if this machine does not see a mark."""
    if problem := places.unseen(mark, {}):
        raise ClusterError(f"{platform.node()} does not see what the driver sees: {problem}; {places.WAY_ON}")
