"""Training that hangs is found: two real processes in a real process group, one of which freezes, or is only slow."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.training.health.slow_workers import Slow, slow

ROOT = Path(__file__).parent.parent
SECONDS = 6
"""Time-out of a step. Loaded machines let a process wait for seconds."""
LONG = SECONDS + 2

WORKER = f"""
import os, signal, sys, time
import torch, torch.distributed as dist
from model.training import workers
from model.training.health import watchdog

def steps(count):
    for _ in range(count):
        workers.all_reduce_sum(torch.ones(1))
        watchdog.progress()

def say(what):
    print(what, flush=True)

rank = int(os.environ["RANK"])
with workers.process_group(), watchdog.watching({SECONDS}, watchdog.end_process):
    last = rank == workers.world_size() - 1
"""
SLOW = f"""
    if last: time.sleep({LONG})   # a first step, which compiles
    steps(5); say("compiled")
    if last:
        with watchdog.busy("reading samples"): time.sleep({LONG})
    steps(5); say("read")
    workers.broadcast_from_rank0(lambda: time.sleep({LONG}))
    steps(5); say("written")
    for _ in range(6 if last else 1):   # a validation: one worker has more to do
        time.sleep({SECONDS} / 3); watchdog.progress()
    steps(5); say("validated")
"""
FROZEN = """
    steps(5); say("frozen")
    if last: os.kill(os.getpid(), signal.SIGSTOP)
    steps(5); say("thawed")
"""
SLOWED = """
    from model.training.health.slow_workers import SlowWorkers, Timer
    found = SlowWorkers()
    for step in range(45):
        timer = Timer(workers.device())
        time.sleep(0.3 if last else 0.02)   # loaded machines sleep longer
        for one in found.add(timer.stop()(), 100):
            say(f"step {step}: rank {one.rank} on {one.host}, {one.ratio > 2}")
"""
STUCK = """
    steps(50); say("stuck")
    if last: time.sleep(1_000)
    steps(5)
"""


def test_a_worker_is_slow_beside_the_median_of_the_others() -> None:
    hosts = ["a", "b", "c", "d"]
    assert slow([1.0, 1.1, 2.4, 0.9], hosts) == [Slow(2, "c", 2.4)]
    assert slow([1.0, 2.4], hosts[:2]) == [Slow(1, "b", 2.4)]
    assert slow([1.0, 1.9, None, 1.0], hosts) == slow([3.0, None], hosts[:2]) == []


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def pair(port: int) -> Iterator["Pair"]:
    pair = Pair(port)
    yield pair
    for process in pair.processes:
        process.kill()
        process.communicate()


class Pair:
    """Two workers that run a program."""

    def __init__(self, port: int) -> None:
        self.environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, program: str, size: int = 2) -> list["subprocess.Popen[str]"]:
        for rank in range(size):
            environment = {
                **os.environ,
                **self.environment,
                "RANK": str(rank),
                "WORLD_SIZE": str(size),
                "PYTHONPATH": str(ROOT),
            }
            command = [sys.executable, "-c", WORKER + program]
            self.processes.append(
                subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            )
        return self.processes

    def ends(self, rank: int) -> tuple[int, str, str]:
        out, errors = self.processes[rank].communicate(timeout=240)
        return self.processes[rank].returncode, out, errors


@pytest.mark.slow
def test_slow_first_steps_reading_checkpoints_and_validations_are_no_hang(pair: Pair) -> None:
    pair.start(SLOW)
    for rank in range(2):
        code, out, errors = pair.ends(rank)
        assert (code, out.split()) == (0, ["compiled", "read", "written", "validated"]), errors


def test_a_frozen_worker_is_found_by_the_one_that_waits_for_it(pair: Pair) -> None:
    pair.start(FROZEN)
    code, out, errors = pair.ends(0)
    assert (code, out.split()) == (1, ["frozen"])
    host = socket.gethostname()
    assert f"s, and nothing heard of rank 1 on {host}: frozen, or cut off" in errors.splitlines()[-1]
    assert errors.splitlines()[-1].startswith("Error: no progress for ")


@pytest.mark.slow
def test_a_frozen_worker_that_everybody_meets_at_is_found(pair: Pair) -> None:
    pair.start(FROZEN.replace("last", "rank == 0"))  # the store of the group is in its process
    code, _, errors = pair.ends(1)
    assert code == 1
    assert f"nothing heard of rank 0 on {socket.gethostname()}" in errors.splitlines()[-1]


@pytest.mark.slow
def test_a_collective_that_never_ends_is_found_by_all(pair: Pair) -> None:
    pair.start(STUCK)
    for rank in range(2):
        code, _, errors = pair.ends(rank)
        assert code == 1
        assert errors.splitlines()[-1].endswith("s: all workers wait, in a collective")


@pytest.mark.slow
def test_a_process_that_a_person_stopped_for_a_while_goes_on(pair: Pair) -> None:
    (process,) = pair.start('\n    steps(50); say("stop me")\n    time.sleep(3); steps(5); say("done")\n', size=1)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(LONG)
    process.send_signal(signal.SIGCONT)
    code, out, errors = pair.ends(0)
    assert (code, out.split()) == (0, ["done"]), errors


@pytest.mark.slow
def test_a_slow_worker_is_named_with_its_host(pair: Pair) -> None:
    pair.start(SLOWED)
    for rank in range(2):
        code, out, errors = pair.ends(rank)
        assert code == 0, errors
        assert out.splitlines() == [f"step {step}: rank 1 on {socket.gethostname()}, True" for step in (20, 40)]
