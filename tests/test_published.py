"""Published scores: every row has its source, best and mean are not mixed, and ours stand beside those of the same split."""

from typing import Any

import pytest

from workflows.evaluation import beside, published
from workflows.evaluation.scores import Score
from workflows.evaluation.tasks import TASKS


def scores(task: str, values: dict[str, tuple[float, ...]], metric: Any = "accuracy", **settings: Any) -> list[Score]:
    return [
        Score("ours", task, metric, split, seed, settings, 100, value, "p")
        for split, found in values.items()
        for seed, value in enumerate(found)
    ]


def test_every_row_has_its_source_and_figures_that_can_be() -> None:
    rows = published.table()
    assert {"BERT", "BERT-wwm", "RoBERTa-wwm-ext", "ERNIE", "NEZHA", "MacBERT", "LERT"} <= {row.model for row in rows}
    assert {row.task for row in rows} <= set(TASKS), "tasks of the program, by their names"
    assert len({(row.model, row.task, row.metric, row.split, row.source) for row in rows}) == len(rows)
    for row in rows:
        assert published.SOURCES[row.source].url.startswith("https://")
        assert (row.single is None) == (row.best is not None and row.mean is not None), "best and mean, or neither"
        assert row.best is None or row.mean is None or 40 < row.mean <= row.best < 100


@pytest.mark.parametrize(
    ("model", "task", "metric", "split", "figures"),
    [
        ("RoBERTa-wwm-ext", "cmrc2018", "f1", "dev", (87.2, 86.5, None)),
        ("NEZHA-wwm", "xnli", "accuracy", "test", (None, None, 80.68)),
        ("MacBERT", "chnsenticorp", "accuracy", "test", (95.6, 94.9, None)),
        ("LERT", "ocnli", "accuracy", "dev", (78.2, 77.5, None)),
        ("NEZHA", "peoples_daily_ner", "token_f1", "test", (None, None, 98.58)),
    ],
)
def test_figures_are_those_of_their_sources(
    model: str, task: str, metric: str, split: str, figures: tuple[float | None, ...]
) -> None:
    (row,) = (r for r in published.rows(task) if (r.model, r.metric, r.split) == (model, metric, split))
    assert (row.best, row.mean, row.single) == figures


def test_ours_stand_above_theirs_in_percent() -> None:
    rows = beside.beside(scores("xnli", {"dev": (0.70, 0.72), "test": (0.71, 0.69)}))
    assert [row["model"] for row in rows][:2] == ["ours", "BERT"] and rows[0]["source"] == beside.HERE
    lines = beside.table(rows).split("\n")
    ours = next(line for line in lines if " ours " in line)
    assert ours.split() == ["xnli", "accuracy", "ours", "2", "72.0", "71.0", "±1.4", "71.0", "70.0", "±1.4", "here"]
    theirs = next(line for line in lines if line.split()[:1] == ["NEZHA"])
    assert theirs.split()[:4] == ["NEZHA", "1", "81.37", "79.32"]
    assert "NEZHA-large" in beside.table(rows, "all") and "NEZHA-large" not in beside.table(rows, "base")


@pytest.mark.parametrize("splits", ["test: dev.json", "test: dev.json; dev: 10% of train.50k.json; left out: 3 -"])
def test_a_dev_that_is_scored_as_test_stands_beside_published_dev(splits: str) -> None:
    found = scores("ocnli", {"dev": (0.6,), "test": (0.7,)}, splits=splits)
    (ours,) = (row for row in beside.beside(found) if row["source"] == beside.HERE)
    assert ours["dev"]["best"] == pytest.approx(70) and ours["test"]["best"] is None and ours["note"] == ""


def test_scores_that_are_not_comparable_say_why() -> None:
    rows = beside.beside(scores("lcqmc", {"test": (0.7,)}, splits="train: 90% of dev.tsv", train_examples=3000))
    assert "* lcqmc is not comparable: train: 90% of dev.tsv, at most 3,000 train examples." in beside.table(rows).split("\n")
    assert beside.beside(scores("sentiment", {"test": (0.7,)})) == [] and beside.table([]) == ""
