"""Files that only one of several writers writes, on a local S3 server and on a disk, with real processes."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.checkpoints.checkpoint import Attempt
from pipeline import conditional, leases, storage
from pipeline.errors import CheckpointError, StorageError
from tests import stores
from tests.slow_processes import PATIENCE
from tests.stores import Proxy

ROOT = Path(__file__).parents[1]
proxy, store = stores.proxy_fixture(), stores.store_fixture()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Buckets have the same names in all servers."""
    conditional._known.clear()
    yield
    conditional._known.clear()


def test_a_file_is_created_once_and_replaced_only_as_it_was_seen(store: str) -> None:
    url = f"{store}/run/.lock"
    first = conditional.create(url, b"1")
    assert first and conditional.version_of(url) == first
    assert conditional.create(url, b"2") is None
    second = conditional.replace(url, b"3", first)
    assert second and second != first
    assert conditional.replace(url, b"4", first) is None
    conditional.remove(url, first)
    assert storage.read_bytes(url) == b"3"
    conditional.remove(url, second)
    assert not storage.exists(url)
    assert conditional.replace(url, b"5", second) is None
    assert not storage.exists(url)
    conditional.remove(url, second)


RACE = """
import sys
from pipeline import conditional
url, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
won = [n for n in range(30) if conditional.create(f"{url}/{n}", f"{name} {n}".encode())]
print(*won)
"""


@pytest.mark.parametrize("where", ["store", "disk"])
def test_of_several_processes_one_creates_a_file(store: str, tmp_path: Path, where: str) -> None:
    url = store if where == "store" else str(tmp_path / "files")
    command = [sys.executable, "-c", RACE, url]
    racers = [
        subprocess.Popen([*command, str(n)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    for racer in racers:
        assert racer.stdout and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [racer.communicate(timeout=PATIENCE)[0].split() for racer in racers]
    assert sorted(int(number) for numbers in won for number in numbers) == list(range(30))
    for name, numbers in enumerate(won):
        assert all(storage.read_bytes(f"{url}/{number}") == f"{name} {number}".encode() for number in numbers)


def test_a_write_whose_answer_is_lost_is_known_as_ours(store: str, proxy: Proxy) -> None:
    """A connection is closed before the request is there, or after it was obeyed."""
    import s3fs

    version = conditional.create(f"{store}/a", b"first")
    with storage.patience(PATIENCE):
        for number in range(6):
            s3fs.S3FileSystem.clear_instance_cache()  # new connections, which can be dropped
            proxy.dropped, proxy.drop = number, 1
            assert version
            if number < 4:
                assert conditional.create(f"{store}/{number}", f"{number}".encode())
            else:
                version = conditional.replace(f"{store}/a", f"{number}".encode(), version)
            assert proxy.dropped == number + 1
    assert version and conditional.version_of(f"{store}/a") == version


def test_a_store_without_conditions_is_said_once_and_still_tells_who_was_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import s3fs

    pytest.importorskip("moto", reason="moto serves S3 here: pip install nezha-pipe[dev]")
    with stores.served(stores.WITHOUT) as plain:
        for name, value in {**stores.SETTINGS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{plain.port}"}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("old")
        for number in range(2):
            version = conditional.create(f"s3://old/{number}", b"mine")
            assert version
            assert conditional.create(f"s3://old/{number}", b"yours") is None
            assert conditional.replace(f"s3://old/{number}", b"mine again", version)
            assert conditional.replace(f"s3://old/{number}", b"yours", version) is None
        with leases.held("s3://old/.lock"), pytest.raises(StorageError, match="another run is working here"):
            leases.held("s3://old/.lock").__enter__()
        assert storage.list_names("s3://old") == ["0", "1"]
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len([text for text in said if text.startswith("s3://old: this store does not refuse")]) == 1
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("where", ["store", "disk"])
def test_attempts_that_begin_at_once_have_numbers_of_their_own(store: str, tmp_path: Path, where: str) -> None:
    url = f"{store}/run" if where == "store" else str(tmp_path / "run")
    begun: list[Attempt] = []
    overtaken: list[CheckpointError] = []

    def begin() -> None:
        try:
            begun.append(Attempt.begin(url, 0))
        except CheckpointError as error:
            overtaken.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folders = [f"attempt-{number:04d}" for number in range(1, 5)]
    assert storage.list_names(url) == folders
    assert len({storage.read_json(f"{url}/{folder}/attempt.json")["token"] for folder in folders}) == 4
    assert all("has taken over" in str(error) for error in overtaken)
    assert [attempt.number for attempt in begun if not _is_overtaken(attempt)] == [4]


def _is_overtaken(attempt: Attempt) -> bool:
    try:
        attempt.check()
    except CheckpointError:
        return True
    return False
