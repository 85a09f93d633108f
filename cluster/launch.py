"""Pretraining with several workers: start them, report progress, and explain a failure in one line.

    result = pretrain(run, ClusterConfig(workers=2), report)

    report(0, 400, "pretrain: starting 2 workers")
    report(120, 400, "pretrain: step 120 of 400, loss 5.204, 3,310 tokens/s")
    report(120, 400, "pretrain: restarting after a failure (attempt 2)")
    report(400, 400, "pretrain: step 400 of 400, loss 4.117, 3,298 tokens/s")

Ray is imported only when training starts: recipes can be read where it is not installed.
"""

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from cluster import session
from cluster.config import ClusterConfig
from pipeline import storage
from pipeline.engine.execution import Report, silent
from pipeline.errors import ClusterError, StorageError, UserError

if TYPE_CHECKING:
    from model.training.loop import TrainResult
    from model.training.run import PretrainRun

FAILURE = "failure.txt"
"""File in the training folder with everything known about the failure that ended a run."""
LOG_LINES = 100
"""Last lines of each worker's log in it."""


def pretrain(run: "PretrainRun", cluster: ClusterConfig, report: Report = silent) -> "TrainResult":
    """Train `run.output` to its last step with the workers of `cluster`; resumes where an earlier call stopped.

    On Ctrl-C and SIGTERM the workers end with this process.

    Raises: `ClusterError` when the workers cannot be started, or died more than `max_failures` times; any other `UserError` of
    the loop unchanged (`CorpusError`, `CheckpointError`...).
    """
    from model.training.loop import TrainResult
    from model.training.run import Inputs

    run = replace(
        run,
        output=storage.absolute(run.output),
        vocabulary=storage.absolute(run.vocabulary),
        shards={name: storage.absolute(url) for name, url in run.shards.items()},
    )
    Inputs.of(run)  # find mistakes before any worker starts
    progress = Progress(run, report)
    report(0, progress.steps, f"pretrain: starting {cluster.workers} workers")
    with session.connected(cluster) as folder:
        from cluster.trainer import trainer

        try:
            result = _run_with_progress(
                trainer(run, cluster, folder).fit, progress.show, 0.5 if storage.is_local(run.output) else 5
            )
        except UserError:
            raise
        except Exception as error:
            raise _translate_error(error, run, cluster, folder) from error
        finally:
            if folder is None:
                storage.remove(storage.join(run.output, "ray"))
    storage.remove(storage.join(run.output, FAILURE))
    return TrainResult(**result.return_value)


def _run_with_progress(fit: Callable[[], Any], show: Callable[[], None], seconds: float) -> Any:
    """Return `fit()`, while `show()` is called every `seconds`.

    `fit` runs in its own thread: in the main thread Ray would take over Ctrl-C for good.
    """
    result: Future[Any] = Future()

    def run() -> None:
        try:
            result.set_result(fit())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=run, daemon=True, name="ray-train").start()
    while not wait([result], timeout=seconds).done:
        show()
    show()
    return result.result()


class Progress:
    """Reports the progress that the workers write into the training folder."""

    def __init__(self, run: "PretrainRun", report: Report) -> None:
        from model.checkpoints.checkpoint import attempts

        self.report = report
        self.output = run.output
        self.steps = sum(phase.steps for phase in run.config.phases)
        self.step = 0
        # The newest attempt, and the newest before this call, whose progress.json may still be there.
        self.attempt = self.before = max(attempts(run.output), default=0)
        self._attempts = attempts

    def show(self) -> None:
        """Report a new step, or a restart of the workers, if there is one."""
        try:
            newest = max(self._attempts(self.output), default=0)
            row = storage.read_json(storage.join(self.output, "progress.json")) if newest > self.before else {}
            reason = self._restart_reason(newest) if newest > max(self.attempt, self.before + 1) else ""
        except StorageError:
            return  # not there yet, or the store does not answer: try again next time
        if reason:
            self.report(self.step, self.steps, f"pretrain: {reason} (attempt {newest})")
        self.attempt = newest
        if row.get("attempt") == newest and row["step"] != self.step:
            self.step = row["step"]
            # A bad step may have no finite loss, and the first steps have no speed yet.
            loss = f"loss {row['loss']:.3f}" if row["loss"] is not None else "no finite loss"
            speed = f", {row['tokens_per_second']:,.0f} tokens/s" if row["tokens_per_second"] else ""
            self.report(self.step, self.steps, f"pretrain: step {self.step:,} of {self.steps:,}, {loss}{speed}")

    def _restart_reason(self, attempt: int) -> str:
        """Why there is a new attempt: a worker failed, or training rolled back after bad steps."""
        from model.checkpoints.checkpoint import attempt_name

        facts = storage.read_json(storage.join(self.output, attempt_name(attempt), "attempt.json"))
        if "rolled_back_from" in facts:
            return f"rolling back from step {facts['rolled_back_from']:,} to step {facts['step']:,} after bad steps"
        return "restarting after a failure"


def _translate_error(error: Exception, run: "PretrainRun", cluster: ClusterConfig, folder: str | None) -> UserError:
    """The error that ended the run, in one line. All details go into failure.txt."""
    failures = getattr(error, "worker_failures", {})
    cause = getattr(error, "controller_failure", None)
    for original in (cause, *failures.values()):
        if isinstance(original, UserError):
            return original
    place = storage.join(run.output, FAILURE)
    storage.write_bytes(place, f"{error}\n{_logs(folder)}".encode())
    if failures:
        rank, failure = min(failures.items(), key=lambda item: (not _died(item[1]), item[0]))
        times = f"{cluster.max_failures + 1} failures" if cluster.max_failures else "a failure"
        reason = f"stopped after {times}, the last on rank {rank}: {_line(failure, cluster)}"
    else:
        reason = f"stopped by Ray: {_line(cause or error, cluster)}"
    return ClusterError(
        f"pretraining {reason} (details: {place}); run again: training resumes at step {_resume_step(run.output)}"
    )


def _died(error: Exception) -> bool:
    """Whether a worker's process is gone. If one is, the errors of the others are only consequences."""
    from ray.exceptions import RayActorError

    return isinstance(getattr(error, "health_check_failure", error), RayActorError)


def _line(error: Exception, cluster: ClusterConfig) -> str:
    """An error in one line, without the stack trace."""
    if _died(error):
        return "its process was killed or ran out of memory"
    if type(error).__name__ == "WorkerHealthCheckTimeoutError":
        return f"it was silent for {cluster.hang_timeout_seconds:g} s"
    if type(error).__name__ == "WorkerGroupStartupTimeoutError":
        return f"no room for {cluster.workers} workers within {cluster.start_timeout_seconds:g} s"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[-1:]])


def _logs(folder: str | None) -> str:
    """The last lines of the workers' logs, if Ray was our own on this machine."""
    if folder is None:
        return "The workers' own logs are on their machines, in /tmp/ray/session_latest/logs."
    texts = []
    for path in sorted(Path(folder).glob("session_latest/logs/worker-*.err")):
        lines = path.read_text(errors="replace").splitlines()
        if any("RayTrainWorker" in line for line in lines[:5]):
            texts.append("\n".join([f"\n{path.name}", *lines[-LOG_LINES:]]))
    return "\n".join(texts)


def _resume_step(output: str) -> int:
    """The step that the next call resumes at."""
    from model.checkpoints.checkpoint import committed

    newest = next(committed(output), None)
    return int(storage.base_name(newest).removeprefix("checkpoint-")) if newest else 0
