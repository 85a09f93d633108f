"""The shards stage: the same bytes however it runs, valid rows, and a separate validation split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import MaskingConfig
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.examples import stage as module
from pipeline.examples.shards import Row, ShardSet
from pipeline.examples.stage import in_validation, order_keys
from pipeline.examples.stage import shards as make_shards
from pipeline.tokenization import vocabulary
from tests import corpus

WHICH = ["generated", pytest.param("real", marks=corpus.needs_real_data)]


def rows(stage: Finished, split: str) -> list[Row]:
    shards = ShardSet(stage, split)
    return [shards.row(index) for index in range(len(shards))]


def shards_of(which: str) -> list[Finished]:
    return [stage for name, stage in corpus.prepared(which).items() if name.startswith("shards_")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", corpus.LAYOUTS)
def test_the_same_bytes_however_the_work_is_cut(layout: tuple[str, int, int]) -> None:
    assert corpus.same_bytes(corpus.prepared(layout[0]), corpus.prepared(*layout), "shards") == 6


@pytest.mark.parametrize("which", WHICH)
def test_counts_of_the_manifest_are_those_of_the_rows(which: str) -> None:
    for stage in shards_of(which):
        unknown = vocabulary.load(corpus.prepared(which)["vocabulary"]).unk_id
        for split, counts in stage.manifest["counts"].items():
            found = rows(stage, split)
            assert counts["rows"] == len(found) == sum(entry["rows"] for entry in stage.files(f"{split}-"))
            assert counts["tokens"] == sum(len(row.input_ids) for row in found)
            assert counts["masked"] == sum(len(positions) for row in found for positions, _ in row.draws)
            assert counts["unknown"] == sum(int((row.input_ids == unknown).sum()) for row in found)
            assert counts["documents"] >= len({row.document_id for row in found})
            histogram = stage.manifest["length_histogram"][split]
            lengths = [len(row.input_ids) for row in found]
            assert histogram == {str(length): lengths.count(length) for length in set(lengths)}


@pytest.mark.parametrize("which", WHICH)
def test_rows_keep_their_contract(which: str) -> None:
    vocab = vocabulary.load(corpus.prepared(which)["vocabulary"])
    for stage in shards_of(which):
        for row in rows(stage, "train"):
            length = len(row.input_ids)
            assert 3 <= length <= 64
            assert row.input_ids.max() < len(vocab)
            assert row.input_ids[0] == vocab.cls_id and row.input_ids[-1] == vocab.sep_id
            assert row.input_ids[row.second_start - 1] == vocab.sep_id, "segment B begins after a [SEP]"
            assert row.pair_label in (0, 1)
            assert row.unit_starts[[0, row.second_start - 1, row.second_start, length - 1]].all()
            ((positions, replacements),) = row.draws
            assert 1 <= len(positions) == len(replacements) <= length
            assert (np.diff(positions.astype(int)) > 0).all()
            assert not {0, row.second_start - 1, length - 1} & set(positions.tolist()), "a special token is masked"
            assert replacements.max() < len(vocab)


@pytest.mark.parametrize("which", WHICH)
def test_about_15_in_100_tokens_are_masked(which: str) -> None:
    counts = [stage.manifest["counts"]["train"] for stage in shards_of(which)]
    assert 0.145 < sum(c["masked"] for c in counts) / sum(c["tokens"] for c in counts) < 0.155


@pytest.mark.parametrize("which", WHICH)
def test_rows_lie_in_the_order_of_their_keys(which: str) -> None:
    for stage in shards_of(which):
        for split in ("train", "validation"):
            ids = np.array([row.example_id for row in rows(stage, split)], np.uint64)
            keys = order_keys(ids, stage.manifest["seed"])
            assert (keys[1:] > keys[:-1]).all()
            assert len(set(ids.tolist())) == len(ids)


@pytest.mark.parametrize("which", WHICH)
def test_no_document_is_on_both_sides(which: str) -> None:
    for stage in shards_of(which):
        train, validation = ({row.document_id for row in rows(stage, split)} for split in ("train", "validation"))
        assert train and validation and not train & validation
        assert in_validation(np.array(sorted(validation), np.uint64), 0.1).all()
        assert not in_validation(np.array(sorted(train), np.uint64), 0.1).any()


def test_the_share_of_validation_is_that_of_the_recipe() -> None:
    ids = np.random.default_rng(0).integers(0, 1 << 64, 200_000, np.uint64)
    for ratio in (0.005, 0.1, 0.5):
        assert abs(in_validation(ids, ratio).mean() - ratio) < 4 * (ratio * (1 - ratio) / len(ids)) ** 0.5
    assert not in_validation(ids, 0.0).any()
    assert (in_validation(ids, 0.5) >= in_validation(ids, 0.1)).all(), "a larger ratio includes a smaller one"


def test_several_shards_hold_the_rows_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 6_000)
    stages, config = corpus.prepared(), corpus.generated()
    many = make_shards(config.sources[0], 64, stages["tokens_text"], stages["vocabulary"], config, str(tmp_path))
    assert len(many.files("train-")) > 3
    one = stages["shards_text_64"]
    for split in ("train", "validation"):
        assert [row.example_id for row in rows(many, split)] == [row.example_id for row in rows(one, split)]
    assert many.manifest["counts"] == one.manifest["counts"]


def test_dynamic_masks_store_no_draw_and_other_settings_are_another_stage(tmp_path: Path) -> None:
    stages, config = corpus.prepared(), corpus.generated()
    dynamic = replace(config, masking=MaskingConfig(static_draws=0))
    done = make_shards(config.sources[1], 64, stages["tokens_news"], stages["vocabulary"], dynamic, str(tmp_path))
    assert all(row.draws == () for row in rows(done, "train"))
    assert done.manifest["counts"]["train"]["masked"] == 0
    assert done.manifest["key"] != stages["shards_news_64"].manifest["key"]
    assert [row.example_id for row in rows(done, "train")] == [
        row.example_id for row in rows(stages["shards_news_64"], "train")
    ]


def test_a_source_that_is_all_validation_is_refused(tmp_path: Path) -> None:
    stages, config = corpus.prepared(), replace(corpus.generated(), validation_ratio=1.0)
    with pytest.raises(
        CorpusError, match="source 'news': no training example of length 64; it is too small, or all validation"
    ):
        make_shards(config.sources[1], 64, stages["tokens_news"], stages["vocabulary"], config, str(tmp_path))


@corpus.needs_real_data
def test_characters_without_a_token_are_named() -> None:
    stages = corpus.prepared("real")
    vocab = set(vocabulary.load(stages["vocabulary"]).tokens)
    for stage in shards_of("real"):
        unknown = stage.manifest["unknown_characters"]
        assert unknown == stages[f"tokens_{stage.source}"].manifest["unknown_characters"]
        assert not {c for c in unknown if len(c) == 1 and "一" <= c <= "鿿"} & vocab
