"""Scores of fine-tuned networks: one JSON line each, and their mean and deviation over seeds.

{"model_id": "export-5d0c", "task": "sentiment", "metric": "accuracy", "split": "test", "seed": 0, "value": 0.87, ...}

model        task       metric    split  seeds   mean  deviation
export-5d0c  sentiment  accuracy  test       3  0.871      0.004
untrained    sentiment  accuracy  test       3  0.803      0.010
"""

import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline import storage
from workflows.evaluation.examples import Example
from workflows.evaluation.tasks import Metric

UNTRAINED = "untrained"
"""`model_id` of the baseline: the same network with fresh weights, drawn from the run's seed."""


@dataclass(frozen=True)
class Score:
    """The score of one fine-tuned network on one split: a line of scores.jsonl."""

    model_id: str
    task: str
    metric: Metric
    split: str
    seed: int
    hyperparameters: Mapping[str, Any]
    n: int
    """Number of examples in the split."""
    value: float
    """Between 0 and 1."""
    predictions_uri: str
    """JSON lines of gold and predicted labels, relative to the folder of scores.jsonl."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)


def measure(metric: Metric, gold: Sequence[Example], predicted: Sequence[Sequence[str]]) -> float:
    """Return a score between 0 and 1."""
    if metric == "entity_f1":
        return entity_f1([example.labels for example in gold], predicted)
    right = sum(example.labels == tuple(guess) for example, guess in zip(gold, predicted, strict=True))
    return right / len(gold)


def entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Return micro F1 over entities. An entity counts if both ends and its type are right (nervaluate's "strict",
    CoNLL's metric).

    gold       B-PER I-PER O B-LOC          2 entities
    predicted  B-PER I-PER O B-ORG          2 entities, 1 right: precision 1/2, recall 1/2, F1 1/2
    """
    from nervaluate import Evaluator

    types = sorted({tag[2:] for tags in (*gold, *predicted) for tag in tags if tag != "O"})
    if not types:
        return 0.0
    evaluator = Evaluator([list(tags) for tags in gold], [list(tags) for tags in predicted], tags=types, loader="list")
    return float(evaluator.evaluate()["overall"]["strict"].f1)


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation over seeds."""

    model_id: str
    task: str
    metric: str
    split: str
    seeds: int
    mean: float
    deviation: float | None
    """None for a single seed."""


def summary(scores: Sequence[Score]) -> list[Summary]:
    """Return one row per model, task and split, in the order of the scores."""
    groups: dict[Summary, list[float]] = {}
    for score in scores:
        row = Summary(score.model_id, score.task, score.metric, score.split, 0, 0.0, None)
        groups.setdefault(row, []).append(score.value)
    return [
        replace(
            row,
            seeds=len(values),
            mean=statistics.fmean(values),
            deviation=statistics.stdev(values) if len(values) > 1 else None,
        )
        for row, values in groups.items()
    ]


def table(rows: Sequence[Summary]) -> str:
    """Format the summary as plain text for a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    view = Table("model", "task", "metric", "split", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("seeds", "mean", "deviation"):
        view.add_column(column, justify="right")
    for row in rows:
        deviation = "-" if row.deviation is None else f"{row.deviation:.3f}"
        view.add_row(row.model_id, row.task, row.metric, row.split, str(row.seeds), f"{row.mean:.3f}", deviation)
    page = io.StringIO()
    Console(file=page, width=160, color_system=None, markup=False, highlight=False).print(view)
    return "\n".join(line.rstrip() for line in page.getvalue().split("\n") if line.strip())


def read_scores(url: str) -> list[Score]:
    """Read the scores of a scores.jsonl."""
    return [Score(**json.loads(line)) for line in storage.read_bytes(url).decode().split("\n") if line]
