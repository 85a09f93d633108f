"""Start the run of a trigger in a process of its own, which holds a lock on its output folder as long as it lives."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from pipeline import storage
from workflows.orchestration import detached
from workflows.scheduling import triggers
from workflows.scheduling.schedules import Schedule
from workflows.scheduling.triggers import Trigger


@contextmanager
def locked(folder: Path, output: str) -> Iterator[tuple[IO[str] | None, str]]:
    """Yield the lock of an output folder, or None and the trigger whose run has it: `tiny/3`."""
    storage.make_folder(folder)
    place = folder / f"{storage.bytes_digest(output.encode())[:16]}.running"
    with ExitStack() as stack:
        lock = stack.enter_context(open(place, "a+", encoding="utf-8"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            yield None, lock.read().strip()
            return
        yield lock, ""


def start(folder: Path, schedule: Schedule, trigger: Trigger, lock: IO[str]) -> None:
    """Start a run. Its output goes to the trigger's log.

    Args:
        lock: of the output folder, from `locked`.

    Raises: OSError if there is no room for a process.
    """
    name = f"{schedule.name}/{trigger.number}"
    lock.seek(0)
    lock.truncate()
    lock.write(name)
    lock.flush()
    place = Path(__file__).parents[2]  # in an installation, Python finds it by itself
    paths = (
        [os.environ.get("PYTHONPATH", "")] if place.name == "site-packages" else [str(place), os.environ.get("PYTHONPATH", "")]
    )
    env = {**os.environ, "NEZHA_PIPE_TRIGGER": name, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "workflows.cli.scheduled", str(folder), name, str(lock.fileno())]
    with open(triggers.log_of(folder / schedule.name, trigger.number), "ab") as log:
        detached.start(command, lock, out=log, err=subprocess.STDOUT, env=env, folder=schedule.folder)
