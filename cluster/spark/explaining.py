"""What is wrong, in a line: from the pages that Spark says and logs about it."""

import re
from pathlib import Path

from cluster.spark.driver import keep
from pipeline.errors import ClusterError, UnavailableError

REFUSALS = {
    "SaslException|SaslMessage|Authentication failed": "it asks for another secret (spark.authenticate.secret.file)",
    "All masters are unresponsive": "it does not answer as Spark {version} of pyspark here does; is it another version?",
    "Master removed our application": "it ended the application, whose executors died too often",
}
"""What the log of a driver says when a master does not take it, and why."""
OTHER_PYTHON = "--runner-option spark.pyspark.python=PATH"
LONGEST = 200
"""Longest words of Spark's own to repeat."""


def refusal(log: Path, master: str) -> str:
    """Return why a master does not take us, as far as the log says; empty if it says nothing."""
    import pyspark

    text = log.read_text(errors="replace")
    for pattern, reason in REFUSALS.items():
        if re.search(pattern, text):
            return f"{master} does not take us: {reason.format(version=pyspark.__version__)}"
    return ""


def cause(text: str) -> str:
    """Return the first cause in a message of Java that says something."""
    found = re.search(r"(?:Exception|Error): *([^\n]+)", text)
    return (found[1] if found else text.strip().partition("\n")[0])[:LONGEST]


def explain(text: str, log: Path, master: str) -> ClusterError:
    """Return what an error of Spark about a job means."""
    if match := re.search(r"Python in worker has different version: ([\d.]+) than that in driver: ([\d.]+)", text):
        return UnavailableError(
            f"executors have Python {match[1]}, this machine {match[2]}: name another there ({OTHER_PYTHON})"
        )
    if match := re.search(r'Cannot run program "([^"]*)"', text):
        return UnavailableError(f"executors have no Python at {match[1]}: name theirs ({OTHER_PYTHON})")
    if match := re.search(r"Error from python worker:\n((?:[ \t].*\n)+)", text):
        reason = match[1].strip().splitlines()[-1].strip()[:LONGEST]
        return UnavailableError(f"Python on executors does not start ({reason}): name another ({OTHER_PYTHON}); {keep(log)}")
    again = f"run again, finished parts are kept; {keep(log)}"
    if match := re.search(r"failed (\d+) times, most recent failure: .*?: (.*)", text):
        return ClusterError(f"Spark lost a task {match[1]} times ({match[2][:LONGEST]}); {again}")
    return ClusterError(f"{refusal(log, master) or cause(text)}; {again}")
