"""Pretraining with several workers: start them, report progress, and explain a failure in one line.

    result = pretrain(run, ClusterConfig(workers=2), report)

    report(0, 400, "pretrain: starting 2 workers")
    report(120, 400, "pretrain: step 120 of 400, loss 5.204, 3,310 tokens/s")
    report(120, 400, "pretrain: restarting after a failure (attempt 2)")
    report(400, 400, "pretrain: step 400 of 400, loss 4.117, 3,298 tokens/s")

Ray is imported only when training starts: recipes can be read where it is not installed.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster import local, session
from cluster.config import ClusterConfig
from cluster.counting import Failures
from cluster.local import in_thread
from cluster.nodes import check_nodes
from cluster.progress import Progress
from cluster.stops import Stops
from model.checkpoints.listing import committed, step_of
from model.training.stopping import StopReason
from model.training.tracking.events import EventLog
from pipeline import locks, storage
from pipeline.credentials import hide
from pipeline.engine import places
from pipeline.engine.execution import Report, silent
from pipeline.errors import ClusterError, StorageError, StoreAwayError, UserError

if TYPE_CHECKING:
    from model.training.run import PretrainRun, TrainResult

FAILURE = "failure.txt"
"""File in the training folder with everything known about the failure that ended a run."""
LOG_LINES = 100
"""Last lines of each worker's log in it."""
RESTARTS = {StopReason.DRAIN: "continuing on other machines", StopReason.RESIZE: "continuing with other workers"}
"""Reasons to stop after which workers are started again, and what is reported then."""


def pretrain(run: "PretrainRun", cluster: ClusterConfig, report: Report = silent, again: bool = False) -> "TrainResult":
    """Train `run.output` with the workers of `cluster`; resumes where an earlier call stopped.

    `again`: another driver of this run was lost. Then a cluster is waited for that is not there, or has no room yet, and its
    machines are not asked again what they see; the workers look for themselves.

    Returns at the last step, or earlier, with a checkpoint of the step and the reason in `stopped_by`: on SIGTERM, after
    `max_hours`, or when asked otherwise. On Ctrl-C and a second SIGTERM the workers end with this process.

    Raises: `StorageError` when another call trains in that folder, or has taken it over; `ClusterError` when the workers cannot
    be started, or failed more than `max_failures` times in a row without a new checkpoint; any other `UserError` of the loop
    unchanged (`CorpusError`...).
    """
    from model.training.run import Inputs, inputs_seen

    run = replace(
        run,
        output=storage.absolute(run.output),
        vocabulary=storage.absolute(run.vocabulary),
        shards={name: storage.absolute(url) for name, url in run.shards.items()},
    )
    Inputs.of(run)  # find mistakes before any worker starts
    progress, stops = Progress(run, report, cluster.max_workers), Stops(run.output, cluster.max_hours or math.inf)
    with (
        contextlib.ExitStack() as leaving,
        locks.locked(storage.join(run.output, locks.LOCK)) as lock,
        _reported(report, progress.steps, f"pretrain: starting {cluster.how_many} workers"),
        session.connected(cluster, again) as folder,
        stops.listening(),
        places.marked(run.output) as mark,
    ):
        try:
            if folder is None and not again:
                check_nodes(run.output, inputs_seen(run), cluster.resources)
            result = _train(run, cluster, folder, progress, stops, mark, lock)
        except StoreAwayError:
            leaving.enter_context(storage.patience(0))  # it was waited for long enough
            raise
        finally:
            if folder is None:
                with contextlib.suppress(StorageError):
                    storage.remove(storage.join(run.output, "ray"))
    storage.remove(storage.join(run.output, FAILURE))
    return result


@contextlib.contextmanager
def _reported(report: Report, steps: int, what: str) -> Iterator[None]:
    report(0, steps, what)
    yield


def _train(
    run: "PretrainRun",
    cluster: ClusterConfig,
    folder: str | None,
    progress: Progress,
    stops: Stops,
    mark: str,
    lock: locks.Lock,
) -> "TrainResult":
    """Start the workers, and again after an end that a new start mends: they made room, or Ray's controller died."""
    from ray.exceptions import RayActorError

    from cluster.trainer import trainer
    from model.training.run import TrainResult

    deaths, events = Failures(run.output, cluster.max_failures), EventLog(run.output, "driver")
    before = 0
    while True:
        try:
            value = _run_with_progress(trainer(run, cluster, folder, mark, before).fit, progress, stops, lock)
            result = TrainResult(**value.return_value)
        except UserError:
            raise
        except RayActorError as error:  # the controller; deaths of workers are its business
            events.add("failure", what="Ray Train's controller was killed or ran out of memory")
            if not deaths.allows_another():
                raise _translate_error(error, run, cluster, folder) from error
            continue
        except Exception as error:
            raise _translate_error(error, run, cluster, folder) from error
        if result.finished:
            return result
        stopped_by = stops.reason or result.stopped_by
        if stopped_by not in RESTARTS:
            return replace(result, stopped_by=stopped_by)
        before = progress.workers if stopped_by is StopReason.RESIZE else 0
        progress.explain(RESTARTS[stopped_by])


def _run_with_progress(fit: Callable[[], Any], progress: Progress, stops: Stops, lock: locks.Lock) -> Any:
    """Return `fit()`, while progress is reported and requests to stop are passed on.

    `fit` runs in its own thread: in the main thread Ray would take over Ctrl-C for good.
    """
    result = in_thread("ray-train", fit)
    while not wait([result], timeout=0.5).done:
        local.check()
        lock.check()
        progress.show()
        stops.pass_on(progress.running)
    progress.show(now=True)
    return result.result()


def _translate_error(error: Exception, run: "PretrainRun", cluster: ClusterConfig, folder: str | None) -> UserError:
    """The error that ended the run, in one line. All details go into failure.txt."""
    from cluster.policies.failures import first_failure, in_words

    failures = getattr(error, "worker_failures", {})
    cause = getattr(error, "controller_failure", None)
    for original in (cause, *failures.values()):
        if isinstance(original, UserError):
            return original
    place = storage.join(run.output, FAILURE)
    storage.write_bytes(place, hide(f"{error}\n{_logs(folder)}").encode())
    if failures:
        rank, failure = first_failure(error)
        times = (
            f"{cluster.max_failures + 1} failures without a checkpoint between them" if cluster.max_failures else "a failure"
        )
        reason = f"stopped after {times}, the last on rank {rank}: {in_words(failure, cluster)}"
    else:
        reason = f"stopped by Ray: {in_words(cause or error, cluster)}"
    step = step_of(next(committed(run.output), None))
    return ClusterError(f"pretraining {reason} (details: {place}); run again: training resumes at step {step}")


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
