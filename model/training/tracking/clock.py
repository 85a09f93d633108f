"""What the time of rank 0 goes into: it is always exactly one thing, so all of it adds up to the wall clock.

starting      until the first step of the process is done: checking shards, reading a checkpoint, compiling
computing     steps
data          waiting for the samples of a step
validation
checkpoints   what training waits for: copying weights, a slow store, the last one
repeating     all of these, for steps that an earlier attempt had done already
"""

import contextlib
import threading
import time
from collections.abc import Iterator

STARTING, COMPUTING, DATA, VALIDATION, CHECKPOINTS, REPEATING = KINDS = (
    *("starting", "computing", "data", "validation", "checkpoints", "repeating"),
)


class Clock:
    """A stopwatch with several hands, of which one runs. Another thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.restart()

    def restart(self, starting: bool = True) -> None:
        """Begin anew, for another attempt."""
        with self._lock:
            self.opened, self._began = time.time(), time.perf_counter()
            self._last = self._began
            self._seconds = dict.fromkeys(KINDS, 0.0)
            self._usual = STARTING if starting else COMPUTING
            self._doing = ""
            self.reached = self.step = 0
            self._repeats = False

    def resume(self, step: int, reached: int) -> None:
        """Say at which step training resumes, and how far it had come before."""
        with self._lock:
            self.step, self.reached, self._repeats = step, max(step, reached), reached > step

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Count a block as something else than computing."""
        with self._lock:
            self._settle()
            before, self._doing = self._doing, what
        try:
            yield
        finally:
            with self._lock:
                self._settle()
                self._doing = before

    def stepped(self, step: int) -> None:
        """Note that a step is done."""
        with self._lock:
            self._settle()
            self._usual, self.step = COMPUTING, step
            self._repeats = step < self.reached

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each kind up to now; together they are the time since `opened`."""
        with self._lock:
            self._settle()
            return dict(self._seconds)

    def _settle(self) -> None:
        now = time.perf_counter()
        what = STARTING if self._usual == STARTING else (self._doing or COMPUTING)
        self._seconds[REPEATING if self._repeats and what != STARTING else what] += now - self._last
        self._last = now
