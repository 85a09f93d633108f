"""Worker processes of this machine, kept from one stage to the next, so that a stage does not wait for them to start.

    begin(step, [task, task, ...], workers=2).results()   ->   [step(task), step(task), ...]   in the order of the tasks

`wake` starts them before there is work, `dismiss` lets them go after it. A free worker takes the next task. A worker that dies
is an error at once; an idle one ends after some seconds, so that training finds its memory free; all end with the program that
started them. Workers that have grown (dictionaries, which the next stage may not need) are replaced before the next stage.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline.errors import CorpusError

IDLE_SECONDS = 10
RARE_COLLECTIONS = (100_000, 20, 100)
"""Of `gc.set_threshold`."""
GROWN_BYTES = 512 << 20
KEPT_BYTES = 384 << 20
"""What a process may hold from one task to the next: to give memory back and ask for it again costs a tenth of the time."""

Result = TypeVar("Result")
_grown = False
_workers: Any = None


@dataclass(frozen=True)
class Begun(Generic[Result]):
    """Steps that workers are at."""

    _pool: Any
    _futures: list[Any]

    def results(self) -> list[Result]:
        """Waits for all, in the order of the tasks.

        Raises: what a step raised; CorpusError when a worker process was killed. The others are stopped then.
        """
        from loky.process_executor import TerminatedWorkerError

        global _grown
        try:
            results = [future.result() for future in self._futures]
            _grown = any(size > GROWN_BYTES for _, size in results)
            return [result for result, _ in results]
        except BaseException as error:
            self.stop()  # else the others go on writing behind the caller's back
            if isinstance(error, TerminatedWorkerError):
                raise CorpusError(
                    "a worker process was killed (out of memory?); run again, finished parts are kept, or use fewer --workers"
                ) from None
            raise

    def stop(self) -> None:
        """End the workers, whatever they are at."""
        self._pool.shutdown(wait=True, kill_workers=True)


def begin(step: Callable[[Any], Result], tasks: Sequence[Any], workers: int) -> Begun[Result]:
    """Let workers do a picklable step for each task, and do not wait for them."""
    return Begun(*_submit(workers, [(_measured, step, task) for task in tasks]))


def wake(workers: int, modules: Sequence[str]) -> None:
    """Start workers, which import what they will need while this process is about other things: they are sooner at work."""
    _submit(workers, [(_import, modules)] * workers)


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        importlib.import_module(module)


def dismiss() -> None:
    """Let the workers end, since there is no more for them to do, and do not wait for it."""
    if _workers is not None:
        _workers.shutdown(wait=False)


def _submit(workers: int, calls: Sequence[tuple[Any, ...]]) -> tuple[Any, list[Any]]:
    """Give functions with their arguments to workers, which are started if they are not there; what will come of each."""
    import loky

    global _grown, _workers
    _start_trackers()
    # Ctrl-C is for the program alone, which ends its workers: they are born, at the first submit, with it blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        _workers = loky.get_reusable_executor(
            workers,
            timeout=IDLE_SECONDS,
            kill_workers=_grown,
            reuse=False if _grown else "auto",
            initializer=_begin,
            initargs=(os.getpid(),),
            # loky takes a dictionary of 300 MB for a leak and starts a new worker, which loads it again.
            env={"LOKY_MAX_MEMORY_LEAK_SIZE": str(1 << 40)},
        )
        _grown = False
        return _workers, [_workers.submit(*call) for call in calls]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _measured(step: Callable[[Any], Result], task: Any) -> tuple[Result, int]:
    """A step's result, and the bytes of memory that its process holds after it."""
    return step(task), _resident_bytes()


def _resident_bytes() -> int:
    """Memory that this process holds; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


def _begin(parent: int) -> None:
    """What a worker does first."""
    end_with(parent)
    leave_pandas_out()
    gc.set_threshold(*RARE_COLLECTIONS)
    atexit.register(os._exit, 0)  # the system frees a dictionary at once, Python word by word


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Inside, Python looks for cycles of objects seldom: tables make none, and looking takes a twentieth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(*RARE_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@cache
def leave_pandas_out() -> None:
    """Let Arrow do without pandas in this process. At its first list it looks whether that is one of pandas', and to know what
    these are, it imports pandas where it is installed: 0.3 s. Who asks Arrow for a data frame still gets it."""
    import pyarrow as pa

    with without_pandas():
        pa.array([0])


@contextlib.contextmanager
def without_pandas() -> Iterator[None]:
    """Inside, and in this thread, pandas seems not to be installed; what has been imported before stays."""
    refusal = _NoPandas(threading.get_ident())
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


@dataclass(frozen=True)
class _NoPandas:
    """A finder of modules (PEP 451)."""

    thread: int

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas" and threading.get_ident() == self.thread:
            raise ModuleNotFoundError("pandas is left out here", name=name)


def release_memory(keep: int = 0) -> None:
    """Give back to the system what steps have freed, if this process holds more than `keep` bytes. The allocators keep it
    otherwise, each worker its own largest step."""
    import pyarrow as pa

    if _resident_bytes() < keep:
        return

    pa.default_memory_pool().release_unused()
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Any:
    """glibc's; None where there is another C library."""
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None


def _start_trackers() -> None:
    """Processes that remove what workers share if the program is killed. Started here, since they undo a blocked Ctrl-C on the
    way, and without warnings, since they write a page about what they do."""
    from loky.backend import resource_tracker as of_loky

    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        for tracker in (resource_tracker, of_loky):
            tracker.ensure_running()
    finally:
        os.environ.pop("PYTHONWARNINGS")
        os.environ |= {"PYTHONWARNINGS": before} if before is not None else {}


def end_with(parent: int) -> None:
    """Let this worker end when its program does: it would go on writing where the next run may be."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
