"""Submit the next attempt of a job that died, from here: `nezha-pipe submit --supervise`.

Within a job, workers and drivers are started again as in a local run (cluster/supervisor.py). What is left is the death of the
job itself, with its machine or with Ray's head. Attempts are counted as everywhere: failures in a row without something new in
the folder between them.
"""

import time
from collections.abc import Callable

from cluster.config import ClusterConfig
from cluster.counting import Failures
from cluster.jobs.connection import Connection, Job, UnknownJobError
from cluster.jobs.folder import newest_result
from cluster.jobs.submission import Submission, submit
from pipeline.errors import ClusterError, UnavailableError

RETRY_SECONDS = 2.0


def supervise(
    connection: Connection,
    submission: Submission,
    cluster: ClusterConfig,
    follow: Callable[[str, bool], Job],
    note: Callable[[str], None],
) -> Job:
    """Return the job of the first attempt that did not die.

    Args:
        follow: follows an id to its end; its second argument says whether it was submitted just now.
        note: told when there is another attempt.

    Raises: ClusterError after too many deaths; UnavailableError when the cluster is away for longer than one waits for room.
    """
    deaths = Failures(submission.output, cluster.max_failures, newest_result)
    wait_until = 0.0
    while True:
        try:
            job_id, fresh = submit(connection, submission)
        except UnavailableError:
            if time.monotonic() > wait_until:
                raise
            time.sleep(RETRY_SECONDS)
            continue
        try:
            job = follow(job_id, fresh)
            if not job.died:
                return job
            how = job.how
        except UnknownJobError:
            how = "was forgotten by its cluster, whose head was restarted"
        if not deaths.allows_another():
            raise ClusterError(
                f"job {job_id} {how}: {deaths.count} times without anything new in {submission.output} between them;"
                " submit again: what is finished is kept"
            )
        note(f"job {job_id} {how}: submitting the next attempt")
        wait_until = time.monotonic() + cluster.longest_start_seconds
