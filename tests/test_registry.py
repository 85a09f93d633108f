"""The registry: what an entry keeps, how the gate decides, and who is the champion."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import gate as rates
from pipeline import storage
from pipeline.errors import DamagedError, RegistryError, TaskError
from tests.scored import SETTINGS, drawn, example, exported, scored
from workflows.cli import main
from workflows.evaluation import metrics
from workflows.registry import contaminated, entries, gate, history, licences, lineage, promotion, resampled
from workflows.registry.bootstrap import difference
from workflows.registry.comparison import compared
from workflows.registry.config import GateConfig
from workflows.registry.entries import Entry
from workflows.registry.resampled import Floats

QUICK = GateConfig(resamples=1_000)
TAGS = ("O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG")


def entry(folder: Path, name: str, accuracy: float, *, seeds: int = 5, examples: int = 600, **more: object) -> Entry:
    """Return the entry of a made model with made scores on one task."""
    model = exported(str(folder / name), name)
    right = drawn(seeds, examples, accuracy, seed=sum(map(ord, name)))
    scores = scored(str(folder / f"scores-{name}"), model, {"sentiment": right}, **more)  # type: ignore[arg-type]
    return entries.collect(model, scores)[0]


def registered(registry: str, folder: Path, name: str, accuracy: float) -> Entry:
    entry(folder, name, accuracy)
    return entries.register(registry, *entries.collect(str(folder / name), str(folder / f"scores-{name}")))


def value(metric: str, rows: list[dict[str, Any]]) -> float:
    """Return a metric as resamples compute it."""
    form = resampled.form(metric)
    return float(form.combine(form.terms([resampled.units(metric, rows)]).sum(axis=1))[0])


def test_resampled_metrics_are_those_of_scores() -> None:
    from scipy import stats

    draw = np.random.default_rng(3)
    tags = [{name: [str(tag) for tag in draw.choice(TAGS, 12)] for name in ("gold", "predicted")} for _ in range(40)]
    gold_tags, guessed = ([row[name] for row in tags] for name in ("gold", "predicted"))
    assert value("entity_f1", tags) == pytest.approx(metrics.entity_f1(gold_tags, guessed))
    # 3 tags in gold, 2 predicted, both right.
    assert value("token_f1", [{"gold": ["B-PER", "I-PER", "O", "B-LOC"], "predicted": ["B-PER", "O", "O", "B-LOC"]}]) == 4 / 5
    answers = [(["范廷颂枢机", "范廷颂"], "范廷颂"), (["1963年"], "1963"), (["ω-force"], "光荣和ω-force"), (["光荣"], "")]
    rows = [{"gold": gold, "predicted": guess} for gold, guess in answers]
    gold, guesses = [one for one, _ in answers], [guess for _, guess in answers]
    assert value("exact_match", rows) == metrics.exact_match(gold, guesses)
    assert value("f1", rows) == pytest.approx(metrics.answer_f1(gold, guesses))
    # a: F1 of 1 right of 2 gold and 1 predicted; b: 1 of 1 and 2; c is neither.
    labels = [{"gold": "a", "predicted": "a"}, {"gold": "a", "predicted": "b"}, {"gold": "b", "predicted": "b"}]
    assert value("macro_f1", labels) == pytest.approx(2 / 3) and value("accuracy", labels) == pytest.approx(2 / 3)
    several: list[dict[str, Any]] = [{"gold": ["a", "b"], "predicted": ["b", "c"]}, {"gold": [], "predicted": []}]
    assert value("micro_f1", several) == 1 / 2 and value("macro_f1", several) == pytest.approx(1 / 3)
    x, y = draw.normal(0, 1, 50), draw.normal(0, 1, 50).round(1)
    numbers = [{"gold": one, "predicted": one + other} for one, other in zip(x, y, strict=True)]
    assert value("pearson", numbers) == pytest.approx(stats.pearsonr(x, x + y).statistic)
    assert value("spearman", numbers) == pytest.approx(stats.spearmanr(x, x + y).statistic)
    # Right candidates are at places 1 and 3 of one question, at 2 of another; the third has none.
    ranked = [("q", "1", 3.0), ("q", "0", 2.0), ("q", "1", 1.0), ("r", "0", 2.0), ("r", "1", 1.0), ("s", "0", 1.0)]
    candidates = [{"id": name, "gold": gold, "predicted": score} for name, gold, score in ranked]
    assert value("map", candidates) == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert value("mrr", candidates) == pytest.approx((1 + 1 / 2) / 2)
    with pytest.raises(TaskError, match="the metric bleu cannot be resampled; the gate knows accuracy"):
        resampled.form("bleu")


def test_every_metric_has_an_interval_like_that_of_many_test_sets() -> None:
    """The standard error on one set of examples is about the deviation between sets that were drawn anew."""
    draw = np.random.default_rng(2)

    def made(metric: str, examples: int) -> Floats:
        gold = draw.normal(0, 1, examples)
        seeds = []
        for _ in range(3):
            guess = gold + draw.normal(0, 1, examples)
            if metric == "spearman":
                rows = [{"gold": one, "predicted": other} for one, other in zip(gold, guess, strict=True)]
            else:
                rows = [{"gold": str(one > 1), "predicted": str(other > 1)} for one, other in zip(gold, guess, strict=True)]
            seeds.append([[row] for row in rows])
        return resampled.form(metric).terms(seeds)

    for metric in ("spearman", "macro_f1"):
        combine = resampled.form(metric).combine
        many = [combine(made(metric, 300).mean(axis=1)).mean() for _ in range(100)]
        drawn_sets = [made(metric, 300) for _ in range(5)]
        found = [difference(one, np.zeros_like(one), combine, resamples=1_000) for one in drawn_sets]
        assert np.mean([one.deviation for one in found]) == pytest.approx(np.std(many), rel=0.35)


def of_labels(right: Floats) -> Floats:
    """Return the terms of accuracy. `right`: (seeds, examples)"""
    return np.stack([right, np.ones_like(right)], axis=-1)


def test_the_interval_is_that_of_both_seeds_and_examples() -> None:
    """Without seeds that differ, it is the paired interval of examples; without examples that differ, Student's t of seeds."""
    from scipy import stats

    draw = np.random.default_rng(1)
    one, other = (np.repeat((draw.random((1, 800)) < ratio).astype(float), 4, axis=0) for ratio in (0.8, 0.7))
    found = difference(of_labels(one), of_labels(other))
    low, high = stats.ttest_1samp(one[0] - other[0], 0).confidence_interval(0.95)
    assert found.interval(0.95) == pytest.approx((low, high), abs=2e-3)
    assert found.seed_variance == 0 and found.seeds_to_tell(0.0, 0.95) == 5

    ones, others = (np.repeat(draw.normal(mean, 0.01, (5, 1)), 50, axis=1) for mean in (0.83, 0.80))
    found = difference(of_labels(ones), of_labels(others))
    low, high = stats.ttest_ind(ones[:, 0], others[:, 0], equal_var=False).confidence_interval(0.95)
    assert found.interval(0.95) == pytest.approx((low, high), abs=3e-3)
    assert found.example_variance == 0 and found.value == pytest.approx(float(ones.mean() - others.mean()))


def test_two_sets_of_seeds_of_one_model_are_rarely_called_better_and_a_gain_is_seen() -> None:
    """40 gates each on predictions of a network; `python -m benchmarks gate` does it with 200."""
    right, draw = rates.stored(), np.random.default_rng(5)
    assert right.shape == (16, 1_200)
    better = seen = 0
    for number in range(40):
        first, second = rates.drawn(right, 5, draw)
        same, gained = (rates.found(first, one, number) for one in (second, rates.learned(second, 0.02, draw)))
        better += same.interval(0.95)[0] > 0
        seen += gained.interval(0.95)[0] > 0
        assert gained.value - same.value == pytest.approx(0.02, abs=1e-3)
    assert better <= 2 and seen >= 36


def test_verdicts(tmp_path: Path) -> None:
    base = entry(tmp_path, "base", 0.86)
    config = replace(QUICK, margin=0.01)
    words = {}
    for name, accuracy in (("better", 0.90), ("worse", 0.80)):
        found = gate.judge(entry(tmp_path, name, accuracy), base, config)
        words[name] = (found.verdict, found.passes)
    assert words == {"better": ("better", True), "worse": ("worse", False)}
    again = entry(tmp_path, "again", 0.86)
    wide = gate.judge(again, base, replace(config, margin=0.05))
    assert (wide.verdict, wide.passes, wide.reasons) == ("no worse", False, ("better on no task",))
    assert gate.judge(again, base, replace(config, margin=0.05, require="no worse")).passes
    narrow = gate.judge(again, base, replace(config, margin=0.0))
    assert narrow.verdict == "cannot tell" and not narrow.passes
    (task,) = narrow.tasks
    assert task.seeds_to_tell is None or task.seeds_to_tell > 5
    assert narrow.reasons[0].startswith("sentiment accuracy: cannot tell: ")
    # Margins of single tasks come first.
    assert gate.judge(again, base, replace(config, margin=0.0, margins={"sentiment": 0.05})).verdict == "no worse"
    # Without a champion there is nothing to be better than.
    assert gate.judge(again, None, config).passes


def test_of_several_scores_better_needs_more(tmp_path: Path) -> None:
    """What would be better alone is not when it is one of 20."""
    base, other = (entry(tmp_path, name, accuracy, examples=1_200) for name, accuracy in (("base", 0.86), ("other", 0.873)))
    (row,) = compared(other, base, QUICK)
    assert row.difference is not None
    assert row.difference.interval(0.95)[0] > 0 > row.difference.interval(1 - 0.05 / 20)[0]
    assert [gate._judged(row, QUICK, scores).verdict for scores in (1, 20)] == ["better", "no worse"]


def test_examples_are_paired_whatever_their_order(tmp_path: Path) -> None:
    base = entry(tmp_path, "base", 0.86)
    plain, shuffled = (
        entry(tmp_path / folder, "other", 0.9, order=order) for folder, order in (("a", None), ("b", np.random.default_rng(2)))
    )
    rows = [compared(one, base, QUICK)[0] for one in (plain, shuffled)]
    assert rows[0].interval == rows[1].interval and not rows[1].differs


def test_a_model_whose_fine_tuning_diverged_is_not_judged(tmp_path: Path) -> None:
    base, other = entry(tmp_path, "base", 0.86), entry(tmp_path, "other", 0.95)
    scores = other.content["scores"]
    lines = [{**line, "diverged": 1} if line["seed"] == 0 else line for line in scores["lines"]]
    marked = Entry(other.name, {**other.content, "scores": {**scores, "lines": lines}}, other.fetch)
    (row,) = compared(marked, base, QUICK)
    assert row.differs == ("first model: its fine-tuning diverged (seed 0); score it again with a smaller learning rate",)
    assert gate.judge(marked, base, QUICK).verdict == "cannot tell" and gate.judge(other, base, QUICK).passes


def test_other_files_and_settings_are_said_and_pass_nothing(tmp_path: Path) -> None:
    base = entry(tmp_path, "base", 0.86)
    other = entry(tmp_path, "rate", 0.95, settings={**SETTINGS, "learning_rate": 5e-5})
    (row,) = compared(other, base, QUICK)
    assert row.differs == ("other settings: learning_rate 5e-05 and 3e-05",) and row.interval is not None
    assert gate.judge(other, base, QUICK).reasons == (
        "sentiment accuracy: cannot tell: other settings: learning_rate 5e-05 and 3e-05",
    )
    # With the same values to choose from, each may have its own.
    tried = {"sentiment": [{"learning_rate": 3e-5}, {"learning_rate": 5e-5}]}
    grid = [
        Entry(one.name, {**one.content, "scores": {**one.content["scores"], "grid": tried}}, one.fetch) for one in (other, base)
    ]
    assert compared(grid[0], grid[1], QUICK)[0].differs == ()
    assert compared(grid[0], base, QUICK)[0].differs == row.differs
    moved = entry(tmp_path, "moved", 0.95, first=200)
    (row,) = compared(moved, base, QUICK)
    assert row.interval is None and row.differs == ("other test examples: 600 and 600, 400 texts in common",)
    assert not gate.judge(moved, base, QUICK).passes
    single = entry(tmp_path, "single", 0.95, seeds=1)
    assert gate.judge(single, base, QUICK).tasks[0].why == "one seed: nothing is known of the spread between seeds"


def test_contaminated_examples_are_left_out_beside(tmp_path: Path) -> None:
    base, other = entry(tmp_path, "base", 0.86), entry(tmp_path, "other", 0.86)
    seen = [example(number).starts[0] for number in range(100)]
    known = [Entry(one.name, {**one.content, "contaminated": found}, one.fetch) for one, found in ((base, []), (other, seen))]
    (row,) = compared(known[1], known[0], QUICK)
    assert row.contaminated == 100 and row.examples == (600, 600)
    assert row.clean is not None and row.clean.examples == (500, 500)
    whole = other.scores["sentiment", "accuracy"]
    left = [number for number, one in enumerate(whole.starts) if not one & set(seen)]
    assert len(left) == 500 and row.clean.means[0] == pytest.approx(float(whole.terms[:, left, 0].mean()))
    assert compared(base, other, QUICK)[0].contaminated is None


def test_licences_that_forbid_the_use_refuse_and_are_first() -> None:
    found = {"news": "CC BY-NC 4.0", "web": "unknown", "wiki": "CC BY-SA 4.0", "books": "仅供研究使用"}
    judged = licences.judged(found, "commercial")
    assert [(one["source"], one["forbids"]) for one in judged] == [("books", True), ("news", True), ("web", False)]
    assert [one["source"] for one in licences.judged(found, "redistribution")] == ["web"]
    assert licences.judged(found, "") == []
    assert licences.judged({"demo": "for trying out, not for redistribution"}, "redistribution")[0]["forbids"]


def test_an_entry_is_immutable_and_the_same_twice(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    first = registered(registry, tmp_path, "tiny", 0.86)
    again = entries.register(registry, *entries.collect(str(tmp_path / "tiny"), str(tmp_path / "scores-tiny")))
    assert again.name == first.name and again.registered == first.registered
    assert entries.find(registry, "tiny").scores["sentiment", "accuracy"].mean == first.scores["sentiment", "accuracy"].mean
    assert [file["name"] for file in first.content["model"]["files"]] == sorted(storage.list_names(first.url))
    place = tmp_path / "registry/models" / f"{first.name}.json"
    place.write_text(place.read_text().replace("0.8", "0.9"))
    with pytest.raises(DamagedError, match="has been changed since it was written"):
        entries.read(registry, first.name)
    place.unlink()
    again = entries.register(registry, *entries.collect(str(tmp_path / "tiny"), str(tmp_path / "scores-tiny")))
    (tmp_path / "registry/files" / next(iter(first.content["scores"]["files"].values()))).write_bytes(b"1")
    with pytest.raises(DamagedError, match="not the bytes that its name says"):
        _ = {name: again._rows(file) for name, file in again.content["scores"]["files"].items()}


def test_a_name_may_leave_out_what_tells_nothing(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    tiny, last = (registered(registry, tmp_path, name, 0.86) for name in ("tiny", "tiny-last"))
    for wanted, found in (("tiny", tiny), (tiny.name, tiny), ("tiny-last", last), ("tiny-l", last), (last.name[:-4], last)):
        assert entries.find(registry, wanted).name == found.name
    with pytest.raises(RegistryError, match="2 models begin with 'tin'"):
        entries.find(registry, "tin")


def test_a_model_whose_files_changed_is_refused(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    model = registered(registry, tmp_path, "tiny", 0.86)
    weights = tmp_path / "tiny/model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + b"?")
    with pytest.raises(RegistryError, match=r"model\.safetensors .content differs from its SHA-256"):
        promotion.promote(registry, model, QUICK, override="never mind")
    assert history.last(registry) is None
    weights.write_bytes(kept)
    assert promotion.promote(registry, model, QUICK).champion == model.name


def test_scores_of_another_model_are_refused(tmp_path: Path) -> None:
    entry(tmp_path, "a", 0.86)
    exported(str(tmp_path / "b"), "b")
    with pytest.raises(RegistryError, match="scores of a, with other weights than this model's"):
        entries.collect(str(tmp_path / "b"), str(tmp_path / "scores-a"))
    with pytest.raises(RegistryError, match="no scores; run `nezha-pipe evaluate"):
        entries.collect(str(tmp_path / "b"))
    lines = (tmp_path / "scores-a/scores.jsonl").read_text()
    (tmp_path / "scores-a/scores.jsonl").write_text(lines.replace('"value": 0.', '"value": 0.1'))
    with pytest.raises(DamagedError, match="the predictions do not give the score"):
        _ = entries.collect(str(tmp_path / "a"), str(tmp_path / "scores-a"))[0].scores


@pytest.mark.parametrize("content", [b"null", b'{"model_id": "a', "不是".encode("gbk")])
def test_damaged_scores_and_predictions_are_one_line(tmp_path: Path, content: bytes) -> None:
    entry(tmp_path, "a", 0.86)
    next(tmp_path.glob("scores-a/predictions/*-test.jsonl")).write_bytes(content)
    with pytest.raises(DamagedError, match=r"damaged.*; score the model again"):
        _ = entries.collect(str(tmp_path / "a"), str(tmp_path / "scores-a"))[0].scores
    (tmp_path / "scores-a/scores.jsonl").write_bytes(content)
    with pytest.raises(DamagedError, match=r"scores\.jsonl: damaged .*; delete it and score the model again"):
        entries.collect(str(tmp_path / "a"), str(tmp_path / "scores-a"))


def test_rollback_goes_back_and_forth(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    with pytest.raises(RegistryError, match="no model was promoted here"):
        promotion.rollback(registry)
    names = []
    for name, accuracy in (("a", 0.80), ("b", 0.85), ("c", 0.90)):
        names.append(promotion.promote(registry, registered(registry, tmp_path, name, accuracy), QUICK).champion)
    a, b, c = names
    assert promotion.rollback(registry, reason="slow").champion == b
    assert promotion.rollback(registry).champion == c
    assert promotion.rollback(registry, to="a-").champion == a
    with pytest.raises(RegistryError, match="is the champion already"):
        promotion.rollback(registry, to=a)
    never = registered(registry, tmp_path, "d", 0.85)
    with pytest.raises(RegistryError, match="never was the champion"):
        promotion.rollback(registry, to=never.name)
    (tmp_path / "c/vocab.txt").unlink()
    with pytest.raises(RegistryError, match=r"vocab\.txt .missing"):
        promotion.rollback(registry)
    events = [(record.number, record.content["event"], record.champion) for record in history.records(registry)]
    assert events[3:] == [(4, "rolled back", b), (5, "rolled back", c), (6, "rolled back", a)]


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    promotion.promote(registry, registered(registry, tmp_path, "a", 0.80), QUICK)
    b, c = (registered(registry, tmp_path, name, 0.90) for name in "bc")

    def meanwhile(verdict: gate.Verdict) -> None:
        promotion.promote(registry, c, QUICK)

    with pytest.raises(RegistryError, match=f"another process was faster: the champion is {c.name} now"):
        promotion.promote(registry, b, QUICK, say=meanwhile)
    assert [record.champion for record in history.records(registry)][1:] == [c.name]


def test_a_refusal_meanwhile_stops_nobody(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    promotion.promote(registry, registered(registry, tmp_path, "a", 0.85), QUICK)
    b, worse = registered(registry, tmp_path, "b", 0.90), registered(registry, tmp_path, "c", 0.70)

    def meanwhile(verdict: gate.Verdict) -> None:
        promotion.promote(registry, worse, QUICK)

    record = promotion.promote(registry, b, QUICK, say=meanwhile)
    assert (record.number, record.champion) == (3, b.name)
    assert [one.content["event"] for one in history.records(registry)] == ["promoted", "refused", "promoted"]


def test_lineage_of_a_run(tmp_path: Path) -> None:
    """Stages with the digests of each other, as a run leaves them."""
    from pipeline.engine import stages
    from pipeline.engine.stages import FileEntry, Finished, Stage

    def made(kind: str, inputs: dict[str, str], source: str = "", **facts: object) -> Finished:
        stage = Stage(kind, 1, facts.pop("settings", {}), inputs, source=source)  # type: ignore[arg-type]

        def body(folder: str) -> dict[str, object]:
            storage.write_bytes(storage.join(folder, "file"), f"{kind} {source} {inputs}".encode())
            return {"files": [FileEntry.of(folder, "file")], **facts}

        return stages.run(str(tmp_path), stage, body)

    news = made("documents", {"files": "1"}, "news", licence="CC0", counts={"kept": 3, "characters": 80})
    made("documents", {"files": "2"}, "other", licence="NC", counts={"kept": 3, "characters": 80})
    tokens = made("tokens", {"documents": news.digest}, "news")
    shards = made("shards", {"tokens": tokens.digest}, "news")
    settings = {"training": {"start_from": ""}}
    start = {"url": "s3://b/older", "model": "tiny-5d0c"}
    checkpoint = made("checkpoint", {"news/128": shards.digest}, settings=settings, start=start)
    export = made("export", {"checkpoint": checkpoint.digest}, licences={"news": "CC0"}, name="tiny")
    chain = lineage.made_from(export)
    assert [stage.name for stage in chain] == ["export", "checkpoint", "shards_news", "tokens_news", "documents_news"]
    found = lineage.facts(export.url, chain)
    assert found["licences"] == {"news": "CC0"} and found["parents"][1] == {"start_from": "s3://b/older", "model": "tiny-5d0c"}
    assert [(one["source"], one["documents"], one["digest"]) for one in found["data"]] == [("news", 3, news.digest)]
    assert set(found["cost"]["stages"]) == {stage.name for stage in chain} and found["recipe"] == settings
    assert contaminated.contaminated(chain) is None


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("NEZHA_PIPE_REGISTRY", str(tmp_path / "registry"))
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_the_commands(tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    for name, accuracy in (("a", 0.85), ("b", 0.90), ("c", 0.80)):
        entry(tmp_path, name, accuracy)
    folder = {name: str(tmp_path / name) for name in "abc"}
    scores = {name: f"--scores={tmp_path}/scores-{name}" for name in "abc"}
    assert run("models").output.endswith("no models are registered here yet\n")
    first = run("models", "--add", folder["a"], scores["a"]).output.strip()
    assert first.startswith("a-") and "models are registered" not in run("models").output
    assert run("models", "--champion").exit_code == 2
    done = run("promote", first)
    assert done.exit_code == 0 and done.output.endswith(f"{first} is the champion\n")
    refused = run("promote", folder["c"], scores["c"])
    assert refused.exit_code == 1 and ": refused: sentiment accuracy: worse by 0.0" in refused.output
    overridden = json.loads(run("promote", "c", "--override", "half the size", "--json").output)
    assert (overridden["event"], overridden["reason"]) == ("overridden", "half the size")
    assert not overridden["verdict"]["passes"] and overridden["verdict"]["tasks"][0]["verdict"] == "worse"
    assert run("models", "--champion").output.strip() == folder["c"]
    back = run("rollback")
    assert back.exit_code == 0 and back.output.startswith(f"{first} is the champion again, after c-")
    promoted = run("promote", folder["b"], scores["b"], "--set", "gate.use=commercial", "--set", "gate.margin=0.005")
    assert promoted.output.startswith("licence of model does not say whether it allows commercial use: not recorded\n")
    assert promoted.exit_code == 0
    table = run("models", "--history").output
    assert [word in table for word in ("promoted", "refused", "overridden", "rolled back", "half the size")] == [True] * 5
    side = run("compare", "champion", f"{tmp_path}/scores-c").output
    assert "sentiment" in side and "+0." in side and "unknown" in side
    assert json.loads(run("compare", "a", "b", "--json").output)["tasks"][0]["difference"] < 0
    assert "licence: model: not recorded" in run("models", "b").output
    for wrong, message in (
        (("promote", "zzz"), "no model 'zzz'; there are a-"),
        (("promote", f"{tmp_path}/nothing"), "no such folder"),
        (("promote", "b"), "is the champion already"),
        (("models", "a", "--champion"), "give one of a model, --add, --champion and --history"),
        (("promote", "a", "--set", "gate.margn=1"), "unknown key 'margn'; did you mean 'margin'?"),
        (("promote", "a", "--set", "gate.margin=2"), "margin 2.0 of margin is not between 0 and 1"),
    ):
        done = run(*wrong)
        assert done.exit_code == 2 and message in done.output and done.output.count("\n") == 1, done.output
