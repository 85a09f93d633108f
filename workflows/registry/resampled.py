"""Metrics from sums over examples, which can be resampled without scoring again.

    metric                          of each example                                 from the sums
    accuracy, exact_match, f1       what it scores, 1                               their ratio
    entity_f1, token_f1, micro_f1   twice what is right, gold + predicted           their ratio
    macro_f1                        the same for each label                         mean of the ratios
    pearson, spearman               1, x, y, xx, yy, xy (of numbers, or ranks)      correlation
    map, mrr                        what a question's ranking scores, 1             their ratio

From all examples, this is the metric as workflows/evaluation/metrics.py has it. In a resample, the ranks of Spearman's
correlation are those among all examples.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TaskError
from workflows.evaluation import metrics

Row = Mapping[str, Any]
"""A line of a file of predictions."""
Rows = Sequence[Row]
Floats = NDArray[np.float64]
Combine = Callable[[Floats], Floats]
"""(..., terms) sums or means over examples -> (...) the metric."""


@dataclass(frozen=True)
class Form:
    """How a metric follows from sums."""

    terms: Callable[[Sequence[Sequence[Rows]]], Floats]
    """(seeds, examples) rows of each example -> (seeds, examples, terms)."""
    combine: Combine
    grouped: bool = False
    """Whether an example is all rows with the same `id`: the candidates of a question."""
    tolerance: float = 1e-6
    """By how much the score may differ, as numbers are rounded in predictions, and then may tie."""


def form(metric: str) -> Form:
    """Return how a metric is resampled.

    Raises: TaskError for a metric that is not known here.
    """
    if metric not in FORMS:
        raise TaskError(f"the metric {metric} cannot be resampled; the gate knows {', '.join(FORMS)}")
    return FORMS[metric]


def units(metric: str, rows: Rows) -> list[Rows]:
    """Return the rows of each example."""
    if not form(metric).grouped:
        return [[row] for row in rows]
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row["id"])].append(row)
    return [group for group in groups.values() if any(map(_is_right, group))]  # others have nothing to find


def ratio(sums: Floats) -> Floats:
    """(..., 2) -> (...), 0 where there is nothing to score."""
    result: Floats = np.divide(sums[..., 0], sums[..., 1], out=np.zeros(sums.shape[:-1]), where=sums[..., 1] > 0)
    return result


def mean_ratio(sums: Floats) -> Floats:
    """(..., 2 * labels) -> (...), labels that are neither gold nor predicted left out."""
    over, under = sums[..., 0::2], sums[..., 1::2]
    there = under > 0
    ratios = np.divide(over, under, out=np.zeros_like(over), where=there)
    result: Floats = ratios.sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
    return result


def correlation(sums: Floats) -> Floats:
    """(..., 6) -> (...), 0 where one side is constant."""
    number, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    below = np.sqrt(np.maximum(number * xx - x * x, 0) * np.maximum(number * yy - y * y, 0))
    result: Floats = np.divide(number * xy - x * y, below, out=np.zeros_like(x), where=below > 1e-12 * number**2)
    return result


def _each(pair: Callable[[Row], tuple[float, float]]) -> Callable[[Sequence[Sequence[Rows]]], Floats]:
    return lambda seeds: np.array([[pair(rows[0]) for rows in examples] for examples in seeds], np.float64)


def _accuracy(row: Row) -> tuple[float, float]:
    return float(row["gold"] == row["predicted"]), 1.0


def _overlap(sets: Callable[[Any], frozenset[Any]], row: Row) -> tuple[float, float]:
    gold, predicted = sets(row["gold"]), sets(row["predicted"])
    return 2.0 * len(gold & predicted), float(len(gold) + len(predicted))


def entities(tags: Sequence[str]) -> frozenset[tuple[int, int, str]]:
    """Return first item, last item and type of each entity. An I- without a B- before it begins one, as in nervaluate."""
    found: set[tuple[int, int, str]] = set()
    start, kind = 0, ""
    for place, tag in enumerate((*tags, "O")):
        if kind and (tag == "O" or tag[0] == "B" or tag[2:] != kind):
            found.add((start, place - 1, kind))
            kind = ""
        if tag != "O" and not kind:
            start, kind = place, tag[2:]
    return frozenset(found)


def _tags(tags: Sequence[str]) -> frozenset[tuple[int, str]]:
    return frozenset((place, tag) for place, tag in enumerate(tags) if tag != "O")


def _labels(labels: Any) -> frozenset[str]:
    """Return the labels of a text: one, or any number of them."""
    return frozenset([labels] if isinstance(labels, str) else labels)


def _answer(metric: str, row: Row) -> tuple[float, float]:
    return _scored_answer(metric, tuple(row["gold"]), row["predicted"]), 1.0


@cache
def _scored_answer(metric: str, gold: tuple[str, ...], predicted: str) -> float:
    """Score one answer. Seeds often give the same."""
    return (metrics.exact_match if metric == "exact_match" else metrics.answer_f1)([gold], [predicted])


def _by_label(seeds: Sequence[Sequence[Rows]]) -> Floats:
    rows = [[examples[0] for examples in seed] for seed in seeds]
    known = sorted({label for seed in rows for row in seed for label in _labels(row["gold"]) | _labels(row["predicted"])})
    places = {label: place for place, label in enumerate(known)}
    found = np.zeros((len(rows), len(rows[0]), 2 * len(known)))
    for seed, own in enumerate(rows):
        for example, row in enumerate(own):
            gold, predicted = _labels(row["gold"]), _labels(row["predicted"])
            for label in gold | predicted:
                found[seed, example, 2 * places[label]] = 2.0 * (label in gold and label in predicted)
                found[seed, example, 2 * places[label] + 1] = float(label in gold) + float(label in predicted)
    return found


def _moments(ranks: bool, seeds: Sequence[Sequence[Rows]]) -> Floats:
    from scipy import stats

    found = []
    for examples in seeds:
        sides = []
        for name in ("gold", "predicted"):
            side = np.array([float(rows[0][name]) for rows in examples])
            side = np.asarray(stats.rankdata(side), np.float64) if ranks else side
            sides.append((side - side.mean()) / (side.std() or 1.0))  # sums of small numbers, whatever the scale
        x, y = sides
        found.append(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1))
    return np.stack(found)


def _is_right(row: Row) -> bool:
    return str(row["gold"]) == "1"


def _ranking(first_only: bool, seeds: Sequence[Sequence[Rows]]) -> Floats:
    return np.array([[(_ranked(group, first_only), 1.0) for group in examples] for examples in seeds], np.float64)


def _ranked(group: Rows, first_only: bool) -> float:
    """Return the average precision of a question, or 1 / the place of its first right candidate."""
    ordered = sorted(group, key=lambda row: -float(row["predicted"]))
    places = [place for place, row in enumerate(ordered, start=1) if _is_right(row)]
    return 1 / places[0] if first_only else sum(number / place for number, place in enumerate(places, start=1)) / len(places)


FORMS: Mapping[str, Form] = {
    "accuracy": Form(_each(_accuracy), ratio),
    "entity_f1": Form(_each(partial(_overlap, entities)), ratio),
    "token_f1": Form(_each(partial(_overlap, _tags)), ratio),
    "micro_f1": Form(_each(partial(_overlap, _labels)), ratio),
    "macro_f1": Form(_by_label, mean_ratio),
    "exact_match": Form(_each(partial(_answer, "exact_match")), ratio),
    "f1": Form(_each(partial(_answer, "f1")), ratio),
    "pearson": Form(partial(_moments, False), correlation, tolerance=1e-3),
    "spearman": Form(partial(_moments, True), correlation, tolerance=1e-3),
    "map": Form(partial(_ranking, False), ratio, grouped=True, tolerance=1e-2),
    "mrr": Form(partial(_ranking, True), ratio, grouped=True, tolerance=1e-2),
}
