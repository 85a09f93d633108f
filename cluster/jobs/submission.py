"""Submit a job, or find the one that is there already."""

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.jobs.connection import COMMAND, Connection, Job, JobExistsError, UnknownJobError
from cluster.jobs.package import Package, package
from pipeline.errors import ClusterError
from pipeline.redaction import public, redact

ENTRYPOINT = "exec env PYTHONSAFEPATH= python -m cluster.jobs.entry"
"""`exec`, so that the signal that stops a job reaches Python and not a shell."""
ENVIRONMENT = {
    # Time from the signal to the kill. Ray's 3 s are less than a checkpoint needs.
    "RAY_JOB_STOP_WAIT_TIME_S": "600",
    # Who follows the job sees its progress in its log.
    "NEZHA_PIPE_PROGRESS_SECONDS": "5",
}
LETTERS = 24
"""Most characters of a recipe's name in an id."""


@dataclass(frozen=True)
class Submission:
    """A command to run on a cluster."""

    command: str
    name: str
    """Name of the recipe or the model."""
    arguments: Sequence[str]
    """Arguments of `nezha-pipe` in the job, the command included."""
    output: str
    identity: Any
    """What makes it this job and no other, next to the command and the output: the recipe, as JSON."""
    files: Mapping[str, bytes]
    """Files at the top of the package."""
    module: str = "workflows.cli"
    """Module whose `main` is called with the arguments."""

    @property
    def id(self) -> str:
        """Id of the job, without the number of the attempt. A new signature or password in a URL changes nothing."""
        content = json.dumps([self.command, public(self.identity), redact(self.output)], sort_keys=True)
        name = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:LETTERS]
        return "-".join(filter(None, [name, self.command, hashlib.sha256(content.encode()).hexdigest()[:10]]))

    @property
    def metadata(self) -> dict[str, str]:
        """What the cluster shows of it."""
        return {COMMAND: self.command, "recipe": self.name, "output": redact(self.output)}

    def package(self) -> Package:
        """Return what it runs."""
        from importlib import metadata

        job = {
            "module": self.module,
            "function": "main",
            "arguments": list(self.arguments),
            "python": ".".join(platform.python_version_tuple()[:2]),
            "ray": ".".join(metadata.version("ray").split(".")[:2]),
        }
        return package(job, self.files)


def submit(connection: Connection, submission: Submission) -> tuple[str, bool]:
    """Submit the next attempt, unless there is one that runs; returns the id, and whether it was submitted.

    Raises: ClusterError when another job runs that writes into the same folder.
    """
    jobs = connection.jobs()
    for job in jobs:
        same_output = job.metadata.get("output") == submission.metadata["output"]
        if job.running and same_output and base(job.id) != submission.id:
            raise ClusterError(
                f"{submission.output}: job {job.id} writes into this folder: wait for its end, stop it"
                f" (nezha-pipe stop {job.id} --address {connection.address}), or choose another --output"
            )
    earlier = [job for job in jobs if base(job.id) == submission.id]
    if earlier and (last := max(earlier, key=lambda job: attempt(job.id))).running:
        return last.id, False
    number = 1 + max((attempt(job.id) for job in earlier), default=0)
    job_id = f"{submission.id}-{number}"
    try:
        connection.submit(job_id, ENTRYPOINT, submission.package().zipped(), submission.metadata, ENVIRONMENT)
    except JobExistsError:  # somebody was faster
        return job_id, False
    return job_id, True


def find(connection: Connection, job_id: str) -> Job:
    """Return a job by its id, or the newest attempt by an id without a number.

    Raises: UnknownJobError.
    """
    try:
        return connection.info(job_id)
    except UnknownJobError as error:
        attempts = [job for job in connection.jobs() if base(job.id) == job_id]
        if attempts:
            return max(attempts, key=lambda job: attempt(job.id))
        raise UnknownJobError(f"{job_id}: {error}") from None


def base(job_id: str) -> str:
    """An id without the number of the attempt."""
    return job_id.rpartition("-")[0]


def attempt(job_id: str) -> int:
    """The number of the attempt in an id."""
    number = job_id.rpartition("-")[2]
    return int(number) if number.isdigit() else 0
