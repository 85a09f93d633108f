"""Files on local disks and on any file system that fsspec supports (s3://, gs://, hdfs://, memory://).

Writes are atomic: a file is complete or absent. On a local disk a file is written under a temporary name, synced and renamed.
For an object store a finished local file is uploaded, because the store's own writer would publish half an object if the code
that writes it failed. Every failure of a file system becomes a `StorageError` of one line.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import lzma
import os
import platform
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from pipeline.errors import CorpusError, StorageError


def is_local(url: str) -> bool:
    """Return whether `url` is a path on this machine: `runs/a`, `/data/a` or `file:///data/a`."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> Path:
    """Return the path of a local URL."""
    assert is_local(url), url
    return Path(url.removeprefix("file://")).expanduser()


def absolute(url: str) -> str:
    """Return the URL with an absolute path, because workers may run in another working directory."""
    return str(local_path(url).resolve()) if is_local(url) else url.rstrip("/")


def join(url: str, *names: str) -> str:
    """Append names to a URL: `join("s3://b/run", "shards", "a.arrow")` -> `s3://b/run/shards/a.arrow`."""
    return "/".join([url.rstrip("/"), *names])


def base_name(url: str) -> str:
    """Return the last part of a URL: `s3://b/run/a.arrow` -> `a.arrow`."""
    return url.rstrip("/").rpartition("/")[2]


def parent(url: str) -> str:
    """Return the folder of a URL: `s3://b/run/a.arrow` -> `s3://b/run`; empty for a bare name."""
    return url.rstrip("/").rpartition("/")[0]


_CLIENTS = {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "paramiko"}
"""Packages of object stores whose errors (no credentials, no connection) are not OSErrors."""

_NO_SPACE = "no space left; free some and run again, finished parts are kept"
_REASONS = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "the file is larger than this system allows (ulimit -f); raise it and run again, finished parts are kept",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EEXIST: "there is a file where a folder is needed; choose another place",
    errno.ENOTDIR: "there is a file where a folder is needed; choose another place",
    errno.EISDIR: "is a folder; name a file",
    errno.ELOOP: "symbolic links form a loop; name the file itself",
}


@contextlib.contextmanager
def translate_error(url: str) -> Iterator[None]:
    """Turn errors of a file system into a `StorageError` of one line that says what to do. Other errors pass through."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"{url}: not found") from error
    except PermissionError as error:
        raise StorageError(f"{url}: permission denied; check the owner of the folder, or the credentials") from error
    except ImportError as error:
        raise StorageError(f"{url}: {error}; install the package for this kind of URL") from error
    except OSError as error:
        raise StorageError(f"{url}: {_REASONS.get(error.errno or 0) or _one_line(error)}") from error
    except Exception as error:
        unknown_protocol = isinstance(error, ValueError) and "rotocol" in str(error)  # fsspec raises a bare ValueError
        if unknown_protocol or type(error).__module__.partition(".")[0] in _CLIENTS:
            raise StorageError(f"{url}: {_one_line(error)}") from error
        raise


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def connect(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path within it."""
    import fsspec

    if is_local(url):  # url_to_fs would split a name that contains ::
        return fsspec.filesystem("file"), str(local_path(url).absolute())
    with translate_error(url):
        file_system, path = fsspec.core.url_to_fs(url)
    # fsspec caches listings, but another process may have written since.
    file_system.invalidate_cache()
    return file_system, path


@contextlib.contextmanager
def open_read(url: str, compression: str | None = None) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes. `compression="infer"` decompresses .gz, .bz2, .xz and .zst.

    Raises: StorageError, also while reading; CorpusError for a compressed file that is cut short or damaged.
    """
    with translate_error(url):
        if is_local(url) and compression is None:
            with local_path(url).open("rb") as file:
                yield file
        else:
            from fsspec.core import OpenFile, get_compression

            file_system, path_inside = connect(url)
            codec = get_compression(path_inside, compression)
            try:
                with OpenFile(file_system, path_inside, "rb", None if codec == "zstd" else codec) as file:
                    yield _zstd_reader(file) if codec == "zstd" else file
            except (EOFError, lzma.LZMAError, zlib.error) as error:
                reason = _one_line(error)
                raise CorpusError(f"{url}: the compressed file is cut short or damaged ({reason}); fetch it again") from error


def _zstd_reader(file: IO[bytes]) -> IO[bytes]:
    """Decompress with Arrow: fsspec's reader cannot read lines, and does not notice a file that was cut short."""
    import pyarrow as pa

    return cast(IO[bytes], io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")))


def read_bytes(url: str) -> bytes:
    """Read a whole file."""
    with open_read(url) as file:
        return file.read()


def read_range(url: str, start: int, end: int) -> bytes:
    """Read bytes [start, end) of a file."""
    if is_local(url):
        with open_read(url) as file:
            file.seek(start)
            return file.read(end - start)
    file_system, path = connect(url)
    with translate_error(url):
        data: bytes = file_system.cat_file(path, start=start, end=end)
        return data


@contextlib.contextmanager
def open_write(url: str) -> Iterator[IO[bytes]]:
    """Open a file for writing bytes. It appears, complete, when the block ends, and not at all if the block raises."""
    with translate_error(url):
        if is_local(url):
            path = local_path(url)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                with temporary.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
                _sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        else:
            with tempfile.NamedTemporaryFile() as file:
                yield file
                file.flush()
                file_system, path_inside = connect(url)
                file_system.makedirs(file_system._parent(path_inside), exist_ok=True)
                file_system.put_file(file.name, path_inside)


def _sync_folder(folder: Path) -> None:
    """Sync a folder, without which a rename in it may be lost in a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Lock the local file `url` for this process until the block ends or the process dies. Object stores are not locked.

    filelock would not do: its flock leaves the file behind, does not name the process that holds it, and falls back to a lock
    that outlives a killed process where a shared file system has no flock. Here such a file system is simply not locked.

    Raises: StorageError when another process has locked it.
    """
    if not is_local(url):
        yield
        return
    path = local_path(url)
    with translate_error(url):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _lock(path)
    try:
        yield
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


def write_bytes(url: str, data: bytes) -> None:
    """Write a whole file, atomically."""
    with open_write(url) as file:
        file.write(data)


def read_json(url: str) -> Any:
    """Read a JSON file."""
    data = read_bytes(url)
    try:
        return json.loads(data)
    except ValueError as error:
        raise StorageError(f"{url}: not valid JSON ({error})") from error


def json_bytes(content: Any) -> bytes:
    """Serialize to canonical JSON (sorted keys, two spaces, Chinese unescaped), so that equal contents are equal bytes."""
    return (json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def write_json(url: str, content: Any) -> None:
    """Write a JSON file, atomically."""
    write_bytes(url, json_bytes(content))


def exists(url: str) -> bool:
    """Return whether a file or folder exists."""
    if is_local(url):
        with translate_error(url):
            return local_path(url).exists()
    file_system, path = connect(url)
    with translate_error(url):
        return bool(file_system.exists(path))


def list_names(url: str) -> list[str]:
    """Return the sorted names in a folder, without unfinished files; empty if there is no such folder."""
    if is_local(url):
        path = local_path(url)
        with translate_error(url):
            names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    else:
        file_system, path_inside = connect(url)
        with translate_error(url):
            try:
                names = [base_name(entry) for entry in file_system.ls(path_inside, detail=False)]
            except FileNotFoundError:
                names = []
    return sorted({name for name in names if name and not name.endswith(".tmp")})


def file_size(url: str) -> int:
    """Return the size of a file in bytes."""
    if is_local(url):
        with translate_error(url):
            return local_path(url).stat().st_size
    file_system, path = connect(url)
    with translate_error(url):
        return int(file_system.size(path))


def remove(url: str) -> None:
    """Remove a file or a whole folder, if it exists."""
    with translate_error(url):
        if is_local(url):
            path = local_path(url)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        else:
            file_system, path_inside = connect(url)
            with contextlib.suppress(FileNotFoundError):
                file_system.rm(path_inside, recursive=True)


def remove_unfinished(url: str) -> None:
    """Remove the temporary files that killed writers left in a local folder."""
    if is_local(url):
        with translate_error(url):
            for path in local_path(url).glob(".*.tmp"):
                path.unlink(missing_ok=True)


def sha256(url: str) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open_read(url) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def bytes_digest(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def local_copy(url: str, digest: str) -> Path:
    """Return a local path of a file: its own, or that of a verified copy under its SHA-256 in the user's cache folder."""
    if is_local(url):
        return local_path(url)
    cache = Path(os.environ.get("NEZHA_PIPE_CACHE") or Path.home() / ".cache" / "nezha-pipe")
    path = cache / digest[:2] / digest
    if not path.exists():
        copied = hashlib.sha256()
        with open_read(url) as source, open_write(str(path)) as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)
                copied.update(chunk)
            if copied.hexdigest() != digest:
                raise StorageError(f"{url}: content differs from its SHA-256 in the manifest; `nezha-pipe verify` says more")
    return path
