"""A store that does not answer for a while: operations on it are tried again, with exponential back-off, in this one place.

    tried_again("s3://b/run/a.json", lambda: file_system.info(path))

Which errors may pass is decided in storage_errors.py. The clients of stores try again themselves, but only for seconds. Errors
of a local disk do not pass, so nothing is tried again there.
"""

import contextlib
import io
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from pipeline.errors import RecipeError, StoreAwayError
from pipeline.redaction import redact, without_secrets
from pipeline.storage_errors import is_temporary, reason

if TYPE_CHECKING:
    from tenacity import RetryCallState

VARIABLE = "NEZHA_PIPE_STORE_TIMEOUT"
"""Environment variable: seconds that a store may be away, for all but training, which has `store_timeout_seconds`."""
DEFAULT_SECONDS = 120.0
LONGEST_PAUSE = 15.0
"""Most seconds between two tries."""
_patience: list[float] = []
"""Seconds set by `patience`; the last one counts, in all threads."""
_checks = threading.local()
"""`check`, in a thread within `checked`."""

T = TypeVar("T")
log = logging.getLogger(__name__)


def timeout_seconds() -> float:
    """Return for how long an operation is tried again.

    Raises: RecipeError when the variable is no number.
    """
    if _patience:
        return _patience[-1]
    text = os.environ.get(VARIABLE) or str(DEFAULT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:  # nan too
        raise RecipeError(f"{VARIABLE}={text}: not a number of seconds; 0 tries once")
    return seconds


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let every operation of this process be tried again for up to `seconds`."""
    _patience.append(seconds)
    try:
        yield
    finally:
        _patience.pop()


@contextlib.contextmanager
def checked(check: Callable[[], object]) -> Iterator[None]:
    """Call `check` before anything is tried again in this thread; it raises if the work is no longer wanted.

    Whoever waits for a store may have been replaced meanwhile.
    """
    before = getattr(_checks, "check", None)
    _checks.check = check
    try:
        yield
    finally:
        _checks.check = before


def _check(state: "RetryCallState") -> None:
    check = getattr(_checks, "check", None)
    if state.attempt_number > 1 and check:
        with checked(lambda: None):  # it may use the store itself
            check()


def tried_again(url: str, operation: Callable[[], T]) -> T:
    """Return `operation()`, which may run more than once. The URL is for messages.

    Raises: StoreAwayError when the store does not come back in time; any other error of `operation`, and those of `checked`,
    at once.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    seconds = timeout_seconds()
    pause = wait_random_exponential(multiplier=0.2, max=LONGEST_PAUSE)

    def tell(state: RetryCallState) -> None:
        if state.attempt_number == 3:  # the first two are a matter of seconds
            problem = without_secrets(reason(_error(state)), url)
            log.warning("%s: %s; trying again for up to %g s", redact(url), problem, seconds)

    trying = Retrying(
        retry=retry_if_exception(is_temporary),
        stop=stop_after_delay(seconds),
        wait=lambda state: min(pause(state), seconds - (state.seconds_since_start or 0)),  # the last try is at the very end
        before=_check,
        before_sleep=tell,
        reraise=True,
    )
    try:
        return trying(operation)
    except Exception as error:
        if isinstance(error, StoreAwayError) or not is_temporary(error):
            raise
        message = f"{url}: no answer from the store for {seconds:g} s ({reason(error)}); run again when it is back"
        raise StoreAwayError(without_secrets(message, url)) from error


def _error(state: "RetryCallState") -> Exception:
    """Return the error of the last try."""
    error = state.outcome and state.outcome.exception()
    assert isinstance(error, Exception)
    return error


def steady(url: str, file: IO[bytes]) -> IO[bytes]:
    """Return a remote file whose reads are tried again, if it can be: one that is read by ranges."""
    from fsspec.spec import AbstractBufferedFile

    if not isinstance(file, AbstractBufferedFile):
        return file
    return io.BufferedReader(cast(io.RawIOBase, _Steady(url, file)), 1 << 20)


class _Steady(io.RawIOBase):
    """A file of fsspec's. A read that failed has not moved its position, so the next one reads the same range."""

    def __init__(self, url: str, file: IO[bytes]) -> None:
        self.url, self.file = url, file

    def readinto(self, buffer: Any) -> int:
        data = tried_again(self.url, lambda: self.file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return tried_again(self.url, self.file.read)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.file.seekable()

    def close(self) -> None:
        super().close()
        self.file.close()
