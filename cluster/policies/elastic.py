"""How many workers start, and when more are wanted. Plugged into the controller of Ray Train.

    workers = 2                2 workers, once there is room for 2
    workers = "2:4"
    room for 4                 4 workers
    two machines are lost      2 workers, from the last checkpoint; this counts as no failure
    a machine is new           a request to stop (model/training/stopping.py); after a checkpoint of that step, 3 workers

Ray's own elastic policy looks at the machines every 20 s, and the one for a fixed number not at all, so they start workers on
machines that are lost; and growing repeats the steps since the last checkpoint. Ours looks when it has to decide, and asks each
machine whether it answers.
"""

import logging
import time
from collections import Counter
from typing import Any

from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision, ScalingDecision, ScalingPolicy

from cluster.config import ClusterConfig
from cluster.policies import room
from cluster.policies.failures import FailurePolicy
from cluster.stops import Request
from model.training.stopping import StopReason
from model.training.tracking.events import EventLog
from pipeline.errors import ClusterError

WAIT_SECONDS = 1.0
"""Interval of looks for room while there is too little."""
LOOK_SECONDS = 2.0
"""Interval of looks for more room while workers train."""
FREE_SECONDS, FREE_LOOK_SECONDS = 1.0, 0.05
"""Longest wait until the places of the last workers are free, and interval of looks."""
SETTLE_SECONDS = 3.0
"""How long the same room must be there before it counts: machines often come and go several at a time. Once, not again when
workers have stopped for it."""
log = logging.getLogger(__name__)


class Steady:
    """A number that counts once it has been the same for a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._value, self._since = -1, 0.0

    def see(self, value: int) -> bool:
        """Note the number; returns whether it has been the same for long enough."""
        now = time.monotonic()
        if value != self._value:
            self._value, self._since = value, now
        return now - self._since >= self.seconds


class RoomPolicy(ScalingPolicy):
    """Starts as many workers as there is room for, and asks them to stop when there is room for more.

    Stopped workers end Ray's run; the next one starts with the room of that moment.
    """

    def __init__(self, scaling_config: Any, output: str, cluster: ClusterConfig, before: int = 0) -> None:
        super().__init__(scaling_config)
        self.cluster = cluster
        self.before = before
        """How many stopped because there was room for more; 0 if that is not why they start."""
        self.size = 0
        """Workers that were started last."""
        self.held: Counter[str] = Counter()
        """Places that they hold now, by machine; "" where it is not known yet."""
        self._steady = Steady(SETTLE_SECONDS if cluster.address else 0)  # our own Ray has this machine only
        self._waits_since: float | None = None
        self._tried = False
        """Whether workers were started without room for them, since the last ones trained."""
        self._looked = 0.0
        self._wanted = 0
        """Workers that the running ones were asked to make way for."""
        self._request = Request(output)
        self._events = EventLog(output, "controller")

    def _get_num_workers_for_resource_request(self) -> int:
        return self.cluster.max_workers  # which an autoscaler may add machines for

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Forget the places that a failed start has given back."""
        if type(current_state).__name__ == "ReschedulingState":
            self.held.clear()

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """Start as many workers as there is room for, at most as many as wanted; wait for too little, or while it changes.

        After the death of a worker its place is still there, so nothing is waited for. A machine that does not answer may be
        lost: Ray would place workers on it until it knows.

        Raises: ClusterError when there is too little room for too long.
        """
        self._maybe_send_resource_request()  # type: ignore[no-untyped-call]
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        waited = now - self._waits_since
        known = room.machines()
        answering = room.answering(known)
        found = min(room.places(answering, self.cluster, self.held), self.cluster.max_workers)
        silent = [machine for machine in known if machine not in answering]
        sure = not room.places(silent, self.cluster, {**self.held, "": 0}) or waited > self.cluster.start_timeout_seconds
        steady = self._steady.see(found) or found in (self.size, self.cluster.max_workers) or found > self.before > 0
        if found >= self.cluster.min_workers and sure and steady:
            if waited >= WAIT_SECONDS:
                self._events.add("waited", since=time.time() - waited)
            log.warning("starting %d workers after %.1f s (the last time: %d)", found, waited, self.size)
            self._waits_since = None
            return self._start(found)
        if self.size and not self._tried and waited > self.cluster.start_timeout_seconds:
            # Ray ends old workers when new ones start; if that went wrong, they still have their places.
            log.warning("starting %d workers, though there seems to be room for %d", self.cluster.min_workers, found)
            self._tried = True
            return self._start(self.cluster.min_workers)
        if waited > self.cluster.longest_start_seconds:
            self._events.add("waited", since=time.time() - waited)
            fewer = "the smaller number of workers" if self.cluster.elastic else "the number of workers"
            raise ClusterError(
                f"there is room for {found} workers and training needs {self.cluster.min_workers}, for {waited:.0f} s now:"
                f" add machines, or lower {fewer}; run again: training resumes"
            )
        time.sleep(WAIT_SECONDS)  # Ray asks again at once
        return NoopDecision()

    def _start(self, workers: int) -> ScalingDecision:
        self.size, self.held, self.before = workers, Counter({"": workers}), 0
        return ResizeDecision(workers, self.scaling_config._resources_per_worker_not_none)

    def on_controller_start_worker_group(self, *, scaling_config: Any, num_workers: int) -> None:
        """Wait until the last workers, which have just been ended, have given their places back.

        A request for places that finds none is tried again by Ray only once a second.
        """
        deadline = time.monotonic() + FREE_SECONDS
        while room.places(room.machines(), self.cluster, {}) < num_workers and time.monotonic() < deadline:
            time.sleep(FREE_LOOK_SECONDS)

    def make_decision_for_running_worker_group(self, worker_group_state: Any, worker_group_status: Any) -> ScalingDecision:
        """Ask the workers to stop once there is room for more, and has been for a while."""
        self._maybe_send_resource_request()  # type: ignore[no-untyped-call]
        self.held = Counter(worker.metadata.node_id for worker in worker_group_state.workers)
        self._tried, self._waits_since = False, None
        now = time.monotonic()
        if self._wanted:
            self._request.make(StopReason.RESIZE)
        elif self.size < self.cluster.max_workers and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            found = min(room.places(room.answering(room.machines()), self.cluster, self.held), self.cluster.max_workers)
            steady = self._steady.see(found) or found == self.cluster.max_workers
            if steady and found > self.size:
                log.warning("there is room for %d workers, %d train", found, self.size)
                self._wanted = found
                self._request.make(StopReason.RESIZE)
        return NoopDecision()


class LossPolicy(FailurePolicy):
    """Does not count a failure with which a machine was lost: the others go on."""

    def __init__(self, output: str, cluster: ClusterConfig) -> None:
        super().__init__(output, cluster)
        self.machines = {machine.id for machine in room.machines()}
        """Machines that are there."""

    def counts(self, error: Any) -> bool:
        """Whether an error counts."""
        left = self.machines & {machine.id for machine in room.answering(room.machines())}
        lost, self.machines = len(self.machines - left), left
        if lost:
            log.warning("%d machines are lost", lost)
        return not lost and super().counts(error)
