"""Which failures end a run: only those in a row, without a new checkpoint between them.

    checkpoint 100, a worker dies, checkpoint 200, a worker dies, ...      goes on for as long as it takes
    checkpoint 200, a worker dies, dies, dies, dies                        ends after `max_failures` restarts

So a week of machines that come and go is no reason to stop, and an error that recurs at the same step is.
"""

import time
from typing import Any

from ray.exceptions import RayActorError
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision
from ray.train.v2.api.config import FailureConfig
from ray.train.v2.api.exceptions import ControllerError, PreemptionError

from cluster.config import START_ATTEMPTS, ClusterConfig
from cluster.counting import Failures
from model.training.tracking.events import EventLog
from pipeline.errors import StorageError, StoreAwayError, UserError

NO_ROOM = "WorkerGroupStartupTimeoutError"
"""Ray's error when there is no room for the workers. No failure: machines are waited for."""


class FailurePolicy(DefaultFailurePolicy):
    """Decides in Ray Train's controller whether new workers are started. Ray itself counts all failures of a run."""

    def __init__(self, output: str, cluster: ClusterConfig) -> None:
        super().__init__(FailureConfig(max_failures=cluster.max_failures))
        self.cluster = cluster
        self.events = EventLog(output, "controller")
        self.deaths = Failures(output, cluster.max_failures)
        self.starts = Failures(output, START_ATTEMPTS - 1)

    def make_decision(self, training_failed_error: Any) -> FailureDecision:
        """Retry, unless the error would only recur or there were too many. The failure is recorded."""
        rank, error = first_failure(training_failed_error)
        if type(error).__name__ == NO_ROOM:
            self.events.add("waited", since=time.time() - self.cluster.start_timeout_seconds)
        else:
            self.events.add("failure", rank=rank, what=in_words(error, self.cluster))
        return FailureDecision.RETRY if self._retries(training_failed_error) else FailureDecision.RAISE

    def counts(self, error: Any) -> bool:
        """Whether an error counts. The loss of a machine that Ray had announced does not."""
        return not isinstance(error, PreemptionError)

    def _retries(self, error: Any) -> bool:
        # A worker that dies before its loop has begun is an error of Ray's controller, which it would not retry.
        died = isinstance(getattr(error, "controller_failure", None), RayActorError)
        if any(map(is_final, getattr(error, "worker_failures", {}).values())):
            return False
        if not (died or self._is_retryable_error(error)):
            return False
        if not self.counts(error):
            return True
        return (self.starts if isinstance(error, ControllerError) and not died else self.deaths).allows_another()


def first_failure(error: Any) -> tuple[int | None, Exception]:
    """Return the rank and the error of the worker that failed first, as far as can be told; None for the controller.

    If a process is gone, the errors of the others are only consequences.
    """
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    if not failures:
        return None, getattr(error, "controller_failure", None) or error
    return min(failures.items(), key=lambda item: (not died(item[1]), item[0]))


def died(error: Exception) -> bool:
    """Return whether a worker's process is gone."""
    return isinstance(getattr(error, "health_check_failure", error), RayActorError)


def in_words(error: Exception, cluster: ClusterConfig) -> str:
    """Return an error in one line, without the stack trace."""
    if died(error):
        return "its process was killed or ran out of memory"
    if type(error).__name__ == "WorkerHealthCheckTimeoutError":
        return f"it was silent for {cluster.step_timeout_seconds:g} s"
    if type(error).__name__ == NO_ROOM:
        return f"no room for {cluster.how_many} workers within {cluster.start_timeout_seconds:g} s"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[-1:]])


def is_final(error: Exception) -> bool:
    """Whether an error would only recur: bad data, another recipe. Another machine may have room on its disk.

    A store that did not come back was waited for already.
    """
    return isinstance(error, UserError) and (isinstance(error, StoreAwayError) or not isinstance(error, StorageError))
