"""What happens to machines, workers and drivers of a cluster: training continues on what is there, and only once."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model.checkpoints import checkpoint
from model.training.stopping import StopReason, request_stop
from pipeline import storage
from tests import machines, tiny
from tests.machines import HEAD, Machines
from tests.slow_processes import PATIENCE, descendants
from tests.test_cluster import losses, pretrain_run, step_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
cluster = machines.fixture(workers=3, store=False)
SUPERVISED = """
import json, sys
from cluster.config import ClusterConfig
from cluster.supervisor import pretrain
from model.training.run import PretrainRun
document, settings = json.load(sys.stdin)
report = lambda *words: print(*words, file=sys.stderr, flush=True)
pretrain(PretrainRun.from_json(document), ClusterConfig(**settings), report)
"""
STEPS = 600
LONG = 100_000
"""Steps of a run that is stopped."""
MEGABITS = 8.0
"""Limit of each worker's link: a step then takes about 0.2 s, whatever else the machine does."""
DRIVER = "-m cluster.driver"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def healed(cluster: Machines) -> Iterator[None]:
    """A cluster that is whole again after each test."""
    yield
    cluster.heal()


class Run:
    """A training with two workers on three machines, by a supervisor on `host`. A long one has slow links."""

    def __init__(
        self, cluster: Machines, corpus: tiny.Corpus, output: Path, host: str = HEAD, steps: int = STEPS, **settings: Any
    ) -> None:
        self.cluster, self.run = cluster, pretrain_run(corpus, output, steps=steps)
        self.output = self.run.output
        for worker in cluster.workers if steps == LONG else ():
            cluster.limit(worker, MEGABITS)
        self.log = output.with_suffix(f".{time.monotonic_ns()}.log").open("wb")
        self.process = cluster.run(
            host, [sys.executable, "-c", SUPERVISED], stdin=subprocess.PIPE, stdout=self.log, stderr=self.log
        )
        settings = {
            "address": cluster.head_address,
            "workers": 2,
            "cpus_per_worker": 1,
            "start_timeout_seconds": 30,
            **settings,
        }
        assert self.process.stdin
        self.process.stdin.write(storage.json_bytes([self.run.to_json(), settings]))
        self.process.stdin.close()

    def said(self) -> str:
        return Path(str(self.log.name)).read_text(errors="replace")

    def wait_for(self, there: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := there()):
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.1)
        return found

    def newest(self) -> int:
        """Step of the newest checkpoint; 0 without one."""
        return step_of(url) if (url := next(checkpoint.committed(self.output), None)) else 0

    def go_on(self, checkpoints: int = 1) -> None:
        """Wait for checkpoints that are new from now on."""
        step = self.newest()
        self.wait_for(lambda: self.newest() >= step + 20 * checkpoints)

    def training_on(self) -> list[str]:
        """Machines with workers, but for that of the driver."""
        return [host for host in self.cluster.workers if self.cluster.train_workers(host)]

    def resumed_at(self, attempt: int) -> int:
        """The step that an attempt began at, once it has begun."""
        url = storage.join(self.output, checkpoint.attempt_name(attempt), "attempt.json")
        self.wait_for(lambda: storage.exists(url))
        return int(storage.read_json(url)["step"])

    def begun(self, attempt: int) -> dict[str, Any]:
        """What an attempt has written down about itself."""
        facts: dict[str, Any] = storage.read_json(storage.join(self.output, checkpoint.attempt_name(attempt), "attempt.json"))
        return facts

    def drivers(self) -> list[int]:
        return [pid for pid, line in descendants(self.process.pid).items() if DRIVER in line]

    def stop(self) -> None:
        """Stop a long run."""
        request_stop(self.output, StopReason.REQUEST, attempt=1_000)
        assert self.process.wait(PATIENCE) == 0, self.said()
        assert list(losses(self.output)) == list(range(1, self.newest() + 1)), "each step counts once"

    def finish(self) -> None:
        assert self.process.wait(PATIENCE) == 0, self.said()
        assert list(losses(self.output)) == list(range(1, STEPS + 1)), "each step counts once"


def test_a_machine_that_is_drained_costs_no_step(cluster: Machines, corpus: tiny.Corpus, tmp_path: Path) -> None:
    run = Run(cluster, corpus, tmp_path / "out", max_failures=0)
    run.wait_for(run.newest)
    leaving = run.training_on()[0]
    node = cluster.nodes()[cluster.hosts[leaving].address]
    reason = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot", "--deadline-remaining-seconds=300"]
    ray = str(Path(sys.executable).parent / "ray")
    drained = cluster.run(
        HEAD, [sys.executable, ray, "drain-node", f"--address={cluster.head_address}", f"--node-id={node}", *reason]
    )
    assert drained.wait() == 0
    resumed = run.resumed_at(2)
    rows = Path(run.output, "attempt-0001").glob("metrics-*.jsonl")
    assert resumed == max(int(path.stem.removeprefix("metrics-")) for path in rows), "the step that it stopped at"
    run.wait_for(lambda: len(run.training_on()) == 2)
    assert leaving not in run.training_on()
    run.finish()
    assert "continuing on other machines (attempt 2)" in run.said()
    cluster.lose(leaving)  # a drained Ray stays drained


def test_a_lost_machine_is_replaced_by_a_spare(cluster: Machines, corpus: tiny.Corpus, tmp_path: Path) -> None:
    run = Run(cluster, corpus, tmp_path / "out", max_failures=1)
    run.wait_for(run.newest)
    lost = run.training_on()[0]
    cluster.lose(lost)
    assert run.resumed_at(2) >= 20
    run.finish()


def content(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file in a folder, with its size and the time of its last change."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_a_cut_of_two_seconds_costs_nothing_and_after_a_long_one_the_machine_writes_nothing(
    cluster: Machines, corpus: tiny.Corpus, tmp_path: Path
) -> None:
    """The machine that is cut off is the one that writes, and it still sees the folder. Nobody else ends its worker."""
    run = Run(cluster, corpus, tmp_path / "out", steps=LONG, max_failures=1, step_timeout_seconds=PATIENCE)
    run.wait_for(run.newest)
    host = run.begun(1)["host"]
    cluster.cut(host)
    time.sleep(2)
    cluster.join(host)
    run.go_on(2)
    assert checkpoint.attempts(run.output) == [1]

    cluster.cut(host)
    began = time.monotonic()
    assert run.resumed_at(2) >= 40 and run.begun(2)["host"] != host
    print(f"seconds from the cut to the next attempt: {time.monotonic() - began:.1f}")
    run.go_on(2)  # what dead attempts have left half-written is removed with the first of them
    left = content(Path(run.output, "attempt-0001"))
    assert cluster.train_workers(host), "it has not ended by itself"
    cluster.join(host)
    run.wait_for(lambda: not cluster.train_workers(host))
    run.go_on()
    run.stop()
    assert content(Path(run.output, "attempt-0001")) == left
    assert checkpoint.attempts(run.output) == [1, 2]


@contextlib.contextmanager
def drivers_counted(run: Run) -> Iterator[list[int]]:
    """Count the drivers of a run over and over; the list has the largest number when the block ends."""
    ended, most = threading.Event(), [0]

    def count() -> None:
        while not ended.wait(0.2):
            most[0] = max(most[0], len(run.drivers()))

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def test_a_frozen_worker_is_replaced_and_there_are_never_two_drivers(
    cluster: Machines, corpus: tiny.Corpus, tmp_path: Path
) -> None:
    run = Run(cluster, corpus, tmp_path / "out", steps=LONG, step_timeout_seconds=15)
    run.wait_for(run.newest)
    with drivers_counted(run) as most:
        (driver,) = run.drivers()
        os.kill(driver, signal.SIGSTOP)
        other = Run(cluster, corpus, tmp_path / "out", steps=LONG)
        assert other.process.wait(PATIENCE) != 0 and "another run is working here" in other.said()
        run.go_on()  # the workers need no driver
        os.kill(driver, signal.SIGCONT)

        (host,) = (name for name in run.training_on() if name != run.begun(1)["host"])
        (frozen,) = cluster.train_workers(host)
        os.kill(frozen, signal.SIGSTOP)
        assert run.resumed_at(2) >= 40
        run.wait_for(lambda: not Path(f"/proc/{frozen}").exists())
        run.go_on()

        os.kill(driver, signal.SIGSTOP)
        os.kill(driver, signal.SIGKILL)
        run.resumed_at(3)
        run.go_on()
    assert most == [1]
    assert run.drivers() != [driver]
    run.stop()
    assert checkpoint.attempts(run.output) == [1, 2, 3]


def test_after_the_head_was_restarted_training_goes_on(cluster: Machines, corpus: tiny.Corpus, tmp_path: Path) -> None:
    """The supervisor is on another machine. No Ray of before knows the new head; each starts anew."""
    run = Run(cluster, corpus, tmp_path / "out", host="worker3", steps=LONG)
    run.wait_for(run.newest)
    cluster.restart_head()
    began = time.monotonic()
    assert run.resumed_at(2) >= 20
    print(f"seconds from the new head to the next attempt: {time.monotonic() - began:.1f}")
    run.go_on()
    run.stop()
