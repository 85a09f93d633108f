"""Decontamination: the texts of evaluation files, and documents that contain them; compared with sets of strings."""

import gzip
import json
import lzma
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cleaning import cleaning
from pipeline.config import DecontaminationConfig, SourceConfig
from pipeline.dedup.decontamination import Index, contamination, needed
from pipeline.dedup.evaluation_texts import MIN_NGRAMS, evaluation
from pipeline.documents.table import read_part
from pipeline.engine.execution import Execution
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.sources.formats.evaluation import strings
from tests.made_documents import REAL, generated, identity, made, needs_real_data, plainly, real_news

SQUAD = {
    "version": "v1",
    "data": [
        {
            "title": "北京大学",
            "paragraphs": [
                {
                    "context": "北京大学在海淀。",
                    "qas": [{"id": 3, "question": "在哪里？", "answers": [{"text": "海淀", "answer_start": 5}]}],
                }
            ],
        }
    ],
}


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("label\ttext_a\r\n1\t房间很好\r\n", ["label", "text_a", "1", "房间很好"]),
        ('{"a": "他在", "n": 3}\n\n{"b": ["这里", {"c": "那里"}]}\n', ["他在", "这里", "那里"]),
        ('{"a": "他在"}\nnot JSON\n', ["他在", "not JSON"]),
        (json.dumps(SQUAD, indent=1), ["v1", "北京大学", "北京大学在海淀。", "在哪里？", "海淀"]),
        ('id,text\n1,"第一行。\n第""二""行。"\n2,"好"\n', ["id", "text", "1", '第一行。\n第"二"行。', "2", "好"]),
        ('{"a": "\\u4ed6在"}{"b": "这里"} {"n": ' + "9" * 5_000 + ', "c": "那里"}', ["他在", "这里", "那里"]),
        ('["一", ["二"]]', ["一", "二"]),
        ("北 B-LOC\n京 I-LOC\n\n\n他 O\n，\tO\n好 S-PER", ["北京", "他，好"]),
        ("\ufeff第一行\n第二行\n", ["第一行", "第二行"]),
        ("", []),
    ],
)
def test_every_string_of_an_evaluation_file(tmp_path: Path, content: str, texts: list[str]) -> None:
    for name, data in (("a.txt", content.encode()), ("a.txt.gz", gzip.compress(content.encode()))):
        (tmp_path / name).write_bytes(data)
        assert [one.searched for one in strings(str(tmp_path / name))] == texts


def test_a_file_that_is_not_utf8_or_damaged_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("中文".encode("gb18030"))
    with pytest.raises(CorpusError, match=r"a.tsv: not UTF-8 .* convert it first"):
        list(strings(str(tmp_path / "a.tsv")))
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress("中文".encode() * 99)[:-12])
    with pytest.raises(CorpusError, match=r"b.tsv.gz: the compressed file is cut short"):
        list(strings(str(tmp_path / "b.tsv.gz")))
    with pytest.raises(CorpusError, match="no such file"):
        evaluation(DecontaminationConfig(inputs=(str(tmp_path / "missing"),)), str(tmp_path / "runs"))


def test_evaluation_sets_in_parquet_are_read(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": ["他在这里。", None], "label": [1, 0], "choices": [["甲", "乙"], []]}), tmp_path / "a.parquet"
    )
    assert [one.searched for one in strings(str(tmp_path / "a.parquet"))] == ["他在这里。", "甲", "乙"]
    (tmp_path / "b").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(CorpusError, match="the Parquet file is cut short or damaged"):
        list(strings(str(tmp_path / "b")))


@pytest.mark.parametrize("content", ["", "\ufeff \n\n", "{}", '{"id": 3}\n{"id": 4}\n'])
def test_a_file_without_a_text_is_refused(tmp_path: Path, content: str) -> None:
    """Even next to one that has texts: half an evaluation set would pass for the whole."""
    (tmp_path / "scored").mkdir()
    (tmp_path / "scored/dev.tsv").write_text(generated(5, 1)[0])
    (tmp_path / "scored/test.json").write_text(content)
    config = DecontaminationConfig(inputs=(str(tmp_path / "scored"),))
    with pytest.raises(
        CorpusError, match=r"^\S+scored/test.json: an evaluation file without any text; fetch it again, or name .*$"
    ):
        evaluation(config, str(tmp_path / "runs"))
    (tmp_path / "scored/test.json").unlink()
    assert evaluation(config, str(tmp_path / "runs")).manifest["counts"]["texts"] > 0


def test_an_input_of_short_texts_alone_is_refused(tmp_path: Path) -> None:
    """Labels next to passages do no harm; labels instead of passages are a mistake."""
    text = "柏林是德国的首都和最大的城市人口众多"
    for name, content in (("tasks/dev.tsv", text[:16]), ("tasks/labels.txt", "正面\n负面"), ("labels.txt", text[:15])):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    tasks, labels = str(tmp_path / "tasks"), str(tmp_path / "labels.txt")
    assert evaluation(DecontaminationConfig(inputs=(tasks,)), str(tmp_path / "runs")).manifest["counts"]["texts"] == 1
    with pytest.raises(
        CorpusError, match=r"^\S+/labels.txt: no text in it has 16 letters or digits, .*lower decontamination.ngram_size$"
    ):
        evaluation(DecontaminationConfig(inputs=(tasks, labels)), str(tmp_path / "runs"))
    lower = DecontaminationConfig(inputs=(tasks, labels), ngram_size=12)
    assert evaluation(lower, str(tmp_path / "runs")).manifest["counts"]["texts"] == 2


def ngrams_of(text: str, size: int) -> set[str]:
    normalized = cleaning.folded(text)
    return {normalized[i : i + size] for i in range(len(normalized) - size + 1)}


def plain(documents: list[str], files: dict[str, list[str]], length: int) -> list[tuple[int, str, int, float]]:
    """The same, with sets of strings."""
    found = []
    for number, document in enumerate(documents):
        have = ngrams_of(document, length)
        for name in sorted(files):
            both = [
                (len(have & wanted), len(wanted))
                for text in files[name]
                if len(wanted := ngrams_of(text, length)) >= MIN_NGRAMS
            ]
            if any(common for common, _ in both):
                found.append((number, name, max(n for n, _ in both), max(n / of for n, of in both)))
    return found


def index_of(tmp_path: Path, files: dict[str, list[str]], length: int) -> Index:
    for name, texts in files.items():
        (tmp_path / "scored").mkdir(exist_ok=True)
        (tmp_path / "scored" / name).write_text("\n".join(text.replace("\n", "") for text in texts))
    config = DecontaminationConfig(inputs=(str(tmp_path / "scored"),), ngram_size=length)
    return Index.load(evaluation(config, str(tmp_path / "runs")).url)


@pytest.mark.parametrize("length", [5, 13])
def test_matches_are_those_of_sets_of_strings(tmp_path: Path, length: int) -> None:
    chance = random.Random(length)
    texts = generated(1, 40)
    files = {"a.tsv": [*texts[:15], texts[0][:20], texts[30]], "b.tsv": texts[10:20], "c.txt": ["短", texts[3][5:70]]}
    documents = generated(2, 30)
    for number in range(0, 30, 2):
        source = texts[chance.randrange(40)]
        start = chance.randrange(len(source) // 2)
        documents[number] += source[start : start + chance.randrange(10, 80)]
    documents[3] = texts[30]
    documents[5] = ""
    found = index_of(tmp_path, files, length).matches(np.arange(30, dtype=np.uint64), documents, length)
    rows = [(row["id"], row["file"], row["runs"], round(row["share"], 5)) for row in found.to_pylist()]
    assert rows == [(*row, round(share, 5)) for *row, share in plain(documents, files, length)]
    assert len({number for number, *_ in rows}) >= 8


def test_the_text_that_is_shown_is_the_one_with_the_greatest_share(tmp_path: Path) -> None:
    long, short = generated(3, 1, 30)[0].replace("\n", ""), generated(4, 1)[0].replace("\n", "")[:40]
    index = index_of(tmp_path, {"a.tsv": [long, short]}, 13)
    found = index.matches(np.array([7], np.uint64), [long[:120] + "另外" + short], 13)
    (row,) = found.to_pylist()
    assert (row["id"], row["share"], row["text"]) == (7, 1.0, short)
    assert row["runs"] > len(ngrams_of(short, 13))


def compare(root: Path, texts: list[str], scored: Path, workers: int = 1, **config: Any) -> Finished:
    documents = made(str(root), "a", texts)
    leaks = DecontaminationConfig(inputs=(str(scored),), **config)
    execution = Execution(workers, executor=None if workers > 1 else plainly)
    return contamination(SourceConfig(name="a", kind="text"), documents, leaks, str(root), execution=execution)


def rows_of(stage: Finished) -> list[dict[str, Any]]:
    return [row for entry in stage.files("part-") for row in read_part(stage, entry["name"]).to_pylist()]


def test_the_stage_lists_documents_and_files(tmp_path: Path) -> None:
    text = generated(5, 1)[0].replace("\n", "")
    (tmp_path / "dev.tsv").write_text(f"1\t{text}\n")
    done = compare(tmp_path, ["前言" + text, "无关的文章", text[:50]], tmp_path / "dev.tsv")
    number = len(ngrams_of(text, 13))
    assert sorted((row["id"], row["file"], row["runs"]) for row in rows_of(done)) == sorted(
        [(identity("a", 0), "dev.tsv", number), (identity("a", 2), "dev.tsv", len(ngrams_of(text[:50], 13)))]
    )
    assert done.manifest["counts"] == {"documents": 2}


def test_the_same_bytes_with_two_workers_and_other_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = generated(6, 40)
    (tmp_path / "dev.tsv").write_text("\n".join(texts[:10]))
    digests = {compare(tmp_path / str(n), texts, tmp_path / "dev.tsv", workers=n).digest for n in (1, 2)}
    monkeypatch.setattr("pipeline.dedup.signatures.BATCH_CHARACTERS", 200)
    assert digests == {compare(tmp_path / "3", texts, tmp_path / "dev.tsv").digest}


def test_a_new_threshold_compares_nothing_again_but_new_files_do(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text("\n".join(generated(7, 3)))
    one = compare(tmp_path, ["甲乙"], tmp_path / "dev.tsv")
    assert compare(tmp_path, ["甲乙"], tmp_path / "dev.tsv", min_ngram_ratio=0.9, min_matching_ngrams=3).url == one.url
    assert compare(tmp_path, ["甲乙"], tmp_path / "dev.tsv", ngram_size=14).url != one.url
    (tmp_path / "dev.tsv").write_text("\n".join(generated(8, 3)))
    assert compare(tmp_path, ["甲乙"], tmp_path / "dev.tsv").url != one.url


def test_whether_anything_is_compared() -> None:
    assert not needed(DecontaminationConfig())
    assert needed(DecontaminationConfig(inputs=("dev.tsv",)))
    assert not needed(DecontaminationConfig(inputs=("dev.tsv",), enabled=False))


def leaking(root: Path, texts: list[str], scored: Path) -> int:
    default = DecontaminationConfig()
    rows = rows_of(compare(root, texts, scored))
    return len(
        {row["id"] for row in rows if row["share"] >= default.min_ngram_ratio or row["runs"] >= default.min_matching_ngrams}
    )


@needs_real_data
def test_encyclopedia_made_of_evaluation_passages_is_found(tmp_path: Path) -> None:
    with lzma.open(REAL / "corpora/baike/baike_records_from_cmrc_train.jsonl.xz") as file:
        records = [json.loads(file.readline()) for _ in range(200)]
    texts = ["\n".join(section["content"] or "" for section in record["sections"]) for record in records]
    assert leaking(tmp_path, texts, REAL / "tasks/cmrc2018") == 200


@needs_real_data
def test_news_is_seldom_taken_for_evaluation_texts(tmp_path: Path) -> None:
    assert leaking(tmp_path, real_news(1_000), REAL / "tasks") <= 5
