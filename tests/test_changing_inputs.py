"""Input that changes between runs, or while it is read: noticed, refused or read again, never parts of both."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.config import DecontaminationConfig, WordsConfig
from pipeline.dedup import evaluation_texts
from pipeline.documents.clean_part import ReadDocuments
from pipeline.documents.stage import documents
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError, StorageError
from pipeline.sources.formats.evaluation import strings
from pipeline.tokenization.stage import EncodePart
from tests import corpus
from tests.commands import prepare
from tests.reading import config

TASK_BYTES = 4_000


@pytest.fixture
def news(tmp_path: Path) -> Path:
    """A file of JSON lines that is read in several tasks."""
    return corpus.write_news(tmp_path / "in", 60) / "news.jsonl"


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace words by others of the same size, and set the time of modification back."""
    status, data = path.stat(), path.read_bytes()
    assert old.encode() in data and len(old) == len(new)
    path.write_bytes(data.replace(old.encode(), new.encode()))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def read(path: Path, root: Path | str) -> Finished:
    return documents(config(path.parent, kind="news"), str(root), task_bytes=TASK_BYTES)


def patch_tasks(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], object]) -> None:
    """Call `before(n)` before the n-th task of `documents` is read, from 0."""
    whole, count = ReadDocuments.__call__, iter(range(1_000))

    def call(self: ReadDocuments, task: Any) -> Any:
        before(next(count))
        return whole(self, task)

    monkeypatch.setattr(ReadDocuments, "__call__", call)


def test_other_content_of_the_same_size_and_time_is_refused_while_it_is_read(
    tmp_path: Path, news: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_tasks(monkeypatch, lambda n: rewrite(news, "北京", "南京") if n == 2 else None)
    with pytest.raises(CorpusError, match="its input changed while it was being read; run again once it is complete"):
        read(news, tmp_path / "out")
    assert not [name for name in os.listdir(tmp_path / "out") if name.startswith("documents")]


def test_an_error_that_a_change_has_caused_is_told_as_a_change(
    tmp_path: Path, news: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_tasks(monkeypatch, lambda n: news.write_bytes(b"\x1f\x8b\x08 no gzip") if n == 0 else None)
    with pytest.raises(CorpusError, match="its input changed while it was being read"):
        read(news, tmp_path / "out")


def test_a_killed_run_that_read_other_content_is_not_resumed(
    tmp_path: Path, news: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is another one while the first tasks read it, and is as before when the run resumes."""
    before = read(news, tmp_path / "clean")

    def change_and_die(n: int) -> None:
        if n == 0:
            rewrite(news, "北京", "南京")
        if n == 2:
            rewrite(news, "南京", "北京")
            raise StorageError("no space left")

    with monkeypatch.context() as patched:
        patch_tasks(patched, change_and_die)
        with pytest.raises((CorpusError, StorageError)):
            read(news, tmp_path / "out")
    again = read(news, tmp_path / "out")
    assert storage.base_name(again.url) == storage.base_name(before.url)
    assert corpus.digests({"": again}) == corpus.digests({"": before})
    assert storage.list_names(again.url) == storage.list_names(before.url)


def test_a_change_of_rights_alone_is_no_change_of_content(tmp_path: Path, news: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_tasks(monkeypatch, lambda n: news.chmod(0o640) if n == 2 else None)
    assert read(news, tmp_path / "out").fresh


def test_evaluation_texts_that_change_while_they_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dev.txt"
    path.write_text("\n".join(corpus.sentences(5, 50)))
    whole = strings

    def changing(url: str, answers_url: str | None) -> Any:
        yield from whole(url, answers_url)
        path.write_text("\n".join(corpus.sentences(6, 50)))

    monkeypatch.setattr(evaluation_texts, "strings", changing)
    with pytest.raises(CorpusError, match=r"\[decontamination\]: its input changed while it was being read"):
        evaluation_texts.evaluation(DecontaminationConfig(inputs=(str(path),)), str(tmp_path / "out"))


def test_recheck_reads_input_again_whose_times_and_size_say_that_it_is_unchanged(
    tmp_path: Path, news: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that keeps no time of change."""
    monkeypatch.setattr(storage, "local_stamp", lambda status: f"size={status.st_size}")
    monkeypatch.setattr("pipeline.sources.inputs.SETTLED_SECONDS", 0.0)

    def shards(*more: str) -> Any:
        done = prepare("--corpus", "news", "--input", news, "--json", *more, output=tmp_path / "out")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["shards"]

    first = shards()
    rewrite(news, "北京", "南京")
    assert shards() == first, "nothing tells"
    assert shards("--recheck") != first


def test_a_dictionary_that_changes_while_it_is_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some parts would have words of the one, some of the other."""
    path = tmp_path / "words.txt"
    path.write_text("改革市场\n")
    made = corpus.generated()
    whole = EncodePart.__call__

    def call(self: EncodePart, task: Any) -> Any:
        path.write_text("发展改革\n")
        return whole(self, task)

    monkeypatch.setattr(EncodePart, "__call__", call)
    changing = replace(made, words=WordsConfig(user_dictionary=(str(path),)))
    with pytest.raises(CorpusError, match="the user dictionary or the list of phrases changed while it was being used"):
        corpus.prepare(changing, str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("tokens_text-*"))
