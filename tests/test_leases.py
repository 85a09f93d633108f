"""Locks on an object store: one holder at a time, whatever dies, freezes or is cut off. Real processes, a local S3 server."""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import leases, locks, storage
from pipeline.engine import stages
from pipeline.engine.stages import FileEntry, Stage
from pipeline.errors import StorageError
from tests import corpus, stores
from tests.slow_processes import PATIENCE
from tests.stores import Proxy

ROOT = Path(__file__).parents[1]
proxy, store = stores.proxy_fixture(), stores.store_fixture()
STAGE = Stage("made", 1, {}, {})

HOLDER = """
import sys
from pipeline import leases, locks
from pipeline.errors import StorageError
url, elsewhere, leases.LEASE_SECONDS, leases.RENEW_SECONDS = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
if elsewhere:
    here = leases._process
    leases._process = lambda number: {**here(number), "boot": elsewhere}
try:
    with locks.locked(url) as lock:
        print("held", flush=True)
        sys.stdin.readline()
        lock.confirm()
        print("still held", flush=True)
except StorageError as error:
    print(error, flush=True)
"""


def holder(url: str, elsewhere: str = "", lease: float = 60, renew: float = 15) -> "subprocess.Popen[str]":
    """Start a process that holds a lock until it reads a line; `elsewhere`: as if on another machine."""
    command = [sys.executable, "-c", HOLDER, url, elsewhere, str(lease), str(renew)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def goes_on(process: "subprocess.Popen[str]") -> str:
    """Let it go on; return the line that it prints."""
    return process.communicate("\n", timeout=PATIENCE)[0].strip()


def written(url: str) -> Any:
    """When the store says that a file was written."""
    return storage.at_store(url, lambda file_system, path: file_system.modified(path))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.2)


def test_a_lock_of_a_process_at_work_is_refused_by_name_and_free_when_it_ends(store: str) -> None:
    url = f"{store}/run/.lock"
    process = holder(url)
    with pytest.raises(StorageError) as error, locks.locked(url):
        pass
    name = f"process {process.pid} on {platform.node()}"
    assert str(error.value) == (
        f"{store}/run: another run is working here ({name}); wait until it is done, or choose another --output"
    )
    assert goes_on(process) == "still held"
    with locks.locked(url) as lock:
        lock.confirm()
        with pytest.raises(StorageError, match="another run is working here"), locks.locked(url):
            pass
    assert storage.list_names(f"{store}/run") == []


def test_the_lock_of_a_process_that_was_killed_here_is_taken_over_at_once(store: str) -> None:
    url = f"{store}/run/.lock"
    process = holder(url, lease=100_000)
    process.kill()
    process.communicate()
    with locks.locked(url) as lock:
        lock.confirm()
        assert storage.read_json(url)["holder"] == f"process {os.getpid()} on {platform.node()}"


def test_a_bucket_that_is_not_there_yet_is_made_as_for_other_files(store: str) -> None:
    url = f"{store}-other/run/.lock"
    with locks.locked(url) as lock:
        lock.confirm()
        assert storage.exists(url)
    assert not storage.exists(url)


def test_the_lock_of_another_machine_is_waited_for_until_it_is_renewed_or_its_lease_ends(
    store: str, caplog: pytest.LogCaptureFixture
) -> None:
    url, lease = f"{store}/run/.lock", 4.0
    process = holder(url, "elsewhere", lease, renew=0.5)
    with pytest.raises(StorageError, match=f"another run is working here .process {process.pid} on"), locks.locked(url):
        pass
    assert "waiting to see whether it is still at work" in caplog.text
    process.kill()
    process.communicate()
    last = written(url)
    with locks.locked(url):
        assert (written(url) - last).total_seconds() >= lease
        assert storage.read_json(url)["pid"] == os.getpid()
    assert f"taken over from process {process.pid} on" in caplog.text
    assert storage.list_names(f"{store}/run") == []


def test_a_holder_that_was_frozen_finds_out_that_it_holds_the_lock_no_longer(store: str) -> None:
    url = f"{store}/run/.lock"
    process = holder(url, "elsewhere", lease=1, renew=0.3)
    os.kill(process.pid, signal.SIGSTOP)
    with locks.locked(url) as lock:
        os.kill(process.pid, signal.SIGCONT)
        said = goes_on(process)
        assert said == (
            f"{store}/run: the lock is no longer held by this process but by process {os.getpid()} on {platform.node()}; "
            "this one stops"
        )
        lock.confirm()


def test_a_lock_that_nobody_can_read_ends_too(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    storage.write_bytes(f"{store}/run/.lock", b"\x00 not ours")
    with locks.locked(f"{store}/run/.lock") as lock:
        lock.confirm()


def test_a_store_that_tells_no_times_is_watched(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{store}/run/.lock"
    process = holder(url, "elsewhere", lease=2, renew=100)
    process.kill()
    process.communicate()
    monkeypatch.setattr(leases, "_modified", lambda url: None)
    started = time.monotonic()
    with locks.locked(url):
        assert time.monotonic() - started >= 2


def test_a_lock_outlives_a_store_that_is_away_and_what_it_left_there_is_no_hindrance(store: str, proxy: Proxy) -> None:
    import s3fs

    url = f"{store}/run/.lock"
    with locks.locked(url) as lock:
        proxy.broken = True
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(StorageError, match="no answer from the store"):
            lock.confirm()
        proxy.broken = False
        s3fs.S3FileSystem.clear_instance_cache()
        lock.confirm()
    with pytest.raises(StorageError, match="no answer from the store"), locks.locked(url) as lock:
        proxy.broken = True
        s3fs.S3FileSystem.clear_instance_cache()
        lock.confirm()
    proxy.broken = False
    s3fs.S3FileSystem.clear_instance_cache()
    assert storage.exists(url)
    with locks.locked(url) as lock:
        lock.confirm()


def test_a_renewal_whose_answer_never_came_is_no_loss(store: str, proxy: Proxy) -> None:
    """The store has written it, and was given up before it could say so."""
    import s3fs

    with locks.locked(f"{store}/.lock") as lock:
        for number in range(4):
            s3fs.S3FileSystem.clear_instance_cache()  # new connections, which can be dropped
            proxy.dropped, proxy.drop = 1, 4  # every second one after the request was obeyed
            with contextlib.suppress(StorageError):
                lock.confirm()
            proxy.drop = 0
            s3fs.S3FileSystem.clear_instance_cache()
            lock.confirm()
            assert storage.read_json(f"{store}/.lock")["pid"] == os.getpid(), number


def body(folder: str) -> dict[str, Any]:
    storage.write_bytes(f"{folder}/a", b"content")
    return {"files": [FileEntry.of(folder, "a")]}


def test_a_stage_that_another_run_took_over_is_not_committed(store: str) -> None:
    def overtaken(folder: str) -> dict[str, Any]:
        lock = f"{store}/.{STAGE.folder}.lock"
        storage.write_json(lock, {**storage.read_json(lock), "token": "another", "holder": "process 1 on b"})
        return body(folder)

    with pytest.raises(StorageError, match="the lock is no longer held by this process but by process 1 on b"):
        stages.run(store, STAGE, overtaken)
    assert stages.find(store, STAGE) is None
    assert storage.exists(f"{store}/.{STAGE.folder}.lock"), "it is not ours to remove"


def test_a_finished_stage_waits_for_no_lock(store: str) -> None:
    done = stages.run(store, STAGE, body)
    storage.write_bytes(f"{store}/.{STAGE.folder}.lock", b"of a machine that is gone")
    again = stages.run(store, STAGE, body)
    assert (again.url, again.fresh) == (done.url, False)


TURNS = """
import os, signal, sys, time
from pipeline import leases, locks
from pipeline.errors import StorageError
url, log, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
leases.LEASE_SECONDS, leases.RENEW_SECONDS, leases.LOOK_SECONDS = 30.0, 0.3, 0.1
out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
done = 0
while done < 5:
    try:
        with locks.locked(url):
            os.write(out, f"in {number}\\n".encode())
            time.sleep(0.05)
            if number == 0 and done == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(out, f"out {number}\\n".encode())
        done += 1
    except StorageError as error:
        assert "another run is working here" in str(error), error
        time.sleep(0.05)
"""


@pytest.mark.timeout(600)
def test_never_two_hold_a_lock(store: str, tmp_path: Path) -> None:
    """Three processes take turns, and one is killed in the middle of its turn."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", TURNS, f"{store}/.lock", str(log)]
    processes = [subprocess.Popen([*command, str(number)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for number in range(3)]
    said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0, 0], said
    lines = log.read_text().splitlines()
    killed = [place for place, line in enumerate(lines) if line == "in 0"][2]
    inside = ""
    for place, line in enumerate(lines):
        what, number = line.split()
        assert inside == ("" if what == "in" else number), lines
        inside = number if what == "in" and place != killed else ""
    assert [lines.count(f"out {number}") for number in range(3)] == [2, 5, 5]


@contextlib.contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command."""
    program = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_runs_on_one_output_of_a_store_leave_what_one_does(store: str, tmp_path: Path) -> None:
    """One may be refused, by name; together they end with the shards that one alone makes."""
    news = corpus.write_news(tmp_path / "news", 200)
    arguments = ("prepare", "--corpus", "news", "--input", str(news), "--workers", "1", "--json")
    with running(*arguments, "--output", f"{store}/out") as one, running(*arguments, "--output", f"{store}/out") as two:
        results = [(*process.communicate(timeout=PATIENCE), process.returncode) for process in (one, two)]
    assert 0 in [code for _, _, code in results], results
    for _, errors, code in results:
        assert code == 0 or (code == 2 and "another run is working here (process " in errors.splitlines()[-1])
    with running(*arguments, "--output", str(tmp_path / "out")) as alone:
        expected = alone.communicate(timeout=PATIENCE)[0].replace(str(tmp_path), store)
        assert expected in [out for out, _, code in results if code == 0]
    left = storage.list_names(f"{store}/out")
    assert not [name for name in left if name.endswith(".lock")]
    assert all(stages.verify(done.url) == [] for done in stages.load_all(f"{store}/out"))
