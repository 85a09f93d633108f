"""Jobs of `prepare` as tasks of Spark.

A step over all its elements is one job of Spark, one task an element, so that Spark can give its executors work as it likes. A
task that fails does so for a reason that another try does not mend: it returns its error instead of raising it, and says so in
an accumulator, which reaches this process at once. What Spark tries again is a task whose process or machine died.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.local import in_thread
from cluster.spark.session import Session
from pipeline.engine.steps import Job, distribute

POLL_SECONDS = 0.1
CANCEL_SECONDS = 10
"""Longest wait for Spark to stop the other tasks of a job of which one failed."""


@dataclass(frozen=True)
class SparkTasks:
    """An executor of jobs: each task, and then each bucket, is a task of Spark."""

    session: Session

    def __call__(self, job: Job, workers: int) -> None:
        """Run a job; the settings of the session, not `workers`, say how many tasks run at a time.

        Raises: what a step raised; `ClusterError` when Spark lost a task too often, or has no executors.
        """
        distribute(job, self._each)

    def _each(self, step: Any, elements: Sequence[Any]) -> list[Any]:
        """Run a step on every element; returns all results, in the order of the elements."""
        from pyspark.accumulators import AddingAccumulatorParam

        if not elements:
            return []
        context = self.session.context
        errors = context.accumulator((), AddingAccumulatorParam(()))
        pickled = [pickle.dumps(element) for element in elements]
        tasks = context.parallelize(pickled, len(pickled))
        call = _call(self.session.packages, self.session.expected, pickle.dumps(step), errors)
        self.session.begin()
        answer = in_thread("spark-job", lambda: tasks.mapPartitions(call).collect())
        try:
            while not (errors.value or self.session.await_(answer, POLL_SECONDS)):
                pass
            if not errors.value:
                return [result for one in self.session.result(answer) for result in pickle.loads(one)]
            raise pickle.loads(errors.value[0])
        finally:
            if not answer.done():
                self.session.cancel(answer, CANCEL_SECONDS)


def _call(packages: str, expected: bytes, step: bytes, errors: Any) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """Return the function that executors run. It is sent by value: they can import our packages only once it runs."""

    def call(elements: Iterator[bytes]) -> Iterator[bytes]:
        import pickle
        import sys

        from pyspark import SparkFiles

        ours = SparkFiles.get(packages)  # a folder is itself
        if ours not in sys.path:
            sys.path.insert(0, ours)
        for element in elements:
            try:
                from cluster.spark import executing

                yield pickle.dumps(executing.run(expected, step, element))
            except Exception as error:
                try:
                    found = pickle.dumps(error)
                    pickle.loads(found)
                except Exception:
                    found = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
                errors.add((found,))
                yield pickle.dumps([])

    return call
