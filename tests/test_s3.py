"""An object store: a local S3 server, read from and written to over connections that break."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model.checkpoints import checkpoint
from model.config import EncoderConfig
from model.training.loop import train
from pipeline import storage
from pipeline.config import CorpusConfig
from pipeline.documents.stage import documents
from pipeline.engine import stages
from pipeline.engine.execution import Execution
from pipeline.errors import StorageError, UserError
from pipeline.examples.shards import ShardSet
from pipeline.sources import inputs
from tests import corpus, stores, test_checkpoint, test_replacement, tiny
from tests.commands import prepare, refused
from tests.slow_processes import PATIENCE, wait_for
from tests.stores import Proxy

pytest.importorskip("moto", reason="moto serves S3 here: pip install nezha-pipe[dev]")
pytest.importorskip("s3fs")

proxy, store = stores.proxy_fixture(), stores.store_fixture()


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
    cached = list(Path(os.environ["NEZHA_PIPE_CACHE"], "shards").iterdir())
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


def operations(url: str) -> Iterator[Callable[[], object]]:
    """Everything that is asked of a store, and gives the same each time."""
    yield lambda: storage.write_bytes(f"{url}/new", b"2" * 100)
    yield lambda: storage.read_bytes(f"{url}/a")
    yield lambda: storage.read_range(f"{url}/a", 1, 3)
    yield lambda: storage.list_names(url)
    yield lambda: (storage.exists(f"{url}/a"), storage.exists(f"{url}/none"))
    yield lambda: (storage.file_size(f"{url}/a"), storage.is_folder(url), storage.is_folder(f"{url}/a"))
    yield lambda: storage.stamp(f"{url}/a")
    yield lambda: storage.sha256(f"{url}/a")
    yield lambda: inputs.expand([url])
    yield lambda: storage.remove(f"{url}/new")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["refused", pytest.param("gone", marks=pytest.mark.slow)])
def test_a_store_that_is_away_for_a_while_is_waited_for(store: str, proxy: Proxy, how: str) -> None:
    """Longer than its client tries."""
    import s3fs

    storage.write_bytes(f"{store}/f/a", b"0123" * 1000)
    expected = [operation() for operation in operations(f"{store}/f")]
    with storage.patience(PATIENCE):
        for operation, result in zip(operations(f"{store}/f"), expected, strict=True):
            s3fs.S3FileSystem.clear_instance_cache()
            if how == "refused":
                proxy.refused = 4
            else:
                proxy.broken = True
                threading.Timer(1, setattr, (proxy, "broken", False)).start()
            assert operation() == result
            assert proxy.refused <= 0 and not proxy.broken


@pytest.mark.timeout(300)
def test_a_write_that_waited_while_another_attempt_took_over_is_not_done(store: str, proxy: Proxy) -> None:
    """The store lets nothing be written by the first; the other reaches it directly."""
    import s3fs

    attempt = checkpoint.Attempt.begin(f"{store}/run", 0)
    errors: list[Exception] = []

    def commit() -> None:
        try:
            attempt.commit(test_checkpoint.example(3), [])
        except Exception as error:
            errors.append(error)

    with storage.patience(60):
        proxy.cut, proxy.cuts = b"PUT ", 0
        writer = threading.Thread(target=commit)
        writer.start()
        wait_for(lambda: proxy.cuts >= 2)
        assert errors == [], "it is tried again as long as no other has begun"
        direct = s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{proxy.server}", skip_instance_cache=True)
        direct.pipe(f"{store}/run/attempt-0002/attempt.json", json.dumps({"attempt": 2, "token": "another"}).encode())
        writer.join(PATIENCE)
    proxy.cut = b""
    assert [str(error) for error in errors] == [f"{store}/run: attempt-0002 has taken over, attempt-0001 stops here"]
    assert storage.list_names(f"{store}/run/attempt-0001") == ["attempt.json"], "it gave up"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_file_is_read_on_after_the_store_was_away(store: str, proxy: Proxy) -> None:
    data = os.urandom(1 << 20) * 120
    storage.write_bytes(f"{store}/large", data)
    with storage.patience(PATIENCE), storage.open_read(f"{store}/large") as file:
        start = file.read(1000)
        proxy.broken = True
        threading.Timer(3, setattr, (proxy, "broken", False)).start()
        assert start + file.read() == data


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


def test_a_cache_of_digests_that_cannot_be_reached_is_not_taken_for_an_empty_one(store: str, proxy: Proxy) -> None:
    storage.write_bytes(f"{store}/in/a.txt", b"1")
    files = inputs.expand([f"{store}/in"])
    known = inputs.digests(files, f"{store}/out")
    assert storage.exists(f"{store}/out/{inputs.CACHE}")
    proxy.broken = True
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for call in (lambda: inputs.digests(files, f"{store}/out"), lambda: storage.exists(f"{store}/out/{inputs.CACHE}")):
        with pytest.raises(StorageError):
            call()
    proxy.broken = False
    s3fs.S3FileSystem.clear_instance_cache()
    assert inputs.digests(files, f"{store}/out") == known


@pytest.mark.timeout(300)
def test_input_behind_a_signed_address_leaves_no_signature_behind(store: str, proxy: Proxy, tmp_path: Path) -> None:
    import boto3

    storage.write_bytes(f"{store}/in/news.jsonl", (corpus.write_news(tmp_path / "news", 200) / "news.jsonl").read_bytes())
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{proxy.port}")
    place = {"Bucket": store.removeprefix("s3://"), "Key": "in/news.jsonl"}
    results, signatures = [], []
    for seconds in (600, 1_200):
        url = client.generate_presigned_url("get_object", place, seconds)
        signatures.append(url.partition("?")[2].rpartition("=")[2])
        done = prepare("--corpus", "news", "--input", url, "--json", output=tmp_path / "out")
        assert done.exit_code == 0, done.output
        results.append(done.stdout)
        written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
        for signature in signatures:
            assert signature not in done.output + done.stderr and not any(signature.encode() in data for data in written)
    assert signatures[0] != signatures[1] and results[0] == results[1]


def test_keys_in_the_url_of_a_bucket_are_in_no_message(store: str) -> None:
    url = f"s3://AKIA12:b1946ac92492@{store.removeprefix('s3://')}/a"
    for read in (storage.read_bytes, storage.exists, storage.list_names):
        with contextlib.suppress(StorageError):
            try:
                read(url)
            except StorageError as error:
                assert not any(secret in str(error) for secret in ("AKIA12", "b1946ac92492"))
                raise


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_restart_reads_each_file_of_the_newest_checkpoint_once(store: str, proxy: Proxy, tmp_path: Path, count: int) -> None:
    """Whatever the number of workers; counted where the server's answers pass."""
    encoder = EncoderConfig(hidden_size=128, num_hidden_layers=4, num_attention_heads=2, intermediate_size=512)
    run = tiny.pretrain_run(tiny.prepare(tmp_path / "corpus", rows=60), f"{store}/run", validate_every=100)
    run = replace(run, config=replace(run.config, encoder=encoder))
    storage.write_json(str(tmp_path / "run.json"), run.to_json())
    calls = iter(range(1, 100))
    stopped = train(run, should_stop=lambda: next(calls) == 19)
    size = sum(storage.file_size(f"{stopped.last_checkpoint}/{name}") for name in storage.list_names(stopped.last_checkpoint))
    assert stopped.step == 19 and size > 10_000_000
    proxy.read = 0
    launcher = () if count == 1 else ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count))
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "model.training", str(tmp_path / "run.json")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "resuming from" in done.stdout and "done at step 20 of 20" in done.stdout
    assert size <= proxy.read <= 1.1 * size


@pytest.mark.slow
def test_an_export_that_ends_between_two_uploads_is_never_a_mix(store: str) -> None:
    old, new = test_replacement.OLD, test_replacement.NEW
    for steps in range(100):
        folder = f"{store}/{steps}"
        test_replacement.write(folder, old)
        try:
            with test_replacement.ended_after(steps, test_replacement.Killed()):
                test_replacement.write(folder, new)
            break
        except test_replacement.Killed:
            test_replacement.is_whole_or_refused(test_replacement.visible(folder), old, new)
        test_replacement.write(folder, new)
        assert test_replacement.visible(folder) == new
    assert steps > 10
