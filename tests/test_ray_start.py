"""Our own Ray: it may take its time to start, fails in one line, and nobody else reaches it."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cluster import local, session
from cluster.config import ClusterConfig
from cluster.session import connected
from cluster.tasks import RayTasks
from pipeline.errors import ClusterError
from tests import number_jobs, tiny
from tests.slow_processes import descendants, stopped
from tests.test_cluster import pretrain_run

ONE = ClusterConfig(workers=1, cpus_per_worker=0.5)
TWO = ClusterConfig(workers=2, cpus_per_worker=0.5)
RAYLET, GCS = "/ray/raylet/raylet --", "/ray/gcs/gcs_server --"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", [RAYLET, GCS])
def test_a_process_of_ray_may_take_longer_than_the_30_seconds_of_ray(program: str) -> None:
    with stopped(program, 36) as seen, connected(ONE):
        import ray

        assert len(seen) == 1
        assert ray.get(ray.remote(num_cpus=0.5)(lambda: 7).remote()) == 7


def at_birth(monkeypatch: pytest.MonkeyPatch, number: signal.Signals, most: int) -> list[int]:
    """Send a signal to the first raylets as they are born: a moment later Ray may be up, and a driver ends with its raylet."""
    seen: list[int] = []
    note = local._note_process

    def noted(*arguments: Any, **more: Any) -> Any:
        found = note(*arguments, **more)
        if RAYLET in " ".join(found.process.args) and len(seen) < most:
            os.kill(found.process.pid, number)
            seen.append(found.process.pid)
        return found

    monkeypatch.setattr(local, "_note_process", noted)
    return seen


@pytest.mark.timeout(300)
def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = at_birth(monkeypatch, signal.SIGSTOP, most=2)
    monkeypatch.setattr(local, "START_SECONDS", 2)
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        monkeypatch.setattr("tempfile.gettempdir", lambda: parent)
        with pytest.raises(ClusterError) as error, connected(ONE):
            pass
        assert not os.listdir(parent)
    assert str(error.value) == (
        "Ray did not start on this machine in 2 attempts: it was not up after 2 s; run again when it is less busy"
    )
    assert len(seen) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in seen)


@pytest.mark.timeout(300)
def test_a_process_of_ray_that_ends_is_noticed_at_once_and_ray_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = at_birth(monkeypatch, signal.SIGKILL, most=1)
    with connected(ONE) as folder:
        assert folder and Path(folder).name == "2"
    assert killed


SECOND_ATTEMPT = """
import signal, time
from pytest import MonkeyPatch
from cluster.session import connected
from tests.test_ray_start import ONE, at_birth

killed = at_birth(MonkeyPatch(), signal.SIGKILL, most=1)
with connected(ONE):
    time.sleep(70)
print(len(killed), "killed, and well")
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_attempt_that_failed_does_not_end_the_driver_a_minute_later() -> None:
    """Ray ends a process of which a call waits for a head that is gone."""
    done = subprocess.run([sys.executable, "-c", SECOND_ATTEMPT], capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stdout) == (0, "1 killed, and well\n"), done.stderr


@pytest.mark.timeout(300)
def test_a_process_of_ray_that_freezes_while_it_is_used_ends_the_run_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "FROZEN_SECONDS", 3)
    frozen: list[int] = []

    def freeze() -> None:
        while not number_jobs.calls(str(tmp_path / "calls")):
            time.sleep(0.05)
        frozen.extend(process.pid for process in local._processes if RAYLET in " ".join(process.args))
        os.kill(frozen[0], signal.SIGSTOP)

    waits = number_jobs.job(tmp_path, tasks=2, stop_at="000000")
    with pytest.raises(ClusterError) as error, connected(ONE):
        local.in_thread("freeze", freeze)
        RayTasks(cpus=0.5)(waits, 1)
    assert str(error.value) == "a process of Ray (raylet) has been stopped for 3 s; run again: what is finished is kept"
    assert len(frozen) == 1 and not Path(f"/proc/{frozen[0]}").exists()


def listening(processes: dict[int, str]) -> dict[str, set[str]]:
    """Return the addresses that some processes listen on, as /proc/net/tcp writes them, with their command lines."""
    found: dict[str, set[str]] = {}
    for place, name in sockets(processes):
        found.setdefault(place.partition(":")[0], set()).add(name[:80])
    return found


def sockets(processes: dict[int, str]) -> list[tuple[str, str]]:
    """Return address and port that some processes listen on, `0100007F:1F90`, each with the command line of its process."""
    inodes = {}
    for pid, name in processes.items():
        with suppress(OSError):
            for link in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):  # closed meanwhile
                    if (target := os.readlink(f"/proc/{pid}/fd/{link}")).startswith("socket:["):
                        inodes[target[8:-1]] = name
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [(columns[1], inodes[columns[9]]) for columns in lines if columns[3] == "0A" and columns[9] in inodes]


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, ::1 and ::ffff:127.0.0.1."""


@pytest.mark.timeout(300)
def test_nothing_of_a_run_can_be_reached_from_elsewhere(tmp_path: Path) -> None:
    from cluster.launch import pretrain

    run = pretrain_run(tiny.prepare(tmp_path / "corpus"), tmp_path / "out")
    seen: dict[str, set[str]] = {}

    def look(done: int, steps: int, what: str) -> None:
        mine = {os.getpid(): "driver", **descendants(os.getpid())}
        for address, names in listening(mine).items():
            seen.setdefault(address, set()).update(names)

    with connected(TWO) as folder:
        assert folder and stat.S_IMODE(Path(folder).parent.stat().st_mode) == 0o700
        assert {Path(process.args[0]).name for process in local._processes} == {"gcs_server", "raylet"}
        assert pretrain(run, TWO, look).step == 120
    assert any("RayTrainWorker" in name for names in seen.values() for name in names)
    assert seen.keys() <= LOOPBACK, seen


def test_what_listens_is_seen() -> None:
    """The test above would pass if it saw nothing."""
    with socket.create_server(("0.0.0.0", 0)), socket.create_server(("127.0.0.1", 0)):
        assert {"00000000", "0100007F"} <= listening({os.getpid(): "this"}).keys()


INTRUDER = """
import sys, urllib.error, urllib.request
import grpc
from ray._raylet import GcsClient

ports = sys.argv[2:]
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=60)
    print("cluster OK")
except Exception as error:
    print("cluster", type(error).__name__)
for port in ports:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/get_or_create_runtime_env", data=b"", method="POST")
    try:
        print("agent", urllib.request.urlopen(request, timeout=60).status)
    except urllib.error.HTTPError as error:
        print("agent", error.code)
    except Exception:
        pass  # it speaks no HTTP
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in (
            *("NodeManagerService/GetNodeStats", "CoreWorkerService/PushTask", "ObjectManagerService/Pull"),
            *("JobInfoGcsService/GetAllJobInfo", "InternalKVGcsService/InternalKVKeys"),
        ):
            try:
                channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=60)
                print(method, "OK")
            except grpc.RpcError as error:
                if error.code().name not in ("UNIMPLEMENTED", "UNAVAILABLE"):  # another service; no gRPC
                    print(method, error.code().name)
"""
"""A program on the same machine that tries whatever of Ray listens: to read what it keeps, to have it install packages, to run
functions. It prints what it was told."""
GATES = {
    *("NodeManagerService/GetNodeStats", "CoreWorkerService/PushTask", "ObjectManagerService/Pull"),
    *("JobInfoGcsService/GetAllJobInfo", "InternalKVGcsService/InternalKVKeys"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nobody_without_the_token_gets_in() -> None:
    pytest.importorskip("grpc")
    token = session.TOKEN
    with connected(ONE) as folder:
        import ray

        assert ray.get(ray.remote(num_cpus=0.5)(lambda: 7).remote()) == 7
        processes = {os.getpid(): "driver", **descendants(os.getpid())}
        ports = sorted({str(int(place.partition(":")[2], 16)) for place, _ in sockets(processes)})
        address = ray.get_runtime_context().gcs_address

        def told(**environment: str) -> set[tuple[str, ...]]:
            clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
            command = [sys.executable, "-c", INTRUDER, address, *ports]
            done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stderr
            return {tuple(line.split()) for line in done.stdout.splitlines()}

        for environment in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
            answers = told(**environment)
            assert {method for method, answer in answers if answer == "UNAUTHENTICATED"} == GATES, answers
            assert ("cluster", "AuthenticationError") in answers and ("agent", "401") in answers, answers
            assert not [answer for answer in answers if answer[1] in ("OK", "200")], answers
        assert ("cluster", "OK") in told(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token), "with the token the program gets in"

        assert not [name for name in processes.values() if token in name], "other users see command lines"
        files = [path for path in Path(folder or "").parent.rglob("*") if path.is_file()]
        assert files and not [path for path in files if token.encode() in path.read_bytes()]


@pytest.mark.timeout(300)
def test_workers_import_nothing_from_the_current_folder_and_ray_is_told_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current folder may be one that a stranger made, to be looked at."""
    (tmp_path / "colorsys.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("psutil.Process.cmdline", lambda self: ["nezha-pipe", "prepare", "http://me:opensesame@a.cn/n"])

    def imported() -> str:
        import colorsys

        return str(colorsys.__file__)

    with connected(ONE):
        import ray

        assert not ray.get(ray.remote(num_cpus=0.5)(imported).remote()).startswith(str(tmp_path))
        address = ray.get_runtime_context().gcs_address
        from ray import _raylet

        untyped: Any = _raylet
        jobs = untyped.GcsClient(address=address).get_all_job_info()
        assert [job.entrypoint for job in jobs.values()] == ["nezha-pipe prepare http://a.cn/n"]
