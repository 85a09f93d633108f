"""A Ray for one run: found or started, with every default that bites set, and gone afterwards without a trace.

Only what was started here is ended here. `ray stop` is never called: it ends every Ray of the machine.
"""

import contextlib
import logging
import math
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from cluster.config import ClusterConfig
from pipeline.errors import ClusterError

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds our rooms: workers import them from here."""
EXCLUDES = ["/*", "!/.", "!/pipeline", "!/model", "!/cluster", "__pycache__"]
"""What of it workers on other machines need no copy of, as in .gitignore: all but the rooms that they import. A list of what to
leave out would miss the next folder of gigabytes, and Ray refuses more than 512 MB."""
TOKEN = secrets.token_hex(32)
"""Of our own Rays in this process, so that no other user of the machine can send them work. Ray reads it once a process."""
_folder: str | None = None
"""Of our own Ray while there is one."""
OBJECT_STORE_BYTES = 100 << 20
"""Nothing large goes through Ray's object store; its default is a third of the memory."""


@contextlib.contextmanager
def connected(cluster: ClusterConfig) -> Iterator[str | None]:
    """Be connected to a Ray that has room for the workers; gives its folder where it is our own.

    A Ray that this process is connected to already is used, and left as it was. `ClusterError` when there is none at the
    address, or not enough in it.
    """
    with _environment(_settings(cluster)):
        import ray

        if ray.is_initialized():
            refuse_too_little(cluster, _resources(), "the cluster")
            yield _folder
        elif cluster.address:
            with _connection(cluster):
                refuse_too_little(cluster, _resources(), f"the cluster at {cluster.address}")
                yield None
        else:
            refuse_too_little(cluster, {"CPU": _cpus(), "GPU": math.inf}, "this machine")
            with _own(cluster) as folder:
                refuse_too_little(cluster, _resources(), "this machine")
                yield folder


def refuse_too_little(cluster: ClusterConfig, resources: Mapping[str, float], where: str) -> None:
    """`ClusterError` if the workers cannot all have their place; Ray would wait for it for ever."""
    for name, each in (("CPU", cluster.cpus_per_worker), ("GPU", cluster.gpus_per_worker)):
        wanted, there = cluster.workers * each, resources.get(name, 0)
        if wanted > there:
            raise ClusterError(
                f"{cluster.workers} workers with {each:g} {name} each need {wanted:g}, {where} has {there:g}:"
                f" lower workers{' or cpus_per_worker (0.5 lets two share one)' if name == 'CPU' else ''}"
            )


def _resources() -> dict[str, float]:
    """What the machines of the Ray that we are connected to have in all, claimed or not."""
    import ray

    ask: Any = ray.cluster_resources
    return dict(ask())


def _cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settings(cluster: ClusterConfig) -> dict[str, str]:
    """Environment variables that Ray reads, many of them at import; what the user has set stays."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, Ray would build the environment anew for every worker
        # How often the controller looks: until then it sees no death, and a worker's next report waits. The default is 2 s.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(cluster.start_timeout_seconds),
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(cluster.hang_timeout_seconds),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_METRICS_ENABLED": "0",  # of Prometheus; ours are files
    }
    if cluster.address:
        # Left unset, `ray start` turns tokens on where a token file lies about, and `ray.init` beside it does not.
        token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
        return {**settings, "RAY_AUTH_MODE": "token" if "RAY_AUTH_TOKEN" in os.environ or token.exists() else "disabled"}
    return {
        **settings,
        # With the token in the environment Ray writes none to ~/.ray, where it would change how later clusters start.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody takes our own machine away
        # Idle workers started ahead cannot be used by Ray Train (its own have another environment): 2 s and 120 MB for nothing.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        # Gloo takes the interface of the host name's address, which a firewall or a sleeping network may close.
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
    }


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time of a block; what the user has set stays as it is."""
    before = dict(os.environ)
    # Processes started in the block import our rooms from here, wherever they run.
    path = os.pathsep.join([str(ROOT), *filter(None, [before.get("PYTHONPATH")])])
    os.environ.update({**settings, **before, "PYTHONPATH": path})
    try:
        yield
    finally:
        # All of it: Ray sets more, such as a debugger of its own for breakpoint().
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _own(cluster: ClusterConfig) -> Iterator[str]:
    """A Ray of our own on this machine; gives its folder, which is removed with it."""
    global _folder
    import ray

    # Ray's sockets lie inside, and a socket's path has at most 107 characters.
    parent = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="nezha-", dir=parent if len(parent) < 25 else "/tmp")
    with _signals_kept():
        try:
            ray.init(
                address="local",
                num_cpus=math.ceil(cluster.workers * cluster.cpus_per_worker),
                # Needs more packages than ray[train] brings. trainer.LeanTrainer leaves out what would ask it once a second.
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
                _node_ip_address="127.0.0.1",
            )
            _exit_on_sigterm()
            _folder = folder
            with _quiet():
                yield folder
        finally:
            _folder = None
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _connection(cluster: ClusterConfig) -> Iterator[None]:
    """A connection to a Ray that runs already. Its workers get our rooms as they are here, also where others are installed."""
    import ray

    reach(cluster.address)
    ship = (
        ROOT / "pyproject.toml"
    ).exists() and "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ  # a job has shipped them already
    with _signals_kept():
        try:
            ray.init(
                address=cluster.address,
                runtime_env={"working_dir": str(ROOT), "excludes": EXCLUDES} if ship else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ClusterError(f"no connection to a Ray cluster at {cluster.address}: {reason}") from error
        try:
            _exit_on_sigterm()
            with _quiet():
                yield
        finally:
            ray.shutdown()


def reach(address: str) -> None:
    """`ClusterError` if nothing listens at `host:port`; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ClusterError(
                f"nothing answers at {address} ({error}): start Ray there, or leave `address` empty for one of our own"
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's news of dead workers off standard output, as Ray's debugger does; `log_to_driver` does not hold for them."""
    from ray._private import worker

    before, worker._worker_logs_enabled = worker._worker_logs_enabled, False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Give the caller's SIGTERM handler back: `ray.init` sets one of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_on_sigterm() -> None:
    """Leave through the `finally` blocks, so that the workers end with us, with the exit code that a shell expects."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)
