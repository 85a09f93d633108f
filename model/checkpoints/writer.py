"""Checkpoints are written while training goes on: training waits only until their tensors are copied.

    writer.submit(attempt, checkpoint, rows, best)      a copy in memory; a thread does the rest
    writer.committed                                    URL of the newest checkpoint that is committed
    writer.finish()                                     wait for all that were submitted

    submitted     100 -----------> 200 -------> 300 ----------> 400
    thread        100 to disk, then to the store ........ 300 to disk, then to the store ...
    waiting                        200          300 instead     400

There is one upload at a time, and one copy in memory: a checkpoint is on this machine's disk before it is uploaded, so the
copy is free for the next one. If the store is slower than checkpoints are due, the newest takes the place of one that waits,
and its metrics rows with it. Only those that are wanted for themselves, such as the best, are put aside on the disk first; if
there is such a one already, training waits.

An error stops the thread. `failed` says so, and `submit` and `finish` raise it.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from model.checkpoints.checkpoint import Attempt, Checkpoint, Staged, attempt_name, checkpoint_name
from pipeline.errors import StorageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retention:
    """Which checkpoints are kept, and which must not be replaced while they wait."""

    keep: int = 3
    """How many of the newest."""
    every: int = 0
    """All whose step is a multiple of this; 0: none."""
    averaged_every: int = 0
    """The same for those that may be averaged in the end, which must not depend on how fast the store is."""

    def is_lasting(self, step: int) -> bool:
        return any(every and step % every == 0 for every in (self.every, self.averaged_every))


@dataclass
class _Job:
    """One checkpoint on its way."""

    attempt: Attempt
    checkpoint: Checkpoint
    rows: list[Mapping[str, Any]]
    best: Mapping[str, Any] | None
    """What best.json will say."""
    files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """Removes the temporary files."""
    staged: Staged | None = None

    @property
    def name(self) -> str:
        """As it is in best.json."""
        return f"{attempt_name(self.attempt.number)}/{checkpoint_name(self.checkpoint.step)}"

    def stage(self) -> Staged:
        if self.staged is None:
            self.staged = self.files.enter_context(self.attempt.stage(self.checkpoint))
            self.checkpoint = replace(self.checkpoint, model={}, optimizer={})
        return self.staged


class Writer:
    """The thread and what waits for it. Only rank 0 submits anything."""

    def __init__(self, retention: Retention = Retention()) -> None:
        self.retention = retention
        self.committed: str | None = None
        """URL of the newest checkpoint committed by this writer."""
        self._error: BaseException | None = None
        self._copy: dict[tuple[str, str], Tensor] = {}
        self._waiting: deque[_Job] = deque()
        self._current: _Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True, name="checkpoints")

    @property
    def failed(self) -> bool:
        return self._error is not None

    def fail(self, error: BaseException) -> None:
        """Take note of an error that ends the training: the first one counts."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def submit(
        self,
        attempt: Attempt,
        checkpoint: Checkpoint,
        rows: Sequence[Mapping[str, Any]],
        best: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Copy a checkpoint, to be written from the copy; returns the newest that is committed by now.

        Raises: whatever went wrong with an earlier one.
        """
        with self._changed:
            self._make_room(best)
            if self._waiting and self._waiting[-1].staged is None:
                rows = [*self._waiting.pop().rows, *rows]
            model, optimizer = (self._copied(part, getattr(checkpoint, part)) for part in ("model", "optimizer"))
            copied = replace(checkpoint, model=model, optimizer=optimizer)
            self._waiting.append(_Job(attempt, copied, list(rows), best))
            self._changed.notify_all()
        if not self._thread.is_alive():
            self._thread.start()
        return self.committed

    def finish(self) -> str | None:
        """Wait until everything is written; returns the newest that is committed.

        Raises: whatever went wrong.
        """
        self._wait(lambda: not self._waiting and self._current is None)
        return self.committed

    def close(self, seconds: float) -> None:
        """End the thread; what is not written within `seconds` stays unfinished, as if the process had been killed.

        A thread that frees tensors while Python ends takes the process with it (https://github.com/pytorch/pytorch/issues/38228):
        so it is waited for.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: self.failed or (not self._waiting and self._current is None), seconds)
            self._closed = True
            for job in self._waiting:
                job.files.close()
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(max(0, until - time.monotonic()))

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.failed or condition())
            if self._error is not None:
                raise self._error

    def _make_room(self, best: Mapping[str, Any] | None) -> None:
        """Wait until the copy in memory is free; one that must not be replaced is put aside on the disk."""
        self._wait(lambda: self._current is None or self._current.staged is not None)
        newest = self._waiting[-1] if self._waiting else None
        if newest is None or newest.staged is not None:
            return
        if self.retention.is_lasting(newest.checkpoint.step) or (best and best["checkpoint"] == newest.name):
            self._wait(lambda: len(self._waiting) < 2)
            if newest in self._waiting:
                newest.stage()
            else:
                self._wait(lambda: newest.staged is not None)

    def _copied(self, part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A copy in main memory, in the place of the one before."""
        result = {}
        for name, tensor in tensors.items():
            copy = self._copy.get((part, name))
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = self._copy[part, name] = torch.empty(tensor.shape, dtype=tensor.dtype)
            result[name] = copy.copy_(tensor.detach())
        return result

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed or self.failed)
                if not self._waiting or self._closed or self.failed:
                    return
                job = self._current = self._waiting.popleft()
            try:
                with job.files:
                    self._write(job)
            except BaseException as error:
                self.fail(error)
            with self._changed:
                self._current = None
                self._changed.notify_all()

    def _write(self, job: _Job) -> None:
        staged = job.stage()
        with self._changed:
            self._changed.notify_all()
        if self._closed:
            return
        self.committed = job.attempt.publish(staged, job.rows)
        job.attempt.point_at_best(job.best)
        try:
            job.attempt.retain(self.retention.keep, job.best, self.retention.every)
        except StorageError as error:
            log.warning("old checkpoints are not removed: %s", error)
