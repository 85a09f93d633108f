"""Pretraining of a step as a job: submitted, or found again while it runs.

    here: pretrain("tiny", run, cluster, report)  ->  the cluster: job tiny-pretrain-3f9a0c1b2d-1, which calls `main` here

The id is made from the training folder, whose name has everything in it that decides the weights. So a step that is started
again, after its process or its machine went away, follows the job that still trains: log and progress come back. Workers and
drivers are started again inside the job, and the next attempt of a job that died is submitted from here (supervising.py).
"""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from cluster.config import ClusterConfig
from cluster.jobs.connection import Connection, Job
from cluster.jobs.entry import FIXABLE, RESULT
from cluster.jobs.following import RAY, follow
from cluster.jobs.submission import Submission
from cluster.jobs.supervising import supervise
from model.training.stopping import TrainingStopped
from pipeline import storage
from pipeline.credentials import hide_in_this_process
from pipeline.engine.execution import News, Report, silent
from pipeline.errors import ClusterError, UserError
from pipeline.redaction import printable, redact

if TYPE_CHECKING:
    from model.training.run import PretrainRun, TrainResult

ERROR = "Error: "
PROGRESS = re.compile(r"\[ 1/1\] (.*?)(?: \((\d+) %\))?")
"""A line of the log as that of a local run without a terminal: `nezha-pipe logs` shows both alike."""


def pretrain(name: str, run: "PretrainRun", cluster: ClusterConfig, report: Report = silent) -> "TrainResult":
    """Train as `supervisor.pretrain` does, in a job of the cluster whose dashboard is at `cluster.address`.

    Raises: ClusterError as the job ended, or when it died too often; UnavailableError without a dashboard.
    """
    connection = Connection(cluster.address)
    places = [place for place in (run.output, run.vocabulary, *run.shards.values()) if storage.is_local(place)]
    if places and not connection.is_here:
        report(0, 0, News(f"every machine of the cluster must see {', '.join(places)}"))
    content = {"run": run.to_json(), "cluster": asdict(cluster) | {"address": "auto"}}
    submission = Submission("pretrain", name, [json.dumps(content)], run.output, "", {}, module=__name__)
    log = _Log(report)

    def follow_attempt(job_id: str, fresh: bool) -> Job:
        log.note(f"pretrain: job {job_id}" + ("" if fresh else " runs already: following it"))
        log.restart()
        try:
            return follow(connection, job_id, log.line, log.note)
        except BaseException as error:
            if not isinstance(error, Exception):
                at = f"--address {redact(connection.address)}"
                log.note(f"job {job_id} goes on, and the next run follows it; to end it: nezha-pipe stop {job_id} {at}")
            raise

    ended = supervise(connection, submission, cluster, follow_attempt, log.note)
    return log.result or _refuse(ended, log)


@dataclass
class _Log:
    """The log of a job, line by line."""

    report: Report
    result: "TrainResult | None" = None
    errors: list[str] = field(default_factory=list)

    def restart(self) -> None:
        """Forget what an earlier attempt ended with."""
        self.result, self.errors = None, []

    def note(self, text: str) -> None:
        self.report(0, 0, News(text))

    def line(self, text: str) -> None:
        """Pass on progress and news; keep the result and errors."""
        if text.startswith(RESULT):
            self.result = _result(json.loads(text.removeprefix(RESULT)))
        elif text.startswith(ERROR):
            self.errors.append(text.removeprefix(ERROR))
        elif progress := PROGRESS.fullmatch(text):
            self.report(int(progress[2] or 0), 100 if progress[2] else 0, progress[1])
        elif text.strip() and not RAY.fullmatch(text):
            self.note(text)


def _result(facts: dict[str, Any]) -> "TrainResult":
    from model.training.run import TrainResult

    return TrainResult.from_json(facts)


def _refuse(job: Job, log: _Log) -> NoReturn:
    """Raises: what a job without a result ended with."""
    if job.code == FIXABLE and log.errors:
        raise ClusterError(log.errors[-1])
    if job.status == "FAILED":
        raise ClusterError(f"job {job.id} {job.how}: its log says why: nezha-pipe logs {job.id}; run again to resume")
    raise ClusterError(f"job {job.id} has ended ({job.status.lower()}) without a result that can be read; run again to resume")


def main(args: Sequence[str], prog_name: str = "") -> None:
    """Train in the job; the result is a line of its log."""
    hide_in_this_process()
    from cluster.supervisor import pretrain as train
    from model.training.run import PretrainRun

    content: dict[str, Any] = json.loads(args[0])
    try:
        result = train(PretrainRun.from_json(content["run"]), ClusterConfig(**content["cluster"]), _lines())
    except UserError as error:
        for line in error.lines:
            sys.stderr.write(f"{ERROR}{line}\n")
        sys.exit(FIXABLE)
    print(json.dumps(asdict(result)), flush=True)
    if result.stopped_by is not None:
        sys.exit(TrainingStopped(result.stopped_by, result.step, result.steps).exit_code)


def _lines() -> Report:
    """Return a report that writes lines to the log of the job: news at once, progress now and then."""
    seconds, last = float(os.environ.get("NEZHA_PIPE_PROGRESS_SECONDS", 5)), float("-inf")

    def report(done: int, total: int, what: str) -> None:
        nonlocal last
        text, now = printable(redact(what)), time.monotonic()
        if not isinstance(what, News):
            if now - last < seconds:
                return
            last = now
            text = f"[ 1/1] {text}" + (f" ({100 * done // total} %)" if total else "")
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    return report
