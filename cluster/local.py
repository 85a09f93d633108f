"""A Ray of our own on this machine: started with patience, reachable from this machine alone, removed without a trace.

    with running(cpus=2) as folder:
        ray.get(...)

Ray gives up after 30 s if one of its processes is not up, which a busy machine or a cold disk may take. Here it has
START_SECONDS, is started again if that was not enough, and the last failure is one line. A process that has ended is noticed at
once, and one that is stopped (SIGSTOP) after FROZEN_SECONDS, by those who call `check` while they wait for Ray.

All sockets are on 127.0.0.1, all that listens asks for a token (cluster/session.py), and everything on disk is in a folder of
mode 0700: Ray itself makes its folders writable for all.
"""

import contextlib
import fcntl
import functools
import logging
import math
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from threading import Thread
from typing import IO, Any, TypeVar

from pipeline.credentials import hide
from pipeline.errors import ClusterError, RayLostError

T = TypeVar("T")

ADDRESS = "127.0.0.1"
PREFIX = "nezha-"
"""Beginning of the names of our folders. Short, as a socket path has at most 107 characters."""
LOCK = "ray.lock"
"""File in such a folder that is locked while its process lives."""
START_SECONDS = 300
"""Longest wait for the processes of Ray, in each attempt, and for each other."""
ATTEMPTS = 2
FROZEN_SECONDS = 60
"""Time for which a process of Ray may be stopped."""
OBJECT_STORE_BYTES = 100 << 20
"""Size of Ray's object store. Nothing large goes through it; the default is a third of the memory."""
_Changes = Mapping[tuple[Any, str], Callable[[Any], Callable[..., Any]]]
"""Functions by module and name, each with what makes another of it."""
_processes: dict[Any, float] = {}
"""The processes of our own Ray while it runs, and since when each is not seen running."""


def patience() -> dict[str, str]:
    """Return environment variables by which the processes of Ray wait for each other as long as for the machine."""
    return {
        "RAY_gcs_server_port_wait_time_s": str(START_SECONDS),  # for the first process to open its port: 30
        "RAY_gcs_rpc_server_connect_timeout_s": str(START_SECONDS),  # for that port to answer: 5
        "RAY_gcs_server_request_timeout_seconds": str(START_SECONDS),  # for any answer: 60
        "RAY_py_gcs_connect_timeout_s": str(START_SECONDS),  # 30
        "RAY_raylet_start_wait_time_s": str(START_SECONDS),  # 60
        "RAY_raylet_client_num_connect_attempts": str(START_SECONDS),  # 1 s each: 10
        "RAY_agent_register_timeout_ms": str(START_SECONDS * 1_000),  # 100,000
        "RAY_worker_register_timeout_seconds": str(START_SECONDS),  # for a worker to be up: 60
        "RAY_health_check_timeout_ms": str(START_SECONDS * 1_000 // 5),  # five times in a row: 10,000
    }


@contextlib.contextmanager
def running(cpus: int) -> Iterator[str]:
    """Run a Ray of our own; yields the folder of its sessions.

    Raises: ClusterError when it does not start.
    """
    import ray

    # Ray's sockets are inside, and a socket path has at most 107 characters.
    parent = tempfile.gettempdir()
    parent = parent if len(parent) < 25 else "/tmp"
    _remove_leftovers(Path(parent))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = _locked(folder)
    try:
        for attempt in range(1, ATTEMPTS + 1):
            # Ray opens the folder it is given to all users, so that is one inside ours.
            inner = folder / str(attempt)
            if error := _start(cpus, inner):
                shutil.rmtree(inner, ignore_errors=True)
            else:
                break
        else:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ClusterError(
                f"Ray did not start on this machine in {ATTEMPTS} attempts: {reason}; run again when it is less busy"
            ) from error
        yield str(inner)
    finally:
        for process, stopped in _processes.items():
            if stopped < math.inf:
                process.send_signal(signal.SIGCONT)  # Ray waits for it
        _processes.clear()
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _locked(folder: Path) -> IO[bytes]:
    """Lock a folder for as long as this process lives, or until the file is closed.

    Raises: BlockingIOError if another process has locked it.
    """
    file = (folder / LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _remove_leftovers(parent: Path) -> None:
    """Remove the folders of Rays whose process was killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, another user's, or gone
            if (folder / LOCK).exists():
                with _locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def _start(cpus: int, folder: Path) -> Exception | None:
    """Start Ray; return why it did not, with none of its processes left."""
    import ray

    processes: list[Any] = []
    try:
        with _minimal(), slow_start(processes), _alone(), guarded() as job_config:
            ray.init(
                address="local",
                job_config=job_config,
                num_cpus=cpus,
                # Needs more packages than ray[train] brings. trainer.Trainer omits the parts that would poll it.
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(folder),
                _node_ip_address=ADDRESS,
            )
    except Exception as error:
        for process in processes:
            process.kill()
            process.wait()
        ray.shutdown()
        return error
    _processes.update(dict.fromkeys(processes, math.inf))
    return None


def check() -> None:
    """Check that the processes of our own Ray run, if there is one: Ray would wait for a stopped one without limit.

    Raises: `RayLostError` when one has ended, or has been stopped for FROZEN_SECONDS.
    """
    import psutil  # type: ignore[import-untyped]  # Ray needs it too

    now = time.monotonic()
    for process, since in _processes.items():
        try:
            stopped = psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            stopped = False
        _processes[process] = min(since, now) if stopped else math.inf
        ended = process.poll() is not None
        if ended or now - _processes[process] > FROZEN_SECONDS:
            name = Path(process.args[0]).name
            what = "has ended" if ended else f"has been stopped for {FROZEN_SECONDS} s"
            raise RayLostError(f"a process of Ray ({name}) {what}; run again: what is finished is kept")


class _NoFolders(list[str]):
    """Folders that Ray's workers import from before all others. Ray adds the current one, which may be a stranger's."""

    def extend(self, folders: Iterable[str]) -> None:
        """Add none: our packages are on PYTHONPATH (cluster/session.py)."""


@contextlib.contextmanager
def guarded() -> Iterator[Any]:
    """Yield a job configuration for a `ray.init` in the block, with which workers import nothing from the current folder.

    In the block Ray gets the command line of this process, which it shows to all who may look at the cluster, without secrets.
    """
    from ray._private import utils
    from ray.job_config import JobConfig

    config: Any = JobConfig()
    config._py_driver_sys_path = _NoFolders()
    before = getattr(utils, "get_entrypoint_name", None)
    if before is None:  # another Ray
        yield config
        return
    name = before()
    utils.get_entrypoint_name = lambda: hide(name)
    try:
        yield config
    finally:
        utils.get_entrypoint_name = before


@contextlib.contextmanager
def _minimal() -> Iterator[None]:
    """Have Ray start as where the packages of its dashboard are not installed: with them, its agent is larger and slower, and
    Ray ends if that is not up after 15 s, a constant of its own."""
    from ray._private import utils

    name = "get_dashboard_dependency_error"
    before = getattr(utils, name, None)
    if before is not None:
        setattr(utils, name, lambda: ImportError("not wanted"))
    try:
        yield
    finally:
        if before is not None:
            setattr(utils, name, before)


@contextlib.contextmanager
def slow_start(processes: list[Any]) -> Iterator[None]:
    """Have Ray wait START_SECONDS for its node, not 30 s, a constant of ray/_private/node.py. Its processes go into a list."""
    from ray._private import services

    deadline = time.monotonic() + START_SECONDS
    changes: _Changes = {
        (services, "get_node"): lambda before: functools.partial(_wait_for_node, before, processes, deadline),
        (services, "start_ray_process"): lambda before: functools.partial(_note_process, before, processes),
    }
    with _changed(changes):
        yield


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Have Ray start for this process alone.

    - It replaces 127.0.0.1 by the address of the machine, so that all its processes would listen there. Here, it does not.
    - It starts and awaits a dashboard even where none is wanted, a log monitor and an autoscaler. Here, there are none.
    """
    from ray._private import parameter, services

    changes: _Changes = {
        (services, "resolve_ip_for_localhost"): lambda before: lambda address: address,
        (services, "start_api_server"): lambda before: lambda *_, **more: ("", None),
        (parameter, "RayParams"): lambda before: functools.partial(before, include_log_monitor=False, no_monitor=True),
    }
    with _changed(changes):
        yield


@contextlib.contextmanager
def _changed(changes: _Changes) -> Iterator[None]:
    """Change functions of Ray while it starts; a later Ray that lacks one starts as it does without us."""
    originals = {(module, name): getattr(module, name) for module, name in changes if hasattr(module, name)}
    for (module, name), before in originals.items():
        setattr(module, name, changes[module, name](before))
    try:
        yield
    finally:
        for (module, name), before in originals.items():
            setattr(module, name, before)


def _note_process(start: Callable[..., Any], processes: list[Any], *arguments: Any, **more: Any) -> Any:
    found = start(*arguments, **more)
    processes.append(found.process)
    return found


def _wait_for_node(node: Callable[..., Any], processes: Sequence[Any], deadline: float, *arguments: Any, **more: Any) -> Any:
    """Return `node(...)` as soon as it is known.

    Each call is in a thread of its own, which is left behind: it looks for the node for as long as the driver waits for any
    answer of Ray's first process (`patience`), and would not see that another one has ended.

    Raises: other errors than RuntimeError, which Ray itself would wait for.
    """
    while True:
        answer = in_thread("ray-node", functools.partial(node, *arguments, **more))
        while not wait([answer], timeout=0.1).done:
            if any(process.poll() is not None for process in processes):
                raise ChildProcessError("one of its processes ended")
            if time.monotonic() > deadline:
                raise TimeoutError(f"it was not up after {START_SECONDS} s")
        with contextlib.suppress(RuntimeError):  # not there yet, or no answer
            return answer.result()
        time.sleep(0.1)


def in_thread(name: str, function: Callable[[], T]) -> "Future[T]":
    """Call `function` in a thread of its own, which does not keep the process alive."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=run, daemon=True, name=name).start()
    return result
