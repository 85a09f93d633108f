"""The shards of an object store are read from copies on this machine's disk, of which there are only so many gigabytes.

    cache = Cache.of_environment()
    cache.fetch(url, entry)                    the path of the copy, downloaded unless it is there; None: no cache to be had
    cache.fetch(url, entry, keep={"5d41..."})  ahead of time: not if somebody is at it, or if those to keep would have to go

    ~/.cache/nezha-pipe/shards/9f86d0...       a whole shard; its name is its SHA-256
                               9f86d0....part  a download: locked by who writes it, from the start as long as the shard

All processes of a user share the folder (`NEZHA_PIPE_CACHE`). Whoever finds a download locked waits for it and then has the
shard too; the kernel drops the lock of a process that dies, and what it left is written anew or removed. Before a download,
with the folder locked, those shards are removed that were not read for longest, until all fit `NEZHA_PIPE_CACHE_GB`; only one
that does not fit by itself goes beyond. Times of access are set by hand, since many disks do not keep them.

A copy is compared with its SHA-256 while it is downloaded, and by every other process before it reads the first row.
"""

import contextlib
import fcntl
import hashlib
import io
import logging
import math
import os
import shutil
import stat
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from pipeline import storage
from pipeline.engine import integrity
from pipeline.errors import RecipeError, StorageError
from pipeline.storage_errors import reason

FOLDER, SIZE = "NEZHA_PIPE_CACHE", "NEZHA_PIPE_CACHE_GB"
"""Environment variables: the folder, and how many gigabytes of shards may be in it."""
DEFAULT_GB = 50.0
SPARE = 256 << 20
"""Bytes of the disk that are left to others."""
PART = ".part"
CHUNK = 1 << 20
PAUSE = 0.2
"""Seconds between two looks at what others are downloading."""
STALLED = 60.0
"""Seconds without progress there, after which it is not waited for: the process may be frozen, or the store away."""

Entry = integrity.Entry
log = logging.getLogger(__name__)
_told: set[str] = set()
"""Warnings that were given."""
_compared: dict[str, tuple[int, int, int]] = {}
"""Copies that this process has compared, with inode, size and time of change."""


class Stopped(Exception):
    """A download ahead of time that nobody wants any more."""


class Cache:
    """A folder of at most `most` bytes of shards."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most

    @staticmethod
    def of_environment() -> "Cache":
        """Return the cache of this user.

        Raises: RecipeError when its size is no number.
        """
        text = os.environ.get(SIZE) or str(DEFAULT_GB)
        try:
            gigabytes = float(text)
        except ValueError:
            gigabytes = math.nan
        if not 0 <= gigabytes < math.inf:
            raise RecipeError(f"{SIZE}={text}: not a number of gigabytes; 0 turns the cache of shards off")
        folder = os.environ.get(FOLDER) or os.path.expanduser("~/.cache/nezha-pipe")
        return Cache(Path(folder) / "shards", int(gigabytes * 1e9))

    def fetch(
        self, url: str, entry: Entry, keep: Collection[str] | None = None, stopped: threading.Event | None = None
    ) -> Path | None:
        """Return the path of the copy of a shard.

        Args:
            keep: SHA-256s of shards that must stay. With it this is a download ahead of time: None if it is not due now.
            stopped: ends a download.

        Raises: DamagedError when the store's shard is not what the manifest says; StorageError when it cannot be read; Stopped.
        """
        if not self.most:
            return None
        path = self.folder / str(entry["sha256"])
        try:
            self._make_folder()
            while not self._is_whole(path, entry):
                with self._part(path, wait=keep is None) as part:
                    if part is None:
                        return None
                    if not path.exists() and not self._download(part, path, url, entry, keep, stopped):
                        return None
        except OSError as error:
            self._tell(f"{self.folder}: {reason(error)}")
            return None
        return path

    def touch(self, path: Path) -> bool:
        """Note that a copy is being read. Return whether it is still there."""
        try:
            status = path.stat()
            os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
        except OSError:
            return False
        return _compared.get(str(path)) == _stamp(status)

    def _make_folder(self) -> None:
        """Make the folder, for this user alone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(f"{self.folder} belongs to another user")
        if status.st_mode & 0o077:
            self.folder.chmod(0o700)

    def _is_whole(self, path: Path, entry: Entry) -> bool:
        """Return whether a copy is there and as the manifest says; one that is not is removed."""
        if self.touch(path):
            return True
        try:
            status = path.stat()
            whole = status.st_size == int(entry["bytes"]) and storage.sha256(str(path)) == str(entry["sha256"])
        except (FileNotFoundError, StorageError):  # removed since, or the disk cannot read it
            whole = False
        if whole:
            _compared[str(path)] = _stamp(status)
        else:
            path.unlink(missing_ok=True)
        return whole

    @contextlib.contextmanager
    def _part(self, path: Path, wait: bool) -> Iterator[IO[bytes] | None]:
        """Lock the file that a shard is downloaded into; None if another process has, and this one is not to wait.

        What is in it after the block is removed, unless it was moved to its place.
        """
        name = path.with_name(path.name + PART)
        while True:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "r+b", buffering=0) as file:
                if not _locked(file, wait):
                    yield None
                    return
                if not _is_same(name, file):  # its last holder has moved or removed it
                    continue
                try:
                    yield file
                finally:
                    if _is_same(name, file):
                        name.unlink(missing_ok=True)
                return

    def _download(
        self,
        part: IO[bytes],
        path: Path,
        url: str,
        entry: Entry,
        keep: Collection[str] | None,
        stopped: threading.Event | None,
    ) -> bool:
        """Copy a shard into its part and move that to its place; return whether there was room for it."""
        deadline = time.monotonic() + STALLED
        while (room := self._reserve(part, int(entry["bytes"]), keep)) is None and time.monotonic() < deadline:
            time.sleep(PAUSE)
        if not room:
            return False
        digest, size = hashlib.sha256(), 0
        for chunk in _chunks(url):
            if stopped is not None and stopped.is_set():
                raise Stopped
            size += len(chunk)
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[part.write(view) :]
        integrity.require(url, entry, size, digest.hexdigest())
        name = Path(f"{path}{PART}")
        _compared[str(path)] = _stamp(os.fstat(part.fileno()))
        name.rename(path)
        self.touch(path)
        return True

    def _reserve(self, part: IO[bytes], size: int, keep: Collection[str] | None) -> bool | None:
        """Make room for a shard, and let its part count with its full size; None: only when others have finished."""
        with _alone(self.folder):
            others = self._others(part)
            total, free = sum(held for _, held, _ in others), shutil.disk_usage(self.folder).free
            for _, held, path in sorted(others):
                if total + size <= self.most and free >= size + SPARE:
                    break
                if path.name in (keep or ()) or not _removed(path):
                    continue
                total, free = total - held, free + held
            if free < size + SPARE:
                if keep is None:
                    self._tell(f"{self.folder}: no room for a shard of {size / 1e6:,.0f} MB on the disk")
                return False
            if total + size > self.most and (keep is not None or total):
                return False if keep is not None else None
            os.truncate(part.fileno(), size)
        return True

    def _others(self, part: IO[bytes]) -> list[tuple[int, int, Path]]:
        """Return time of the last reading, size and path of all other shards and parts."""
        own, found = os.fstat(part.fileno()).st_ino, []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if status.st_ino != own and status.st_size:
                    found.append((status.st_atime_ns, status.st_size, path))
        return found

    def _tell(self, problem: str) -> None:
        """Say once that shards are read without the cache."""
        if problem not in _told:
            _told.add(problem)
            log.warning("%s; shards are read from the store each time. %s names another folder", problem, FOLDER)


def _chunks(url: str) -> Iterator[bytes]:
    """Yield a file of the store in chunks. An error of whoever takes them is not one of the store: it does not get in here."""
    with storage.open_read(url) as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _locked(file: IO[bytes], wait: bool) -> bool:
    """Lock a part; False if another process holds it, and has written nothing for long or is not waited for."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait or time.time() - os.fstat(file.fileno()).st_mtime > STALLED:
                return False
            time.sleep(PAUSE)
        else:
            return True


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _removed(path: Path) -> bool:
    """Remove a shard, or a part that nobody writes any more. A process that reads it reads on."""
    if path.suffix != PART:
        path.unlink(missing_ok=True)
        return True
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(path, file):
                path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


def _is_same(path: Path, file: IO[bytes]) -> bool:
    """Return whether an open file still has this name."""
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


class Ranges(io.RawIOBase):
    """A shard that is read from the store, range by range, where there is no cache to be had."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size, self._position = url, size, 0

    def readinto(self, buffer: Any) -> int:
        end = min(self._size, self._position + len(buffer))
        data = storage.read_range(self._url, self._position, end) if end > self._position else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
