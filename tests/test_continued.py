"""Training that starts from a network: the champion, its vocabulary and its text, and the check that ends one that forgets."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cluster import supervisor
from model.checkpoints import checkpoint
from model.conversion.writing import write
from model.training.loop import train
from pipeline import storage
from pipeline.checks import invariants
from pipeline.engine import stages
from pipeline.errors import CheckpointError, RecipeError
from pipeline.tokenization.encoded import read_part
from tests.converting import TINY, random_weights
from tests.demo_text import articles, reviews
from workflows import recipe, toml_settings
from workflows.chain import Chain
from workflows.checks.table import ChecksFailed
from workflows.cli import main
from workflows.continued import old_text
from workflows.continued.start import RECORD
from workflows.pretraining import with_old_text
from workflows.registry import contaminated, entries, history, lineage

RECIPE = """
name = "quarter"
validation_ratio = 0.1
[vocabulary]
size = 3000
[encoder]
hidden_size = 32
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 64
[training]
validate_every = 10
checkpoint_every = 10
validation_sequences = 64
log_every = 1
log_examples = true
[checks]
min_kept_ratio = 0.0
loss_falls = false
[dedup]
near = false
[[phase]]
sequence_length = 32
batch_size = 20
steps = 20
learning_rate = 1e-3
warmup_steps = 4
"""


def written(path: Path, texts: list[str]) -> str:
    path.write_text("\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts), encoding="utf-8")
    return str(path)


def source(name: str, file: str) -> str:
    return f"source=[{{name='{name}', kind='news', input=['{file}'], licence='licence of {name}'}}]"


def champion(registry: Path, number: int, url: str) -> str:
    """Make a folder the champion, as `promote` records it, but without scores. Returns its name."""
    scores: dict[str, Any] = {"lines": [], "files": {}, "grid": {}}
    facts = lineage.facts(url, lineage.made_from(export) if (export := lineage.export_stage(url)) else [])
    content = {"name": f"m{number}", "model": {"url": url, "files": []}, **facts, "scores": scores, "contaminated": None}
    content = json.loads(storage.json_bytes(content))
    entry = entries.register(str(registry), entries.Entry(entries._name(content), content, lambda file: b""), {})
    assert history.add(
        str(registry), number, {"event": "promoted", "model": entry.name, "champion": {"name": entry.name, "url": url}}
    )
    return entry.name


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same training loop in this process: Ray takes ten seconds to start."""
    monkeypatch.setattr(supervisor, "pretrain", lambda run, cluster, report: train(run))


class Quarters:
    """A first quarter of news that made a champion, and what a second one of reviews needs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder, folder / "registry"
        self.news = written(folder / "news.jsonl", [*articles(80), articles(1)[0]])
        self.reviews = written(folder / "reviews.jsonl", [*reviews(300), articles(4)[3]])
        self.first = Chain(self.recipe("news", self.news), str(folder / "first"))
        self.model = self.first.run("export").url
        self.name = champion(self.registry, 1, self.model)

    def recipe(self, name: str, file: str, *settings: str) -> recipe.Recipe:
        content = toml_settings.parse(RECIPE, "test")
        return recipe.build(content, "test", [source(name, file), f"checks.registry={self.registry}", *settings])

    def second(self, output: Path, *settings: str, checked: bool = False) -> Chain:
        loaded = self.recipe("reviews", self.reviews, "training.start_from=champion", *settings)
        return Chain(loaded, str(output), checked=checked)


@pytest.fixture(scope="module")
def quarters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarters]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "pretrain", lambda run, cluster, report: train(run))
        yield Quarters(tmp_path_factory.mktemp("quarters"))


@pytest.fixture(scope="module")
def continued(quarters: Quarters) -> Iterator[Chain]:
    """The second quarter from the champion, up to the report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "pretrain", lambda run, cluster, report: train(run))
        chain = quarters.second(quarters.folder / "second", checked=True)
        chain.check()
        chain.run("report")
        yield chain


def test_a_fifth_of_the_examples_is_old_text(continued: Chain) -> None:
    trained, old = continued.run("checkpoint"), continued.run("shards_old_news_32")
    config = json.loads(Path(trained.file(trained.manifest["best"]), "config.json").read_text())
    assert config["phases"][0]["weights"] == {"old_news": 0.2, "reviews": 0.8}
    there = set()
    for entry in old.files("train-"):
        there.update(pa.ipc.open_file(old.file(entry["name"])).read_all()["example_id"].to_pylist())
    files = Path(trained.url).glob("attempt-*/examples-*.jsonl")
    steps = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [sum(one in there for one in step["examples"]) for step in steps] == [4] * 20


def test_new_text_needs_rows_at_each_length_and_old_text_does_not() -> None:
    weights = with_old_text({"a": 30, "b": 10}, {"old": 7, "older": 7}, 0.2)
    assert weights == pytest.approx({"a": 0.6, "b": 0.2, "old": 0.1, "older": 0.1})
    assert with_old_text({"a": 30, "b": 10}, {"old": 0}, 0.2) == {"a": 30, "b": 10}
    with pytest.raises(RecipeError, match="no source has a row to train on"):
        with_old_text({"a": 0}, {"old": 7}, 0.2)


def test_vocabulary_start_and_licences_are_those_of_the_champion(quarters: Quarters, continued: Chain) -> None:
    export, trained = continued.run("export"), continued.run("checkpoint")
    assert continued.run("vocabulary").digest == quarters.first.run("vocabulary").digest
    assert trained.manifest["start"] == {"url": quarters.model, "model": quarters.name}
    facts = lineage.facts(export.url, lineage.made_from(export))
    assert facts["parents"][1] == {"start_from": quarters.model, "model": quarters.name}
    assert facts["licences"] == {"reviews": "licence of reviews", "old_news": "licence of news"}
    assert "licence of news" in Path(export.file("README.md")).read_text()
    rows = checkpoint.read_metrics(trained.url)
    fresh = checkpoint.read_metrics(quarters.first.run("checkpoint").url)
    first, last = ([row for row in found if row["kind"] == "train"] for found in (rows, fresh))
    assert first[0]["learning_rate"] < first[3]["learning_rate"]  # warmed up anew
    assert first[0]["mlm_loss"] < last[0]["mlm_loss"]


def test_old_text_is_checked_and_named_like_other_text(continued: Chain) -> None:
    old = continued.run("replay_old_news")
    assert invariants.tokens(old) == [] and invariants.shards(continued.run("shards_old_news_32")) == []
    assert {"replay_old_news", "shards_old_news_32"} <= {*continued.names("data_report")}


def test_the_loss_on_old_text_before_and_after(quarters: Quarters, continued: Chain) -> None:
    found = continued.outcomes["checkpoint"]["no_forgetting"]
    assert found.passed and "before training" in found.message
    figures = found.figures
    assert figures["all before"] == figures["old_news before"] and figures["all after"] != figures["all before"]
    # What the champion's own training measured on the same rows, with the same masks.
    trained = quarters.first.run("checkpoint")
    step = int(trained.manifest["best"].rpartition("-")[2])
    rows = [row for row in checkpoint.read_metrics(trained.url) if row["kind"] == "validation" and row["source"] == "news"]
    assert figures["all before"] == pytest.approx(next(row["mlm_loss"] for row in rows if row["step"] == step), rel=1e-4)


def test_a_run_that_forgets_ends_in_one_line_before_its_export(quarters: Quarters, tmp_path: Path) -> None:
    for _ in range(2):
        chain = quarters.second(tmp_path, "phase.0.learning_rate=1", checked=True)
        with pytest.raises(ChecksFailed, match=r"^checkpoint: old text is forgotten: .*max_forgetting_ratio is 0.05; .*$"):
            chain.run("report")
        assert not list(tmp_path.glob("export-*"))
    kept = list((tmp_path / ".checks").glob("no_forgetting-*"))
    assert len(kept) == 1  # measured once
    assert json.loads((tmp_path / RECORD).read_text())["ended"]
    lenient = quarters.second(tmp_path, "phase.0.learning_rate=1", "checks.max_forgetting_ratio=1e9", checked=True)
    assert lenient.run("export")


def test_without_replay_the_loss_is_measured_all_the_same(quarters: Quarters, tmp_path: Path) -> None:
    chain = quarters.second(tmp_path, "replay.ratio=0", "checks.max_forgetting_ratio=100", checked=True)
    chain.run("checkpoint")
    assert chain.outcomes["checkpoint"]["no_forgetting"].figures["old_news after"] > 0
    config = next(tmp_path.glob("checkpoint-*/config.json"))
    assert list(json.loads(config.read_text())["shards"]) == ["reviews/32"]


def test_a_killed_run_starts_from_the_same_champion_and_the_next_one_from_the_new(quarters: Quarters, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    elsewhere = f"checks.registry={registry}"
    first = champion(registry, 1, quarters.model)
    quarters.second(tmp_path / "out", elsewhere).run("vocabulary")  # and then it was killed
    other = quarters.first.run("checkpoint").url
    second = champion(registry, 2, other)
    resumed = quarters.second(tmp_path / "out", elsewhere)
    assert resumed.settings.start_model and resumed.settings.start_model.name == first
    resumed.run("report")
    # With nothing new to do, the next run does nothing; a plan writes nothing.
    again = quarters.second(tmp_path / "out", elsewhere)
    assert "to do" not in again.plan().values() and not again.run("report").fresh
    assert json.loads((tmp_path / "out" / RECORD).read_text())["ended"]
    newer = quarters.second(tmp_path / "out", elsewhere, "phase.0.steps=30")
    assert newer.settings.start_model and newer.settings.start_model.name == second
    assert json.loads((tmp_path / "out" / RECORD).read_text())["model"] == first


def test_text_that_was_removed_after_a_run_is_no_hindrance(quarters: Quarters, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    champion(registry, 1, quarters.model)
    quarters.second(tmp_path / "out", f"checks.registry={registry}").run("report")
    newer = champion(registry, 2, quarters.first.run("checkpoint").url)
    (tokens,) = (quarters.folder / "first").glob("tokens_*")
    away = tokens.rename(tmp_path / "away")
    try:
        again = quarters.second(tmp_path / "out", f"checks.registry={registry}")
        assert again.settings.start_model and again.settings.start_model.name == newer
    finally:
        away.rename(tokens)


def test_text_before_counts_as_trained_on(quarters: Quarters, continued: Chain, tmp_path: Path) -> None:
    """Also without old text, licences and contaminated texts of the champion are those of the model."""
    again = Path(quarters.folder / "card")
    again.mkdir()
    assert lineage.licences(str(again)) == {"model": "not recorded"}
    assert lineage.licences(quarters.first.run("checkpoint").url) == {"news": "licence of news"}
    chain = quarters.second(tmp_path, "replay.ratio=0")
    start = chain.settings.start
    assert start
    chain.settings.__dict__["start"] = replace(start, old=())  # as of a champion whose text is not at hand
    made = lineage.made_from(chain.run("export"))
    wanted = {"reviews": "licence of reviews", "news (start)": "licence of news"}
    assert lineage.facts(made[0].url, made)["licences"] == wanted
    assert [stage.name for stage in lineage.before(made) or ()][:2] == ["export", "checkpoint"]
    assert lineage.before(lineage.made_from(quarters.first.run("export"))) is None
    assert contaminated.contaminated(made) is None


def test_a_file_put_beside_the_champion_is_no_other_champion(quarters: Quarters, continued: Chain) -> None:
    beside = Path(quarters.model) / "onnx.txt"
    beside.write_text("put here later")
    try:
        assert quarters.second(Path(continued.root)).find("checkpoint")
    finally:
        beside.unlink()


def test_another_start_is_another_training(quarters: Quarters, continued: Chain, tmp_path: Path) -> None:
    weights = replace(random_weights(replace(TINY, hidden_size=32), quarters_vocab(quarters)), map_punctuation=True)
    assert continued.find("checkpoint")
    write(weights, str(tmp_path / "other"), "ours", "other")
    loaded = replace(continued.recipe, training=replace(continued.recipe.training, start_from=str(tmp_path / "other")))
    loaded = replace(loaded, replay=replace(loaded.replay, data=quarters.model))
    other = Chain(loaded, continued.root)
    assert other.find("shards_old_news_32") and not other.find("checkpoint")


def quarters_vocab(quarters: Quarters) -> Any:
    from pipeline.tokenization.vocabulary import load

    return load(quarters.first.run("vocabulary"))


def test_the_text_of_all_quarters_before_is_one_source(continued: Chain) -> None:
    found = old_text.found(continued.run("export").url)
    assert [(one.source, one.licence, [stage.name for stage in one.tokens]) for one in found] == [
        ("old_news", "licence of news", ["replay_old_news"]),
        ("old_reviews", "licence of reviews", ["tokens_reviews"]),
    ]
    assert [one.source for one in old_text.found(continued.root)] == ["old_news", "old_reviews"]


def ids_of(stage: stages.Finished) -> set[int]:
    return {int(one) for entry in stage.files("part-") for one in read_part(stage, entry["name"]).document_ids}


def test_withdrawn_documents_are_not_in_old_text(quarters: Quarters, tmp_path: Path) -> None:
    before = ids_of(quarters.first.run("tokens_news"))
    one = min(before)
    # The last article of the news repeats the first: one of the two was dropped as its duplicate.
    dropped = pq.read_table(quarters.first.run("dedup").file("dropped_news.parquet"))
    (twin,) = (row for row in dropped.to_pylist() if row["reason"] == "duplicate")
    # The last review is an article of the news too, under another id.
    plain = quarters.second(tmp_path / "plain")
    texts = {
        row["text"]: row["id"] for row in rows_of(plain.run("documents_reviews")) if row["text"].startswith(articles(4)[3][:20])
    }
    (article,) = (row["id"] for row in rows_of(quarters.first.run("documents_news")) if row["text"] in texts)
    withdrawn = tmp_path / "withdrawn.txt"
    withdrawn.write_text("".join(f"{number:016x}\n" for number in (one, twin["id"], *texts.values())))
    chain = quarters.second(tmp_path / "out", f"dedup.withdrawn={withdrawn}")
    old = chain.run("replay_old_news")
    assert before - ids_of(old) == {one, twin["kept_id"], article}
    assert old.manifest["counts"]["withdrawn"] == 3
    in_shards: set[int] = set()
    for entry in (shards := chain.run("shards_old_news_32")).manifest["files"]:
        in_shards.update(pa.ipc.open_file(shards.file(entry["name"])).read_all()["document_id"].to_pylist())
    assert not in_shards & {one, twin["kept_id"], article}


def rows_of(documents: stages.Finished) -> list[dict[str, Any]]:
    return [row for entry in documents.files("part-") for row in pq.read_table(documents.file(entry["name"])).to_pylist()]


def test_an_older_text_gives_way_to_a_newer_one_of_the_same_id(quarters: Quarters, tmp_path: Path) -> None:
    from pipeline.tokenization.replay import replay

    tokens, vocab = quarters.first.run("tokens_news"), quarters.first.run("vocabulary")
    done = replay("old_news", [tokens, tokens], vocab, "word", "CC0", [], str(tmp_path))
    assert done.manifest["counts"]["replaced"] == len(ids_of(tokens)) == done.manifest["counts"]["documents"]
    assert np.array_equal(sorted(ids_of(done)), sorted(ids_of(tokens)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["checks.registry=nowhere"], "no model was promoted in the registry"),
        (["phase.0.warmup_steps=0"], "phase 1 has no warm-up"),
        (["encoder.hidden_size=64", "encoder.num_hidden_layers=2"], "num_hidden_layers is 1 there, 2 in the recipe"),
        (["replay.data=nowhere"], "is not beside it; name an output folder"),
        (["source.0.name=old_news"], "old text has this name too; rename the source"),
    ],
)
def test_what_does_not_fit_is_one_line(quarters: Quarters, tmp_path: Path, settings: list[str], message: str) -> None:
    with pytest.raises((RecipeError, CheckpointError), match=message) as raised:
        quarters.second(tmp_path / "out", *settings).check()
    assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()
    if "encoder" in settings[0]:
        assert "hidden_size is 32 there, 64 in the recipe" in str(raised.value)


def test_another_vocabulary_is_one_line(quarters: Quarters, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(random_weights().vocab.to_bytes())
    chain = quarters.second(tmp_path / "out", f"vocabulary.url={tmp_path}/vocab.txt")
    with pytest.raises(RecipeError, match=r"is not the vocabulary of .*leave vocabulary.url out"):
        chain.check()
    same = quarters.first.run("vocabulary").file("vocab.txt")
    quarters.second(tmp_path / "out", f"vocabulary.url={same}").check()


@pytest.mark.parametrize("positions", ["functional", "absolute"])
@pytest.mark.parametrize("form", ["ours", "huggingface", "huawei-pytorch", "huawei-tensorflow"])
def test_a_released_nezha_or_bert_to_start_from(quarters: Quarters, tmp_path: Path, positions: Any, form: Any) -> None:
    """Its vocabulary and rules are taken; [encoder] has to be that of its network, with its kind of positions."""
    shape = replace(TINY, hidden_size=32, positions=positions, hidden_act="gelu_tanh")
    write(random_weights(shape), str(tmp_path / "released"), form, "released")
    own = [f"encoder.{name}={getattr(shape, name)}" for name in ("num_hidden_layers", "intermediate_size", "positions")]
    if positions == "absolute" and form.startswith("huawei"):
        own.append("encoder.hidden_act=gelu")
    url = f"training.start_from={'hf:' if form == 'huggingface' else ''}{tmp_path}/released"
    chain = Chain(quarters.recipe("reviews", quarters.reviews, url, *own), str(tmp_path / "out"))
    chain.check()
    assert chain.settings.vocabulary.url == f"{tmp_path}/released/vocab.txt" and not chain.settings.old_text
    assert not chain.settings.vocabulary.map_punctuation and chain.settings.corpus.vocabulary == chain.settings.vocabulary
    other = Chain(quarters.recipe("reviews", quarters.reviews, url, *own, "encoder.positions=relative"), str(tmp_path / "out"))
    with pytest.raises(CheckpointError, match=f"positions is {positions} there, relative in the recipe"):
        other.check()


def test_options_that_contradict_each_other_and_pretrain_with_a_champion() -> None:
    both = CliRunner().invoke(main, ["run", "tiny", "--from", "x", "--from-champion"])
    assert both.exit_code == 2 and "not both" in both.stderr
    alone = CliRunner().invoke(
        main, ["pretrain", "tiny", "--data", "x", "--output", "y", "--set", "training.start_from=champion"]
    )
    assert alone.exit_code == 2 and "is for `run`; name it" in alone.stderr


@pytest.mark.slow
def test_the_command_starts_from_the_champion_under_ray_and_ends_where_it_forgets(quarters: Quarters, tmp_path: Path) -> None:
    """Killed before its training and run again, with another champion meanwhile, it starts from the first one."""
    spoilt = RECIPE.replace("learning_rate = 1e-3", "learning_rate = 1.0")
    text = f"{spoilt}\n[cluster]\nworkers = 1\n".replace("[checks]", f"[checks]\nregistry = '{tmp_path}/registry'")
    head = source("reviews", quarters.reviews).replace("source=", "source = ")
    (tmp_path / "quarter.toml").write_text(f"{head}\n{text}")
    first = champion(tmp_path / "registry", 1, quarters.model)
    output = tmp_path / "out"
    words = ["run", str(tmp_path / "quarter.toml"), "--output", str(output), "--from-champion", "--workers", "1"]

    def started() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", "from workflows.cli import main; main()", *words]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True)

    process = started()
    deadline = time.monotonic() + 300
    while not list(output.glob("vocabulary-*/manifest.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    champion(tmp_path / "registry", 2, quarters.first.run("checkpoint").url)
    process = started()
    _, errors = process.communicate(timeout=400)
    (trained,) = output.glob("checkpoint-*/manifest.json")
    assert json.loads(trained.read_text())["start"]["model"] == first
    (line,) = (line for line in errors.splitlines() if line.startswith("Error"))
    assert process.returncode == 2 and "old text is forgotten" in line and not list(output.glob("export-*"))
