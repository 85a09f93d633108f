"""Hosts of network namespaces: what they share, what they do not, how they are lost, and trainings over their network."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model.checkpoints import checkpoint
from pipeline import storage
from tests import hosts, machines, tiny
from tests.machines import HEAD, STORE, Machines
from tests.slow_processes import PATIENCE, wait_for
from tests.test_cluster import losses, pretrain_run, step_of
from tests.test_supervisor import COMMAND, prepared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
cluster = machines.fixture(workers=2)


def answer(cluster: Machines, host: str, *command: str) -> str:
    """Return what a command prints on a host."""
    out, _ = cluster.run(host, command, stdout=subprocess.PIPE, text=True).communicate()
    return str(out).strip()


def test_each_host_has_its_own_name_address_and_temporary_folders(cluster: Machines, tmp_path: Path) -> None:
    (tmp_path / "shared").touch()
    for host in cluster.hosts:
        assert answer(cluster, host, "hostname") == host
        assert f" {cluster.hosts[host].address}/24 " in answer(
            cluster, host, "ip", "address", "show", cluster.hosts[host].interface
        )
        assert (
            answer(cluster, host, "sh", "-c", "ls /dev/shm/only* /tmp/only* 2> /dev/null; touch /dev/shm/only /tmp/only") == ""
        )
        assert answer(cluster, host, "ls", str(tmp_path)) == "shared"
    assert not Path("/tmp/only").exists()
    assert cluster.path("worker1", "/tmp/only").exists()


def connects(cluster: Machines, host: str, address: str) -> bool:
    program = f"import socket; socket.create_connection(('{address}', {machines.STORE_PORT}), 2)"
    return cluster.run(host, [sys.executable, "-c", program], stderr=subprocess.DEVNULL).wait() == 0


def test_a_cut_link_passes_nothing_until_it_is_joined(cluster: Machines) -> None:
    store = cluster.hosts[machines.STORE].address
    assert connects(cluster, "worker1", store)
    cluster.cut("worker1")
    assert not connects(cluster, "worker1", store)
    assert connects(cluster, "worker2", store)
    cluster.join("worker1")
    deadline = time.monotonic() + PATIENCE
    while not connects(cluster, "worker1", store):
        assert time.monotonic() < deadline


def test_two_workers_on_two_machines_train_over_the_bridge_into_the_store(cluster: Machines, tmp_path: Path) -> None:
    run = pretrain_run(tiny.prepare(tmp_path), f"{cluster.store_url}/train", steps=40)
    driver = cluster.pretrain("head", run)
    places: set[str] = set()
    while driver.poll() is None:
        places |= {host for host in cluster.hosts if cluster.train_workers(host)}
        time.sleep(0.5)
    assert driver.returncode == 0, driver.communicate()[1].decode()
    assert places == {"worker1", "worker2"}
    assert list(losses(run.output)) == list(range(1, 41))
    assert storage.base_name(next(checkpoint.committed(run.output))) == "checkpoint-00000040"
    assert not list(Path(tmp_path).glob("attempt-*"))


@pytest.fixture
def patient() -> Iterator[None]:
    """A store that is away is waited for in this process."""
    with storage.patience(PATIENCE):
        yield


def test_a_store_that_is_away_is_waited_for_or_ends_the_run_in_one_line_and_a_checkpoint_is_read_once(
    cluster: Machines, patient: None, tmp_path: Path
) -> None:
    """Two workers on each of two machines."""
    data, output = prepared(tmp_path / "data"), f"{cluster.store_url}/away"
    sizes = ("hidden_size=128", "num_hidden_layers=4", "intermediate_size=512")
    settings = [f"encoder.{size}" for size in sizes] + ["phase.0.steps=100000", "training.keep_checkpoints=3"]
    settings += ["training.checkpoint_every=40", f"cluster.address={cluster.head_address}"]

    def command(patience: int) -> "subprocess.Popen[str]":
        words = ["pretrain", str(data / "recipe.toml"), "--data", str(data), "--output", output, "--workers", "4"]
        for each in (*settings, f"training.store_timeout_seconds={patience}"):
            words += ["--set", each]
        program = [sys.executable, "-c", COMMAND, *words]
        return cluster.run(HEAD, program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def newest() -> int:
        return step_of(next(checkpoint.committed(output), "checkpoint-0"))

    process = command(patience=5)
    wait_for(newest, process, every=0.5)
    cluster.cut(STORE)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and out == "", err
    assert "no answer from the store for 5 s" in err.splitlines()[-1] and "Traceback" not in err

    cluster.join(STORE)
    url = next(checkpoint.committed(output))
    size = sum(storage.file_size(storage.join(url, name)) for name in storage.list_names(url))
    before, ended = cluster.sent(), step_of(url)
    process = command(patience=PATIENCE)
    wait_for(lambda: checkpoint.attempts(output) == [1, 2], process, every=0.5)
    wait_for(lambda: storage.exists(f"{output}/attempt-0002/attempt.json"), process, every=0.5)
    sent = cluster.sent() - before
    assert storage.read_json(f"{output}/attempt-0002/attempt.json")["step"] == ended
    assert size > 10_000_000 and size <= sent <= 1.1 * size

    step = wait_for(lambda: newest() > ended and newest(), process, every=0.5)
    cluster.cut(STORE)
    time.sleep(20)
    cluster.join(STORE)
    wait_for(lambda: newest() > step, process, every=0.5)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, err
    assert checkpoint.attempts(output) == [1, 2], "one attempt for each call"
    assert list(losses(output)) == list(range(1, newest() + 1))


@contextlib.contextmanager
def slowed(pid: int) -> Iterator[None]:
    """Let a process run for a fifth of the time only."""
    ended = threading.Event()

    def slow() -> None:
        while not ended.is_set():
            os.kill(pid, signal.SIGSTOP)
            ended.wait(0.08)
            os.kill(pid, signal.SIGCONT)
            ended.wait(0.02)

    thread = threading.Thread(target=slow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_worker_that_is_slow_for_20_steps_is_named_with_its_host_in_the_log_and_the_metrics(
    cluster: Machines, tmp_path: Path
) -> None:
    """Three processes without Ray, as torchrun starts them."""
    run = pretrain_run(tiny.prepare(tmp_path), tmp_path / "out", steps=100_000)
    run = replace(run, config=replace(run.config, training=replace(run.config.training, checkpoint_every=50)))
    storage.write_json(str(tmp_path / "run.json"), run.to_json())
    places = (HEAD, *cluster.workers)
    settings = {"WORLD_SIZE": str(len(places)), "MASTER_ADDR": cluster.hosts[HEAD].address, "MASTER_PORT": "29400"}
    program = [sys.executable, "-m", "model.training", str(tmp_path / "run.json")]
    log = tmp_path / "log.txt"
    with log.open("wb") as file:
        processes = [
            cluster.run(host, program, env={**settings, "RANK": str(rank), "OMP_NUM_THREADS": "1"}, stdout=file, stderr=file)
            for rank, host in enumerate(places)
        ]
    try:
        wait_for(lambda: next(checkpoint.committed(run.output), None), processes[0], every=0.5)
        with slowed(processes[2].pid):
            named = "rank 2 on worker2 took "
            wait_for(lambda: named in log.read_text(), processes[0], every=0.5)
        processes[0].send_signal(signal.SIGTERM)
        assert [process.wait(PATIENCE) for process in processes] == [143] * 3, log.read_text()
    finally:
        for process in processes:
            process.kill()
    rows = [row for row in checkpoint.read_metrics(run.output) if row["kind"] == "slow"]
    assert any((row["rank"], row["host"]) == (2, "worker2") and row["ratio"] >= 2 for row in rows)
    assert " times as long as the others for the 20 steps before step " in log.read_text().partition(named)[2]


def test_a_lost_machine_leaves_the_cluster_and_comes_back(cluster: Machines) -> None:
    address = cluster.hosts["worker2"].address
    assert cluster.processes("worker2", "raylet")
    cluster.lose("worker2")
    assert cluster.processes("worker2") == {}
    deadline = time.monotonic() + PATIENCE
    while address in cluster.nodes():
        assert time.monotonic() < deadline
    cluster.start("worker2")
    assert address in cluster.nodes()


LEAVE = """
import json, time
from tests.machines import machines
with machines(workers=1) as cluster:
    cluster.run("worker1", ["sleep", "1000"])
    pids = [pid for host in cluster.hosts for pid in [cluster.hosts[host].holder.pid, *cluster.processes(host)]]
    print(json.dumps([cluster.link, pids]), flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind_however_the_tests_end(number: signal.Signals) -> None:
    if reason := hosts.unavailable():
        pytest.skip(reason)
    mounts = Path("/proc/self/mounts").read_text()
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVE],
        cwd=hosts.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    link, pids = json.loads(process.stdout.readline())
    assert len(pids) > 10 and Path(f"/sys/class/net/{link}").exists()
    process.send_signal(number)
    process.communicate()
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}").exists() for pid in pids) or Path(f"/sys/class/net/{link}").exists():
        assert time.monotonic() < deadline, f"left: {[pid for pid in pids if Path(f'/proc/{pid}').exists()]} {link}"
        time.sleep(0.2)
    assert Path("/proc/self/mounts").read_text() == mounts
    assert not [entry for entry in Path("/proc").glob("[0-9]*") if tagged(entry, process.pid)]


def tagged(entry: Path, pid: int) -> bool:
    """Whether a process was started on the hosts of another."""
    try:
        return f"\0{hosts.TAG}={pid}-" in (entry / "environ").read_text()
    except OSError:
        return False


def test_where_namespaces_are_not_allowed_the_reason_is_given(tmp_path: Path) -> None:
    program = "from tests import hosts; print(hosts.unavailable())"
    ordinary = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    told = subprocess.run(
        [*ordinary, sys.executable, "-c", program], cwd=hosts.ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert "network namespaces are not allowed here" in told and told.endswith(": they need root\n")
