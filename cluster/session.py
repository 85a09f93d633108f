"""A Ray for one run: found or started, with harmful defaults replaced, and removed afterwards without a trace.

Only what was started here is stopped here. `ray stop` is never called: it would stop every Ray on the machine.

A first reader may skip this file.
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
"""The folder with our packages, which workers import from here."""
EXCLUDES = ["/*", "!/.", "!/pipeline", "!/model", "!/cluster", "__pycache__"]
"""Files in it that workers elsewhere need no copy of, in the syntax of .gitignore: all but the packages that they import.
A list of folders to exclude would miss the next one of gigabytes, and Ray refuses more than 512 MB."""
TOKEN = secrets.token_hex(32)
"""Token of the Rays started by this process: no other user of the machine can send them work. Ray reads it once per process."""
_folder: str | None = None
"""Folder of our own Ray while it runs."""
OBJECT_STORE_BYTES = 100 << 20
"""Size of Ray's object store. Nothing large goes through it; the default is a third of the memory."""


@contextlib.contextmanager
def connected(cluster: ClusterConfig) -> Iterator[str | None]:
    """Connect to a Ray that has room for the workers; yields its folder if it is our own, else None.

    If this process is already connected to a Ray, that one is used and left as it was.

    Raises: `ClusterError` when there is none at the address, or it is too small.
    """
    with _environment(_settings(cluster)):
        import ray

        if ray.is_initialized():
            check_resources(cluster, _resources(), "the cluster")
            yield _folder
        elif cluster.address:
            with _connection(cluster):
                check_resources(cluster, _resources(), f"the cluster at {cluster.address}")
                yield None
        else:
            check_resources(cluster, {"CPU": _cpus(), "GPU": math.inf}, "this machine")
            with _own(cluster) as folder:
                check_resources(cluster, _resources(), "this machine")
                yield folder


def check_resources(cluster: ClusterConfig, resources: Mapping[str, float], where: str) -> None:
    """Raise `ClusterError` if there is no room for all workers; Ray would wait forever.

    `resources`: amounts of `CPU` and `GPU`. `where`: what they belong to, for the message.
    """
    for name, each in (("CPU", cluster.cpus_per_worker), ("GPU", cluster.gpus_per_worker)):
        wanted, available = cluster.workers * each, resources.get(name, 0)
        if wanted > available:
            raise ClusterError(
                f"{cluster.workers} workers with {each:g} {name} each need {wanted:g}, {where} has {available:g}:"
                f" lower workers{' or cpus_per_worker (0.5 lets two share one)' if name == 'CPU' else ''}"
            )


def _resources() -> dict[str, float]:
    """Resources of all machines of the connected Ray, claimed or not."""
    import ray

    untyped: Any = ray.cluster_resources
    return dict(untyped())


def _cpus() -> int:
    """Number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settings(cluster: ClusterConfig) -> dict[str, str]:
    """Environment variables that Ray reads, many of them at import. Variables that the user has set take precedence."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, Ray would rebuild the environment for every worker
        # Interval of the controller: deaths are noticed, and reports of workers processed, only then. The default is 2 s.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(cluster.start_timeout_seconds),
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(cluster.hang_timeout_seconds),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_METRICS_ENABLED": "0",  # Prometheus metrics; ours are files
    }
    if cluster.address:
        # If unset, `ray start` uses tokens when there is a token file, but `ray.init` on the same machine does not.
        token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
        return {**settings, "RAY_AUTH_MODE": "token" if "RAY_AUTH_TOKEN" in os.environ or token.exists() else "disabled"}
    return {
        **settings,
        # With the token in the environment, Ray writes none to ~/.ray, where it would change how later clusters start.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # our own machine is not preempted
        # Ray Train cannot use prestarted workers, as its own have another environment: saves 2 s and 120 MB.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        # By default Gloo uses the interface of the host name's address, which may be firewalled or down.
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
    }


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the duration of a block. Variables that the user has set take precedence."""
    before = dict(os.environ)
    # Processes started in the block import our packages from here, wherever they run.
    path = os.pathsep.join([str(ROOT), *filter(None, [before.get("PYTHONPATH")])])
    os.environ.update({**settings, **before, "PYTHONPATH": path})
    try:
        yield
    finally:
        # Restore everything: Ray sets more variables, such as its own debugger for breakpoint().
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _own(cluster: ClusterConfig) -> Iterator[str]:
    """Our own Ray on this machine; yields its folder, which is removed with it."""
    global _folder
    import ray

    # Ray's sockets are inside, and a socket path has at most 107 characters.
    parent = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="nezha-", dir=parent if len(parent) < 25 else "/tmp")
    with _signals_kept():
        try:
            ray.init(
                address="local",
                num_cpus=math.ceil(cluster.workers * cluster.cpus_per_worker),
                # Needs more packages than ray[train] brings. trainer.LeanTrainer omits the parts that would poll it.
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
    """A connection to a running Ray. Its workers get our packages as they are here, whatever is installed there."""
    import ray

    check_reachable(cluster.address)
    ship = (
        ROOT / "pyproject.toml"
    ).exists() and "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ  # a Ray job has shipped them already
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


def check_reachable(address: str) -> None:
    """Raise `ClusterError` if nothing listens at `host:port`; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ClusterError(
                f"nothing answers at {address} ({error}): start Ray there, or leave `address` empty to start one for the run"
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep messages about dead workers off standard output, as Ray's debugger does; `log_to_driver` does not cover them."""
    from ray._private import worker

    before, worker._worker_logs_enabled = worker._worker_logs_enabled, False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Restore the caller's SIGTERM handler afterwards: `ray.init` sets its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_on_sigterm() -> None:
    """Make SIGTERM exit through `finally` blocks, so that the workers end too, with the exit code that a shell expects."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)
