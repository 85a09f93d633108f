"""Bit rot: a finished file that is no longer what its manifest says is refused by whatever reads it next, in one line."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from model.training.loop import train
from pipeline import storage
from pipeline.engine import integrity, stages
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.errors import CorpusError, DamagedError, StorageError
from pipeline.examples.shards import ShardSet
from tests import corpus, tiny
from tests.training_folders import newest_of

READ_LATER = [
    pytest.param("documents_news", "part-00003.parquet", marks=pytest.mark.slow),
    pytest.param("signatures_text", "part-00003.parquet", marks=pytest.mark.slow),
    pytest.param("dedup", "dropped_news.parquet", marks=pytest.mark.slow),
    ("dedup", "paragraphs_text.parquet"),
    ("vocabulary", "vocab.txt"),
    ("tokens_news", "part-00003.arrow"),
]


def flip(path: Path | str) -> None:
    """Flip a bit in the middle of a file, and set its time back: a disk does not tell."""
    path = Path(path)
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def copied(tmp_path: Path) -> dict[str, Finished]:
    """The generated corpus, in a folder of this test."""
    done = corpus.prepared()
    root = Path(next(iter(done.values())).url).parent
    shutil.copytree(root, tmp_path / "runs")
    return {name: stages.load(str(tmp_path / "runs" / Path(stage.url).name)) for name, stage in done.items()}


def remove_after(done: dict[str, Finished], name: str) -> None:
    """Remove the stages that came later than one, so that they read it again."""
    for later in [*done][[*done].index(name) + 1 :]:
        shutil.rmtree(done[later].url)


@pytest.mark.parametrize(("name", "file"), READ_LATER)
def test_a_flipped_bit_is_refused_by_the_stage_that_reads_it(copied: dict[str, Finished], name: str, file: str) -> None:
    damaged = copied[name].file(file)
    flip(damaged)
    remove_after(copied, name)
    root = storage.parent(copied[name].url)
    with pytest.raises(DamagedError) as error:
        corpus.prepare(corpus.generated(), root)
    assert str(error.value) == (
        f"{damaged}: content differs from its SHA-256 in the manifest; "
        f"delete the folder {copied[name].url} and run the same `prepare` or `run` again"
    )
    shutil.rmtree(copied[name].url)
    again = corpus.prepare(corpus.generated(), root)
    assert corpus.digests(again) == corpus.digests(corpus.prepared()), "the command in the message repairs it"


@pytest.mark.parametrize("size", [None, 0, 100])
def test_a_file_that_is_gone_or_cut_short_is_refused_too(copied: dict[str, Finished], size: int | None) -> None:
    damaged = Path(copied["tokens_news"].file("part-00003.arrow"))
    whole = damaged.stat().st_size
    if size is None:
        damaged.unlink()
    else:
        os.truncate(damaged, size)
    remove_after(copied, "tokens_news")
    with pytest.raises(DamagedError) as error:
        corpus.prepare(corpus.generated(), storage.parent(copied["dedup"].url))
    problem = "missing" if size is None else f"{size:,} bytes, the manifest says {whole:,}"
    assert str(error.value).startswith(f"{damaged}: {problem}; delete the folder {damaged.parent} and run")


def test_a_manifest_that_has_changed_is_refused(copied: dict[str, Finished]) -> None:
    path = Path(copied["dedup"].url) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"documents": 1', b'"documents": 3', 1))
    with pytest.raises(DamagedError, match=r"dedup-\w+: manifest\.json has changed since it was written; delete the folder"):
        corpus.prepare(corpus.generated(), str(path.parents[1]))


def test_a_file_is_hashed_once_and_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    whole = storage.sha256

    def noting(url: str) -> str:
        hashed.append(storage.base_name(url))
        return whole(url)

    def body(folder: str) -> dict[str, list[FileEntry]]:
        for name in "ab":
            storage.write_bytes(storage.join(folder, name), b"content")
        return {"files": [FileEntry.of(folder, name) for name in "ab"]}

    done = stages.run(str(tmp_path), Stage("made", 1, {}, {}), body)
    monkeypatch.setattr(storage, "sha256", noting)
    for _ in range(3):
        assert integrity.read_bytes(done.file("a")) == b"content"
    assert hashed == ["a"]
    Path(done.file("a")).write_bytes(b"content")
    assert (integrity.read_bytes(done.file("a")), hashed) == (b"content", ["a", "a"])
    stages.check(done)
    assert hashed == ["a", "a", "b"]


def test_a_remote_file_is_fetched_once_to_be_compared_and_read() -> None:
    def body(folder: str) -> dict[str, list[FileEntry]]:
        storage.write_bytes(storage.join(folder, "a"), b"content")
        return {"files": [FileEntry.of(folder, "a")]}

    done = stages.run("memory://integrity", Stage("made", 1, {}, {}), body)
    assert integrity.read_bytes(done.file("a")) == integrity.read_bytes(done.file("a")) == b"content"
    for data in (b"Content", b"short"):
        storage.write_bytes(done.file("a"), data)
        with pytest.raises(DamagedError, match=f"delete the folder {done.url}"):
            integrity.read_bytes(done.file("a"))


def test_files_without_a_manifest_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "work-1").mkdir()
    (tmp_path / "manifest.json").write_text('["of something else"]')
    for path in (tmp_path / "a", tmp_path / "work-1/a"):
        path.write_bytes(b"content")
        assert integrity.read_bytes(str(path)) == b"content"


def test_a_shard_that_is_cut_short_while_it_is_open_is_one_line(tmp_path: Path) -> None:
    """Memory-mapped, it would kill this process."""
    made = tiny.prepare(tmp_path, rows=3_000, rows_a_shard=3_000)
    rows = ShardSet(stages.load(made.shards["news/24"]), "train")
    assert rows.row(0).example_id
    path = Path(rows.stage.file("train-00000.arrow"))
    os.truncate(path, path.stat().st_size // 2)
    assert rows.row(1).example_id, "its batch is in memory"
    with pytest.raises(CorpusError, match=f"{path}: .* bytes, the manifest says .*; delete the folder"):
        rows.row(2_999)


@pytest.mark.parametrize("file", ["train-00001.arrow", "validation-00000.arrow"])
def test_training_refuses_a_damaged_shard_before_its_first_step(tmp_path: Path, file: str) -> None:
    made = tiny.prepare(tmp_path)
    damaged = f"{made.shards['reviews/24']}/{file}"
    flip(damaged)
    with pytest.raises(DamagedError, match=f"^{damaged}: content differs from its SHA-256 .*; delete the folder"):
        train(tiny.pretrain_run(made, tmp_path / "out"))
    assert not list((tmp_path / "out").glob("attempt-*")), "nothing was trained"


def test_training_goes_on_while_shards_are_compared_and_stops_at_the_first_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with shards that take longer than anyone would wait for the first step."""
    from model.training import setup

    steps, compared = threading.Event(), integrity.check
    monkeypatch.setattr(setup, "WAIT_SECONDS", 0.0)

    def late(url: str, entry: integrity.Entry) -> None:
        if threading.current_thread().name == "integrity":
            steps.wait(60)
            raise DamagedError(f"{url}: damaged")
        compared(url, entry)

    def commit(metrics: object, checkpoint: object) -> None:
        steps.set()

    monkeypatch.setattr(integrity, "check", late)
    run = tiny.pretrain_run(tiny.prepare(tmp_path), tmp_path / "out", validate_every=1, checkpoint_every=1)
    with pytest.raises(DamagedError, match="damaged"):
        train(run, on_commit=commit)
    # Not progress.json, which is written once a second: a fast machine is at the damage before that.
    assert storage.read_json(f"{newest_of(run.output)}/state.json")["step"] >= 1


def test_a_damaged_copy_in_the_cache_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEZHA_PIPE_CACHE", str(tmp_path))
    made = tiny.prepare("memory://damaged-copy")
    stage = stages.load(made.shards["news/24"])
    first = ShardSet(stage, "train").row(0)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            flip(path)
    assert ShardSet(stage, "train").row(0).input_ids.tolist() == first.input_ids.tolist()


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = stages.load(tiny.prepare(tmp_path).shards["news/24"])

    def unreachable(url: str) -> str:
        raise StorageError(f"{url}: Input/output error")

    monkeypatch.setattr(storage, "sha256", unreachable)
    with pytest.raises(StorageError, match="Input/output error"):
        ShardSet(done, "train").row(0)
    with pytest.raises(StorageError, match="Input/output error"):
        stages.verify(done.url)
