"""Processes that outlive who starts them, and hold a lock as long as they live: runs of the page and of schedules.

The lock is handed to the process open, so there is no moment at which it lives without it. The kernel keeps it: a killed
process, or a machine without power, leaves none.
"""

import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any

_started: list["subprocess.Popen[bytes]"] = []
"""Processes of this one: waited for, so that no dead one stays in the system's list of processes."""


def start(
    command: Sequence[str],
    lock: IO[str],
    *,
    out: IO[bytes] | int,
    err: IO[bytes] | int,
    env: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own.

    Args:
        lock: an open file that is locked.
        env: its environment; None = that of this process.
        folder: its working directory; None = that of this process.

    Raises: OSError if there is no room for a process.
    """
    _started[:] = [process for process in _started if process.poll() is None]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
    process = subprocess.Popen(command, **streams, env=env, cwd=folder, pass_fds=[lock.fileno()], start_new_session=True)
    _started.append(process)
    return process
