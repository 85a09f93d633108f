"""`nezha-pipe ui`: Dagster's page over one or several recipes, with its daemon in the same process.

    serve(History.of("runs/tiny"), {"NEZHA_PIPE_RECIPE": "tiny"}, "127.0.0.1", 3000, print)

`dagster dev` has six processes for this. Here the page and the daemon share one, and one code server: Dagster's own, so that
the page can load recipes anew. Runs are processes of their own, which outlive the page (launching.py).
"""

import contextlib
import errno
import importlib.util
import ipaddress
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline.errors import RecipeError
from workflows.orchestration.history import History

DEFINITIONS = "workflows.definitions"
MODULES = str(Path(__file__).parents[2])
"""Where Dagster looks for our rooms. It puts this folder in place of the first one of sys.path, which with PYTHONSAFEPATH may
be the very folder that they are in; without one it would take the current folder, which is not to be trusted."""
HEARTBEAT_SECONDS, TOLERANCE_SECONDS, ERROR_SECONDS = 30, 1800, 30
CHECK_SECONDS = 10.0
"""Between two questions whether the daemon lives."""


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(history: History, variables: Mapping[str, str], host: str, port: int, on_start: Callable[[str], None]) -> int:
    """Serve the page and run the daemon until SIGINT or SIGTERM, and return an exit code.

    Args:
        variables: of workflows/definitions.py.
        on_start: called with the address.

    Raises: RecipeError if the package is missing or the port is taken, StorageError if the history cannot be written.
    """
    if importlib.util.find_spec("dagster_webserver") is None:
        raise RecipeError("the page needs a package: pip install 'nezha-pipe[ui]'")
    os.environ.setdefault("DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS", "30")  # 5 s; for dead runs, rarely
    import uvicorn
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import ModuleTarget
    from dagster._daemon.controller import DagsterDaemonController, create_daemons_from_instance
    from dagster_webserver.app import create_app_from_workspace_process_context

    _refuse_taken(host, port)
    history.prepare()
    # Read by the code server and by runs too.
    os.environ.update({"DAGSTER_HOME": str(history.folder), "DAGSTER_DISABLE_TELEMETRY": "1", **variables})
    logging.getLogger("dagster").setLevel(logging.WARNING)
    # Warns at each first start that it is the first.
    logging.getLogger("dagster.daemon.EventLogConsumerDaemon").setLevel(logging.ERROR)
    target = ModuleTarget(module_name=DEFINITIONS, attribute=None, working_directory=MODULES, location_name=None)
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.get())
        context = stack.enter_context(WorkspaceProcessContext(instance, target, code_server_log_level="WARNING"))
        app = create_app_from_workspace_process_context(context, "", None)
        server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))
        daemons = [stack.enter_context(daemon) for daemon in create_daemons_from_instance(instance)]
        controller = stack.enter_context(
            DagsterDaemonController(
                context,
                daemons,
                heartbeat_interval_seconds=HEARTBEAT_SECONDS,
                heartbeat_tolerance_seconds=TOLERANCE_SECONDS,
                error_interval_seconds=ERROR_SECONDS,
            )
        )
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(controller, server, ended), daemon=True)
        watch.start()
        on_start(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        # uvicorn raises a signal again once it has stopped: the code server is to end too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
        daemon_died = ended.is_set()
        ended.set()
    return int(daemon_died)


def _watch(controller: Any, server: Any, ended: threading.Event) -> None:
    """End the page when the daemon has ended: otherwise nothing would be started any more, and nobody would know."""
    while not ended.wait(CHECK_SECONDS):
        try:
            controller.check_daemon_threads()
        except Exception:  # Dagster has logged which of its threads has ended
            ended.set()
            server.should_exit = True


def _refuse_taken(host: str, port: int) -> None:
    """Raises: RecipeError for a port that another program has, or an address that is not this machine's."""
    import socket

    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise RecipeError(f"{host}: {error.strerror or error}; choose another --host") from error
        raise RecipeError(f"{host}:{port}: {error.strerror or error}; choose another --port") from error
