"""Signatures: estimates compared with true similarities, bands with theory, and the stage that writes them."""

import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import storage
from pipeline.cleaning import cleaning
from pipeline.config import DedupConfig, SourceConfig
from pipeline.dedup import signatures
from pipeline.dedup.minhash import (
    band_hashes,
    minhash,
    similarity,
    sketches,
)
from pipeline.dedup.ngrams import normalize_texts
from pipeline.dedup.signatures import binary_column, binary_rows
from pipeline.engine.execution import Execution
from pipeline.engine.stages import Finished
from tests.made_documents import generated, identity, made, needs_real_data, plainly, real_news

SOURCE = SourceConfig(name="a", kind="text")


def edited(text: str, ratio: float, chance: random.Random) -> str:
    """The text with a ratio of its characters left out, changed or added."""
    result = []
    for character in text:
        draw = chance.random()
        if draw < ratio / 3:
            continue
        result.append(chr(chance.randrange(0x4E00, 0x9FA5)) if draw < 2 * ratio / 3 else character)
        if draw > 1 - ratio / 3:
            result.append(chr(chance.randrange(0x4E00, 0x9FA5)))
    return "".join(result)


def pairs_of(texts: list[str], number: int) -> tuple[list[str], list[str]]:
    chance = random.Random(7)
    chosen = [texts[index % len(texts)] for index in range(number)]
    return chosen, [edited(text, chance.choice([0.003, 0.01, 0.02, 0.04]), chance) for text in chosen]


def texts_of(which: str, number: int) -> list[str]:
    return real_news(number) if which == "real" else generated(5, number)


BOTH = pytest.mark.parametrize("which", ["generated", pytest.param("real", marks=needs_real_data)])


def jaccard(left: str, right: str) -> float:
    one, other = ({text[i : i + 5] for i in range(len(text) - 4)} for text in map(cleaning.folded, (left, right)))
    return len(one & other) / len(one | other)


def signed(texts: list[str], bins: int = 256) -> npt.NDArray[np.uint32]:
    return minhash(normalize_texts(texts, 4), 5, bins)


@BOTH
def test_estimates_are_near_the_true_similarity(which: str) -> None:
    originals, copies = pairs_of(texts_of(which, 150), 400)
    true = np.array([jaccard(left, right) for left, right in zip(originals, copies, strict=True)])
    assert 0.3 < true.min() < 0.6 < true.max()
    left, right = signed(originals), signed(copies)
    by_bins = (left == right).mean(axis=1)
    by_sketch = similarity(sketches(left), sketches(right))
    assert abs(np.mean(by_bins - true)) < 0.01
    assert abs(np.mean(by_sketch - true)) < 0.015
    assert np.sqrt(np.mean((by_bins - true) ** 2)) < 0.035
    assert np.sqrt(np.mean((by_sketch - true) ** 2)) < 0.06


@pytest.mark.parametrize("length", [6, 20, 60])
def test_short_texts_are_estimated_without_bias(length: int) -> None:
    texts = [text[:length] for text in generated(5, 600)]
    originals, copies = pairs_of(texts, 600)
    true = np.array([jaccard(left, right) for left, right in zip(originals, copies, strict=True)])
    estimate = (signed(originals) == signed(copies)).mean(axis=1)
    assert abs(np.mean(estimate - true)) < 0.01


def test_different_texts_are_not_alike() -> None:
    one, other = signed(generated(5, 100)[:50]), signed(generated(5, 100)[50:])
    assert similarity(sketches(one), sketches(other)).max() < 0.5


@BOTH
def test_bands_find_as_many_pairs_as_theory_says(which: str) -> None:
    originals, copies = pairs_of(texts_of(which, 400), 800)
    true = np.array([jaccard(left, right) for left, right in zip(originals, copies, strict=True)])
    left, right = (band_hashes(signed(texts), 14, 8) for texts in (originals, copies))
    found = (left == right).any(axis=1)
    assert found.mean() == pytest.approx(np.mean(1 - (1 - true**8) ** 14), abs=0.04)
    assert found[true > 0.9].all()


def test_copies_but_for_signs_have_one_signature() -> None:
    one, other, empty, signs = signed(["他说：“ＮＥＺＨＡ好”。", "他说NEZHA 好！", "", "……"])
    assert (one == other).all()
    assert (empty == 0xFFFFFFFF).all()
    assert (signs == 0xFFFFFFFF).all()


def test_a_signature_depends_on_its_text_alone() -> None:
    texts = generated(5, 30)
    together = signed(texts)
    assert all((signed([text])[0] == row).all() for text, row in zip(texts, together, strict=True))


def test_numbers_survive_their_binary_column() -> None:
    rows = np.arange(12, dtype=np.uint64).reshape(4, 3)
    column = pa.chunked_array([binary_column(rows[:1]), binary_column(rows[1:])])
    assert (binary_rows(column) == rows).all()
    assert (binary_rows(column.slice(1, 2)) == rows[1:3]).all()


def sign(root: Path, documents: Finished, workers: int = 1, **changes: float) -> Finished:
    dedup = DedupConfig(**changes)  # type: ignore[arg-type]
    execution = Execution(workers, executor=None if workers > 1 else plainly)
    return signatures.signatures(SOURCE, documents, dedup, str(root), execution=execution)


def test_the_stage_has_a_row_for_each_document_and_one_for_each_long_line(tmp_path: Path) -> None:
    long = "这是一个足够长的段落，" * 4
    texts = [f"短行\n{long} 空 格\n，，，\n{long}甲", "短", "……"]
    documents = made(str(tmp_path), "a", texts)
    done = sign(tmp_path, documents, min_paragraph_characters=30)
    rows: list[dict[str, int]] = []
    lines: list[dict[str, int]] = []
    for entry in documents.files("part-"):
        for name, found in ((entry["name"], rows), (signatures.paragraph_file(entry["name"]), lines)):
            with storage.open_read(done.file(name)) as file:
                found += pq.read_table(file).to_pylist()
    by_id = {row["id"]: row for row in rows}
    assert [(by_id[identity("a", n)]["letters"], by_id[identity("a", n)]["paragraphs"]) for n in range(3)] == [
        (2 + 42 + 41, 2),
        (1, 0),
        (0, 0),
    ]
    assert [(line["id"], line["ordinal"], line["characters"]) for line in lines] == [
        (identity("a", 0), 1, 46),
        (identity("a", 0), 3, 45),
    ]
    assert done.manifest["counts"] == {"documents": 3, "letters": 86, "paragraphs": 2}


def test_the_same_bytes_with_two_workers(tmp_path: Path) -> None:
    texts = generated(5, 60)
    done = [sign(tmp_path / str(n), made(str(tmp_path / str(n)), "a", texts), workers=n) for n in (1, 2)]
    assert done[0].digest == done[1].digest


def test_batches_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = made(str(tmp_path), "a", [*generated(5, 60), "很长" * 2_000])
    whole = sign(tmp_path / "whole", documents)
    monkeypatch.setattr(signatures, "BATCH_CHARACTERS", 300)
    assert sign(tmp_path / "small", documents).digest == whole.digest


def test_a_new_threshold_signs_nothing_again(tmp_path: Path) -> None:
    documents = made(str(tmp_path), "a", generated(5, 10))
    one = sign(tmp_path, documents)
    assert sign(tmp_path, documents, similarity=0.9).url == one.url
    assert sign(tmp_path, documents, ngram_size=4).url != one.url
    assert signatures.needed(DedupConfig(near=False))
    assert not signatures.needed(DedupConfig(near=False, min_paragraph_characters=0))


def test_a_source_without_documents_has_no_signatures(tmp_path: Path) -> None:
    done = sign(tmp_path, made(str(tmp_path), "a", []))
    assert done.manifest["counts"] == {"documents": 0, "letters": 0, "paragraphs": 0}
