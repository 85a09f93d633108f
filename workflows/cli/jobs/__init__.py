"""The commands for jobs of a Ray cluster.

commands.py      submit, jobs, status, logs, stop
submitting.py    what submit sends: the command with its options, and the recipe
following.py     show a job as a local run is shown
"""

from workflows.cli.jobs.commands import jobs, logs, status, stop, submit

__all__ = ["jobs", "logs", "status", "stop", "submit"]
