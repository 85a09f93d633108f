"""The report: its figures are those of the inputs, all text is escaped, and every input may be missing."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.engine.stages import Finished
from workflows.evaluation.scores import UNTRAINED, Score
from workflows.report import plots
from workflows.report.figures import MOST_POINTS, ReportInputs, figures
from workflows.report.languages.texts import texts
from workflows.report.page import page, write_report

EVIL = '<script>alert("毛泽东")</script> & 天安门'


def stage(folder: Path, name: str, seconds: float = 1.0, started: float = 0.0, **facts: Any) -> Finished:
    url = str(folder / f"{name}-0123456789ab")
    storage.write_json(storage.join(url, "run.json"), {"started": started, "seconds": seconds, "host": "h", "pid": 1})
    return Finished(url, {"stage": name, "key": "0123456789ab", "settings": {}, "files": [], **facts})


def documents(folder: Path, source: str, read: int, kept: int, **facts: Any) -> Finished:
    counts = {"read": read, "bad": 2, "empty": 3, "kept": kept, "characters": kept * 90}
    skipped = {"split_off": read - kept - 5}
    facts = {"licence": "CC BY-SA 4.0", "kind": "news", "bad": {"not JSON": 2}, "skipped": skipped, **facts}
    histogram = facts.pop("characters_histogram", {"8": kept - 5, "64": 3, "1024": 2})
    return stage(folder, f"documents_{source}", 75, 1.0, source=source, counts=counts, characters_histogram=histogram, **facts)


def shards(folder: Path, source: str, length: int) -> Finished:
    counts = {
        "train": {"rows": 5_000, "documents": 900, "tokens": 400_000, "masked": 240_800, "unknown": 120, "truncated": 7},
        "validation": {"rows": 50, "documents": 9, "tokens": 4_000, "masked": 2_400, "unknown": 0, "truncated": 0},
    }
    return stage(
        folder,
        f"shards_{source}_{length}",
        12,
        3.0,
        source=source,
        sequence_length=length,
        masking={"static_draws": 4},
        counts=counts,
        length_histogram={"train": {"30": 1_000, str(length): 4_000}, "validation": {}},
        unknown_characters={"囧": 70, "<": 50},
    )


def train_row(step: int, **other: Any) -> dict[str, Any]:
    row = {"kind": "train", "step": step, "phase": 0, "loss": 9 - step / 500, "mlm_loss": 8.0, "pair_loss": 0.7}
    return row | {"masked_accuracy": step / 5_000, "learning_rate": 1e-3, "tokens_per_second": 20_000.0 + step} | other


def validation_row(step: int, source: str, loss: float) -> dict[str, Any]:
    return {"kind": "validation", "step": step, "phase": 0, "loss": loss, "masked_accuracy": 0.31, "source": source}


def score(model: str, seed: int, value: float, task: str = "sentiment") -> Score:
    return Score(model, task, "accuracy", "test", seed, {"epochs": 3}, 1_200, value, f"predictions/{model}-{seed}.jsonl")


@pytest.fixture
def inputs(tmp_path: Path) -> ReportInputs:
    bad = {"bad": [{"origin": "a.jsonl:3", "reason": "not JSON", "text": EVIL}]}
    decided = {
        "news": {
            "documents": 19_000,
            "kept": 18_500,
            "characters_kept": 1_654_321,
            "dropped": {"too_short": 400, "duplicate": 100},
        },
        "reviews": {"documents": 30_000, "kept": 29_990, "characters_kept": 2_000_000, "dropped": {"not_chinese": 10}},
    }
    samples = [{"source": "reviews", "reason": "not_chinese", "text": "Good! 好"}]
    metrics = [train_row(step) for step in range(10, 2_001, 10)]
    for row in metrics[150:]:
        row["phase"] = 1
    for step in (1_000, 2_000):
        metrics += [validation_row(step, source, 5.5 - step / 1_000) for source in ("news", "reviews", "all")]
    return ReportInputs(
        recipe_name="tiny",
        key="abc123def456",
        recipe={"name": "tiny", "seed": 12_345, "encoder": {"hidden_size": 128}, "phase": [{"steps": 2_000}]},
        documents=[
            documents(tmp_path, "news", 21_005, 19_000, samples=bad, licence="PFR <1998>", changed={"html": 17}),
            documents(tmp_path, "reviews", 35_005, 30_000),
        ],
        dedup=stage(tmp_path, "dedup", 4, 2.0, counts=decided, samples=samples),
        vocabulary=stage(tmp_path, "vocabulary", 2, 2.5, size=8_000, sha256="5e" * 32),
        shards=[shards(tmp_path, "news", 64), shards(tmp_path, "reviews", 64)],
        metrics=metrics,
        scores=[score("export-1", seed, value) for seed, value in enumerate([0.86, 0.88, 0.90])]
        + [score(UNTRAINED, seed, value) for seed, value in enumerate([0.80, 0.80, 0.83])],
        other_stages=[stage(tmp_path, "checkpoint", 3_725, 4.0)],
    )


def text(document: str) -> str:
    """Return the visible text of a page, without the plots."""
    plain = re.sub(r"(?s)<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", document)
    return re.sub(r"\s+", " ", html.unescape(plain))


def test_the_page_shows_the_figures_of_the_inputs(inputs: ReportInputs) -> None:
    shown = text(page(figures(inputs)))
    assert "Pretraining report of nezha-pipe, run abc123def456 , seed 12345; scores over 3 seeds" in shown
    assert "48,490 of 56,010 records are kept (86.6%), with 3,654,321 of 4,410,000 characters (82.9%)." in shown
    assert "news 64 train 900 5,000 400,000 15.05% 0.030%" in shown  # masked: 240,800 of 4 draws of 400,000
    assert "Training loss: 8.980 at step 10, 5.000 at step 2,000." in shown
    assert "The lowest validation loss over all sources is 3.500, at step 2,000." in shown
    assert "export-1 sentiment accuracy test 3 0.900 0.880 0.020" in shown
    assert "untrained sentiment accuracy test 3 0.830 0.810 0.017" in shown
    assert "0.880 ± 0.020 with pretraining, 0.810 ± 0.017 without; difference +0.070 (3 seeds)." in shown
    assert "Fine-tuning on sentiment: epochs 3" in shown
    assert "checkpoint 1 h 2 min" in shown and "documents_news 1 min 15 s" in shown
    assert "encoder.hidden_size 128" in shown and "phase.1.steps 2000" in shown


def test_stages_are_in_starting_order(inputs: ReportInputs) -> None:
    names = [row["stage"] for row in figures(inputs)["time"]["stages"]]
    assert names[0] == "documents_news" and names[2:4] == ["dedup", "vocabulary"] and names[-1] == "checkpoint"


def test_text_from_outside_is_escaped_and_chinese_stays(inputs: ReportInputs) -> None:
    document = page(figures(inputs))
    assert "<script" not in document
    assert "&lt;script&gt;alert(&#34;毛泽东&#34;)&lt;/script&gt; &amp; 天安门" in document
    assert "PFR &lt;1998&gt;" in document


def test_the_page_needs_nothing_from_outside(inputs: ReportInputs) -> None:
    document = page(figures(inputs))
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|url\((?!#)", document)
    assert {link for link in re.findall(r'href="([^"]*)"', document) if not link.startswith("#")} == set()


def test_plots_take_the_pages_colours_and_their_ids_are_unique(inputs: ReportInputs) -> None:
    document = page(figures(inputs))
    assert document.count("<svg") == 5
    ids = re.findall(r'\bid="([^"]*)"', document)
    assert len(ids) == len(set(ids))
    assert all(target in ids for target in re.findall(r'(?:url\(#|href="#)([^")]*)', document))
    assert "var(--series-1)" in document and "currentColor" in document and "#0001" not in document
    assert re.search(r"<text[^>]*>validation reviews</text>", document), "labels must stay text"


def test_the_same_inputs_give_the_same_bytes_and_the_json_holds_the_figures(inputs: ReportInputs, tmp_path: Path) -> None:
    first, second = (write_report(inputs, str(tmp_path / name)) for name in ("a", "b"))
    assert first == second and [entry.name for entry in first] == ["report.html", "report.json"]
    saved = json.loads((tmp_path / "a" / "report.json").read_text())
    assert saved["funnel"][0]["dropped"] == {"too_short": 400, "duplicate": 100}
    assert saved["training"]["validation_loss"]["all"] == [[1_000, 4.5], [2_000, 3.5]]
    assert saved["training"]["phase_starts"] == [1_510]


def test_long_curves_are_thinned_by_means(inputs: ReportInputs) -> None:
    metrics = [train_row(step, loss=float(step % 2)) for step in range(1, 10_001)]
    curve = figures(ReportInputs(recipe_name="long", key="k", recipe={}, metrics=metrics))["training"]["loss"]
    assert len(curve) <= MOST_POINTS and curve[-1][0] == 10_000
    assert all(value == pytest.approx(0.5, abs=0.05) for _, value in curve)


def test_nothing_at_all_makes_a_page_that_says_so(tmp_path: Path) -> None:
    write_report(ReportInputs(recipe_name="空", key="k", recipe={}), str(tmp_path))
    shown = text((tmp_path / "report.html").read_text())
    assert shown.strip() == "空 · nezha-pipe 空 Data report of nezha-pipe, run k No stage is finished yet."


def test_one_row_of_metrics_no_validation_one_seed_and_an_empty_source_make_a_page(tmp_path: Path) -> None:
    empty = documents(tmp_path, "news", 0, 0, characters_histogram={})
    empty.manifest["counts"].update(bad=0, empty=0)
    empty.manifest.update(bad={}, skipped={})
    none = {"documents": 0, "kept": 0, "characters_kept": 0, "dropped": {}}
    inputs = ReportInputs(
        recipe_name="small",
        key="k",
        recipe={},
        documents=[empty],
        dedup=stage(tmp_path, "dedup", counts={"news": none}),
        metrics=[train_row(10)],
        scores=[score("m", 0, 0.5)],
    )
    document = page(figures(inputs))
    shown = text(document)
    assert "From records to kept documents" not in shown and "<figure" in document
    assert "Training loss: 8.980 at step 10, the only measurement." in shown
    assert "m sentiment accuracy test 1 0.500 0.500 –" in shown
    assert "NaN" not in document and "nan" not in re.sub("[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", document)


def test_losses_that_were_not_finite_are_left_out(tmp_path: Path) -> None:
    rows = [
        train_row(10),
        train_row(20, loss=None),
        validation_row(20, "all", 4.0),
        {**validation_row(30, "all", 0), "loss": None},
    ]
    training = figures(ReportInputs(recipe_name="n", key="k", recipe={}, metrics=rows))["training"]
    assert len(training["loss"]) == 1 and training["best"]["step"] == 20


def test_masks_drawn_during_training_have_no_ratio(tmp_path: Path) -> None:
    dynamic = shards(tmp_path, "news", 128)
    dynamic.manifest["masking"]["static_draws"] = 0
    shown = text(page(figures(ReportInputs(recipe_name="d", key="k", recipe={}, shards=[dynamic]))))
    assert "news 128 train 900 5,000 400,000 during training" in shown


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.42, "0.4 s"), (75, "1 min 15 s"), (3_599.6, "1 h 0 min"), (7_300, "2 h 1 min")]
)
def test_durations_are_written_as_people_do(seconds: float, written: str) -> None:
    assert texts().duration(seconds) == written


def test_a_model_has_the_colour_of_its_curve_and_an_untrained_one_none_of_them() -> None:
    rows = [
        {"task": "t", "model_id": m, "metric": "f1", "split": "test", "mean": 0.5, "deviation": None}
        for m in ("a", "none", "b")
    ]
    curves = plots.curves({name: [(1, 1.0), (2, 0.5)] for name in ("a", "b")}, "loss")
    bars = plots.scores(rows, [], untrained={"none"})
    series = {number: (f"var(--series-{number})" in curves, f"var(--series-{number})" in bars) for number in (1, 2, 3)}
    assert series == {1: (True, True), 2: (True, True), 3: (False, False)}


def test_metrics_of_a_task_are_apart(inputs: ReportInputs) -> None:
    def of(model: str, exact: float, f1: float) -> list[Score]:
        pairs: tuple[tuple[Any, float], ...] = (("exact_match", exact), ("f1", f1))
        return [Score(model, "cmrc2018", metric, "test", 0, {}, 9, value, "p") for metric, value in pairs]

    shown = text(page(figures(replace(inputs, scores=[*of("m", 0.4, 0.7), *of(UNTRAINED, 0.1, 0.3)]))))
    assert "cmrc2018 on test, exact match: 0.400 with pretraining, 0.100 without; difference +0.300 (1 seed)." in shown
    assert "cmrc2018 on test, F1: 0.700 with pretraining, 0.300 without; difference +0.400 (1 seed)." in shown
    rows = [
        {"task": "t", "model_id": "m", "metric": metric, "split": "test", "mean": mean, "deviation": None}
        for metric, mean in (("exact_match", 0.4), ("f1", 0.7))
    ]
    assert all(word in plots.scores(rows, []) for word in ("exact match", "F1", "0.400", "0.700"))
