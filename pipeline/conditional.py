"""Files that are created, replaced or removed only if nobody else was faster: on object stores by conditional requests.

    version = create("s3://b/run/.lock", b"mine 1")                None: there is such a file
    version = replace("s3://b/run/.lock", b"mine 2", version)      None: it is another version by now, or gone
    remove("s3://b/run/.lock", version)                            only that version

Of several processes that try at once, one succeeds. The bytes must be unlike those of any other writer, such as a random
token: an answer of the store may get lost after it has written, and only the content tells whose the file is.

    store           create                                replace, remove
    a local disk    a hard link                           (not needed)
    s3://           If-None-Match: *                      If-Match: the ETag
    gs://           the client's own mode "create"        read, compare, write: two at the same moment may both succeed
    others          read, write, read again               the same

Not every server that speaks S3 knows conditions. The first file that a process creates in a bucket is created twice: a
server that takes it both times is treated as the last row. Where that is so, it is said once.
"""

import contextlib
import inspect
import logging
import os
import uuid
from collections.abc import Callable
from typing import Any

from pipeline import storage
from pipeline.errors import StorageError
from pipeline.redaction import redact
from pipeline.storage_errors import http_status

log = logging.getLogger(__name__)

_known: dict[str, bool] = {}
"""Whether a store obeys conditions on writes, by protocol and bucket."""
_REFUSED, _UNKNOWN = (404, 412), 501
"""Answers to a condition that does not hold, and of servers that know none."""


def create(url: str, data: bytes) -> str | None:
    """Write a file that must not exist. Return its version, or None if it exists.

    Raises: StorageError.
    """
    if storage.is_local(url):
        return _create_local(url, data)
    if not _obeyed(url):
        return _write_unless_there(url, data)

    def put(file_system: Any, path: str) -> str | None:
        file_system.makedirs(file_system._parent(path), exist_ok=True)  # a missing bucket would pass for a file that exists
        return _version(file_system, path, file_system.pipe_file(path, data, mode="create"))

    version = _tried(url, data, put)
    if version is None or not _obeyed(url):
        return version
    if _place(url) not in _known:
        _known[_place(url)] = True
        if again := storage.at_store(url, lambda file_system, path: _attempted(lambda: put(file_system, path))):
            _tell(url)
            return again
    return version


def replace(url: str, data: bytes, version: str) -> str | None:
    """Write a file that must still be of this version. Return its new version, or None if it is of another, or gone.

    Raises: StorageError.
    """
    if not (_obeyed(url) and _is_s3(url)):
        return _write_over(url, data, version)

    def put(file_system: Any, path: str) -> str | None:
        return _version(file_system, path, file_system.pipe_file(path, data, IfMatch=version))

    return _tried(url, data, put)


def remove(url: str, version: str) -> None:
    """Remove a file if it is of this version.

    Raises: StorageError.
    """
    if not (_obeyed(url) and _is_s3(url)):
        if version_of(url) == version:
            storage.remove(url)
        return

    def delete(file_system: Any, path: str) -> str:
        bucket, key, _ = file_system.split_path(path)
        file_system.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=version)
        return ""

    storage.at_store(url, lambda file_system, path: _attempted(lambda: delete(file_system, path)))


def version_of(url: str) -> str | None:
    """Return the version of a file, or None if there is no such file."""
    found = storage.at_store(url, storage.info_of)
    return None if found is None else _version_in(found)


def _create_local(url: str, data: bytes) -> str | None:
    path = storage.local_path(url)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    storage.write_bytes(str(temporary), data)
    with storage.translate_error(url):
        try:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return None
            except OSError:  # a file system without hard links
                with path.open("xb") as file:
                    file.write(data)
        except FileExistsError:
            return None
        finally:
            temporary.unlink(missing_ok=True)
    return storage.stamp(url)


def _tried(url: str, data: bytes, put: Callable[[Any, str], str | None]) -> str | None:
    """Return what a conditional write returns; one that was refused may have succeeded when its answer was lost."""

    def attempt(file_system: Any, path: str) -> str | None:
        try:
            return _attempted(lambda: put(file_system, path))
        except OSError as error:
            if http_status(error) != _UNKNOWN:
                raise
            _tell(url)
            return _write_unless_there(url, data)

    return storage.at_store(url, attempt) or _ours(url, data)


def _attempted(put: Callable[[], str | None]) -> str | None:
    """Return the version that a conditional request made; None if its condition does not hold."""
    try:
        return put()
    except (FileExistsError, FileNotFoundError):
        return None
    except OSError as error:
        if http_status(error) in _REFUSED:
            return None
        raise


def _ours(url: str, data: bytes) -> str | None:
    """Return the version of a file with this content, or None."""
    version = version_of(url)
    if version is None:
        return None
    with contextlib.suppress(StorageError):
        return version if storage.read_bytes(url) == data else None
    return None


def _write_unless_there(url: str, data: bytes) -> str | None:
    if version_of(url) is not None:
        return None
    storage.write_bytes(url, data)
    return _ours(url, data)


def _write_over(url: str, data: bytes, version: str) -> str | None:
    if version_of(url) != version:
        return None
    storage.write_bytes(url, data)
    return _ours(url, data)


def _obeyed(url: str) -> bool:
    """Return whether the store is known or believed to obey conditions; say once that it does not."""
    place = _place(url)
    if place not in _known:
        file_system, _ = storage.connect(url)
        pipe = getattr(type(file_system), "_pipe_file", type(file_system).pipe_file)
        if "fsspec.spec" in pipe.__module__ or "mode" not in inspect.signature(pipe).parameters:
            _tell(url)
    return _known.get(place, True)


def _tell(url: str) -> None:
    """Note that a store knows no conditions, and say so."""
    _known[_place(url)] = False
    log.warning(
        "%s: this store does not refuse to write over a file, so two runs that start in the same second may not see each other;"
        " start one at a time",
        redact(_place(url)),
    )


def _place(url: str) -> str:
    """`s3://bucket`"""
    protocol, _, path = url.partition("://")
    return f"{protocol}://{path.partition('/')[0]}"


def _is_s3(url: str) -> bool:
    return url.partition("://")[0] in ("s3", "s3a")


def _version(file_system: Any, path: str, answer: Any) -> str:
    """Return the version that a write made, by its answer if it says so."""
    if isinstance(answer, dict) and answer.get("ETag"):
        return str(answer["ETag"])
    file_system.invalidate_cache()
    return _version_in(file_system.info(path))


def _version_in(found: dict[str, Any]) -> str:
    return str(found.get("ETag") or storage.stamp_of(found) or found.get("size"))
