"""Two shipped recipes, scaled down, train on the embedded corpus; the loop follows their settings."""

import json
from pathlib import Path

import pytest
import torch

from model.checkpoints import checkpoint
from model.checkpoints.averaging import newest
from model.optimization.schedule import batch_size, learning_rate, sequences
from model.training.loop import TrainResult, train
from model.training.run import PretrainRun
from pipeline import storage
from tests.demo_text import articles
from workflows import recipe
from workflows.chain import Chain
from workflows.planning import corpus_tokens
from workflows.pretraining import AVERAGED, checkpoint_facts, pretrain_run

SMALL = (
    *("dedup.near=false", "dedup.min_paragraph_characters=0", "vocabulary.size=2000", "vocabulary.map_punctuation=true"),
    *("encoder.hidden_size=32", "encoder.num_hidden_layers=2", "encoder.num_attention_heads=2", "encoder.intermediate_size=64"),
    *("training.micro_batch_tokens=1024", "training.validation_sequences=16", "training.log_every=1"),
    *("training.validate_every=4", "training.checkpoint_every=2", "training.precision=fp32", "training.compile=off"),
    *("phase.0.sequence_length=32", "phase.0.steps=6", "phase.0.warmup_steps=2"),
    *("phase.1.sequence_length=64", "phase.1.steps=4", "phase.1.batch_size=8"),
)
"""Width 32 and ten steps; what characterises a recipe stays."""
MODERN = ("phase.0.batch_size=16", "phase.0.ramp_batch_size=4", "phase.0.ramp_steps=3", "phase.1.decay_steps=4")
BERT_WWM = ("phase.0.batch_size=16", "phase.1.warmup_steps=1", "pairs.dupe_factor=1", "encoder.max_position_embeddings=64")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write articles of the embedded corpus, which both recipes share."""
    folder = tmp_path_factory.mktemp("data")
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in articles(150)]
    (folder / "news.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def trained(name: str, settings: tuple[str, ...], data: Path, output: Path) -> tuple[PretrainRun, TrainResult]:
    """Train a small copy in this process, without Ray."""
    source = f"source=[{{name='news', kind='news', input=['{data / 'news.jsonl'}']}}]"
    chain = Chain(recipe.load(name, [source, *SMALL, *settings]), str(data))
    folders = chain.prepare().shards
    shards = {name: storage.join(chain.root, folder) for name, folder in folders.items()}
    assert corpus_tokens(chain) == chain.run("documents_news").manifest["counts"]["characters"] > 10_000
    run = pretrain_run(chain.recipe.pretraining(), shards, chain.run("vocabulary").url, str(output))
    return run, train(run)


def test_the_modern_recipe_trains_with_its_ramp_its_rates_and_its_average(data: Path, tmp_path: Path) -> None:
    run, result = trained("encoder-base-modern", MODERN, data, tmp_path)
    assert result.finished and result.steps == 10
    rows = [row for row in checkpoint.read_metrics(str(tmp_path)) if row["kind"] == "train"]
    first, last = run.config.phases
    rates = [learning_rate(step, phase) for phase in (first, last) for step in range(phase.steps)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(rates)
    assert all(row["loss"] < 9 for row in rows)  # log 2,000 is 7.6
    assert [batch_size(step, first) for step in range(6)] == [4, 8, 12, 16, 16, 16]
    (middle,) = (url for url in newest(str(tmp_path), 9) if url.endswith("-00000006"))
    assert storage.read_json(f"{middle}/state.json")["consumed_samples"] == sequences(first) == 72

    facts = checkpoint_facts(str(tmp_path), result, run.config.training)
    assert facts["best"] == AVERAGED and len(facts["averaged"]) == 3
    mean = checkpoint.load(str(tmp_path / AVERAGED)).model
    parts = [checkpoint.load(str(tmp_path / name)).model for name in facts["averaged"]]
    for name, weight in mean.items():
        torch.testing.assert_close(weight, sum(part[name] for part in parts) / 3)


def test_bert_wwm_trains_with_absolute_positions_and_pairs(data: Path, tmp_path: Path) -> None:
    run, result = trained("bert-wwm", BERT_WWM, data, tmp_path)
    assert result.finished and result.steps == 10
    rows = [row for row in checkpoint.read_metrics(str(tmp_path)) if row["kind"] == "train"]
    assert all(row["loss"] < 10 and row["pair_loss"] is not None for row in rows)
    first_model, last_model = (checkpoint.load(url).model for url in (newest(str(tmp_path), 9)[-1], result.last_checkpoint))
    (positions,) = (name for name in last_model if "position_embeddings" in name)
    assert last_model[positions].shape == (64, 32) and not torch.equal(first_model[positions], last_model[positions])
    assert run.config.optimizer.variant == "nvlamb"
