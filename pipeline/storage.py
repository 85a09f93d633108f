"""Files on local disks and on any file system that fsspec supports (s3://, gs://, hdfs://, memory://).

Writes are atomic: a file is complete or absent. On a local disk a file is written under a temporary name, synced and renamed.
For an object store a finished local file is uploaded, because the store's own writer would publish half an object if the code
that writes it failed. Every failure of a file system becomes a `StorageError` of one line, that of a store only after it was
tried again for a while (storage_retries.py).
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

from pipeline.compression import detect, unpacked
from pipeline.errors import StorageError
from pipeline.redaction import redact
from pipeline.storage_errors import NO_RANGES, is_absence, one_line
from pipeline.storage_errors import translate_error as translate_error
from pipeline.storage_retries import checked as checked
from pipeline.storage_retries import patience as patience
from pipeline.storage_retries import steady, tried_again

T = TypeVar("T")


def is_local(url: str) -> bool:
    """Return whether `url` is a path on this machine: `runs/a`, `/data/a` or `file:///data/a`."""
    return "://" not in url or url.startswith("file://")


def check_protocol(url: str) -> None:
    """Refuse a URL of a protocol that does not exist, such as `s4://bucket`. Connects to nothing.

    Raises: StorageError.
    """
    if is_local(url):
        return
    import fsspec

    for part in url.split("::"):  # simplecache::s3://bucket/file
        protocol = part.partition("://")[0]
        if protocol not in fsspec.available_protocols() and protocol not in fsspec.registry:
            raise StorageError(
                f"{redact(url)}: unknown protocol {protocol!r}; give a path, or a URL such as s3://bucket/folder"
            )


def local_path(url: str) -> Path:
    """Return the path of a local URL.

    Raises: StorageError for the home folder of a user who does not exist.
    """
    assert is_local(url), url
    try:
        return Path(url.removeprefix("file://")).expanduser()
    except RuntimeError as error:
        raise StorageError(f"{url}: there is no such user; write ./~ for a name that begins with ~") from error


def absolute(url: str) -> str:
    """Return the URL with an absolute path, because workers may run in another working directory."""
    if not is_local(url):
        return url.rstrip("/")
    try:
        with translate_error(url):
            return str(local_path(url).resolve())
    except RuntimeError as error:  # from Python 3.13 on, opening it is an error
        raise StorageError(f"{url}: symbolic links form a loop; name the file itself") from error


def join(url: str, *names: str) -> str:
    """Append names to a URL: `join("s3://b/run", "shards", "a.arrow")` -> `s3://b/run/shards/a.arrow`."""
    return "/".join([url.rstrip("/"), *names])


def base_name(url: str) -> str:
    """Return the last part of a URL: `s3://b/run/a.arrow` -> `a.arrow`."""
    return redact(url).rstrip("/").rpartition("/")[2]


def parent(url: str) -> str:
    """Return the folder of a URL: `s3://b/run/a.arrow` -> `s3://b/run`; empty for a bare name."""
    return url.rstrip("/").rpartition("/")[0]


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


def at_store(url: str, operation: Callable[[Any, str], T]) -> T:
    """Return `operation(file system, path)`, which may run more than once: again when the store did not answer.

    Raises: StorageError, also when it does not come back in time.
    """
    with translate_error(url):
        return tried_again(url, lambda: operation(*connect(url)))


@contextlib.contextmanager
def open_read(url: str, compression: Literal["infer"] | None = None) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes. `compression="infer"` decompresses a file that is compressed, whatever its name.

    Raises: StorageError, also while reading; CorpusError for a compressed file that is cut short or damaged.
    """
    with translate_error(url), _opened(url) as file:
        if compression is None:
            yield file
        else:
            kind = detect(file.read(16))
            file.seek(0)
            yield unpacked(file, kind, url)


def _opened(url: str) -> IO[bytes]:
    if is_local(url):
        path = local_path(url)
        if _is_device(path):  # would wait forever, or never end
            raise StorageError(f"{url}: a pipe or a device; copy it into a file first")
        return path.open("rb")
    return steady(url, at_store(url, lambda file_system, path: file_system.open(path, "rb")))


def _is_device(path: Path) -> bool:
    return not (path.is_file() or path.is_dir()) and path.exists()


def read_bytes(url: str) -> bytes:
    """Read a whole file."""
    with open_read(url) as file:
        return file.read()


def read_range(url: str, start: int, end: int) -> bytes:
    """Read bytes [start, end) of a file; fewer if it is shorter.

    Raises: StorageError.
    """
    if is_local(url):
        with open_read(url) as file:
            file.seek(start)
            return file.read(end - start)
    data: bytes = at_store(url, lambda file_system, path: file_system.cat_file(path, start=start, end=end))
    if len(data) > end - start:  # fsspec does not look at what a web server answers
        raise StorageError(f"{url}: {NO_RANGES}")
    return data


@contextlib.contextmanager
def open_write(url: str) -> Iterator[IO[bytes]]:
    """Open a file for writing bytes. It appears, complete, when the block ends, and not at all if the block raises."""
    with translate_error(url):
        if is_local(url):
            path = local_path(url)
            if _is_device(path):  # a file would take its place
                raise StorageError(f"{url}: a pipe or a device, which a file would replace; name a file")
            make_folder(path.parent)
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
            place = f"{tempfile.gettempdir()}, where {url} is written first"
            with translate_error(place), tempfile.NamedTemporaryFile() as file:
                yield file
                file.flush()
                upload(file.name, url)


def upload(path: str, url: str) -> None:
    """Copy a local file to a store."""

    def put(file_system: Any, path_inside: str) -> None:
        file_system.makedirs(file_system._parent(path_inside), exist_ok=True)
        file_system.put_file(path, path_inside)

    at_store(url, put)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it.

    Raises: StorageError.
    """
    with translate_error(str(folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # as below /proc
            raise StorageError(f"{folder}: no folder can be created there; choose another place") from error


def _sync_folder(folder: Path) -> None:
    """Sync a folder, without which a rename in it may be lost in a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(url: str, data: bytes) -> None:
    """Write a whole file, atomically."""
    with open_write(url) as file:
        file.write(data)


def read_json(url: str) -> Any:
    """Read a JSON file."""
    data = read_bytes(url)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{url}: not valid JSON ({one_line(error)})") from error


def json_bytes(content: Any) -> bytes:
    """Serialize to canonical JSON (sorted keys, two spaces, Chinese unescaped), so that equal contents are equal bytes."""
    return (json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def write_json(url: str, content: Any) -> None:
    """Write a JSON file, atomically."""
    write_bytes(url, json_bytes(content))


def exists(url: str) -> bool:
    """Return whether a file or folder exists.

    Raises: StorageError when that cannot be found out.
    """
    if is_local(url):
        with translate_error(url), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            local_path(url).stat()
            return True
        return False
    return at_store(url, info_of) is not None


def info_of(file_system: Any, path: str) -> dict[str, Any] | None:
    """Return fsspec's info about a path, or None if there is nothing. Unlike its `exists`, an error is not an absence."""
    try:
        found: dict[str, Any] = file_system.info(path)
    except NotADirectoryError:
        return None
    except FileNotFoundError as error:
        if is_absence(error):
            return None
        raise
    return found


def stamp(url: str) -> str | None:
    """Return what changes whenever a file is written, without reading it (see `stamp_of`); None if there is no such file."""
    if is_local(url):
        with translate_error(url), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return local_stamp(local_path(url).stat())
        return None
    found = at_store(url, info_of)
    return None if found is None else stamp_of(found)


def stamp_of(found: dict[str, Any]) -> str:
    """Return the stamp of a remote file: its size, and its etag and version, or else its times; "" without these.

    A size alone says nothing about the content.
    """
    tags = ("ETag", "etag", "VersionId", "version_id", "generation", "Content-MD5", "content_md5", "md5Hash", "Digest")
    times = ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created")
    tagged, timed = ([f"{name}={value}" for name in names if (value := found.get(name))] for names in (tags, times))
    known = tagged or timed
    return " ".join([*known, f"size={found.get('size')}"]) if known else ""


def local_stamp(status: os.stat_result) -> str:
    """Return the stamp of a local file. Nobody can set its time of change (ctime) back, as the time of modification can be."""
    return f"inode={status.st_ino} size={status.st_size} mtime={status.st_mtime_ns} ctime={status.st_ctime_ns}"


def list_names(url: str) -> list[str]:
    """Return the sorted names in a folder, without unfinished files; empty if there is no such folder."""
    if is_local(url):
        path = local_path(url)
        names = []
        with translate_error(url), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = os.listdir(path)
    else:
        names = at_store(url, _listed)
    return sorted({name for name in names if name and not name.endswith(".tmp")})


def _listed(file_system: Any, path: str) -> list[str]:
    try:
        return [base_name(entry) for entry in file_system.ls(path, detail=False)]
    except FileNotFoundError as error:
        if not is_absence(error):
            raise
        return []


def is_folder(url: str) -> bool:
    """Return whether a URL is a folder."""
    if is_local(url):
        return local_path(url).is_dir()
    found = at_store(url, info_of)
    return found is not None and found["type"] == "directory"


def refuse_file(url: str) -> None:
    """Refuse a local file, or a place below one, where a folder is needed; there need be none yet.

    Raises: StorageError. For folders that are only read: a file has no names in it, and would pass for an empty folder.
    """
    if is_local(url):
        with translate_error(url), contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(local_path(url).stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def file_size(url: str) -> int:
    """Return the size of a file in bytes."""
    if is_local(url):
        with translate_error(url):
            return local_path(url).stat().st_size
    return int(at_store(url, lambda file_system, path: file_system.size(path)))


def remove(url: str) -> None:
    """Remove a file or a whole folder, if it exists."""
    with translate_error(url):
        if is_local(url):
            path = local_path(url)
            with contextlib.suppress(FileNotFoundError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, onerror=_raise_unless_gone)
                else:
                    path.unlink()
        else:
            at_store(url, _remove)


def _remove(file_system: Any, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        file_system.rm(path, recursive=True)


def _raise_unless_gone(function: object, path: str, found: tuple[Any, BaseException, Any]) -> None:
    """Go on if another process was faster; a folder that stays is an error, since a later run would take it for its own."""
    if not isinstance(found[1], FileNotFoundError):
        raise found[1]


def move(source: str, target: str) -> None:
    """Move a file within one file system: by renaming it on a local disk, by copying it within an object store."""
    with translate_error(target):
        if is_local(target):
            path = local_path(target)
            path.parent.mkdir(parents=True, exist_ok=True)
            local_path(source).replace(path)
            _sync_folder(path.parent)
        else:
            at_store(target, lambda file_system, path_inside: file_system.copy(connect(source)[1], path_inside))
            remove(source)


def remove_unfinished(url: str) -> None:
    """Remove the temporary files that killed writers left in a local folder."""
    if is_local(url):
        with translate_error(url):
            for path in local_path(url).glob(".*.tmp"):
                path.unlink(missing_ok=True)


def remove_unfinished_file(url: str) -> None:
    """Remove the temporary files that killed writers of a local file left. Nobody may be writing it: see pipeline/locks.py."""
    if is_local(url):
        with translate_error(url):
            path = local_path(url)
            for temporary in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
                temporary.unlink(missing_ok=True)


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
