"""Timing the command: `nezha-pipe` of this checkout in its own process, as a user would run it.

timed("prepare", "--corpus", "demo", "--output", "data")        (14.2, "data/report-98c9/report.html")
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-c", "from workflows.cli import main; main(prog_name='nezha-pipe')")
"""Equivalent to the installed `nezha-pipe`, but works where the checkout is not installed."""


def timed(*arguments: str) -> tuple[float, str]:
    """Run the command in the root of the checkout. Return its seconds and its output."""
    started = time.perf_counter()
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"nezha-pipe {' '.join(arguments)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds, done.stdout.strip()
