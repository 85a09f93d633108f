"""Tricks that make processes start and exit faster and hold less memory. A first reader should skip this file.

None of them changes what is written. NEZHA_PIPE_PLAIN_STARTUP=1 turns them all off, to find out whether one causes a problem.

Each says what it gains, measured with that one turned off on a busy machine with two cores: `nezha-pipe prepare` on 0.5 MB of
news, Python 3.11, Beam 2.77. All together gain 0.6 of 4.6 s of CPU with one worker and 1.7 of 8.4 s with two (user + system,
all processes, medians of 6 pairs of runs), and 35 MB of the program's memory. Delete one when it gains nothing.
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


def is_plain() -> bool:
    """Whether the tricks are turned off."""
    return os.environ.get(PLAIN, "0") not in ("", "0")


def sleep_while_waiting() -> None:
    """Let OpenMP's threads, which torch computes with, sleep while they wait for each other, in programs started from here too.

    By default they spin, each on a core that the thread it waits for may need. Call it before torch is imported.

    Gain: steps of a layer (width 128) with 2 threads on 2 cores, beside two busy programs: 28 per second in place of 3.
    On idle cores such small operations take 1.3 times as long, and those of a base model no longer.
    """
    if not is_plain():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextlib.contextmanager
def without_pandas() -> Iterator[None]:
    """Hide pandas from imports of this thread: Beam and Arrow import it where it is installed, and need none of it here.

    Gain: 0.25 s of CPU and 30 MB in each process; 0.5 s of CPU in a run with two workers.
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
    """Let Arrow decide, for good, that there is no pandas: it checks for pandas types at the first list that it converts.

    `to_pandas` still works. Gain: part of that of `without_pandas`, all of it in workers.
    """
    import pyarrow as pa

    with without_pandas():
        pa.array([0])


@cache
def skip_collection_at_exit() -> None:
    """Keep Python's garbage collector, as it exits, from searching everything that Beam's import created, several times.

    Gain: 0.2 s of CPU, which the user waits for.
    """
    if not is_plain():
        atexit.register(gc.freeze)


@cache
def shorten_beam_sampling() -> None:
    """Let Beam's thread that measures a step sleep at most 10 ms at a time, not 200: when the step ends, Beam waits for it.

    Gain: 0.15 s of waiting (the 6 steps of a run waited 0.17 s in total, now 0.02 s); 0.2 s on 2 MB.
    """
    from apache_beam.runners.worker.statesampler import StateSampler

    if not is_plain():
        StateSampler.__init__.__defaults__ = (10,)


def loky_environment() -> dict[str, str]:
    """Return environment variables for workers, so that loky does not take 300 MB of tables for a leak.

    It would warn the user and restart the worker, where psutil is installed. Gain: none on small corpora.
    """
    return {} if is_plain() else {"LOKY_MAX_MEMORY_LEAK_SIZE": str(1 << 40)}


def release_memory(keep: int = 0) -> None:
    """Return freed memory to the system if this process holds more than `keep` bytes, or it keeps that of its largest step.

    Gain: 25 to 65 MB of a peak of 625 MB, summed over processes (PSS), on 20 MB of news; no time.
    """
    if is_plain() or resident_bytes() < keep:
        return
    if pa := sys.modules.get("pyarrow"):
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
