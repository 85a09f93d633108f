"""Finished files are compared with the manifest of their stage before anything reads them.

    with integrity.open_finished("runs/a/tokens_news-3f9a0c1b2d4e/part-00003.arrow") as file: ...

A disk or a copy over the network may flip a bit; without this, the next stage would turn it into other shards. Each process
compares a file once, and again if the file has changed since. Hashing costs 1.4 ms for each MB, half a percent of the time
of `prepare`. A file in a work folder has no manifest: it is read as it is.
"""

import contextlib
import hashlib
import io
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import IO, Any

import google_crc32c

from pipeline import storage
from pipeline.errors import DamagedError, UserError
from pipeline.folders import MANIFEST

WORK = "work-"
"""Prefix of folders with intermediate files; they are removed when the stage is finished."""
MAX_HELD_BYTES = 64 << 20
"""Largest remote file that is held in memory to be read after it was compared; a larger one is read twice."""

_compared: dict[str, str] = {}
"""URLs of files that are right, with the stamp that they had."""

Entry = Mapping[str, Any]
"""What a manifest says about a file: name, bytes, sha256."""


@contextlib.contextmanager
def open_finished(url: str) -> Iterator[IO[bytes]]:
    """Open a file of a finished stage for reading.

    Raises: DamagedError when it is not what the manifest says; StorageError when it cannot be read.
    """
    data = _compare(url)
    if data is not None:
        yield io.BytesIO(data)
    else:
        with storage.open_read(url) as file:
            yield file


def read_bytes(url: str) -> bytes:
    """Read a whole file of a finished stage; raises as `open_finished`."""
    with open_finished(url) as file:
        return file.read()


def check(url: str, entry: Entry) -> None:
    """Compare a file with its entry in a manifest, unless this process has done so and it is still the same file.

    Raises: DamagedError, which says what to delete.
    """
    stamp = _stamp(url)
    if not stamp or _compared.get(url) != stamp:
        if problem := damage(url, entry):
            raise _damaged(url, problem)
        _compared[url] = stamp


def check_all(files: Iterable[tuple[str, Entry]]) -> None:
    """Compare several files; raises as `check`."""
    for url, entry in files:
        check(url, entry)


def damage(url: str, entry: Entry) -> str:
    """Return what is wrong with a file: missing, cut short, changed; nothing if it is what its manifest says."""
    if not storage.exists(url):
        return "missing"
    if (size := storage.file_size(url)) != entry["bytes"]:
        return _wrong_size(size, entry)
    return "" if storage.sha256(url) == entry["sha256"] else _CHANGED


def require(url: str, entry: Entry, size: int, sha256: str) -> None:
    """Compare what was read of a file with its entry in a manifest; raises as `check`."""
    if size != entry["bytes"]:
        raise _damaged(url, _wrong_size(size, entry))
    if sha256 != entry["sha256"]:
        raise _damaged(url, _CHANGED)


def _wrong_size(size: int, entry: Entry) -> str:
    return f"{size:,} bytes, the manifest says {entry['bytes']:,}"


_CHANGED = "content differs from its SHA-256 in the manifest"


def _damaged(url: str, problem: str) -> DamagedError:
    return DamagedError(f"{url}: {problem}; delete the folder {storage.parent(url)} and run the same `prepare` or `run` again")


def _stamp(url: str) -> str:
    """Return the stamp of a file that must be there."""
    stamp = storage.stamp(url)
    if stamp is None:
        raise _damaged(url, "missing")
    return stamp


def _compare(url: str) -> bytes | None:
    """Compare a file with its manifest, if it has one; return its content if it had to be fetched for that."""
    folder, _, name = url.rpartition("/")
    manifest = None if storage.base_name(folder).startswith(WORK) else storage.stamp(storage.join(folder, MANIFEST))
    entry = None if manifest is None else _entries(folder, manifest).get(name)
    if entry is None:
        return None
    if storage.is_local(url) or entry["bytes"] > MAX_HELD_BYTES:
        check(url, entry)
        return None
    stamp = _stamp(url)
    if stamp and _compared.get(url) == stamp:
        return None
    data = storage.read_bytes(url)
    require(url, entry, len(data), storage.bytes_digest(data))
    _compared[url] = stamp
    return data


@lru_cache(maxsize=64)
def _entries(folder: str, stamp: str) -> dict[str, Entry]:
    """Return the entries of a manifest by name. `stamp`: of the manifest, so that a folder that was made anew is read again."""
    manifest = storage.read_json(storage.join(folder, MANIFEST))
    files = manifest.get("files", []) if isinstance(manifest, dict) else []
    return {entry["name"]: entry for entry in files}


class BackgroundCheck:
    """Compares files in a thread, while the caller works with what it has compared itself.

    check = BackgroundCheck(files)
    ...
    check.raise_error()     now and then
    check.stop()
    """

    def __init__(self, files: Iterable[tuple[str, Entry]]) -> None:
        self._files = list(files)
        self._error: UserError | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="integrity")
        self._thread.start()

    def _run(self) -> None:
        for url, entry in self._files:
            if self._stopped.is_set():
                return
            try:
                check(url, entry)
            except UserError as error:
                self._error = error
                return

    def wait(self, seconds: float) -> None:
        """Wait until all files are compared, or some time has passed; then raise what was found."""
        self._thread.join(seconds)
        self.raise_error()

    def raise_error(self) -> None:
        """Raise what was found, if anything was."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End after the current file."""
        self._stopped.set()


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes; of those of a spill file, 0.7 ms for each MB."""
    return int(google_crc32c.value(bytes(data)))


def manifest_digest(manifest: Any) -> str:
    """Return the digest of a manifest that run.json keeps, so that a changed manifest is noticed too."""
    return hashlib.sha256(storage.json_bytes(manifest)).hexdigest()
