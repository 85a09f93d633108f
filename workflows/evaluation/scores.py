"""Scores of fine-tuned networks: one JSON line per metric, and their best, mean and deviation over seeds.

{"model_id": "export-5d0c", "task": "sentiment", "metric": "accuracy", "split": "test", "seed": 0, "value": 0.87, ...}

model        task       metric    split  seeds   best   mean  deviation
export-5d0c  sentiment  accuracy  test       3  0.875  0.871      0.004
untrained    sentiment  accuracy  test       3  0.812  0.803      0.010
"""

import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pipeline.engine import integrity
from pipeline.errors import DamagedError
from pipeline.storage_errors import one_line
from workflows.evaluation.metrics import Metric

UNTRAINED = "untrained"
"""`model_id` of the baseline: the same network with fresh weights, drawn from the run's seed."""


@dataclass(frozen=True)
class Score:
    """The score of one fine-tuned network on one split by one metric: a line of scores.jsonl."""

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
    """JSON lines of gold and predicted answers, relative to the folder of scores.jsonl."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Digests of the examples of train, dev and test: scores of other examples are not comparable."""
    weights: str = ""
    """Digest of the weights of the model; those of the baseline have its shape."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True)
class Summary:
    """Best, mean and sample standard deviation over seeds."""

    model_id: str
    task: str
    metric: str
    split: str
    seeds: int
    best: float
    """The highest of the seeds on this split, as published figures report it."""
    mean: float
    deviation: float | None
    """None for a single seed."""
    splits: str = ""
    """What replaces a split of the task, and what is left out of it; see `TaskData.note`."""


def summary(scores: Sequence[Score]) -> list[Summary]:
    """Return one row per model, task and split, in the order of the scores."""
    groups: dict[Summary, list[float]] = {}
    for score in scores:
        row = Summary(
            score.model_id, score.task, score.metric, score.split, 0, 0.0, 0.0, None, score.hyperparameters.get("splits", "")
        )
        groups.setdefault(row, []).append(score.value)
    return [
        replace(
            row,
            seeds=len(values),
            best=max(values),
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
    for column in ("seeds", "best", "mean", "deviation"):
        view.add_column(column, justify="right")
    for row in rows:
        deviation = "-" if row.deviation is None else f"{row.deviation:.3f}"
        figures = (str(row.seeds), f"{row.best:.3f}", f"{row.mean:.3f}", deviation)
        split = f"{row.split}*" if row.splits else row.split
        view.add_row(row.model_id, row.task, row.metric, split, *figures)
    page = io.StringIO()
    Console(file=page, width=160, color_system=None, markup=False, highlight=False).print(view)
    marks = dict.fromkeys(f"* {row.task}: {row.splits}" for row in rows if row.splits)
    return "\n".join([*(line.rstrip() for line in page.getvalue().split("\n") if line.strip()), *marks])


def read_scores(url: str) -> list[Score]:
    """Read the scores of a scores.jsonl.

    Raises: DamagedError.
    """
    data = integrity.read_bytes(url)
    try:
        return [Score(**json.loads(line)) for line in data.decode().split("\n") if line]
    except (ValueError, TypeError) as error:
        raise DamagedError(f"{url}: damaged ({one_line(error)}); delete it and score the model again") from error
