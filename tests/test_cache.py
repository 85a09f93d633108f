"""The cache of shards of an object store: one download a machine, never above its bound, nothing half looks whole."""

import hashlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.samples import ahead, batches, order
from model.samples.batches import MaskedRows, Step
from model.samples.order import Order
from pipeline import storage
from pipeline.engine import stages
from pipeline.errors import DamagedError, RecipeError
from pipeline.examples import cache, shards
from pipeline.examples.cache import Cache
from pipeline.examples.shards import ShardSet
from tests import stores, test_shards, tiny
from tests.slow_processes import PATIENCE, wait_for
from tests.stores import Proxy

ROOT = Path(__file__).parents[1]
proxy, store = stores.proxy_fixture(), stores.store_fixture()
ROWS = 170
"""Rows in a shard of the tiny corpus."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_told", set())
    monkeypatch.setattr(cache, "_compared", {})
    monkeypatch.setattr(ahead, "_told", set())


def files(store: str, number: int, size: int = 100_000) -> list[tuple[str, dict[str, Any]]]:
    """Write files into a store; return their URLs and entries."""
    result = []
    for n in range(number):
        data = np.random.default_rng(n).bytes(size)
        storage.write_bytes(f"{store}/{n}", data)
        result.append((f"{store}/{n}", {"bytes": size, "sha256": hashlib.sha256(data).hexdigest()}))
    return result


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_file_is_fetched_once_and_the_folder_is_private(tmp_path: Path) -> None:
    ((url, entry),) = files("memory://once", 1)
    of = Cache.of_environment()
    of.folder.mkdir(parents=True, mode=0o755)
    path = of.fetch(url, entry)
    assert path and path == tmp_path / "cache" / "shards" / entry["sha256"]
    assert storage.sha256(str(path)) == entry["sha256"]
    assert stat.S_IMODE(of.folder.stat().st_mode) == 0o700 and stat.S_IMODE(path.stat().st_mode) == 0o600
    storage.remove(url)
    assert of.fetch(url, entry) == path
    assert names(of.folder) == {entry["sha256"]}


def test_a_damaged_file_of_the_store_is_named_and_not_kept() -> None:
    ((url, entry),) = files("memory://damaged", 1)
    of = Cache.of_environment()
    for data, problem in (
        (b"short", "5 bytes, the manifest says 100,000"),
        (bytes(100_000), "content differs from its SHA-256"),
    ):
        storage.write_bytes(url, data)
        with pytest.raises(DamagedError, match=f"^{url}: {problem}"):
            of.fetch(url, entry)
    assert names(of.folder) == set()


def test_the_cache_stays_within_its_bound_and_drops_what_was_not_read_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.SIZE, "0.00035")  # three and a half files
    made, of = files("memory://bound", 6), Cache.of_environment()
    digests = [str(entry["sha256"]) for _, entry in made]
    for n in (0, 1, 2, 0, 3):
        assert of.fetch(*made[n])
    assert names(of.folder) == {digests[n] for n in (0, 2, 3)}, "1 was not read for longest"
    assert of.fetch(*made[4], keep={digests[n] for n in (0, 2, 3)}) is None, "what is due now does not go for what is due later"
    assert of.fetch(*made[4], keep={digests[n] for n in (0, 3)})
    assert names(of.folder) == {digests[n] for n in (0, 3, 4)}
    monkeypatch.setenv(cache.SIZE, "0.00005")  # half a file
    assert Cache.of_environment().fetch(*made[5])
    assert names(of.folder) == {digests[5]}, "one that does not fit is alone"


def test_a_size_that_is_no_number_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv(cache.SIZE, text)
        with pytest.raises(RecipeError, match=f"^NEZHA_PIPE_CACHE_GB={text}: not a number of gigabytes"):
            Cache.of_environment()


def rows_of(stage: stages.Finished) -> None:
    """Read some rows of a stage of test_shards."""
    shard_set = ShardSet(stage, "train", open_batches=1)
    for n in (*range(0, len(shard_set), 97), 0):
        test_shards.check(shard_set, n)


@pytest.mark.parametrize("why", ["off", "too large", "another's", "a file"])
def test_without_a_cache_shards_are_read_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    root = f"memory://without-{why.replace(' ', '-')}"
    stage = test_shards.stage(root, [500, 1, 700])  # type: ignore[arg-type]
    folder = tmp_path / "cache" / "shards"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    if why == "off":
        monkeypatch.setenv(cache.SIZE, "0")
    elif why == "a file":
        (tmp_path / "cache").write_bytes(b"")
    elif why == "another's":
        if os.geteuid():
            pytest.skip("only root can give a folder away")
        folder.mkdir(parents=True)
        os.chown(folder, 12_345, -1)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        rows_of(stage)
        rows_of(stage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    said = [
        record.getMessage() for record in caplog.records if "shards are read from the store each time" in record.getMessage()
    ]
    assert len(said) == (why != "off")
    assert not folder.is_dir() or names(folder) <= {str(stage.manifest["files"][1]["sha256"])}


def test_a_shard_that_is_damaged_in_the_store_is_refused_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.SIZE, "0")
    stage = test_shards.stage("memory://uncached-damage", [500])  # type: ignore[arg-type]
    url = stage.file("train-00000.arrow")
    data = bytearray(storage.read_bytes(url))
    data[len(data) // 2] ^= 1
    storage.write_bytes(url, bytes(data))
    with pytest.raises(DamagedError, match="content differs from its SHA-256"):
        ShardSet(stage, "train").row(0)


def test_a_full_disk_is_one_line_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(cache, "SPARE", 1 << 62)
    stage = test_shards.stage("memory://full", [500])  # type: ignore[arg-type]
    rows_of(stage)
    said = [record.getMessage() for record in caplog.records if "no room for a shard of" in record.getMessage()]
    assert len(said) == 1


def test_a_disk_that_fills_up_during_a_download_is_no_error_of_the_store(caplog: pytest.LogCaptureFixture) -> None:
    class Fills(threading.Event):
        def is_set(self) -> bool:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
            return False

    ((url, entry),) = files("memory://fills", 1)
    of, limit = Cache.of_environment(), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        assert of.fetch(url, entry, stopped=Fills()) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{of.folder}: ") and url not in said
    assert names(of.folder) == set()


def test_readers_go_on_when_the_cache_is_smaller_than_what_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pulls away what another has open."""
    stage = test_shards.stage("memory://small", [300] * 6)  # type: ignore[arg-type]
    monkeypatch.setenv(cache.SIZE, str(2.5 * max(entry["bytes"] for entry in stage.manifest["files"]) / 1e9))
    sets = [ShardSet(stage, "train", open_batches=1) for _ in range(2)]
    monkeypatch.setattr(shards, "MOST_OPEN", 6)
    for n in range(0, len(sets[0]), 50):
        for shard_set in sets:
            test_shards.check(shard_set, n * 7 % len(shard_set))
            shard_set._tidied = 0.0
    folder = Cache.of_environment().folder
    assert len(names(folder)) <= 2
    opened = {os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if _there(number)}
    assert len([path for path in opened if str(folder) in path and "(deleted)" in path]) <= len(sets), (
        "the disk still has these"
    )


def _there(number: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")


FETCH = """
import json, sys
from pipeline.examples.cache import Cache
print("ready", flush=True)
sys.stdin.readline()
for url, entry in json.loads(sys.argv[1]):
    assert Cache.of_environment().fetch(url, entry), url
print("done")
"""


def fetchers(number: int, made: list[tuple[str, dict[str, Any]]]) -> list["subprocess.Popen[str]"]:
    """Start processes that fetch files when they are let go."""
    command = [sys.executable, "-c", FETCH, json.dumps(made)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(number)]
    for process in started:
        assert process.stdout and process.stdout.readline() == "ready\n"
    return started


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.timeout(600)
def test_a_machine_fetches_a_file_once_whatever_its_workers_and_whoever_is_killed(store: str, proxy: Proxy) -> None:
    made = files(store, 3, 3_000_000)
    one, two, three = fetchers(3, made)
    proxy.read = 0
    for process in (one, two, three):
        go(process)
    assert [process.communicate(timeout=PATIENCE)[0] for process in (one, two, three)] == ["done\n"] * 3
    assert 9_000_000 <= proxy.read < 10_000_000, "each file once"

    of = Cache.of_environment()
    assert names(of.folder) == {str(entry["sha256"]) for _, entry in made}
    for path in of.folder.iterdir():
        path.unlink()
    killed, other = fetchers(2, made)
    go(killed)
    wait_for(lambda: bool(names(of.folder)), every=0.005)
    killed.kill()
    killed.communicate()
    go(other)
    assert other.communicate(timeout=PATIENCE)[0] == "done\n"
    assert names(of.folder) == {str(entry["sha256"]) for _, entry in made}, "nothing half is left"
    assert all(storage.sha256(str(path)) == path.name for path in of.folder.iterdir())


@pytest.mark.timeout(600)
def test_processes_that_fetch_at_once_never_go_above_the_bound(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, bound = files(store, 6, 1_000_000), 2_500_000
    monkeypatch.setenv(cache.SIZE, str(bound / 1e9))
    of, sizes = Cache.of_environment(), [0]
    started = [*fetchers(1, made), *fetchers(1, made[::-1]), *fetchers(1, made[3:] + made[:3])]
    for process in started:
        go(process)
    while any(process.poll() is None for process in started):
        # Names may change while they are looked at: what is gone by then counts for nothing.
        found = [storage.stamp(str(of.folder / name)) for name in names(of.folder)]
        sizes.append(sum(int(stamp.partition("size=")[2].split()[0]) for stamp in found if stamp))
        time.sleep(0.002)
    assert [process.communicate()[0] for process in started] == ["done\n"] * 3
    assert 2_000_000 <= max(sizes) <= bound


def test_a_frozen_download_is_not_waited_for_for_ever(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = files(store, 1, 3_000_000)
    (frozen,) = fetchers(1, made)
    of = Cache.of_environment()
    of.folder.mkdir(parents=True)
    go(frozen)
    wait_for(lambda: bool(names(of.folder)), every=0.005)
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        monkeypatch.setattr(cache, "STALLED", 1.0)
        found = of.fetch(*made[0])
        assert found is None or storage.sha256(str(found)) == made[0][1]["sha256"]
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
        frozen.communicate(timeout=PATIENCE)
    assert of.fetch(*made[0])


def test_what_a_killed_process_left_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.SIZE, "0.00025")
    made, of = files("memory://left", 2), Cache.of_environment()
    of.folder.mkdir(parents=True)
    (of.folder / "0123.part").write_bytes(bytes(200_000))
    assert all(of.fetch(*one) for one in made)
    assert names(of.folder) == {str(entry["sha256"]) for _, entry in made}


def epoch(corpus: tiny.Corpus, samples: int = 680, batch: int = 16) -> list[Step]:
    """The steps of an epoch over both sources."""
    sources = [stages.load(url) for url in corpus.shards.values()]
    rows = MaskedRows(sources, "train", tiny.VOCAB, 3)
    counts = {name: len(shard_set) for name, shard_set in zip(("news", "reviews"), rows.sets, strict=True)}
    order_of = Order(counts, {}, 3)
    ranges = [(start, start + batch) for start in range(0, samples, batch)]
    return list(batches.steps(rows, order_of, ranges, 400))


def contents(steps: list[Step]) -> list[Any]:
    return [
        (batch.input_ids.tolist(), batch.mask_positions.tolist(), batch.mask_labels.tolist(), batch.example_ids.tolist())
        for step in steps
        for batch in step.micro_batches
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("gigabytes", ["1", "0.00004", "0"])
def test_a_store_whose_connections_are_cut_gives_the_samples_of_a_disk(
    store: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gigabytes: str
) -> None:
    """With a cache that is large enough, one that holds a shard or two, and none."""
    import s3fs

    expected = contents(epoch(tiny.prepare(tmp_path / "here", rows=340)))
    there = tiny.prepare(f"{store}/there", rows=340)
    monkeypatch.setenv(cache.SIZE, gigabytes)
    s3fs.S3FileSystem.clear_instance_cache()
    proxy.dropped, proxy.drop = 0, 10
    with storage.patience(PATIENCE):
        assert contents(epoch(there)) == expected
    assert proxy.dropped == 10, "ten connections were cut"


@pytest.fixture
def blocks_of_ten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(order, "BLOCK_ROWS", 10)
    order._blocks.cache_clear()
    yield
    order._blocks.cache_clear()


def test_the_next_window_is_fetched_before_it_is_due(blocks_of_ten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With windows of two blocks of ten rows: shards are there before the first of their rows is asked for."""
    monkeypatch.setattr(ahead, "EVERY", 1)
    stage = test_shards.stage("memory://ahead", [10] * 30)  # type: ignore[arg-type]
    shard_set = ShardSet(stage, "train")
    order_of = Order({"t": 300}, {}, 5, window_blocks=2)
    assert shard_set.cache
    with ahead.fetching([shard_set], order_of) as fetching:
        assert fetching
        for start in range(0, 300, 20):
            fetching.at(start)
            due = order_of.locate(np.arange(start, min(start + 40, 300))).row // 10
            wanted = {str(shard_set.entries[shard]["sha256"]) for shard in due.tolist()}
            wait_for(lambda wanted=wanted: wanted <= names(shard_set.cache.folder), every=0.005)  # type: ignore[misc]
            assert len(names(shard_set.cache.folder)) <= start // 10 + 4, "and no more than that"


@pytest.mark.parametrize("rows", [1, 9, 10, 95, 100, 137])
@pytest.mark.parametrize("window_blocks", [1, 2, 8])
def test_windows_ahead_have_the_rows_that_come(blocks_of_ten: None, rows: int, window_blocks: int) -> None:
    order_of = Order({"a": rows, "b": 40}, {"a": 0.75, "b": 0.25}, 7, window_blocks)
    samples = order_of.locate(np.arange(600))
    before: list[list[tuple[int, int]]] = []
    for k in np.flatnonzero(samples.source == 0).tolist():
        now, after = order_of.windows(k)[0]
        assert any(first <= samples.row[k] < end for first, end in now)
        assert not before or now in before, "after a window comes the one that was said to come"
        before = [now, after]


def test_a_corpus_larger_than_the_cache_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(cache.SIZE, "0.00003")
    corpus = tiny.prepare("memory://too-large", rows=340)
    for _ in range(2):
        epoch(corpus, 64)
    assert caplog.text.count("do not fit a cache of") == 1


def test_a_download_ahead_ends_with_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    made, of = files("memory://stopped", 1), Cache.of_environment()
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(cache.Stopped):
        of.fetch(*made[0], keep=(), stopped=stopped)
    assert names(of.folder) == set()
