"""Waiting for what processes do. Processes below this one: found, and stopped for a while as on a machine that is too busy."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 300
"""Seconds after which a test gives up waiting for a process: far more than a busy machine takes."""


def wait_for(
    there: Callable[[], Any], *processes: "subprocess.Popen[str]", seconds: float = PATIENCE, every: float = 0.05
) -> Any:
    """Wait until something is there, while processes run; return it."""
    deadline = time.monotonic() + seconds
    while not (found := there()):
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


def descendants(parent: int) -> dict[int, str]:
    """Return the command lines of all processes below one."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # ended meanwhile
                names[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
                children.setdefault(int((entry / "stat").read_text().rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, look = {}, [parent]
    while look:
        for pid in children.get(look.pop(), []):
            found[pid] = names[pid]
            look.append(pid)
    return found


@contextmanager
def signalled(command: str, number: signal.Signals) -> Iterator[list[int]]:
    """Send a signal to each process below this one whose command line has some words, as soon as it is there."""
    done = threading.Event()
    seen: list[int] = []

    def watch() -> None:
        while not done.wait(0.01):
            for pid, name in descendants(os.getpid()).items():
                if command in name and pid not in seen:
                    seen.append(pid)
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@contextmanager
def stopped(command: str, seconds: float) -> Iterator[list[int]]:
    """Stop such processes for some seconds."""
    with signalled(command, signal.SIGSTOP) as seen:
        over = threading.Event()

        def watch() -> None:
            continued: set[int] = set()
            while not over.wait(0.05):
                for pid in set(seen) - continued:
                    continued.add(pid)
                    threading.Timer(seconds, _continue, (pid,)).start()

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield seen
        finally:
            over.set()
            for pid in seen:
                _continue(pid)


def _continue(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
