"""Tricks that make processes start, work and exit faster. A first reader should skip this file.

None of them changes what is written. NEZHA_PIPE_PLAIN_STARTUP=1 turns them all off, to find out whether one causes a problem.
"""

import atexit
import contextlib
import ctypes
import gc
import os
import resource
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PLAIN = "NEZHA_PIPE_PLAIN_STARTUP"
"""Environment variable: 1 turns the tricks off, here and in workers."""
KEPT_BYTES = 384 << 20
"""Memory that a process may keep from one task to the next: returning and requesting it again costs a tenth of the time."""
RARE_COLLECTIONS = (100_000, 20, 100)
"""Arguments of `gc.set_threshold`."""


def is_plain() -> bool:
    """Whether the tricks are turned off."""
    return os.environ.get(PLAIN, "0") not in ("", "0")


@contextlib.contextmanager
def without_pandas() -> Iterator[None]:
    """Hide pandas from imports of this thread, for the import of Beam, which needs none of it.

    Gain: {PANDAS}
    """
    if is_plain():
        yield
        return
    finder = _NoPandas(threading.get_ident())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@dataclass(frozen=True)
class _NoPandas:
    """A finder of modules (PEP 451) that refuses pandas."""

    thread: int

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas" and threading.get_ident() == self.thread:
            raise ModuleNotFoundError("pandas is hidden here", name=name)


@cache
def skip_pandas_in_arrow() -> None:
    """Let Arrow decide once that there is no pandas: it imports pandas to recognise its types in the first list it converts.

    `to_pandas` still works. Gain: see `without_pandas`.
    """
    import pyarrow as pa

    with without_pandas():
        pa.array([0])


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Search for reference cycles less often: tables have none.

    Gain: {GC}
    """
    before = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)


def collect_rarely() -> None:
    """The same, for the rest of a worker's life."""
    if not is_plain():
        gc.set_threshold(*RARE_COLLECTIONS)


@cache
def skip_collection_at_exit() -> None:
    """Keep Python from searching for cycles in everything that Beam's import created, several times, as it exits.

    Gain: {FREEZE}
    """
    if not is_plain():
        atexit.register(gc.freeze)


@cache
def shorten_beam_sampling() -> None:
    """Let Beam's thread that measures steps sleep 10 ms at a time, not 200: each finished step waits for it to wake.

    Gain: {SAMPLER}
    """
    from apache_beam.runners.worker.statesampler import StateSampler

    if not is_plain():
        StateSampler.__init__.__defaults__ = (10,)


def exit_without_cleanup() -> None:
    """Exit a worker by `os._exit`: the system frees a dictionary at once, Python word by word.

    Gain: {EXIT}
    """
    if not is_plain():
        atexit.register(os._exit, 0)


def loky_environment() -> dict[str, str]:
    """Environment in which loky does not take a dictionary of 300 MB for a leak and replace the worker, which loads it again.

    Gain: {LEAK}
    """
    return {} if is_plain() else {"LOKY_MAX_MEMORY_LEAK_SIZE": str(1 << 40)}


def release_memory(keep: int = 0) -> None:
    """Return freed memory to the system if this process holds more than `keep` bytes, or it keeps that of its largest step.

    Gain: {TRIM}
    """
    if is_plain() or resident_bytes() < keep:
        return
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if trim := _malloc_trim():
        trim(0)


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not report it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


@cache
def _malloc_trim() -> Any:
    """glibc's function, or None with another C library."""
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
