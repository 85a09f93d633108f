"""The point of a grid that counts: for each model and task the one with the best mean on dev, over metrics and seeds.

    grid.jsonl      {"model_id": "export-5d0c", "task": "ocnli", "point": {"learning_rate": 3e-05}, "seeds": 5,
                     "dev": {"accuracy": 0.731}, "mean": 0.731, "deviation": 0.004, "chosen": true} per line

A point of which runs diverged is chosen only if no other has fewer. Scores of test never choose. Those of points that are not
chosen are not kept, nor are their predictions on test.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from workflows.evaluation.scores import Score, written

GRID = "grid.jsonl"


@dataclass(frozen=True)
class Point:
    """A point of the grid of one model and task, and its scores on dev."""

    model_id: str
    task: str
    point: Mapping[str, Any]
    """The settings that the grid changes."""
    seeds: int
    dev: Mapping[str, float]
    """Mean of each metric over seeds."""
    mean: float
    """Mean over metrics and seeds: what chooses."""
    deviation: float | None
    """Over seeds, of the mean over metrics; None for one seed."""
    chosen: bool
    diverged: int = 0
    """How many of the seeds diverged; not written down if none did."""

    @property
    def rank(self) -> tuple[int, float]:
        """The highest is chosen."""
        return -self.diverged, self.mean

    def to_json(self) -> str:
        return json.dumps(written(self), ensure_ascii=False)


def choose(scores: Mapping[tuple[str, str, str], tuple[Mapping[str, Any], Sequence[Score]]]) -> list[Point]:
    """Return all points, and which of them are chosen: of equal ones the first.

    Args:
        scores: (model, task, name of the point) -> the point, and all scores of its runs.
    """
    found = [_point(model, task, point, of_runs) for (model, task, _), (point, of_runs) in scores.items()]
    best: dict[tuple[str, str], Point] = {}
    for one in found:
        key = (one.model_id, one.task)
        if key not in best or one.rank > best[key].rank:
            best[key] = one
    return [Point(**{**vars(one), "chosen": best[one.model_id, one.task] is one}) for one in found]


def _point(model: str, task: str, point: Mapping[str, Any], scores: Sequence[Score]) -> Point:
    dev = [score for score in scores if score.split == "dev"]
    metrics = dict.fromkeys(score.metric for score in dev)
    seeds = dict.fromkeys(score.seed for score in dev)
    by_metric: dict[str, float] = {
        metric: statistics.fmean(score.value for score in dev if score.metric == metric) for metric in metrics
    }
    by_seed = [statistics.fmean(score.value for score in dev if score.seed == seed) for seed in seeds]
    deviation = statistics.stdev(by_seed) if len(by_seed) > 1 else None
    diverged = len({score.seed for score in dev if score.diverged})
    mean = statistics.fmean(by_seed or [0.0])
    return Point(model, task, point, len(seeds), by_metric, mean, deviation, chosen=False, diverged=diverged)


def read(output: str) -> list[Point]:
    """Return the points of the grid of an evaluation; none if it had no grid."""
    url = storage.join(output, GRID)
    if not storage.exists(url):
        return []
    return [Point(**json.loads(line)) for line in storage.read_bytes(url).decode().splitlines()]


def lines(points: Sequence[Point]) -> list[str]:
    """Return a line for each model and task whose grid has several points: which was chosen, and how the others did.

    Another for each point of which runs diverged.
    """
    found = []
    for one in points:
        others = [other for other in points if (other.model_id, other.task) == (one.model_id, one.task)]
        settings = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in one.point.items())
        if one.diverged:
            found.append(f"{one.model_id}, {one.task}: {settings}: {one.diverged} of {one.seeds} seeds diverged")
        if one.chosen and len(others) > 1:
            lowest = min(other.mean for other in others)
            found.append(
                f"{one.model_id}, {one.task}: {settings} is the best of {len(others)} points on dev"
                f" ({one.mean:.3f}; the others from {lowest:.3f})"
            )
    return found
