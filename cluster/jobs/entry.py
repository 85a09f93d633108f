"""What runs in a job: `python -m cluster.jobs.entry`, in the unpacked package.

    job.json    {"module": "workflows.cli", "function": "main", "arguments": ["pretrain", ...], "python": "3.11", "ray": "2.60"}

Needs nothing but Python to say what is wrong with the Python that the cluster has. What the command prints as its result is
marked, since a job has one log for everything.
"""

import importlib
import io
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

RESULT = "result: "
"""Beginning of the lines of a job's log that a local call prints to standard output."""
FIXABLE = 2
"""Exit code of a mistake that a user can fix."""


class Results(io.TextIOBase):
    """Standard output of the command: its lines go to the log with a mark."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            sys.stderr.write(f"{RESULT}{line}\n")
        return len(text)

    def flush(self) -> None:
        sys.stderr.flush()


def problem(job: "dict[str, Any]") -> str:
    """Return why this Python cannot run the job; "" if it can."""
    python, where = f"{sys.version_info[0]}.{sys.version_info[1]}", f"`python` on the cluster is {sys.executable}"
    if python != job["python"]:
        return f"{where}, Python {python}, and the job was submitted with {job['python']}: use the same in both places"
    try:
        ray = ".".join(metadata.version("ray").split(".")[:2])
    except metadata.PackageNotFoundError:
        return f"{where}, which has no Ray: start Ray with the folder of its own Python first in PATH"
    return f"{where} with Ray {ray}, and the job was submitted with {job['ray']}" if ray != job["ray"] else ""


def main() -> None:
    """Call the command."""
    root = Path(__file__).resolve().parents[2]
    job = json.loads((root / "job.json").read_text(encoding="utf-8"))
    mistake = problem(job)
    if not mistake:
        try:
            function = getattr(importlib.import_module(job["module"]), job["function"])
        except ModuleNotFoundError as error:
            mistake = f"{sys.executable} on the cluster has no package {error.name}: install what nezha-pipe needs there"
    if mistake:
        sys.stderr.write(f"Error: {mistake}\n")
        sys.exit(FIXABLE)
    sys.stdout = Results()
    function(args=job["arguments"], prog_name="nezha-pipe")


if __name__ == "__main__":
    main()
