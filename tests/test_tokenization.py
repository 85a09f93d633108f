"""Documents as tokens: each is encoded independently, in any batches, once for all sequence lengths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import MaskingConfig, WordsConfig
from pipeline.dedup.kept import kept_documents
from pipeline.engine.stages import Finished
from pipeline.examples.stage import shards as make_shards
from pipeline.tokenization import stage as encoding
from pipeline.tokenization import vocabulary
from pipeline.tokenization.encoded import Documents, read_part
from pipeline.tokenization.encoder import TextEncoder
from pipeline.tokenization.stage import tokens
from tests import corpus

WHICH = ["generated", pytest.param("real", marks=corpus.needs_real_data)]


def parts(stage: Finished) -> list[Documents]:
    return [read_part(stage, entry["name"]) for entry in stage.files("part-")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", corpus.LAYOUTS)
def test_the_same_bytes_however_the_work_is_cut(layout: tuple[str, int, int]) -> None:
    assert corpus.same_bytes(corpus.prepared(layout[0]), corpus.prepared(*layout), "tokens") > 25


@pytest.mark.parametrize("which", WHICH)
def test_every_document_is_what_it_is_by_itself(which: str) -> None:
    stages = corpus.prepared(which)
    config = {"generated": corpus.generated, "real": corpus.real}[which]()
    encoder = TextEncoder(vocabulary.load(stages["vocabulary"]), config)
    for name in ("text", "news"):
        texts = {}
        for entry in stages[f"documents_{name}"].files("part-"):
            for row in kept_documents(stages[f"documents_{name}"], stages["dedup"], entry["name"]).to_pylist():
                texts[row["id"]] = f"{row['title']}\n{row['text']}" if row["title"] else row["text"]
        found = 0
        for part in parts(stages[f"tokens_{name}"]):
            for index, document_id in enumerate(part.document_ids.tolist()):
                alone = encoder.encode([texts[document_id]])
                one = part.select(np.arange(len(part)) == index)
                assert one.ids.tolist() == alone.ids.tolist()
                assert one.unit_starts.tolist() == alone.unit_starts.tolist()
                assert one.sentence_ends.tolist() == alone.sentence_ends.tolist()
                found += 1
        assert found == len(texts) > 30


@pytest.mark.parametrize("which", WHICH)
def test_counts_of_the_manifest_are_those_of_the_rows(which: str) -> None:
    for name in ("text", "news"):
        stage = corpus.prepared(which)[f"tokens_{name}"]
        found, counts = parts(stage), stage.manifest["counts"]
        assert counts["tokens"] == sum(len(part.ids) for part in found)
        assert counts["units"] == sum(int(part.unit_starts.sum()) for part in found)
        assert counts["sentences"] == sum(len(part.sentence_ends) for part in found)
        assert counts["documents"] == sum(len(part) for part in found) + counts["without_tokens"]
        assert [entry["rows"] for entry in stage.files("part-")] == [len(part) for part in found]
        unknown = vocabulary.load(corpus.prepared(which)["vocabulary"]).unk_id
        assert counts["unknown"] == sum(int((part.ids == unknown).sum()) for part in found)


def test_small_batches_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages, config = corpus.prepared(), corpus.generated()
    monkeypatch.setattr(encoding, "BATCH_CHARACTERS", 100)
    again = tokens(config.sources[0], stages["documents_text"], stages["dedup"], stages["vocabulary"], config, str(tmp_path))
    for small, large in zip(parts(again), parts(stages["tokens_text"]), strict=True):
        assert small.ids.tolist() == large.ids.tolist() and small.document_ids.tolist() == large.document_ids.tolist()


def test_another_length_or_draw_encodes_nothing_again_and_other_words_do(tmp_path: Path) -> None:
    stages, config = corpus.prepared(), corpus.generated()

    def encoded(config: object) -> str:
        return tokens(
            corpus.generated().sources[0],
            stages["documents_text"],
            stages["dedup"],
            stages["vocabulary"],
            config,  # type: ignore[arg-type]
            str(tmp_path),
        ).url

    first = encoded(config)
    assert encoded(replace(config, masking=MaskingConfig(static_draws=3, policy="span"), sequence_lengths=(32,))) == first
    assert encoded(replace(config, words=WordsConfig(segmenter="given"))) != first
    assert encoded(replace(config, masking=MaskingConfig(policy="token"))) != first


def test_tokens_as_units_are_masked_one_by_one(tmp_path: Path) -> None:
    stages, config = corpus.prepared(), replace(corpus.generated(), masking=MaskingConfig(policy="token"))
    source, vocab = config.sources[0], stages["vocabulary"]
    encoded = tokens(source, stages["documents_text"], stages["dedup"], vocab, config, str(tmp_path))
    assert all(part.unit_starts.all() for part in parts(encoded))
    assert make_shards(source, 64, encoded, vocab, config, str(tmp_path)).manifest["masking"]["policy"] == "token"
