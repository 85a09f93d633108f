"""Elastic training: machines are lost and added while it runs, and the same samples are trained on as in one process."""

import itertools
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.config import ClusterConfig
from cluster.policies import room
from cluster.policies.room import Machine
from model.checkpoints import checkpoint, ledger, listing
from model.config import PhaseConfig
from model.training.loop import train
from model.training.stopping import StopReason, request_stop
from pipeline import storage
from tests import machines, tiny
from tests.machines import Machines
from tests.slow_processes import PATIENCE
from tests.training_folders import listed

cluster = machines.fixture(workers=4, store=False)


def machine(name: str, free: float, gpus: float = 0) -> Machine:
    return Machine(name, "127.0.0.1", 1, {"CPU": free, "GPU": gpus})


@pytest.mark.parametrize(
    ("free", "held", "each", "places"),
    [
        ([3.0, 8.0], {}, 2.0, 1 + 4),
        ([1.0, 1.0], {}, 2.0, 0),
        ([0.0, 1.0], {"m0": 3}, 2.0, 3),
        ([0.5, 0.3], {"": 2}, 0.1, 2 + 5 + 3),
        ([], {"lost": 4}, 1.0, 0),
    ],
)
def test_room_is_whole_workers_on_each_machine(free: list[float], held: dict[str, int], each: float, places: int) -> None:
    there = [machine(f"m{number}", cpus) for number, cpus in enumerate(free)]
    assert room.places(there, ClusterConfig(cpus_per_worker=each), held) == places


def test_a_worker_needs_its_gpu_too() -> None:
    there = [machine("m0", 8, gpus=2), machine("m1", 8)]
    assert room.places(there, ClusterConfig(gpus_per_worker=1), {}) == 2


def test_a_machine_that_accepts_no_connection_does_not_answer() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # ours, and nobody listens
        there = [Machine(name, "127.0.0.1", one.getsockname()[1], {}) for name, one in (("up", server), ("down", unused))]
        assert [one.id for one in room.answering(there)] == ["up"]


def policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: str = "2:4", **settings: Any) -> tuple[Any, list[Machine]]:
    """A policy that sees the machines of a list, all of which answer; it waits for nothing."""
    from ray.train.v2.api.config import ScalingConfig

    from cluster.policies import elastic

    there: list[Machine] = []
    monkeypatch.setattr(room, "machines", lambda: list(there))
    monkeypatch.setattr(room, "answering", lambda some: [one for one in some if one.port])
    for name in ("WAIT_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(elastic, name, 0)
    made = elastic.RoomPolicy(
        ScalingConfig(num_workers=4), str(tmp_path), ClusterConfig(workers=workers, address="a:1", **settings)
    )
    monkeypatch.setattr(made, "_maybe_send_resource_request", lambda: None)
    return made, there


def size(decision: Any) -> int:
    return getattr(decision, "num_workers", 0)


def test_workers_start_at_once_where_all_have_room_and_else_when_the_room_settles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, there = policy(monkeypatch, tmp_path)
    there += [machine("a", 1), machine("b", 2)]
    assert size(made.make_decision_for_non_running_worker_group()) == 0
    made._steady.seconds = 0
    assert size(made.make_decision_for_non_running_worker_group()) == 3
    made, there = policy(monkeypatch, tmp_path)
    there += [machine("a", 9)]
    assert size(made.make_decision_for_non_running_worker_group()) == 4


def test_after_a_death_as_many_start_at_once_and_after_a_loss_those_that_are_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, there = policy(monkeypatch, tmp_path)
    made.size, made.held = 3, Counter({"a": 2, "b": 1})
    there += [machine("a", 0), machine("b", 0)]
    assert size(made.make_decision_for_non_running_worker_group()) == 3
    made.held = Counter({"a": 2, "b": 1})
    there[1] = Machine("b", "127.0.0.1", 0, {"CPU": 1.0})  # Ray counts on it, but it does not answer
    made._steady.seconds = 0
    assert size(made.make_decision_for_non_running_worker_group()) == 0
    del there[1]
    assert size(made.make_decision_for_non_running_worker_group()) == 2


def test_new_workers_are_placed_once_the_last_ones_have_given_their_places_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cluster.policies import elastic

    made, _ = policy(monkeypatch, tmp_path)
    looks = iter([0, 1, 2])
    monkeypatch.setattr(room, "machines", lambda: [machine("a", next(looks))])
    made.on_controller_start_worker_group(scaling_config=None, num_workers=2)
    assert not list(looks)
    monkeypatch.setattr(room, "machines", lambda: [machine("a", 1)])
    monkeypatch.setattr(elastic, "FREE_SECONDS", 0.1)
    made.on_controller_start_worker_group(scaling_config=None, num_workers=2)  # Ray says what is wrong, or waits


def test_workers_that_made_way_for_more_do_not_wait_again_until_the_room_settles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, there = policy(monkeypatch, tmp_path)
    made.before = 2
    there.append(machine("a", 2))
    assert size(made.make_decision_for_non_running_worker_group()) == 0
    there.append(machine("b", 1))
    assert size(made.make_decision_for_non_running_worker_group()) == 3


def test_a_fixed_number_waits_for_its_room_on_machines_that_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made, there = policy(monkeypatch, tmp_path, workers="2")
    there += [machine("a", 1), Machine("lost", "127.0.0.1", 0, {"CPU": 1.0})]
    assert size(made.make_decision_for_non_running_worker_group()) == 0
    there.append(machine("spare", 1))
    assert size(made.make_decision_for_non_running_worker_group()) == 0, "Ray could take the one that is lost"
    there[1] = Machine("full", "127.0.0.1", 0, {"CPU": 0.0})
    assert size(made.make_decision_for_non_running_worker_group()) == 2


def test_places_that_old_workers_may_still_have_are_tried_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made, there = policy(monkeypatch, tmp_path, workers="2", start_timeout_seconds=100)
    there.append(machine("a", 2))
    assert size(made.make_decision_for_non_running_worker_group()) == 2
    there[0] = machine("a", 1)
    made.held.clear()
    assert size(made.make_decision_for_non_running_worker_group()) == 0
    made._waits_since -= 101
    assert size(made.make_decision_for_non_running_worker_group()) == 2
    made.held.clear()  # it failed
    assert size(made.make_decision_for_non_running_worker_group()) == 0


def test_too_little_room_for_too_long_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pipeline.errors import ClusterError

    made, there = policy(monkeypatch, tmp_path, start_timeout_seconds=1e-9)
    there.append(machine("a", 1))
    made.make_decision_for_non_running_worker_group()
    with pytest.raises(ClusterError, match="there is room for 1 workers and training needs 2, for 0 s now: add machines"):
        made.make_decision_for_non_running_worker_group()


def test_more_room_that_stays_makes_the_workers_stop_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from types import SimpleNamespace

    made, there = policy(monkeypatch, tmp_path)
    workers = [SimpleNamespace(metadata=SimpleNamespace(node_id=name)) for name in "aab"]
    made.size, running = 3, SimpleNamespace(workers=workers)
    there += [machine("a", 0), machine("b", 0)]
    made._steady.seconds = 0
    made.make_decision_for_running_worker_group(running, None)
    assert not (tmp_path / "stop.json").exists()
    checkpoint.Attempt.begin(str(tmp_path), 0)
    there.append(machine("c", 9))
    made.make_decision_for_running_worker_group(running, None)
    assert storage.read_json(str(tmp_path / "stop.json")) == {"attempt": 1, "reason": "resize"}


def test_the_report_says_how_many_workers_train_and_once_that_some_have_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cluster.progress import Progress

    said: list[str] = []
    run = tiny.pretrain_run(tiny.prepare(tmp_path), tmp_path / "out")
    progress = Progress(run, lambda done, steps, what: said.append(what), workers=8)
    for workers, step in ((3, 0), (2, 1), (2, 2), (8, 3)):
        attempt = checkpoint.Attempt.begin(run.output, step, workers=workers)
        row = {"attempt": attempt.number, "step": step + 1, "loss": 5.25, "tokens_per_second": None, "idle_workers": step}
        storage.write_json(storage.join(run.output, "progress.json"), row)
        progress.show(now=True)
    assert [what for what in said if "step" not in what or "steps:" in what] == [
        "pretrain: training with 3 workers: there is room for no more (attempt 1)",
        "pretrain: continuing with 2 workers instead of 3 (attempt 2)",
        "pretrain: 1 of 2 workers have no micro-batch in some steps: raise batch_size, lower micro_batch_tokens, or use fewer",
        "pretrain: restarting after a failure (attempt 3)",
        "pretrain: continuing with 8 workers instead of 2 (attempt 4)",
    ]


class Watched:
    """A driver whose reports are read while it runs."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.reports: list[tuple[float, str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.reports.append((time.monotonic(), line.decode().rstrip()))

    def wait(self, there: Callable[[str], bool]) -> float:
        """Wait for a report; return when it came."""
        deadline = time.monotonic() + PATIENCE
        while not (found := [at for at, line in self.reports if there(line)]):
            assert time.monotonic() < deadline and self.process.poll() is None, "\n".join(line for _, line in self.reports)
            time.sleep(0.1)
        return found[0]

    def wait_for_steps(self) -> float:
        """Wait for a step that is new from now on; return when it was reported."""
        after = time.monotonic()
        self.wait(lambda line: "step" in line)
        deadline = after + PATIENCE
        while not (found := [at for at, line in self.reports if at > after and "pretrain: step" in line]):
            assert time.monotonic() < deadline and self.process.poll() is None, "\n".join(line for _, line in self.reports)
            time.sleep(0.1)
        return found[0]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_from_4_to_2_to_3_to_4_machines_the_ledger_and_the_losses_are_those_of_one_process(
    cluster: Machines, tmp_path: Path
) -> None:
    """Two of four machines are killed, then come back one after the other. Their links are slow, so that steps take a while."""
    corpus = tiny.prepare(tmp_path)
    phase = PhaseConfig(sequence_length=24, batch_size=16, steps=100_000, learning_rate=1e-4, schedule="constant")
    settings: dict[str, Any] = {"checkpoint_every": 25, "validate_every": 100_000, "log_examples": True, "spike_sigma": 0}
    run = tiny.pretrain_run(corpus, tmp_path / "elastic", (phase,), **settings)
    driver = Watched(cluster.pretrain("head", run, workers="2:4", max_failures=0))
    try:
        driver.wait_for_steps()
        while not any(listing.committed(run.output)):
            assert driver.process.poll() is None
            time.sleep(0.1)
        for host in cluster.workers:
            cluster.limit(host, 8)
        seconds = {}
        for change, expected in ((_lose_two, 2), (_add_one, 3), (_add_one, 4)):
            driver.wait_for_steps()
            began = change(cluster)
            driver.wait(lambda line, expected=expected: f"continuing with {expected} workers" in line)  # type: ignore[misc]
            seconds[f"to {expected} workers"] = driver.wait_for_steps() - began
        driver.wait_for_steps()
        request_stop(run.output, StopReason.REQUEST, 1_000)
        driver.process.wait(PATIENCE)
    finally:
        driver.process.send_signal(signal.SIGKILL)
        cluster.heal()
    print("seconds from the change to the next step:", {name: round(one, 1) for name, one in seconds.items()})
    check_the_ledger(run, tiny.pretrain_run(corpus, tmp_path / "alone", (phase,), **settings))


def check_the_ledger(run: Any, alone: Any) -> None:
    """Compare a run with one in this process, step by step."""
    facts = [
        storage.read_json(f"{run.output}/{listing.attempt_name(number)}/attempt.json")
        for number in listing.attempts(run.output)
    ]
    assert [one["workers"] for one in facts] == [4, 2, 3, 4]
    last = listing.step_of(next(listing.committed(run.output)))
    asked = itertools.count(1)
    train(alone, should_stop=lambda: next(asked) == last)
    assert listing.step_of(next(listing.committed(alone.output))) == last
    assert listed(run.output) == listed(alone.output)
    assert sorted(listed(run.output)) == list(range(1, last + 1))
    assert ledger.problems(run.output) == ledger.problems(alone.output) == []
    rows, others = ([row for row in checkpoint.read_metrics(one.output) if row["kind"] == "train"] for one in (run, alone))
    assert [row["examples"] for row in rows] == [row["examples"] for row in others]
    np.testing.assert_allclose([row["loss"] for row in rows], [row["loss"] for row in others], rtol=1e-3)
    # Growing repeats no step: an attempt resumes where the one before it stopped.
    for number, after in ((2, 3), (3, 4)):
        done = [name for name in storage.list_names(f"{run.output}/attempt-{number:04d}") if name.startswith("metrics-")]
        assert int(done[-1].split("-")[1].partition(".")[0]) == facts[after - 1]["step"]


def _lose_two(cluster: Machines) -> float:
    began = time.monotonic()
    for host in cluster.workers[:2]:
        cluster.lose(host)
    return began


def _add_one(cluster: Machines) -> float:
    """Start the Ray of a machine that was lost; returns when it is part of the cluster."""
    cluster.start(next(host for host in cluster.workers if host not in cluster.up))
    return time.monotonic()
