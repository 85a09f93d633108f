"""Worker processes: replaced when large, shut down after the last task, out of reach of Ctrl-C."""

import os
import signal
import time

import pytest

from pipeline.engine import processes
from pipeline.engine.processes import WorkerPool, pool
from tests.slow_processes import PATIENCE, stopped


def process(_: int) -> int:
    return os.getpid()


def worker_processes() -> set[int]:
    return set(pool.start(process, range(8), 2).results())


def has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def is_blocked(_: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_ctrl_c_is_for_the_program_alone() -> None:
    pool.shutdown()
    assert all(pool.start(is_blocked, range(8), 2).results())
    assert not is_blocked(0)


def test_workers_exit_after_a_shutdown_and_later_tasks_start_others() -> None:
    before = worker_processes()
    pool.shutdown()
    deadline = time.monotonic() + PATIENCE
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


def test_workers_may_take_their_time_to_start(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    monkeypatch.setattr(processes, "IDLE_SECONDS", 1)
    pool.replace_workers()
    with stopped("loky.backend.popen_loky", 4) as seen:
        assert len(pool.start(process, range(8), 2).results()) == 8
    assert len(seen) >= 2
    pool.replace_workers()
    assert [str(warning.message) for warning in recwarn if "worker" in str(warning.message)] == []
