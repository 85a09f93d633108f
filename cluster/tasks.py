"""Jobs of `prepare` as Ray tasks: `nezha-pipe prepare --runner ray`.

    with connected(cluster):
        chain.prepare(Execution(cluster.workers, executor=RayTasks()))

A step of a job (pipeline/engine/job.py) is a plain callable over a descriptor, so it runs as a Ray task unchanged, and writes
the same bytes. Ray passes descriptors; documents go through storage that all machines can reach.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.engine.spill import SpillRange
from pipeline.engine.steps import Job, MapStep, ReduceStep
from pipeline.errors import ClusterError

ATTEMPTS = 3
"""Retries of a task whose machine or process died. Steps write whole files to fixed names, so a retry does no harm."""


@dataclass(frozen=True)
class RayTasks:
    """An executor of jobs: each task, and then each bucket, is a Ray task. Needs a connected Ray (cluster/session.py)."""

    cpus: float = 1.0
    """CPUs that each task claims."""

    def __call__(self, job: Job, workers: int) -> None:
        """Run a job with at most `workers` tasks at a time.

        Raises: what a step raised; `ClusterError` when Ray lost a task too often.
        """
        buckets: dict[int, list[SpillRange]] = defaultdict(list)
        for bucket, place in self._each(MapStep(job.work, job.map), job.tasks, workers):
            buckets[bucket].append(place)
        if job.reduce is not None:
            self._each(ReduceStep(job.work, job.reduce), sorted(buckets.items()), workers)

    def _each(self, step: Any, elements: Sequence[Any], workers: int) -> list[Any]:
        """Run a step on every element, `workers` at a time; returns all results, in the order of the elements."""
        import ray

        remote = ray.remote(num_cpus=self.cpus, max_retries=ATTEMPTS)(_apply)
        shared = ray.put(step)
        running: dict[Any, int] = {}
        results: dict[int, list[Any]] = {}
        try:
            for number, element in enumerate(elements):
                if len(running) >= workers:
                    self._collect(running, results)
                running[remote.remote(shared, element)] = number
            while running:
                self._collect(running, results)
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
    def _collect(running: dict[Any, int], results: dict[int, list[Any]]) -> None:
        """Wait for one task, and move its results over."""
        import ray

        (done, *_), _ = ray.wait(list(running), num_returns=1)
        results[running.pop(done)] = ray.get(done)


def _apply(step: Any, element: Any) -> Any:
    return step(element)
