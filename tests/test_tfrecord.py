"""TFRecords: files of BERT's and NEZHA's scripts are imported as shards and exported again, feature by feature."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import VocabularyConfig
from pipeline.engine import integrity, stages
from pipeline.engine.execution import Execution
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.examples.shards import ShardSet
from pipeline.sources.inputs import expand
from pipeline.tfrecords import bert_examples, checksum, exchange, tfrecord
from pipeline.tfrecords.bert_examples import read_examples
from pipeline.tfrecords.exchange import export_tfrecords, import_tfrecords
from pipeline.tokenization.vocab import (
    CLS,
    MASK,
    PAD,
    SEP,
    UNK,
    Vocab,
)
from pipeline.tokenization.vocabulary import vocabulary
from tests import tiny
from tests.corpus import REAL, needs_real_data

ORACLE = REAL / "oracle/nezha"
FILES = ("tf_examples_00.tfrecord", "tf_examples_01.tfrecord")
CHECK = b"123456789"

Features = dict[str, list[Any]]


def bert_vocab(size: int = 30_522) -> Vocab:
    """Return a vocabulary with the special tokens at BERT's ids."""
    tokens = [f"p{number}" for number in range(size)]
    for number, token in ((0, PAD), (100, UNK), (101, CLS), (102, SEP), (103, MASK)):
        tokens[number] = token
    return Vocab(tuple(tokens))


def stage_of(vocab: Vocab, root: Path) -> Finished:
    root.mkdir(parents=True, exist_ok=True)
    (root / "vocab.txt").write_bytes(vocab.to_bytes())
    nothing = Finished("", {"files": []})
    return vocabulary([], nothing, VocabularyConfig(url=str(root / "vocab.txt")), str(root))


def example(words: list[int], second: int = 0, hidden: Sequence[int] = (1,), length: int = 16, most: int = 3) -> Features:
    """Return a record of a short text; the tokens at `hidden` were 7."""
    rest, padding = most - len(hidden), length - len(words)
    return {
        "input_ids": words + [0] * padding,
        "input_mask": [1] * len(words) + [0] * padding,
        "segment_ids": [0] * (second or len(words)) + [1] * (len(words) - second if second else 0) + [0] * padding,
        "masked_lm_positions": [*hidden] + [0] * rest,
        "masked_lm_ids": [7] * len(hidden) + [0] * rest,
        "masked_lm_weights": [1.0] * len(hidden) + [0.0] * rest,
        "next_sentence_labels": [1],
    }


GOOD = example([101, 103, 8, 102, 9, 102], second=4)


def write(path: Path, features: Sequence[Features]) -> Path:
    with path.open("wb") as file:
        tfrecord.write_records(file, [tfrecord.encode(one) for one in features])
    return path


def read(path: Path | str) -> list[Features]:
    return [tfrecord.decode(record) for record in tfrecord.read_records(str(path))]


def canonical(features: Sequence[Features]) -> list[str]:
    return sorted(json.dumps(one, sort_keys=True) for one in features)


def test_the_checksum_is_crc32c() -> None:
    """The check value of the catalogue of CRCs, and 32 zero bytes as in RFC 3720, appendix B.4."""
    plain = [0xE3069283, 0x8A9136AA, 0]
    masked = [((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF for crc in plain]
    data = [CHECK, bytes(32), b""]
    assert [integrity.crc32c(one) for one in data] == plain
    assert [checksum.masked_crc32c(one) for one in data] == masked


@needs_real_data
@pytest.mark.parametrize("name", FILES)
def test_real_files_are_read_and_written_byte_by_byte_but_for_the_order_of_names(name: str, tmp_path: Path) -> None:
    features = read(ORACLE / name)
    assert len(features) == 60
    copy = write(tmp_path / "copy.tfrecord", features)
    assert read(copy) == features
    assert copy.stat().st_size == (ORACLE / name).stat().st_size  # the same fields, packed the same way
    records = list(tfrecord.read_records(str(ORACLE / name)))
    with (tmp_path / "again.tfrecord").open("wb") as file:
        tfrecord.write_records(file, records)
    assert (tmp_path / "again.tfrecord").read_bytes() == (ORACLE / name).read_bytes()


@needs_real_data
def test_real_files_become_shards_and_files_again(tmp_path: Path) -> None:
    files = expand([str(ORACLE / "*.tfrecord")])
    vocab = bert_vocab()
    shards = import_tfrecords(files, "english", stage_of(vocab, tmp_path), str(tmp_path), validation_ratio=0.1)
    assert shards.manifest["sequence_length"] == 128
    rows = {split: len(ShardSet(shards, split)) for split in ("train", "validation")}
    assert sum(rows.values()) == 120 and min(rows.values()) > 0
    urls = export_tfrecords(shards, vocab, str(tmp_path / "out"))
    assert len(urls) == 2
    before = [one for name in FILES for one in read(ORACLE / name)]
    assert canonical([one for url in urls for one in read(url)]) == canonical(before)


@needs_real_data
def test_the_text_of_real_files_is_restored(tmp_path: Path) -> None:
    """What is masked in one copy of a text is visible in others: the script repeats each text with other masks."""
    shards = import_tfrecords(
        expand([str(ORACLE / FILES[0])]), "english", stage_of(bert_vocab(), tmp_path), str(tmp_path), validation_ratio=0
    )
    rows = ShardSet(shards, "train")
    masks = [row.draws[0] for row in map(rows.row, range(len(rows)))]
    hidden = sum(int((replacements == 103).sum()) for _, replacements in masks) / sum(len(one) for one, _ in masks)
    assert hidden == pytest.approx(0.8, abs=0.03)
    assert not any((rows.row(i).input_ids == 103).any() for i in range(len(rows)))
    assert all(rows.row(i).unit_starts.all() for i in range(len(rows)))
    assert shards.manifest["counts"]["train"]["masked"] == sum(len(one) for one, _ in masks)


def test_a_record_becomes_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", [example([101, 103, 8, 102, 9, 55, 102], second=4, hidden=(5, 1))])
    shards = import_tfrecords(
        expand([str(path)]), "old", stage_of(bert_vocab(200), tmp_path), str(tmp_path), validation_ratio=0
    )
    row = ShardSet(shards, "train").row(0)
    assert row.input_ids.tolist() == [101, 7, 8, 102, 9, 7, 102]
    assert (row.second_start, row.pair_label) == (4, 1)
    assert [column.tolist() for column in row.draws[0]] == [[1, 5], [103, 55]]
    assert shards.manifest["pairs"]["task"] == "nsp"


def test_files_without_labels_have_no_pairs(tmp_path: Path) -> None:
    features = {name: values for name, values in example([101, 103, 8, 102]).items() if name != "next_sentence_labels"}
    path = write(tmp_path / "a.tfrecord", [features])
    shards = import_tfrecords(
        expand([str(path)]), "old", stage_of(bert_vocab(200), tmp_path), str(tmp_path), validation_ratio=0
    )
    assert shards.manifest["pairs"]["task"] == "none"
    assert ShardSet(shards, "train").row(0).pair_label is None


def test_packed_files_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", [GOOD, GOOD])
    packed = tmp_path / "a.tfrecord.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed) == read(path) == [GOOD, GOOD]


def test_imported_shards_do_not_depend_on_workers(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.tfrecord", [example([101, 103, 8 + i, 102, 9 + number, 102], second=4) for i in range(40)])
    files = expand([str(tmp_path / "*.tfrecord")])
    digests = set()
    for workers in (1, 2):
        root = tmp_path / f"run{workers}"
        digests.add(
            import_tfrecords(files, "old", stage_of(bert_vocab(200), root), str(root), execution=Execution(workers)).digest
        )
    assert len(digests) == 1


def damaged(data: bytes, kind: str) -> bytes:
    if kind == "flipped":
        return data[:40] + bytes([data[40] ^ 1]) + data[41:]
    if kind == "length":
        return bytes([data[0] ^ 1]) + data[1:]
    return {"cut in data": data[:-20], "cut in a length": data + data[:7], "text": "这不是记录文件，只是一些文字。".encode()}[
        kind
    ]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("flipped", "record 0 is damaged"),
        ("length", "record 0 has no valid length"),
        ("cut in data", "record 1 is cut short"),
        ("cut in a length", "record 2 is cut short"),
        ("text", "record 0 has no valid length; is this a TFRecord file"),
    ],
)
def test_a_damaged_file_is_one_line(kind: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", [GOOD, GOOD])
    path.write_bytes(damaged(path.read_bytes(), kind))
    with pytest.raises(CorpusError, match=message) as error:
        read(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_ids": [500, 103, 8, 102, 9, 102] + [0] * 10}, "ids are below 200"),
        ({"input_ids": [100, 103, 8, 102, 9, 102] + [0] * 10}, r"\[CLS\] and \[SEP\] of this vocabulary"),
        ({"input_ids": [101, 103, 8, 9, 102, 102] + [0] * 10}, r"\[CLS\] and \[SEP\] of this vocabulary"),
        ({"segment_ids": [0, 1, 0, 0, 1, 1] + [0] * 10}, "segment_ids are 0 in A and 1 in B"),
        ({"input_mask": [1, 1, 0, 1, 1, 1] + [0] * 10}, "input_mask is 1 up to the end"),
        ({"masked_lm_positions": [3, 0, 0]}, "only text is masked"),
        ({"masked_lm_positions": [9, 0, 0]}, "only text is masked"),
        ({"masked_lm_ids": [7, 0]}, "record 1 has a different number of masked_lm_ids"),
    ],
)
def test_records_that_cannot_be_are_named(changed: Features, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", [GOOD, {**GOOD, **changed}])
    vocab = stage_of(bert_vocab(200), tmp_path)
    with pytest.raises(CorpusError, match=message) as error:
        import_tfrecords(expand([str(path)]), "old", vocab, str(tmp_path))
    assert "record 1" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"masked_lm_weights": [0.0, 0.0, 0.0, 1.0]}, "different numbers of masked_lm_positions, masked_lm_ids, masked_lm_w"),
        ({"input_mask": [1] * 6}, "different numbers of input_ids, input_mask, segment_ids"),
        ({"input_ids": [1.0] * 16}, "input_ids are not numbers of the right type"),
        ({name: [] for name in bert_examples.NEEDED}, "input_ids are not numbers of the right type"),
        ({"next_sentence_labels": []}, "next_sentence_labels are not numbers of the right type"),
    ],
)
def test_features_that_do_not_fit_together_are_named(changed: Features, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", [{**GOOD, **changed}] * 2)
    with pytest.raises(CorpusError, match=rf"a\.tfrecord: records from 0 on.*{message}"):
        import_tfrecords(expand([str(path)]), "old", stage_of(bert_vocab(200), tmp_path), str(tmp_path))


def test_other_messages_are_no_examples(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", [{"image": [1, 2]}])
    with pytest.raises(CorpusError, match="record 0 lacks input_ids, input_mask"):
        list(read_examples(str(path)))
    with path.open("wb") as file:
        tfrecord.write_records(file, [b"\x0a\xff\xff"])
    with pytest.raises(CorpusError, match=r"record 0 is not a tf\.train\.Example"):
        list(read_examples(str(path)))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(b"")
    with pytest.raises(CorpusError, match="has no records"):
        import_tfrecords(expand([str(tmp_path / "a.tfrecord")]), "old", stage_of(bert_vocab(200), tmp_path), str(tmp_path))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Shards with two static draws."""
    return stages.load(tiny.prepare(tmp_path_factory.mktemp("tiny")).shards["news/24"])


def test_shards_are_written_with_each_draw(corpus: Finished, tmp_path: Path) -> None:
    urls = export_tfrecords(corpus, tiny.VOCAB, str(tmp_path), max_predictions=8)
    assert [Path(url).name for url in urls] == [
        *(f"train-{shard:05d}-{draw}.tfrecord" for shard in (0, 1) for draw in (0, 1)),
        *(f"validation-00000-{draw}.tfrecord" for draw in (0, 1)),
    ]
    rows = ShardSet(corpus, "train")
    for draw in (0, 1):
        for index, one in enumerate([*read(urls[draw]), *read(urls[2 + draw])]):
            row = rows.row(index)
            positions, replacements = row.draws[draw]
            length, number = len(row.input_ids), len(positions)
            assert (len(one["input_ids"]), len(one["masked_lm_ids"])) == (24, 8)
            assert one["input_mask"] == [1] * length + [0] * (24 - length)
            assert one["segment_ids"].index(1) == row.second_start and sum(one["segment_ids"]) == length - row.second_start
            assert one["masked_lm_weights"] == [1.0] * number + [0.0] * (8 - number)
            assert one["masked_lm_positions"][:number] == positions.tolist()
            assert one["masked_lm_ids"][:number] == row.input_ids[positions].tolist()
            shown = row.input_ids.copy()
            shown[positions] = replacements
            assert one["input_ids"] == shown.tolist() + [tiny.VOCAB.pad_id] * (24 - length)
            assert one["next_sentence_labels"] == [row.pair_label]


def test_predictions_are_padded_to_the_most_of_a_row(corpus: Finished, tmp_path: Path) -> None:
    most = max(len(positions) for i in range(300) for positions, _ in ShardSet(corpus, "train").row(i).draws)
    urls = export_tfrecords(corpus, tiny.VOCAB, str(tmp_path))
    assert {len(one["masked_lm_ids"]) for one in read(urls[0])} == {most}
    with pytest.raises(CorpusError, match=f"a row has {most} predictions, more than {most - 1}"):
        export_tfrecords(corpus, tiny.VOCAB, str(tmp_path / "fewer"), max_predictions=most - 1)


def test_what_cannot_be_written_is_refused(corpus: Finished, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="made with another vocabulary"):
        export_tfrecords(corpus, bert_vocab(200), str(tmp_path))
    dynamic = replace(corpus, manifest={**corpus.manifest, "masking": {**corpus.manifest["masking"], "static_draws": 0}})
    with pytest.raises(CorpusError, match="has no masks"):
        export_tfrecords(dynamic, tiny.VOCAB, str(tmp_path))


def test_many_records_are_read_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bert_examples, "RECORDS_AT_A_TIME", 3)
    features = [example([101, 103, *range(8, 8 + i % 5), 102]) for i in range(20)]
    path = write(tmp_path / "a.tfrecord", features)
    assert read(path) == features
    found = [ids.tolist() for columns in read_examples(str(path)) for ids in columns["input_ids"]]
    assert found == [one["input_ids"] for one in features]


def test_shards_of_many_files_are_more_than_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SHARD_BYTES", 4_000)
    path = write(tmp_path / "a.tfrecord", [example([101, 103, 8 + i, 102]) for i in range(60)])
    shards = import_tfrecords(
        expand([str(path)]), "old", stage_of(bert_vocab(200), tmp_path), str(tmp_path), validation_ratio=0
    )
    assert len(shards.files("train-")) > 1
    rows = ShardSet(shards, "train")
    assert sorted(int(rows.row(i).input_ids[2]) for i in range(len(rows))) == list(range(8, 68))
    assert np.any(np.diff([int(rows.row(i).input_ids[2]) for i in range(len(rows))]) < 0)  # shuffled
