"""What a run reports while its workers train: read from the training folder, which all of them write into."""

import time
from typing import TYPE_CHECKING

from model.checkpoints.listing import attempt_name, attempts
from pipeline import storage
from pipeline.engine.execution import News, Report
from pipeline.errors import StorageError

if TYPE_CHECKING:
    from model.training.run import PretrainRun


class Progress:
    """Reports the progress that the workers write into the training folder."""

    def __init__(self, run: "PretrainRun", report: Report, workers: int = 0) -> None:
        self.report = report
        self.output = run.output
        self.steps = sum(phase.steps for phase in run.config.phases)
        self.step = 0
        # The newest attempt, and the newest before this call, whose progress.json may still be there.
        self.attempt = self.before = max(attempts(run.output), default=0)
        self._every = 0.5 if storage.is_local(run.output) else 5.0
        self._shown = 0.0
        self.running = 0
        """The newest attempt of this call; 0 before the first."""
        self._expected = ""
        self.workers = workers
        """Workers of the attempt; before the first, those that were wanted."""
        self._idle = False
        """Whether it was said that some workers have nothing to do."""

    def explain(self, reason: str) -> None:
        """Tell why there will be another attempt, if it is no failure."""
        self._expected = reason

    def show(self, now: bool = False) -> None:
        """Report a new step, or a restart of the workers, if there is one; a store is asked less often, unless `now`."""
        if not now and time.monotonic() - self._shown < self._every:
            return
        self._shown = time.monotonic()
        try:
            newest = max(attempts(self.output), default=0)
            self.running = newest if newest > self.before else 0
            row = storage.read_json(storage.join(self.output, "progress.json")) if newest > self.before else {}
            reason = self._reason(newest) if newest > max(self.attempt, self.before) else ""
        except StorageError:
            return  # not there yet, or the store does not answer: try again next time
        if reason:
            self._expected = ""
            self.report(self.step, self.steps, News(f"pretrain: {reason} (attempt {newest})"))
        self.attempt = newest
        if row.get("attempt") == newest and row.get("idle_workers") and not self._idle:
            self._idle = True
            what = "have no micro-batch in some steps: raise batch_size, lower micro_batch_tokens, or use fewer"
            self.report(self.step, self.steps, News(f"pretrain: {row['idle_workers']} of {self.workers} workers {what}"))
        if row.get("attempt") == newest and row["step"] != self.step:
            self.step = row["step"]
            # A bad step may have no finite loss, and the first steps have no speed yet.
            loss = f"loss {row['loss']:.3f}" if row["loss"] is not None else "no finite loss"
            speed = f", {row['tokens_per_second']:,.0f} tokens/s" if row["tokens_per_second"] else ""
            self.report(self.step, self.steps, f"pretrain: step {self.step:,} of {self.steps:,}, {loss}{speed}")

    def _reason(self, attempt: int) -> str:
        """Why there is a new attempt: a worker failed, the workers were asked to stop, or training rolled back.

        "" for the first attempt of this call, unless there was room for fewer workers than wanted.
        """
        facts = storage.read_json(storage.join(self.output, attempt_name(attempt), "attempt.json"))
        if "rolled_back_from" in facts:
            return f"rolling back from step {facts['rolled_back_from']:,} to step {facts['step']:,} after bad steps"
        workers, before = facts.get("workers", self.workers), self.workers
        self.workers = workers
        if attempt == self.before + 1:
            return f"training with {workers} workers: there is room for no more" if workers < before else ""
        if workers != before:
            return f"continuing with {workers} workers instead of {before}"
        return self._expected or "restarting after a failure"
