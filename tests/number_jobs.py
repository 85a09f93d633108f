"""Map and reduce steps for tests of jobs: numbers to files, with calls counted in a folder and failures on request."""

import os
import platform
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.engine.stages import FileEntry
from pipeline.engine.steps import Job, Mapped, Reduced
from pipeline.errors import StorageError

BUCKETS = 4


@dataclass(frozen=True)
class Numbers:
    """A task: the numbers from `start` to `end`."""

    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.start:06d}"


@dataclass(frozen=True)
class Spread:
    """Map: each number goes to the bucket of its remainder. `calls` gets a file for each call, named after the task."""

    calls: str
    kill_at: str = ""
    stop_at: str = ""
    refuse_at: str = ""
    break_at: str = ""
    crowd_at: str = ""
    """There is no memory left to load a library; a package says so as packages do, in words of its own."""
    die_at: str = ""
    """Each call kills its process."""
    lose_at: str = ""
    """The first call never ends: its machine, or the process above it, will be lost."""
    hosts: int = 0
    """Calls wait until there were some on so many hosts."""

    def __call__(self, task: Numbers) -> Mapped:
        call = Path(self.calls) / f"{task.name}.{uuid.uuid4().hex}"
        call.write_text(platform.node())
        first = len(calls(self.calls, task.name)) == 1
        if task.name == self.lose_at and first:
            time.sleep(600)
        while len(hosts(self.calls)) < self.hosts:
            time.sleep(0.05)
        if task.name == self.die_at or (task.name == self.kill_at and first):
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        if task.name == self.stop_at:
            time.sleep(600)
        if task.name == self.refuse_at:
            raise StorageError(f"task {task.name}: no space left; free some")
        if task.name == self.break_at:
            raise ZeroDivisionError("our own bug")
        if task.name == self.crowd_at:
            try:
                raise ImportError("library.so: failed to map segment from shared object")
            except ImportError:
                raise ImportError("library not found")  # noqa: B904 - as opencc does
        numbers = np.arange(task.start, task.end)
        return Mapped(pa.table({"number": numbers}), numbers % BUCKETS, {"mapped": len(numbers)})


@dataclass(frozen=True)
class Join:
    """Reduce: the sorted numbers of a bucket as one text file."""

    folder: str
    refuse_at: int = -1

    def __call__(self, bucket: int, table: pa.Table) -> Reduced:
        if bucket == self.refuse_at:
            raise StorageError(f"bucket {bucket}: no space left; free some")
        name = f"bucket-{bucket}.txt"
        text = " ".join(str(number) for number in sorted(table["number"].to_pylist()))
        storage.write_bytes(storage.join(self.folder, name), text.encode())
        return Reduced((FileEntry.of(self.folder, name, table.num_rows),), {"reduced": table.num_rows})


def calls(folder: str, task: str = "") -> list[str]:
    """Names of the tasks that were mapped, one an entry for each time."""
    return sorted(name.partition(".")[0] for name in os.listdir(folder) if name.startswith(task))


def hosts(folder: str) -> set[str]:
    """Hosts on which tasks were mapped."""
    return {host for file in os.scandir(folder) if (host := Path(file).read_text())}


def job(
    tmp_path: Path, folder: str = "stage", *, tasks: int = 6, refuse_bucket: int = -1, hosts: int = 0, **failures: str
) -> Job:
    """A job over `tasks` tasks of ten numbers each."""
    (tmp_path / "calls").mkdir(exist_ok=True)
    stage = str(tmp_path / folder)
    return Job(
        name="numbers",
        folder=stage,
        tasks=[Numbers(10 * i, 10 * i + 10) for i in range(tasks)],
        map=Spread(str(tmp_path / "calls"), hosts=hosts, **failures),
        reduce=Join(stage, refuse_bucket),
    )
