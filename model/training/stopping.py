"""Asking a training to stop: every worker finishes the step, rank 0 writes a checkpoint of it, and `train` returns.

    SIGTERM, or should_stop()                               in any worker
    request_stop(output, StopReason.DRAIN, attempt)         from anywhere: a small file in the training folder

        runs/tiny/checkpoint-3f9a/stop.json                 {"attempt": 2, "reason": "drain"}
        echo '{}' > runs/tiny/checkpoint-3f9a/stop.json     the same by hand, for whatever attempt is running

Rank 0 looks for the file in a thread, so that no step waits for a store. From there the request goes the way of a SIGTERM in
any worker: it is summed with the counts of the step, so that all workers stop after the same one. This needs nothing of Ray
or torchrun, and no connection but the folder.

A request names the newest attempt that it is for, so that one left by a run that died before it obeyed stops no later one. It
is removed when it has been obeyed. One without an attempt that is there before the training starts is removed at once.

This module needs no torch: who asks may be a small process.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from pipeline import storage
from pipeline.errors import StoppedEarly, StorageError

STOP = "stop.json"
"""Name of the file in the training folder."""
PATIENCE = 2.0
"""Seconds for a look at the folder to end."""


class StopReason(StrEnum):
    """Why a training stopped before its last step."""

    SIGTERM = "sigterm"
    """A process was told to end."""
    BUDGET = "budget"
    """Its time is over."""
    DRAIN = "drain"
    """A machine will be taken away."""
    RESIZE = "resize"
    """It will continue with another number of workers."""
    REQUEST = "request"
    """Somebody asked for it."""


class TrainingStopped(StoppedEarly):
    """Training stopped as it was asked to, before its last step; what needs the finished training cannot follow."""

    def __init__(self, reason: StopReason, step: int, steps: int) -> None:
        self.reason, self.step, self.steps = reason, step, steps
        super().__init__(f"pretraining stopped at step {step:,} of {steps:,} {BECAUSE[reason]}; run again: it resumes there")
        self.exit_code = SIGTERM_CODE if reason is StopReason.SIGTERM else 0

    def __reduce__(self) -> tuple[type["TrainingStopped"], tuple[StopReason, int, int]]:
        return TrainingStopped, (self.reason, self.step, self.steps)


BECAUSE = {
    StopReason.SIGTERM: "on SIGTERM",
    StopReason.BUDGET: "because its time is over",
    StopReason.DRAIN: "because its machine will be taken away",
    StopReason.RESIZE: "to continue with other workers",
    StopReason.REQUEST: "as requested",
}
"""Reasons in the words of `TrainingStopped`."""
SIGTERM_CODE = 128 + signal.SIGTERM
"""Exit code after SIGTERM, as shells expect it."""


def request_stop(output: str, reason: StopReason, attempt: int) -> None:
    """Ask the training in `output` to stop after its step. Later attempts than `attempt` ignore this.

    Raises: StorageError if the request cannot be written.
    """
    storage.write_json(storage.join(output, STOP), {"attempt": attempt, "reason": reason})


def withdraw(output: str) -> None:
    """Remove a request, if there is one. Nothing depends on it: an old request is ignored."""
    with contextlib.suppress(StorageError):
        storage.remove(storage.join(output, STOP))


class StopRequests:
    """What this worker was asked, by whichever way."""

    def __init__(self, output: str, should_stop: Callable[[], bool] | None = None) -> None:
        self.output, self._should_stop = output, should_stop
        self._reason: StopReason | None = None
        self._request: dict[str, Any] | None = None
        """The newest content of stop.json."""

    def reason(self, attempt: int) -> StopReason | None:
        """Why this worker was asked to stop in this attempt; None if it was not."""
        request = self._request
        if self._reason is None and request is not None and request.get("attempt", attempt) >= attempt:
            self._reason = StopReason(request.get("reason", StopReason.REQUEST))
        if self._reason is None and self._should_stop is not None and self._should_stop():
            self._reason = StopReason.REQUEST
        return self._reason

    def receive(self, reason: StopReason) -> None:
        """Take note of a signal."""
        self._reason = self._reason or reason

    def look(self) -> None:
        """Read stop.json. A store that does not answer is asked again the next time."""
        url = storage.join(self.output, STOP)
        with contextlib.suppress(StorageError):
            self._request = _valid(storage.read_json(url)) if storage.exists(url) else None

    def forget(self) -> None:
        """Remove a request for no attempt in particular."""
        self.look()
        if self._request is not None and "attempt" not in self._request:
            withdraw(self.output)
            self._request = None


def _valid(request: Any) -> dict[str, Any] | None:
    """A request as `request_stop` writes it, or part of one; None for anything else."""
    if not isinstance(request, dict) or not isinstance(request.get("attempt", 0), int):
        return None
    return request if request.get("reason", StopReason.REQUEST) in list(StopReason) else None


@contextlib.contextmanager
def stop_requests(output: str, first: bool, should_stop: Callable[[], bool] | None = None) -> Iterator[StopRequests]:
    """Listen for requests during a block.

    SIGTERM is caught in the main thread only. Under Ray the loop runs in another one, and the driver writes the file.

    Args:
        first: whether this is rank 0, which looks for the file.
    """
    requests = StopRequests(output, should_stop)
    with contextlib.ExitStack() as stack:
        if first:
            requests.forget()
            stack.enter_context(_polling(requests))
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, lambda number, frame: requests.receive(StopReason.SIGTERM))
            stack.callback(signal.signal, signal.SIGTERM, before)
        yield requests


@contextlib.contextmanager
def _polling(requests: StopRequests) -> Iterator[None]:
    """Look for the file every second, in an object store every five: each look is billed."""
    every = 1.0 if storage.is_local(requests.output) else 5.0
    done = threading.Event()

    def poll() -> None:
        while not done.wait(every):
            requests.look()

    thread = threading.Thread(target=poll, daemon=True, name="stop-requests")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(PATIENCE)
