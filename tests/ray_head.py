"""A cluster of one machine as users start it: `ray start --head`, with its dashboard on loopback.

    with head(cpus=2) as cluster:
        cluster.run("submit", "tiny", "--output", "/x")        our command, as somebody elsewhere gives it

It has a home, a token, which all its processes ask for, and ports of its own; `python` is the Python of the tests. What was
started is ended by its pid.
"""

import contextlib
import importlib.util
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import local
from tests.slow_processes import descendants

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "from workflows.cli import main; main(prog_name='nezha-pipe')"]
START = """
from cluster import local
from ray._private import services
from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, METRICS_AGENT_PORT_NAME, METRICS_EXPORT_PORT_NAME, persist_port
from ray.scripts.scripts import main

start_raylet = services.start_raylet


def started(*words, **more):
    # Ray's agent writes its ports to files, and has 15 s for that, which cannot be set; they are known before.
    names = {
        "dashboard_agent_listen_port": DASHBOARD_AGENT_LISTEN_PORT_NAME,
        "metrics_agent_port": METRICS_AGENT_PORT_NAME,
        "metrics_export_port": METRICS_EXPORT_PORT_NAME,
    }
    for name, file in names.items():
        persist_port(words[11], words[2], file, more[name])
    return start_raylet(*words, **more)


services.start_raylet = started
with local.slow_start([]):  # waits for its processes, on a busy machine too
    main()
"""
PATIENT = {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300", "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "300"}
ATTEMPTS = 3
PATIENCE = 1200
"""Seconds after which a test gives up: a job starts six Pythons one after another, some with torch and Ray."""
SECRET = "AKIA" + secrets.token_hex(8)
"""The key of a store, in the environment of both sides."""


@dataclass
class Head:
    """A cluster while it is there."""

    port: int
    """Of the dashboard."""
    ray: str
    """Address of Ray itself: `host:port`."""
    token: str
    home: Path
    process: "subprocess.Popen[bytes]"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of somebody who uses it."""
        return {**_environment(self.home), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def start(self, *words: object, **environment: str) -> "subprocess.Popen[str]":
        """Start our command, which talks to this cluster unless it is told otherwise."""
        return subprocess.Popen(
            [*COMMAND, *map(str, words)],
            env={**self.environment, "RAY_API_SERVER_ADDRESS": self.address, **environment},
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run our command to its end."""
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def why_not() -> str:
    """Return why there can be no head here; "" if there can."""
    lacking = [name for name in ("aiohttp_cors", "opencensus", "prometheus_client") if importlib.util.find_spec(name) is None]
    return f"no dashboard without {', '.join(lacking)}: pip install 'ray[default]'" if lacking else ""


@contextlib.contextmanager
def head(cpus: int) -> Iterator[Head]:
    """Start a head, and end it."""
    for attempt in range(ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix="nh-", dir="/tmp"))  # the path of a socket has at most 107 characters
        found = _started(cpus, folder)
        try:
            if _is_up(found, folder / "log"):
                yield found
                return
            assert attempt < ATTEMPTS - 1, (folder / "log").read_text(errors="replace")[-4_000:]
        finally:
            _end(found.process, folder)
            shutil.rmtree(folder, ignore_errors=True)


def _started(cpus: int, folder: Path) -> Head:
    home, ports, token = folder / "home", _free_ports(7), secrets.token_hex(32)
    home.mkdir()
    words = {
        "port": ports[0],
        "dashboard-port": ports[1],
        "dashboard-agent-listen-port": ports[2],
        "dashboard-agent-grpc-port": ports[3],
        "ray-client-server-port": ports[4],
        "metrics-export-port": ports[5],
        "runtime-env-agent-port": ports[6],
        "dashboard-host": "127.0.0.1",
        "node-ip-address": "127.0.0.1",
        "include-dashboard": "true",
        "temp-dir": folder / "r",
        "num-cpus": cpus,
        "object-store-memory": 100 << 20,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                START,
                "start",
                "--head",
                "--block",
                *(f"--{name}={value}" for name, value in words.items()),
            ],
            env={
                **_environment(home),
                **local.patience(),
                **PATIENT,
                "RAY_worker_niceness": "0",
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": token,
            },
            cwd=home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Head(ports[1], f"127.0.0.1:{ports[0]}", token, home, process)


def _end(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """End a head, all processes below it, and those whose parent has died: their command lines name the folder."""
    below = {process.pid, *descendants(process.pid)}
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(60)
    below |= {pid for pid, name in descendants(1).items() if f"{folder}/" in name}
    for pid in below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _is_up(found: Head, log: Path) -> bool:
    """Wait until the node is up and the dashboard takes jobs; False if it ended."""
    deadline = time.monotonic() + PATIENCE
    request = urllib.request.Request(f"{found.address}/api/jobs/", headers=_headers(found.environment))
    while found.process.poll() is None:
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-4_000:]
        if "Ray runtime started" in log.read_text(errors="replace"):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request, timeout=30).close()
                agents = (log.parent / "r").glob("session_2*/logs/dashboard_agent.log")
                if any("Dashboard agent http address" in agent.read_text(errors="replace") for agent in agents):
                    return True
        time.sleep(0.5)
    return False


def _environment(home: Path) -> dict[str, str]:
    """Variables of this process without those of another Ray or another home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


def _free_ports(count: int) -> list[int]:
    """Ports above those of Ray's workers, and below those that the system gives to connections, of which Ray makes hundreds."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            found.add(port)
    return sorted(found)


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"}
