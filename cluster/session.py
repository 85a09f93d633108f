"""A Ray for one run: found or started, with harmful defaults replaced, and removed afterwards without a trace.

Only what was started here is stopped here. `ray stop` is never called: it would stop every Ray on the machine.

A first reader may skip this file.
"""

import contextlib
import ipaddress
import json
import logging
import math
import os
import platform
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster import local
from cluster.config import ClusterConfig
from cluster.nodes import own_node
from cluster.stops import leave, on_sigterm, take_sigterm
from pipeline.engine.execution import cpus
from pipeline.errors import ClusterError, UnavailableError

ROOT = Path(__file__).resolve().parents[1]
"""The folder with our packages, which workers import from here."""
EXCLUDES = ["/*", "!/.", "!/pipeline", "!/model", "!/cluster", "!/workflows", "__pycache__"]
"""Files in it that workers elsewhere need no copy of, in the syntax of .gitignore: all but the packages that they import.
A list of folders to exclude would miss the next one of gigabytes, and Ray refuses more than 512 MB."""
TOKEN = secrets.token_hex(32)
"""Token of the Rays started by this process: no other user of the machine can send them work. Ray reads it once per process."""
TOKEN_ADVICE = "put the one that it was started with into RAY_AUTH_TOKEN, or into a file that RAY_AUTH_TOKEN_PATH names"
WELCOME_SECONDS = 60
"""Longest wait for the first answer of a cluster; it comes in milliseconds."""
STARTING_SECONDS = 60.0
"""Longest wait for the first machine of a cluster whose head has just been started."""
RECONNECTING = "gcs_rpc_server_reconnect_timeout_s"
"""Ray's setting for how long the head may be away before a driver gives up."""
LOST_SECONDS = 60
"""Its value in Ray."""
RETRY_SECONDS = 1.0
"""Interval of looks for a cluster that is coming back."""
log = logging.getLogger(__name__)
_folder: str | None = None
"""Folder of our own Ray while it runs."""


@contextlib.contextmanager
def connected(cluster: ClusterConfig, again: bool = False) -> Iterator[str | None]:
    """Connect to a Ray that has room for the workers; yields its folder if it is our own, else None.

    If this process is already connected to a Ray, that one is used and left as it was. `again`: the cluster at the address was
    there before, so it is waited for, and may have too little room yet.

    Raises: `UnavailableError` when there is none at the address, or it is too small.
    """
    with _environment(_settings(cluster)):
        import ray

        if ray.is_initialized():
            check_resources(cluster, _resources(), "the cluster")
            yield _folder
            return
        _configure(_mode(), own=not cluster.address)
        if cluster.address:
            with _connection(cluster, again):
                if not cluster.elastic and not again:  # else machines may still come
                    check_resources(cluster, _resources(), f"the cluster at {cluster.address}")
                yield None
        else:
            check_resources(cluster, {"CPU": cpus(), "GPU": math.inf}, "this machine")
            with _own(cluster) as folder:
                check_resources(cluster, _resources(), "this machine")
                yield folder


@contextlib.contextmanager
def attached(address: str) -> Iterator[None]:
    """Connect to a running Ray, whatever room it has.

    Raises: `ClusterError` when there is none at the address, or it refuses this machine.
    """
    if not address:  # Ray would start one of its own
        raise ClusterError("the address is empty: give that of a running Ray, such as head:6379")
    cluster = ClusterConfig(address=address)
    with _environment(_settings(cluster)):
        _configure(_mode())
        with _connection(cluster):
            yield


def check_resources(cluster: ClusterConfig, resources: Mapping[str, float], where: str) -> None:
    """Raise `UnavailableError` if there is no room for the fewest workers; Ray would wait forever.

    `resources`: amounts of `CPU` and `GPU`. `where`: what they belong to, for the message.
    """
    for name, each in (("CPU", cluster.cpus_per_worker), ("GPU", cluster.gpus_per_worker)):
        wanted, available = cluster.min_workers * each, resources.get(name, 0)
        if wanted > available:
            raise UnavailableError(
                f"{cluster.min_workers} workers with {each:g} {name} each need {wanted:g}, {where} has {available:g}:"
                f" lower workers{' or cpus_per_worker (0.5 lets two share one)' if name == 'CPU' else ''}"
            )


def _resources() -> dict[str, float]:
    """Resources of all machines of the connected Ray, claimed or not."""
    import ray

    untyped: Any = ray.cluster_resources
    return dict(untyped())


def _settings(cluster: ClusterConfig) -> dict[str, str]:
    """Environment variables that Ray reads, many of them at import. Variables that the user has set take precedence."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, Ray would rebuild the environment for every worker
        # Interval of the controller: deaths are noticed, and reports of workers processed, only then. The default is 2 s.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        # In a cluster, workers start where there is room already (policies/elastic.py).
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(min(cluster.start_timeout_seconds, 15 if cluster.address else math.inf)),
        # Workers answer the controller from a thread of their own, whatever training does: one that does not is frozen.
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(cluster.step_timeout_seconds),
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # ours is trainer.WatchDrains
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_METRICS_ENABLED": "0",  # Prometheus metrics; ours are files
    }
    if cluster.address:
        return settings
    return {
        **settings,
        **local.patience(),
        # With the token in the environment, Ray writes none to ~/.ray, where it would change how later clusters start.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        # Ray Train cannot use prestarted workers, as its own have another environment: saves 2 s and 120 MB.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_worker_niceness": "0",  # 15 would starve training beside any other program
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


def _mode() -> str:
    """Ray's word for whether this process shows a token: `token` or `disabled`.

    If RAY_AUTH_MODE is unset, `ray start` uses tokens when there is a token file, but `ray.init` on the same machine does not.
    An empty variable counts as an unset one.
    """
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    is_there = os.environ.get("RAY_AUTH_TOKEN") or path.exists()
    return os.environ.get("RAY_AUTH_MODE", "").lower() or ("token" if is_there else "disabled")


def _configure(mode: str, own: bool = False) -> None:
    """Configure Ray in this process, which reads its environment once: when it is imported, and first connects.

    `own`: for our own Ray, not for one that is running. A driver ends by itself when the first process of its Ray is away for a
    minute: wrong where an attempt to start Ray failed, of which a call may still be waiting, and needless where
    `local.check` looks after that process.
    """
    from ray import _raylet

    untyped: Any = _raylet
    away = 1_000_000 if own else int(os.environ.get(f"RAY_{RECONNECTING}", LOST_SECONDS))
    untyped.Config.initialize(json.dumps({"AUTH_MODE": mode, RECONNECTING: away}))
    untyped.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _own(cluster: ClusterConfig) -> Iterator[str]:
    """Our own Ray on this machine; yields its folder, which is removed with it."""
    global _folder

    wanted = math.ceil(cluster.max_workers * cluster.cpus_per_worker)
    with on_sigterm(leave), _quiet(), local.running(min(wanted, cpus())) as folder:
        take_sigterm(leave)  # Ray has set its own
        _folder = folder
        try:
            yield folder
        finally:
            _folder = None


@contextlib.contextmanager
def _connection(cluster: ClusterConfig, again: bool = False) -> Iterator[None]:
    """A connection to a running Ray. Its workers get our packages as they are here, whatever is installed there."""
    import ray

    own = _own_node(cluster.address, cluster.longest_start_seconds if again else 0)
    with on_sigterm(leave):
        try:
            with local.guarded() as job_config:
                untyped: Any = ray.init
                untyped(
                    address=cluster.address,
                    _node_ip_address=own,
                    job_config=None if "://" in cluster.address else job_config,  # Ray's client has no folder in common
                    runtime_env={"working_dir": str(ROOT), "excludes": EXCLUDES} if ships() else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UnavailableError(f"no connection to a Ray cluster at {cluster.address}: {reason}") from error
        with _quiet():
            try:
                take_sigterm(leave)  # Ray has set its own
                yield
            finally:
                ray.shutdown()


def ships() -> bool:
    """Whether a run on a running Ray brings our packages along, as one from a checkout does. Those of a Ray job are there."""
    return (ROOT / "pyproject.toml").exists() and "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ


def _check_welcome(address: str) -> None:
    """Ask a running Ray at `host:port` whether it takes this machine, its token and its versions.

    Ray itself would end the process on a machine that is no part of the cluster, try a wrong token for half a minute, and say
    the rest in pages.

    Raises: `ClusterError` if it does not.
    """
    import ray
    from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY

    raylet: Any = ray._raylet

    if "://" in address or not address.rpartition(":")[2].isdigit():  # of Ray's client, or `auto`
        return
    has_token = raylet.get_authentication_mode() == raylet.AuthenticationMode.TOKEN
    if has_token and not raylet.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        raise ClusterError(f"RAY_AUTH_MODE is token, but there is none: {TOKEN_ADVICE}")

    def ask() -> tuple[dict[str, str], list[str]]:
        client = raylet.GcsClient(address=address)
        sockets = [node.raylet_socket_name for node in client.get_all_node_info().values()]
        return json.loads(client.internal_kv_get(CLUSTER_METADATA_KEY, b"cluster") or b"{}"), sockets

    def answer() -> tuple[dict[str, str], list[str]]:
        return local.in_thread("ray-welcome", ask).result(WELCOME_SECONDS)

    deadline = time.monotonic() + STARTING_SECONDS
    try:
        with _without_native_log():
            takes_none = has_token and _works_without_token(answer)
            while True:
                there, sockets = answer()
                if sockets or time.monotonic() > deadline:
                    break
                time.sleep(0.2)
    except ray.exceptions.AuthenticationError as error:
        wrong = "refuses the token of this machine" if has_token else "asks for a token"
        raise ClusterError(f"the cluster at {address} {wrong}: {TOKEN_ADVICE}") from error
    except Exception as error:  # it times out, or speaks something else
        raise UnavailableError(
            f"what listens at {address} does not answer as Ray: the port of `ray start --head` is 6379 by default"
        ) from error
    if takes_none and os.environ.get("RAY_AUTH_MODE"):
        raise ClusterError(f"the cluster at {address} takes no token, but RAY_AUTH_MODE is token: unset it")
    if not any(map(_listens, sockets)):
        raise UnavailableError(f"this machine is no part of the cluster at {address}: run the command on one that is")
    if there:
        _check_versions(address, there)


def _works_without_token(ask: Callable[[], object]) -> bool:
    """Whether a running Ray answers without a token. Then this process shows none, and asks for none.

    It would get in with one too, but would itself refuse calls of that Ray: its actors would end before they start.
    """
    import ray

    _configure("disabled")
    try:
        ask()
    except BaseException as error:
        _configure("token")
        if isinstance(error, ray.exceptions.AuthenticationError):
            return False
        raise
    return True


def _listens(path: str) -> bool:
    """Whether a process of this machine listens at the path of a socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
        one.connect(path)
        return True
    return False


def _check_versions(address: str, there: Mapping[str, str]) -> None:
    """Raise `ClusterError` if Ray would refuse the versions of this machine. `there`: what the cluster was started with."""
    import ray
    from ray._private.utils import check_version_info

    try:
        level = os.environ.get("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL")
        check_version_info(dict(there), "", python_version_match_level=level)
    except RuntimeError as error:
        raise ClusterError(
            f"the cluster at {address} has Ray {there['ray_version']} on Python {there['python_version']}, this machine"
            f" Ray {ray.__version__} on Python {platform.python_version()}: use the same on all machines"
        ) from error


@contextlib.contextmanager
def _without_native_log() -> Iterator[None]:
    """Silence what Ray's native code writes to standard error: a refusal is told in a line of ours."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _own_node(address: str, seconds: float) -> str | None:
    """Address of this machine's Ray in a cluster, which is waited for up to `seconds`; None leaves it to Ray to find.

    Raises: `ClusterError` if the cluster does not answer, or does not take this machine.
    """
    deadline = time.monotonic() + seconds
    while True:
        late, found = time.monotonic() >= deadline, None
        try:
            check_reachable(address)
            _check_welcome(address)
            if not re.fullmatch(r"[^/]+:\d+", address):
                return None
            found = own_node(address)
        except UnavailableError:
            if late:
                raise
        except RuntimeError as error:
            log.debug("%s does not say which machines there are: %s", address, error)
        if found or late:
            # Ray would take a loopback address for that of the machine.
            return None if found is None or ipaddress.ip_address(found).is_loopback else found
        time.sleep(RETRY_SECONDS)


def check_reachable(address: str) -> None:
    """Raise `UnavailableError` if nothing listens at `host:port`; Ray itself would try for minutes."""
    if address.startswith("http"):
        raise ClusterError(f"{address} is the address of a dashboard: give that of Ray itself, such as head:6379")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise UnavailableError(
                f"nothing answers at {address} ({error}): start Ray there, or give another address (a run may have none)"
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep messages about dead workers and machines off standard output, as Ray's debugger does.

    `log_to_driver` does not cover them, and Ray prints the last ones as it shuts down.
    """
    from ray._private import worker

    before, worker._worker_logs_enabled = worker._worker_logs_enabled, False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before
