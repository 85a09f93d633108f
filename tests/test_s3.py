"""An object store: a local S3 server, read from and written to over connections that break."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.config import CorpusConfig
from pipeline.documents.stage import documents
from pipeline.engine import processes, stages
from pipeline.engine.execution import Execution
from pipeline.errors import StorageError, UserError
from pipeline.examples.shards import ShardSet
from pipeline.sources import inputs
from tests import corpus
from tests.commands import prepare, refused

pytest.importorskip("moto", reason="moto serves S3 here: pip install nezha-pipe[dev]")
pytest.importorskip("s3fs")

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "2",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class Proxy:
    """Forwards connections to a server; closes the next `drop` ones, half of them at once, half after some bytes."""

    def __init__(self, server: int) -> None:
        self.server, self.drop, self.dropped = server, 0, 0
        self.accepted, self.every = 0, 0
        """Connections so far, and every how many of them one is closed too (0: none)."""
        self.broken = False
        """Whether every connection breaks, open ones included."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            limit = -1
            self.accepted += 1
            if self.drop > 0 or self.broken or (self.every and self.accepted % self.every == 0):
                self.drop -= 1
                self.dropped += 1
                limit = 0 if self.dropped % 2 else 150
            threading.Thread(target=self._pass_on, args=(client, limit), daemon=True).start()

    def _pass_on(self, client: socket.socket, limit: int) -> None:
        """Copy both ways; close after `limit` bytes of answer (-1: never)."""
        with client, socket.create_connection(("127.0.0.1", self.server)) as server:
            while limit:
                for end in select.select([client, server], [], [])[0]:
                    try:
                        data = end.recv(limit if end is server and limit > 0 else 1 << 16)
                        (client if end is server else server).sendall(data)
                    except OSError:
                        return
                    if not data or self.broken:
                        return
                    if end is server and limit > 0:
                        limit -= len(data)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """An S3 server with the bucket `corpora`, behind a proxy."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, "the S3 server does not start"
                time.sleep(0.1)
        yield Proxy(port)
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def store(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty folder in the store."""
    import s3fs

    for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NEZHA_PIPE_CACHE", str(tmp_path / "cache"))
    # Workers have the environment of their start: those of an earlier test know no credentials.
    processes.pool.replace_workers()
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"corpora-{abs(hash(request.node.name)):x}"
    s3fs.S3FileSystem().mkdir(bucket)
    yield f"s3://{bucket}"
    proxy.drop, proxy.every, proxy.broken = 0, 0, False
    s3fs.S3FileSystem.clear_instance_cache()


def upload(store: str) -> CorpusConfig:
    """The generated corpus, its input in the store."""
    config = corpus.generated()
    for source in config.sources:
        for file in inputs.expand(source.input):
            storage.write_bytes(f"{store}/in/{source.name}/{file.name}", storage.read_bytes(file.url))
    return replace(config, sources=tuple(replace(source, input=(f"{store}/in/{source.name}",)) for source in config.sources))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_store_gets_the_same_bytes_as_a_disk(store: str, workers: int) -> None:
    config = upload(store)
    done = corpus.prepare(config, f"{store}/runs", Execution(workers))
    assert corpus.digests(done) == corpus.digests(corpus.prepared())
    assert all(stages.verify(stage.url) == [] for stage in done.values())
    assert all(not name.startswith("work-") for stage in done.values() for name in storage.list_names(stage.url))

    again = corpus.prepare(config, f"{store}/runs", Execution(workers))
    assert not any(stage.fresh for stage in again.values())

    there, here = (ShardSet(finished["shards_news_64"], "train") for finished in (done, corpus.prepared()))
    assert len(there) == len(here) > 100
    for index in (0, 50, len(here) - 1):
        assert there.row(index).input_ids.tolist() == here.row(index).input_ids.tolist()
    cached = [path for path in Path(os.environ["NEZHA_PIPE_CACHE"]).rglob("*") if path.is_file()]
    assert [path.name for path in cached] == [there.entries[0]["sha256"]]


def test_connections_that_break_are_tried_again(store: str, proxy: Proxy, tmp_path: Path) -> None:
    source = upload(store).sources[0]
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # new connections, which can be dropped
    proxy.dropped, proxy.drop = 0, 3
    done = documents(source, f"{store}/runs")
    assert proxy.dropped == 3
    assert stages.verify(done.url) == []
    assert done.digest == corpus.prepared()["documents_text"].digest


@pytest.mark.timeout(300)
def test_a_store_that_cannot_be_reached_is_one_line_and_leaves_no_half_stage(store: str, proxy: Proxy) -> None:
    source = upload(store).sources[0]
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    proxy.broken = True
    with pytest.raises(StorageError) as error:
        documents(source, f"{store}/runs")
    assert str(error.value).startswith(store) and "\n" not in str(error.value)
    proxy.broken = False
    s3fs.S3FileSystem.clear_instance_cache()
    assert storage.list_names(f"{store}/runs") == []
    assert documents(source, f"{store}/runs").digest == corpus.prepared()["documents_text"].digest


@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_store_that_goes_away_in_the_middle_is_one_line_and_the_next_run_goes_on(
    store: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    source = upload(store).sources[0]

    def break_when_parts_are_written() -> None:
        while not any(name.startswith("part-0000") for url in folders() for name in storage.list_names(url)):
            time.sleep(0.02)
        proxy.broken = True

    def folders() -> list[str]:
        return [f"{store}/runs/{name}" for name in storage.list_names(f"{store}/runs") if name.startswith("documents")]

    watcher = threading.Thread(target=break_when_parts_are_written)
    watcher.start()
    with pytest.raises(UserError) as error:
        documents(source, f"{store}/runs", execution=Execution(workers))
    watcher.join()
    assert store in str(error.value) and "\n" not in str(error.value)
    proxy.broken = False
    (folder,) = folders()
    assert "manifest.json" not in storage.list_names(folder)
    assert documents(source, f"{store}/runs").digest == corpus.prepared()["documents_text"].digest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_command_gets_over_connections_that_break_all_the_time(store: str, proxy: Proxy, tmp_path: Path) -> None:
    source = upload(store).sources[1]
    arguments = ("--corpus", "news", "--input", *source.input)
    proxy.every, proxy.dropped = 4, 0
    done = prepare(*arguments, "--json", output=f"{store}/out")
    assert done.exit_code == 0, done.output
    assert proxy.dropped > 20
    proxy.every = 0
    local = corpus.write_news(tmp_path / "news")
    here = prepare("--corpus", "news", "--input", local, "--json", output=tmp_path / "out")
    there, shards = json.loads(done.stdout)["shards"]["news/128"], json.loads(here.stdout)["shards"]["news/128"]
    assert there == shards
    assert stages.load(f"{store}/out/{there}").digest == stages.load(f"{tmp_path}/out/{shards}").digest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_command_tells_of_a_store_that_is_gone_in_one_line_and_goes_on(store: str, proxy: Proxy) -> None:
    source = upload(store).sources[1]
    arguments = ("--corpus", "news", "--input", *source.input)
    proxy.broken = True
    assert refused(prepare(*arguments, output=f"{store}/out")).startswith(store)
    proxy.broken = False
    assert prepare(*arguments, output=f"{store}/out").exit_code == 0


def test_what_is_missing_or_forbidden_is_one_line(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match=f"^{store}/none: not found$"):
        storage.read_bytes(f"{store}/none")
    with pytest.raises(StorageError, match="no-such-bucket-here"):
        storage.read_bytes("s3://no-such-bucket-here/x")
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError) as error:
        storage.write_bytes(f"{store}/x", b"x")
    assert "\n" not in str(error.value)


def test_a_failed_write_publishes_nothing(store: str) -> None:
    with pytest.raises(KeyError), storage.open_write(f"{store}/half") as file:
        file.write(b"x" * 10_000_000)
        raise KeyError
    assert not storage.exists(f"{store}/half")


def test_another_process_may_write_what_was_just_listed(store: str) -> None:
    storage.write_bytes(f"{store}/f/a", b"1")
    assert storage.list_names(f"{store}/f") == ["a"]
    program = "import sys; from pipeline import storage; storage.write_bytes(sys.argv[1], b'22')"
    root = Path(__file__).parents[1]
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", program, f"{store}/f/{name}"], check=True, cwd=root)
    assert storage.read_bytes(f"{store}/f/b") == b"22"
    assert (storage.read_bytes(f"{store}/f/a"), storage.file_size(f"{store}/f/a")) == (b"22", 2)


def test_an_input_is_read_again_only_when_its_etag_changes(store: str, tmp_path: Path) -> None:
    storage.write_bytes(f"{store}/in/a.txt", b"1")
    first = inputs.expand([f"{store}/in"])
    assert [(file.name, file.url) for file in first] == [("a.txt", f"{store}/in/a.txt")]
    storage.write_bytes(f"{store}/in/a.txt", b"1")
    assert inputs.expand([f"{store}/in"]) == first
    storage.write_bytes(f"{store}/in/a.txt", b"2")
    assert inputs.expand([f"{store}/in"]) != first
