"""The command under measurement: `nezha-pipe` of this checkout, in a process of its own, as a user starts it.

timed("prepare", "--corpus", "demo", "--output", "data")        (14.2, "data/report-98c9/report.html")
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-c", "from workflows.cli import main; main(prog_name='nezha-pipe')")
"""What the installed `nezha-pipe` does, and works where the checkout is not installed."""


def timed(*arguments: str) -> tuple[float, str]:
    """Seconds of one call, and what it printed. Runs in the root of the checkout."""
    started = time.perf_counter()
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"nezha-pipe {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds, done.stdout.strip()
