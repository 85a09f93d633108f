"""Scores of fine-tuned networks: one JSON line per metric, and their best, mean and deviation over seeds.

{"model_id": "export-5d0c", "task": "sentiment", "metric": "accuracy", "split": "test", "seed": 0, "value": 0.87, ...}

model        task       metric    split  seeds   best   mean  deviation
export-5d0c  sentiment  accuracy  test       3  0.875  0.871      0.004
untrained    sentiment  accuracy  test       3  0.812  0.803      0.010

A run whose fine-tuning diverged counts as any other in mean and deviation, so that leaving it out flatters nobody, but is never
the best; a line below the table names it.
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
    diverged: int = 0
    """The epoch in which the loss or a weight was no longer a number; 0, and not written down, if there was none."""

    def to_dict(self) -> dict[str, Any]:
        return written(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True)
class Summary:
    """Best, mean and sample standard deviation over seeds."""

    model_id: str
    task: str
    metric: str
    split: str
    seeds: int
    best: float
    """The highest of the seeds on this split, as published figures report it; of those that diverged only if all did."""
    mean: float
    deviation: float | None
    """None for a single seed."""
    splits: str = ""
    """What replaces a split of the task, and what is left out of it; see `TaskData.note`."""
    diverged: int = 0
    """How many of the seeds diverged."""

    def to_dict(self) -> dict[str, Any]:
        return written(self)


def written(row: Any) -> dict[str, Any]:
    """Return a dataclass as JSON types, without `diverged` where nothing did, as rows were before there was this field."""
    return {name: value for name, value in asdict(row).items() if name != "diverged" or value}


def summary(scores: Sequence[Score]) -> list[Summary]:
    """Return one row per model, task and split, in the order of the scores."""
    groups: dict[Summary, list[Score]] = {}
    for score in scores:
        row = Summary(
            score.model_id, score.task, score.metric, score.split, 0, 0.0, 0.0, None, score.hyperparameters.get("splits", "")
        )
        groups.setdefault(row, []).append(score)
    return [_filled(row, of_row) for row, of_row in groups.items()]


def _filled(row: Summary, scores: Sequence[Score]) -> Summary:
    values = [score.value for score in scores]
    return replace(
        row,
        seeds=len(values),
        best=max([score.value for score in scores if not score.diverged] or values),
        mean=statistics.fmean(values),
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        diverged=sum(score.diverged > 0 for score in scores),
    )


def diverged(scores: Sequence[Score]) -> list[str]:
    """Return a line for each model, task and learning rate of which runs diverged."""
    runs: dict[tuple[str, str, float], list[int]] = {}
    for score in scores:
        seeds = runs.setdefault((score.model_id, score.task, score.hyperparameters.get("learning_rate", 0.0)), [])
        if score.diverged and score.seed not in seeds:
            seeds.append(score.seed)
    return [
        f"{model}, {task}, learning rate {rate:g}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: diverged, the"
        " loss or a weight was no longer a number; counted in the mean, but not as the best; use a smaller learning rate"
        for (model, task, rate), seeds in runs.items()
        if seeds
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
        seeds = f"{row.seeds} ({row.diverged} diverged)" if row.diverged else str(row.seeds)
        figures = (seeds, f"{row.best:.3f}", f"{row.mean:.3f}", deviation)
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
