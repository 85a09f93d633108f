"""Errors of file systems as `StorageError`s of one line that say what to do."""

import contextlib
import errno
from collections.abc import Iterator

from pipeline.errors import NoSpaceError, StorageError
from pipeline.redaction import without_secrets

_CLIENTS = {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "paramiko"}
"""Packages of object stores whose errors (no credentials, no connection) are not OSErrors."""

_LOST = {
    *("HTTPClientError", "IncompleteReadError", "ResponseParserError"),  # botocore
    *("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"),  # botocore too; no OSErrors
    *("ClientConnectionError", "ClientPayloadError"),  # aiohttp
    *("IncompleteRead", "ProtocolError", "ChunkedEncodingError"),  # http.client, urllib3, requests
    *("ServiceRequestError", "TransportError"),  # azure, google
}
"""Classes of a connection that was not made, or broke, beside Python's own."""
_LOST_NUMBERS = {errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETRESET}

_CONFLICTS = {"ConditionalRequestConflict", "OperationAborted"}
"""Codes of S3 for a request that came at the same time as another for the same object: to be sent again."""

NO_RANGES = "its server sends files only as a whole (no range requests); fetch the file first"
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of errors for want of space: on a disk, or in a quota."""
_NO_SPACE = "no space left; free some and run again, finished parts are kept"
_REASONS = {
    **dict.fromkeys(FULL, _NO_SPACE),
    errno.EFBIG: "the file is larger than this system allows (ulimit -f); raise it and run again, finished parts are kept",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EEXIST: "there is a file where a folder is needed; choose another place",
    errno.ENOTDIR: "there is a file where a folder is needed; choose another place",
    errno.EISDIR: "is a folder; name a file",
    errno.ELOOP: "symbolic links form a loop; name the file itself",
    errno.ESTALE: "the file was replaced while it was open, or its server has restarted; run again",
}


@contextlib.contextmanager
def translate_error(url: str) -> Iterator[None]:
    """Turn errors of a file system into a `StorageError` of one line that says what to do. Other errors pass through."""
    try:
        yield
    except Exception as error:
        if why := reason(error):
            kind = NoSpaceError if why == _NO_SPACE else StorageError
            raise kind(without_secrets(f"{url}: {why}", url)) from error
        raise


def reason(error: Exception) -> str:
    """Return what to say about an error of a file system, or nothing if it is not one."""
    if isinstance(error, FileNotFoundError) and not is_absence(error):
        assert isinstance(error.__cause__, Exception)
        return one_line(error.__cause__)
    if isinstance(error, FileNotFoundError):
        return "not found"
    if isinstance(error, PermissionError):
        return "permission denied; check the owner of the folder, or the credentials"
    if isinstance(error, ImportError):
        return f"{error}; install the package for this kind of URL"
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0) or one_line(error)
    if isinstance(error, ValueError) and ("range requests" in str(error) or "Cannot seek streaming" in str(error)):  # fsspec
        return NO_RANGES
    if isinstance(error, ValueError) and str(error) == "embedded null byte":
        return "no file has a name with a NUL character; correct the name"
    unknown_protocol = isinstance(error, ValueError) and "rotocol" in str(error)  # fsspec raises a bare ValueError
    is_client = type(error).__module__.partition(".")[0] in _CLIENTS
    return one_line(error) if unknown_protocol or is_client else ""


def is_absence(error: FileNotFoundError) -> bool:
    """Return whether a file is absent. fsspec raises the same for a web server that refuses, or that does not answer."""
    cause = error.__cause__
    is_client = type(cause).__module__.partition(".")[0] in _CLIENTS or isinstance(cause, TimeoutError)
    return cause is None or not is_client or _status(cause) in (404, 410)


def is_temporary(error: BaseException) -> bool:
    """Return whether an error of a store may pass: no connection, no answer in time, an answer of 429 or 5xx."""
    while True:
        names = {each.__name__ for each in type(error).__mro__}
        if isinstance(error, ConnectionError | TimeoutError) or names & _LOST:
            return True
        if isinstance(error, OSError) and error.errno in _LOST_NUMBERS:
            return True
        if status := _status(error):
            return status in (408, 429) or (status >= 500 and status != 501) or _code(error) in _CONFLICTS
        if error.__cause__ is None:
            return False
        error = error.__cause__  # fsspec raises an OSError that does not tell one from another


def http_status(error: BaseException | None) -> int:
    """Return the HTTP status in an error of a store or in what caused it, or 0."""
    while error is not None:
        if status := _status(error):
            return status
        error = error.__cause__
    return 0


def _code(error: BaseException) -> str:
    """Return the code in an error of botocore's."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _status(error: BaseException) -> int:
    """Return the HTTP status in an error of a client, or 0."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    found = (getattr(error, name, None) for name in ("status", "status_code", "code"))  # aiohttp, azure, google
    return next((value for value in found if isinstance(value, int)), 0)


def one_line(error: Exception) -> str:
    """Return the message of an error without line breaks, or else its class."""
    return " ".join(str(error).split()) or type(error).__name__
