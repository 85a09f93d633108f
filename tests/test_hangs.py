"""Workers of a real Ray that freeze, wait for slow things, or work at half the speed of the others."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.config import ClusterConfig
from cluster.launch import pretrain
from cluster.session import connected
from model.checkpoints import checkpoint
from model.training.loop import TrainResult
from model.training.run import PretrainRun
from pipeline import storage
from tests import tiny
from tests.test_cluster import losses, pretrain_run, weights, worker_processes

pytestmark = pytest.mark.slow
CLUSTER = ClusterConfig(workers=2, cpus_per_worker=0.5, step_timeout_seconds=10)
STEPS = 120


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    with connected(CLUSTER):
        yield


@pytest.fixture(scope="module")
def undisturbed(corpus: tiny.Corpus, ray: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a run that nothing happened to."""
    run = pretrain_run(corpus, tmp_path_factory.mktemp("undisturbed"))
    pretrain(run, CLUSTER)
    return run.output


def meanwhile(run: PretrainRun, do: Callable[[int, int], None]) -> TrainResult:
    """Train, and call `do` with the process ids of ranks 0 and 1 once there is a checkpoint."""

    def wait() -> None:
        while not list(checkpoint.committed(run.output)):
            time.sleep(0.02)
        first = storage.read_json(storage.join(run.output, "attempt-0001", "attempt.json"))["pid"]
        (second,) = worker_processes(os.getpid()) - {first}
        do(first, second)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    result = pretrain(run, CLUSTER)
    thread.join()
    return result


def test_a_frozen_worker_is_found_and_the_weights_are_those_of_an_undisturbed_run(
    corpus: tiny.Corpus, undisturbed: str, tmp_path: Path
) -> None:
    run = pretrain_run(corpus, tmp_path)

    def freeze(first: int, second: int) -> None:
        os.kill(first, signal.SIGSTOP)  # the one that writes

    result = meanwhile(run, freeze)
    assert (result.step, result.attempt) == (STEPS, 2)
    assert losses(run.output) == losses(undisturbed)
    assert weights(run.output) == weights(undisturbed)


def test_a_freeze_of_two_seconds_costs_no_restart(corpus: tiny.Corpus, undisturbed: str, tmp_path: Path) -> None:
    run = pretrain_run(corpus, tmp_path)

    def freeze(first: int, second: int) -> None:
        os.kill(second, signal.SIGSTOP)
        time.sleep(2)
        os.kill(second, signal.SIGCONT)

    assert meanwhile(run, freeze).attempt == 1
    assert weights(run.output) == weights(undisturbed)


def test_the_workers_run_at_normal_priority_and_over_the_interface_of_their_address(ray: None) -> None:
    import ray as library

    def facts() -> tuple[int, str | None]:
        from cluster.nodes import interface_of, use_node_interface

        use_node_interface()
        assert interface_of("192.0.2.1") is None
        return os.getpriority(os.PRIO_PROCESS, 0), os.environ.get("GLOO_SOCKET_IFNAME")

    assert library.get(library.remote(num_cpus=0.5)(facts).remote()) == (os.getpriority(os.PRIO_PROCESS, 0), "lo")
