"""`nezha-pipe ui` as a process, with a schedule that watches the store: started, killed, asked for outcomes by its files."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.command import COMMAND, ROOT
from benchmarks.quarters.recipe import NAME
from benchmarks.quarters.store import INCOMING
from tests.slow_processes import descendants
from tests.stores import free_port
from workflows.scheduling import triggers
from workflows.scheduling.triggers import Trigger

SETTLE_SECONDS = 5
LOOK_SECONDS = 0.1
PATIENCE = 1800.0
"""Seconds that a quarter may take."""


class Daemon:
    """The page with its schedule. Runs are processes of their own, which outlive it."""

    def __init__(self, folder: Path, recipe: Path, output: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.recipe, self.output = folder, recipe, output
        self.environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self.triggers = output / ".dagster" / "scheduled" / NAME
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def schedule(self) -> None:
        """Watch the store."""
        words = ["schedule", str(self.recipe), "--output", str(self.output), "--watch", INCOMING]
        words += ["--settle", str(SETTLE_SECONDS), "--workers", "2"]
        subprocess.run([*COMMAND, *words], cwd=self.folder, env=self.environment, check=True, stdout=sys.stderr)

    def start(self) -> None:
        """Start the page, unless it is up."""
        if self._process is None or self._process.poll() is not None:
            words = ["ui", str(self.recipe), "--output", str(self.output), "--port", str(self.port)]
            with open(self.folder / "page.log", "ab") as log:
                self._process = subprocess.Popen(
                    [*COMMAND, *words],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )

    def kill(self) -> None:
        """Kill the page and all that it started but runs, which have sessions of their own."""
        if self._process:
            lose(self._process.pid)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the page as Ctrl-C does, and a run that is left over."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(60)
        self.kill()
        if run := self.run():
            lose(run)

    def run(self) -> int:
        """Return the process of the run; 0 if there is none."""
        words = f"{self.triggers.parent}\0{NAME}/".encode()
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if words in place.read_bytes():
                    return int(place.parent.name)
        return 0

    def wait(self, number: int, meanwhile: Callable[[], object]) -> Trigger:
        """Wait until a trigger has an outcome.

        Raises: TimeoutError.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            meanwhile()
            found = triggers.newest(self.triggers)
            if found and found[0].number >= number and found[0].outcome and not self.run():
                return found[0]
            if self._process and (code := self._process.poll()) is not None:
                raise RuntimeError(f"the page ended with code {code}: see {self.folder / 'page.log'}")
            time.sleep(LOOK_SECONDS)
        raise TimeoutError(f"no outcome of trigger {number} after {PATIENCE:.0f} s: see {self.triggers}")


def lose(leader: int) -> None:
    """Kill a process with all below it and all of its session, as when power is lost."""
    below = descendants(leader)
    doomed = [leader, *below]
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(place.read_text().rpartition(")")[2].split()[3]) == leader:
                doomed.append(int(place.parent.name))
    for pid in dict.fromkeys(doomed):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
