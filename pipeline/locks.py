"""Locks on output folders: of two processes on one machine, only one writes into a folder.

with locks.locked("runs/tiny/.lock"):
    ...
"""

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from pipeline import leases, storage
from pipeline.errors import StorageError
from pipeline.storage_errors import translate_error

LOCK = ".lock"
"""Name of the lock of an output folder."""


class Lock(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Raise StorageError if it is known to be lost."""

    def confirm(self) -> None:
        """Raise StorageError unless it is held; asks the store."""


class _LocalLock:
    """A lock that the kernel keeps: it cannot be lost."""

    def check(self) -> None:
        """Do nothing."""

    def confirm(self) -> None:
        """Do nothing."""


@contextlib.contextmanager
def locked(url: str, wait: bool = True) -> Iterator[Lock]:
    """Lock the file `url` for this process until the block ends or the process dies.

    filelock would not do: its flock leaves the file behind, does not name the process that holds it, and falls back to a lock
    that outlives a killed process where a shared file system has no flock. Here such a file system is simply not locked.

    Args:
        wait: whether to wait until it is certain that a silent holder of a lock on an object store is dead.

    Raises: StorageError when another process has locked it.
    """
    if not storage.is_local(url):
        with leases.held(url, wait) as lease:
            yield lease
        return
    path = storage.local_path(url)
    with translate_error(url):
        storage.make_folder(path.parent)
        file = _lock(path)
    try:
        yield _LocalLock()
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _lock(path: Path) -> IO[str]:
    """Create and lock a file, and write into it which process has it."""
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StorageError(
                f"{path.parent}: another run is working here ({file.read().strip() or 'just started'}); "
                "wait until it is done, or choose another --output"
            ) from None
        except OSError:  # the file system has no locks
            return file
        with contextlib.suppress(FileNotFoundError):
            # The last holder may have removed the file between our open and our flock: then try again.
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}")
                file.flush()
                return file
        file.close()
