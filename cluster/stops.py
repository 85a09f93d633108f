"""What ends a run before its last step: SIGTERM, or its time is over, or the cluster changes. It is passed on to the workers.

The request goes through the training folder (model/training/stopping.py): the workers finish their step and write a checkpoint.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from model.checkpoints.listing import attempts
from model.training.stopping import SIGTERM_CODE, StopReason, request_stop, withdraw
from pipeline.errors import StorageError


class PassedOn:
    """SIGTERMs that the supervisor has passed on to this process."""

    count = 0


class Stops:
    """Requests to stop the training in `output`, for as long as the driver runs.

    Args:
        hours: time that the run may take; infinite for no limit.
    """

    def __init__(self, output: str, hours: float = math.inf) -> None:
        self.output = output
        self.reason: StopReason | None = None
        self._deadline = time.monotonic() + hours * 3600
        self._attempt = 0
        """The attempt of this run that is training; 0 before the first."""
        self._signals = 0
        """SIGTERMs received, those included that were passed on."""
        self._asked = 0

    def pass_on(self, attempt: int) -> None:
        """Ask the workers to stop if there is a reason, each attempt once: after a restart it is asked again.

        Args:
            attempt: the newest attempt of this run; 0 before the first, which is asked as soon as it begins.
        """
        self._attempt = attempt
        if self.reason is None and time.monotonic() >= self._deadline:
            self.reason = StopReason.BUDGET
        if self.reason is not None and attempt > self._asked:
            with contextlib.suppress(StorageError):  # try again the next time
                request_stop(self.output, self.reason, attempt)
                self._asked = attempt

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Let SIGTERM stop the training during a block. A second one, and one before the first step, ends it at once.

        Ray's jobs, systemd and batch systems signal all processes of a tree. Such a signal arrives here twice, the second time
        through the supervisor, and is one request.

        Requests of this run are withdrawn afterwards: they would stop the next one.
        """
        withdraw(self.output)
        try:
            with on_sigterm(self._receive):
                yield
        finally:
            withdraw(self.output)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._attempt == 0 or max(PassedOn.count, self._signals - PassedOn.count) > 1:
            raise SystemExit(SIGTERM_CODE)
        self.reason, self._asked = StopReason.SIGTERM, 0  # passed on soon: a handler must not write files


class Request:
    """A request to whatever attempt is training, made once to each. For Ray's controller, which does not know their numbers."""

    def __init__(self, output: str) -> None:
        self.output = output
        self._asked = -1

    def make(self, reason: StopReason) -> None:
        """Ask the newest attempt, unless it was asked; to be called again until the workers have stopped."""
        with contextlib.suppress(StorageError):  # try again the next time
            newest = max(attempts(self.output), default=0)
            if newest != self._asked:
                request_stop(self.output, reason, newest)
                self._asked = newest


@contextlib.contextmanager
def on_sigterm(handler: "signal._HANDLER") -> Iterator[None]:
    """Handle SIGTERM during a block, if this is the main thread; afterwards its handler is the one from before."""
    before = take_sigterm(handler)
    try:
        yield
    finally:
        if before is not None:
            take_sigterm(before)


def take_sigterm(handler: "signal._HANDLER") -> "signal._HANDLER":
    """Handle SIGTERM from now on, if this is the main thread; return the handler from before."""
    return signal.signal(signal.SIGTERM, handler) if threading.current_thread() is threading.main_thread() else None


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal: exit through `finally` blocks, so that workers end too, with the exit code that a shell expects."""
    raise SystemExit(128 + number)
