"""Rows of metrics are written when they are made, by a thread: no step waits for them, and no failure of a disk, a store or a
server ends a run.

    live = Live(output, config.training, first=rank == 0)
    live.begin(attempt, resumed=200, rolled_back=False, workers=4)
    live.add({"kind": "train", "step": 210, ...})
    live.clock                                    what the time goes into
    live.end("finished")

Of all workers only the first one writes. A worker that was cut off while a later attempt has begun writes nothing any more.
"""

import contextlib
import logging
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from model.checkpoints.checkpoint import Attempt
from model.checkpoints.listing import attempts
from model.config import TrainingConfig
from model.training.tracking import accounts, clock, lines, mlflow_runs, spent
from model.training.tracking.accounts import Account
from model.training.tracking.clock import Clock
from model.training.tracking.event_files import EventFiles
from model.training.tracking.growing import GrowingFolder
from model.training.tracking.lines import Lines
from pipeline import storage
from pipeline.errors import StorageError

FOLDER = "live"
"""Name of the folder in the training folder."""
GATHER_SECONDS = 0.2
"""Rows that are made within this time are written together."""
PATIENCE = 10.0
"""Longest wait, at the end, for what is not written yet, in seconds."""
PAUSE = 30.0
"""Time after a failure in which nothing is written to the same place."""
MOST_ROWS = 10_000
"""Rows that wait for a place that takes nothing; beyond, the oldest are left out."""
Row = dict[str, Any]
log = logging.getLogger(__name__)


class Live:
    """What a person sees of the attempts of this process."""

    def __init__(self, output: str, training: TrainingConfig, first: bool) -> None:
        mlflow_runs.need_package(training.mlflow)
        self.output, self.training, self.first = output, training, first
        self.clock = Clock()
        self._writer: _Writer | None = None
        self._checkpoints = 0.0
        """Seconds that training waited for checkpoints, at the last training row."""

    def begin(self, attempt: Attempt, resumed: int, rolled_back: bool, workers: int) -> None:
        """Begin an attempt: what earlier ones wrote after the step `resumed` is removed."""
        if not self.first:
            return
        if rolled_back:
            self.clock.restart(starting=False)
        reached = resumed
        with contextlib.suppress(StorageError):
            earlier = accounts.before(self.output, attempt.number)
            reached = max(lines.cut(storage.join(self.output, FOLDER), resumed), earlier.step if earlier else 0)
        self.clock.resume(resumed, reached)
        self._checkpoints = 0.0
        self._writer = _Writer(self.output, self.training, self.clock, attempt.number, resumed, rolled_back, workers)

    def add(self, row: Mapping[str, Any]) -> None:
        """Hand over a row."""
        if self._writer is None:
            return
        more: Row = {"time": time.time()}
        if row["kind"] == "train":
            waited = self.clock.seconds()[clock.CHECKPOINTS]
            more["checkpoint_seconds"], self._checkpoints = waited - self._checkpoints, waited
        self._writer.add({**row, **more})

    def roll_back(self) -> None:
        """End the attempt because of too many bad steps; call this before the next one begins."""
        self.end(f"rolled back after step {self.clock.step:,}: too many bad steps")

    def end(self, ended: str) -> None:
        """Say how the attempt ended, and wait a little until everything is written."""
        if self._writer is not None:
            self._writer.end(ended)
            self._writer = None


class _Place(Protocol):
    """Where rows are written."""

    def write(self, rows: Sequence[Row]) -> None: ...
    def close(self, ended: str) -> None: ...


class _Guarded:
    """A place whose failures are logged once, and after which rows wait."""

    def __init__(self, what: str, make: Callable[[], _Place]) -> None:
        self.what, self._make = what, make
        self._place: _Place | None = None
        self._rows: deque[Row] = deque(maxlen=MOST_ROWS)
        self._again = 0.0
        self._said = False

    def write(self, rows: Sequence[Row], last: str = "") -> None:
        """Write rows, with those that wait; `last`: how the attempt ended."""
        self._rows.extend(rows)
        if not last and (not self._rows or time.monotonic() < self._again):
            return
        try:
            self._place = self._place or self._make()
            self._place.write(list(self._rows))
            self._rows.clear()
            if last:
                self._place.close(last)
        except ImportError as error:
            self._failed(error)
            self._again = float("inf")
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._again = time.monotonic() + PAUSE
        if not self._said:
            self._said = True
            log.warning("%s: not written for now, training goes on: %s", self.what, str(error).strip().split("\n")[0])


class _Writer:
    """The thread of one attempt."""

    def __init__(
        self,
        output: str,
        training: TrainingConfig,
        times: Clock,
        attempt: int,
        resumed: int,
        rolled_back: bool,
        workers: int,
    ) -> None:
        self.output, self.clock = output, times
        self.attempt, self.resumed, self.workers = attempt, resumed, workers
        folder = storage.join(output, FOLDER)
        self._files = GrowingFolder(folder)
        self._places = [_Guarded("rows of metrics", partial(Lines, self._files, attempt))]
        if training.tensorboard:
            self._places.append(_Guarded("TensorBoard's files", partial(EventFiles, self._files, attempt, resumed)))
        if training.mlflow:
            history = partial(_earlier_rows, folder, times.opened)
            known = (training.mlflow, folder, storage.base_name(output), rolled_back, history)
            self._places.append(_Guarded("MLflow", partial(mlflow_runs.MlflowRun, *known)))
        local = storage.is_local(output)
        self._every = 1.0 if local else 10.0  # as of progress.json
        self._publish_every = 0.0 if local else 30.0
        self._rows: deque[Row] = deque(maxlen=MOST_ROWS)
        self._changed = threading.Condition()
        self._ended = ""
        self._before: spent.Spent | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="live-metrics")
        self._thread.start()

    def add(self, row: Row) -> None:
        with self._changed:
            self._rows.append(row)
            self._changed.notify_all()

    def end(self, ended: str) -> None:
        with self._changed:
            self._ended = ended
            self._changed.notify_all()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        account = publish = 0.0
        try:
            with contextlib.suppress(StorageError):
                self._before = spent.where_time_went(self.output)
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._rows or self._ended, self._every)
                if not self._ended:
                    time.sleep(GATHER_SECONDS)
                with self._changed:
                    rows, ended = [self._more(row) for row in self._rows], self._ended
                    self._rows.clear()
                now = time.monotonic()
                if ended or now >= account:
                    account = now + self._every
                    if not self._report(ended):
                        return
                for place in self._places:
                    place.write(rows, ended)
                if ended or now >= publish:
                    publish = now + self._publish_every
                    with contextlib.suppress(StorageError):
                        self._files.publish()
                if ended:
                    return
        except Exception:
            log.warning("live metrics have stopped, training goes on", exc_info=True)
        finally:
            self._files.close()

    def _more(self, row: Row) -> Row:
        """Add what is known of the whole training to a training row."""
        if row["kind"] != "train":
            return row
        seconds = self.clock.seconds()
        useful, total = seconds[clock.COMPUTING], sum(seconds.values())
        if before := self._before:
            useful, total = useful + before.seconds[clock.COMPUTING], total + before.total
        failures = len(before.failures) if before else 0
        return {**row, "workers": self.workers, "failures": failures, "goodput": useful / max(total, 1e-9)}

    def _report(self, ended: str) -> bool:
        """Write what the time went into; returns whether this is still the newest attempt."""
        with contextlib.suppress(StorageError):
            if max(attempts(self.output), default=0) > self.attempt:
                return False
            seconds = self.clock.seconds()
            Account(
                attempt=self.attempt,
                host=platform.node(),
                opened=self.clock.opened,
                updated=self.clock.opened + sum(seconds.values()),
                workers=self.workers,
                resumed=self.resumed,
                reached=self.clock.reached,
                step=self.clock.step,
                seconds=seconds,
                ended=ended,
            ).write(self.output)
        return True


def _earlier_rows(folder: str, before: float) -> list[Row]:
    return [row for row in lines.read(folder) if row["time"] < before]
