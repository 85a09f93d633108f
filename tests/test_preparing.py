"""`prepare`: options become settings of a recipe, imported examples become shards."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.engine import stages
from pipeline.errors import CorpusError, RecipeError
from pipeline.examples.shards import ShardSet
from pipeline.tfrecords.exchange import export_tfrecords
from pipeline.tokenization import vocabulary
from tests import corpus
from workflows import preparing, recipe
from workflows.chain import Chain
from workflows.preparing import data_chain, running_on

NOTHING: dict[str, Any] = {name: None for name in (*preparing.BERT_SETTINGS, *preparing.SOURCE_SETTINGS)}
NOTHING |= {"corpus": None, "inputs": (), "vocab": "", "lengths": ()}


def chain(given_recipe: str | None = None, settings: Any = (), **given: Any) -> Chain:
    return data_chain(given_recipe, settings, "out", **{**NOTHING, **given})


def test_options_by_berts_names_are_settings_of_the_recipe() -> None:
    options: dict[str, Any] = {
        "masked_lm_prob": 0.1,
        "max_predictions_per_seq": 20,
        "short_seq_prob": 0.0,
        "dupe_factor": 5,
        "do_lower_case": False,
        "random_seed": 7,
    }
    for made in (chain("tiny", **options), chain(corpus="news", inputs=("a.jsonl",), **options)):
        assert (made.recipe.masking.masked_lm_prob, made.recipe.masking.max_predictions_per_seq) == (0.1, 20)
        assert (made.recipe.pairs.short_seq_prob, made.recipe.pairs.dupe_factor) == (0.0, 5)
        assert (made.recipe.vocabulary.do_lower_case, made.recipe.seed) == (False, 7)


def test_options_of_a_source_and_settings_by_name() -> None:
    made = chain(
        corpus="baike", inputs=("a",), text_field=("meta.body", "x"), variant="zh-tw", max_bad_ratio=0.05, lengths=(64, 512)
    )
    source = made.settings.source("baike")
    assert (source.kind, source.input, source.text_field) == ("baike", ("a",), ("meta.body", "x"))
    assert (source.variant, source.max_bad_ratio, made.settings.corpus.sequence_lengths) == ("zh-tw", 0.05, (64, 512))
    assert chain("tiny", ("masking.masked_lm_prob=0.3",), masked_lm_prob=0.2).recipe.masking.masked_lm_prob == 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either a RECIPE or --corpus"),
        ({"given_recipe": "tiny", "corpus": "news"}, "give either a RECIPE or --corpus"),
        ({"given_recipe": "tiny", "inputs": ("a",), "text_field": ("x",)}, "--input, --text-field: only with --corpus"),
        ({"corpus": "news", "inputs": ("a",), "variant": "zh-xx"}, "variant"),
    ],
)
def test_options_that_do_not_go_together_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        chain(**given)


def test_a_cluster_is_not_given_local_files() -> None:
    made = chain(corpus="news", inputs=("s3://b/a.jsonl",))
    with pytest.raises(CorpusError, match="cannot see the local path"), running_on("flink", ("flink_master=f:8081",), made, 1):
        pytest.fail("it runs")


def test_examples_of_berts_script_are_a_source_like_others(tmp_path: Path) -> None:
    prepared = corpus.prepared()
    shards, vocab = prepared["shards_text_64"], prepared["vocabulary"]
    export_tfrecords(shards, vocabulary.load(vocab), str(tmp_path / "old"))
    source = {"name": "old", "kind": "tfrecord", "input": [str(tmp_path / "old/train-*")], "licence": "CC0-1.0"}
    content = {"name": "old", "source": [source], "vocabulary": {"url": vocab.file("vocab.txt")}}
    made = Chain(recipe.build(content, "old"), str(tmp_path / "out"), sequence_lengths=(64,))
    pointer = made.prepare()
    imported = stages.load(str(tmp_path / "out" / pointer.shards["old/64"]))
    assert made.names() == ["vocabulary", "shards_old_64", "report"]
    assert imported.manifest["licence"] == "CC0-1.0"

    def texts(stage: stages.Finished, splits: tuple[str, ...]) -> list[list[int]]:
        sets = [ShardSet(stage, split) for split in splits]
        return sorted(rows.row(index).input_ids.tolist() for rows in sets for index in range(len(rows)))

    assert texts(imported, ("train", "validation")) == texts(shards, ("train",))
    assert Path(made.run("data_report").file("report.html")).exists()
    with pytest.raises(RecipeError, match="its examples have 64 tokens, but the recipe needs 32"):
        Chain(recipe.build(content, "old"), str(tmp_path / "out"), sequence_lengths=(32,)).prepare()


def test_examples_without_their_vocabulary_are_refused(tmp_path: Path) -> None:
    content = {"name": "old", "source": [{"name": "old", "kind": "tfrecord", "input": ["a"]}]}
    with pytest.raises(CorpusError, match=r"name the vocab\.txt that the examples were made with"):
        Chain(recipe.build(content, "old"), str(tmp_path), sequence_lengths=(64,)).prepare()
