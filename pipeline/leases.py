"""Leases: locks on object stores, where a process that dies cannot let go. A small file that its holder writes anew.

    s3://b/run/.lock    {"token": "5f1c...", "holder": "process 17 on h3", "renewed": 12, "lease_seconds": 60, ...}

    take       create the file (pipeline/conditional.py): of several processes, one succeeds
    renew      every 15 s replace it, if it is still the version that this process wrote: else another has taken it
    take over  what was not renewed for 60 s, by replacing that version; of several processes, one succeeds
    release    renew, which proves that it is still held, and remove

The store's own clock tells how old a lock is: its time is compared with that of a file written just now. Where the store has
no times, the lock is watched for 60 s instead. A holder on this machine whose process is gone is not waited for.

A holder that was frozen for longer than its lease, or cut off from the store, finds out when it next renews. Until then it may
continue: `confirm` the lease before anything that must not happen twice.
"""

import contextlib
import datetime
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pipeline import conditional, storage
from pipeline.errors import StorageError, StoreAwayError
from pipeline.redaction import printable, redact
from pipeline.storage_errors import is_absence

LEASE_SECONDS = 60.0
RENEW_SECONDS = 15.0
LOOK_SECONDS = 2.0
"""Time between two looks at a lock that is waited for."""
MARGIN_SECONDS = 2.0
"""Tolerance: stores give times in whole seconds."""

log = logging.getLogger(__name__)
_held: set[str] = set()
"""Tokens of the leases that this process holds. It may have left others behind while a store was away."""


class Lease:
    """A lock that this process holds, unless it was taken over since."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._token, self._renewed = uuid.uuid4().hex, 0
        self._version = ""
        self._lost: StorageError | None = None
        self._renewing = threading.RLock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew_now_and_then, daemon=True, name="lease")

    def take(self, over: str = "") -> bool:
        """Create the file, or replace the version `over`. Return whether that succeeded."""
        content = self._content()
        version = conditional.replace(self.url, content, over) if over else conditional.create(self.url, content)
        if version is not None:
            self._version = version
            _held.add(self._token)
            self._thread.start()
        return version is not None

    def check(self) -> None:
        """Raise the error of a lease that is known to be lost."""
        if self._lost is not None:
            raise self._lost

    def confirm(self) -> None:
        """Renew the lease now: from here on it is held for `LEASE_SECONDS`.

        Raises: StorageError when it was taken over, or the store does not answer.
        """
        with self._renewing:
            self.check()
            while not self._renew():
                found = _Seen.of(self.url)
                if found is None or found.content.get("token") != self._token:
                    self._lose("nobody: it was removed" if found is None else found.holder)
                self._version = found.version  # written by a renewal that was given up

    def _lose(self, holder: str) -> NoReturn:
        self._lost = StorageError(
            f"{storage.parent(self.url)}: the lock is no longer held by this process but by {holder}; this one stops"
        )
        log.warning("%s", self._lost)
        raise self._lost

    def _renew(self) -> bool:
        self._renewed += 1
        version = conditional.replace(self.url, self._content(), self._version)
        self._version = version or self._version
        return version is not None

    def leave(self) -> None:
        """Hold the lock no longer, without a word to the store."""
        self._done.set()
        _held.discard(self._token)

    def release(self) -> None:
        """Give the lock back. One that cannot be given back ends by itself."""
        if self._done.is_set():
            return
        self.leave()
        with contextlib.suppress(StorageError), self._renewing:
            self.confirm()
            conditional.remove(self.url, self._version)

    def _renew_now_and_then(self) -> None:
        while not self._done.wait(RENEW_SECONDS) and self._lost is None:
            # A store that is away is away for others too.
            with contextlib.suppress(StorageError), self._renewing:
                if not self._done.is_set():  # else it has just been given back
                    self.confirm()

    def _content(self) -> bytes:
        facts = {"token": self._token, "renewed": self._renewed, "lease_seconds": LEASE_SECONDS}
        return storage.json_bytes({**facts, "holder": f"process {os.getpid()} on {platform.node()}", **_process(os.getpid())})


@contextlib.contextmanager
def held(url: str, wait: bool = True) -> Iterator[Lease]:
    """Hold a lock on an object store during a block.

    Args:
        wait: whether to wait for as long as it takes to see that the holder is dead: up to `LEASE_SECONDS`.

    Raises: StorageError when another process holds it.
    """
    lease = _taken(url, wait)
    try:
        yield lease
    except StoreAwayError:  # it was waited for long enough
        lease.leave()
        raise
    finally:
        lease.release()


def _taken(url: str, wait: bool) -> Lease:
    lease, clock, first = Lease(url), _StoreClock(url), None
    while not lease.take():
        found = _Seen.of(url)
        if found is None:
            continue
        if found.is_ended() or found.is_over(clock, first):
            if lease.take(over=found.version):
                log.warning("%s: taken over from %s, which has ended", redact(url), found.holder)
                break
            continue
        if not wait or found.is_here() or (first is not None and found.version != first.version):
            raise _refused(url, found)
        if first is None:
            log.warning("%s: %s has a lock here; waiting to see whether it is still at work", redact(url), found.holder)
            first = found
        time.sleep(LOOK_SECONDS)
    return lease


def _refused(url: str, found: "_Seen") -> StorageError:
    return StorageError(
        f"{storage.parent(url)}: another run is working here ({found.holder}); "
        "wait until it is done, or choose another --output"
    )


@dataclass(frozen=True)
class _Seen:
    """The lock of another process, as it was at one moment."""

    version: str
    content: dict[str, Any]
    modified: datetime.datetime | None
    """By the clock of the store; None if it has no times."""
    at: float
    """By our own clock, which only measures how long we have been looking."""

    @classmethod
    def of(cls, url: str) -> "_Seen | None":
        """Look at the file; None if there is none."""
        version = conditional.version_of(url)
        if version is None:
            return None
        at, modified = time.monotonic(), _modified(url)
        data = _read(url)
        if data is None:
            return None
        content: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            content = json.loads(data)
        return cls(version, content if isinstance(content, dict) else {}, modified, at)

    @property
    def holder(self) -> str:
        """`process 17 on h3`"""
        holder = self.content.get("holder")
        return printable(holder)[:200] if isinstance(holder, str) else "an unknown process"

    def is_here(self) -> bool:
        """Return whether the holder is a process of this machine that is there."""
        return self._same_machine() and not self.is_ended()

    def is_ended(self) -> bool:
        """Return whether the holder was a process of this machine that is gone, or this one, which holds it no longer."""
        number = self.content.get("pid")
        if not self._same_machine() or not isinstance(number, int) or number <= 0:
            return False
        if number == os.getpid():
            return self.content.get("token") not in _held
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):  # another user's, whose times may be hidden
            return False
        return _process(number)["started"] not in ("", self.content.get("started"))

    def is_over(self, clock: "_StoreClock", first: "_Seen | None") -> bool:
        """Return whether the lease has ended: by the clock of the store, or because it is as it was for so long."""
        seconds = self.content.get("lease_seconds")
        seconds = (float(seconds) if isinstance(seconds, int | float) else LEASE_SECONDS) + MARGIN_SECONDS
        if first is not None and first.version == self.version and self.at - first.at >= seconds:
            return True
        now = clock.now() if self.modified else None
        return now is not None and self.modified is not None and (now - self.modified).total_seconds() >= seconds

    def _same_machine(self) -> bool:
        here = _process(os.getpid())
        return all(here[name] and self.content.get(name) == here[name] for name in ("boot", "pids"))


class _StoreClock:
    """The clock of a store, read from a file that is written there once."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}.{uuid.uuid4().hex[:8]}.tmp"
        self._read: tuple[datetime.datetime, float] | None = None

    def now(self) -> datetime.datetime | None:
        """Return the time, too early rather than too late; None if the store has no times."""
        if self._read is None:
            storage.write_bytes(self._url, b"what is the time?")
            after = time.monotonic()
            then = _modified(self._url)
            storage.remove(self._url)
            if then is None:
                return None
            self._read = then, after
        then, after = self._read
        return then + datetime.timedelta(seconds=time.monotonic() - after)


def _read(url: str) -> bytes | None:
    """Return the content of a file, or None if it is gone."""

    def read(file_system: Any, path: str) -> Any:
        try:
            return file_system.cat_file(path)
        except FileNotFoundError as error:
            if not is_absence(error):
                raise
            return None

    data: bytes | None = storage.at_store(url, read)
    return data


def _modified(url: str) -> datetime.datetime | None:
    """Return when a file was written, by the clock of its store; None if that has no times, or the file is gone."""

    def when(file_system: Any, path: str) -> Any:
        try:
            return file_system.modified(path)
        except (FileNotFoundError, NotImplementedError, KeyError):
            return None

    found = storage.at_store(url, when)
    if not isinstance(found, datetime.datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _process(number: Any) -> dict[str, Any]:
    """Return what tells a process of this machine from all others; without values where the system does not say."""
    found: dict[str, Any] = {"pid": number, "boot": "", "pids": "", "started": ""}
    if isinstance(number, int):
        with contextlib.suppress(OSError, IndexError):
            found["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            found["pids"] = os.readlink("/proc/self/ns/pid")
            # Field 22 of the line; the second is a name in parentheses, which may hold anything.
            found["started"] = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    return found
