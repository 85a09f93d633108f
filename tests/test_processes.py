"""Worker processes: warmed up early, shut down after the last task, out of reach of Ctrl-C."""

import os
import signal
import sys
import time

import pytest

from pipeline.engine import startup
from pipeline.engine.processes import WorkerPool, pool


def process(_: int) -> int:
    return os.getpid()


def has_loaded(module: str) -> bool:
    return module in sys.modules


def worker_processes() -> set[int]:
    return set(pool.start(process, range(8), 2).results())


def has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_that_were_warmed_up_are_those_that_work() -> None:
    pool.shutdown()
    pool.warm_up(2, ["colorsys"])
    warm = set(pool._executor._processes)
    assert len(warm) == 2
    assert worker_processes() <= warm
    # The worker that starts first may import for both.
    assert any(pool.start(has_loaded, ["colorsys"] * 8, 2).results())


def test_plain_startup_warms_up_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(startup.PLAIN, "1")
    cold = WorkerPool()
    cold.warm_up(2, [])
    assert cold._executor is None


def is_blocked(_: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("warm", [True, False])
def test_ctrl_c_is_for_the_program_alone(warm: bool) -> None:
    pool.shutdown()
    if warm:
        pool.warm_up(2, [])
    assert all(pool.start(is_blocked, range(8), 2).results())
    assert not is_blocked(0)


def test_workers_exit_after_a_shutdown_and_later_tasks_start_others() -> None:
    before = worker_processes()
    pool.shutdown()
    deadline = time.monotonic() + 60
    while not all(map(has_ended, before)):
        assert time.monotonic() < deadline, "they do not exit"
        time.sleep(0.05)
    assert worker_processes().isdisjoint(before)


def test_replaced_workers_are_others() -> None:
    before = worker_processes()
    pool.replace_workers()
    after = worker_processes()
    assert after.isdisjoint(before)
    assert worker_processes() <= after | set(pool._executor._processes)


def test_a_pool_without_workers_can_be_shut_down() -> None:
    WorkerPool().shutdown()
