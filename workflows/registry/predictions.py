"""Scores with the predictions of each example, as arrays that can be resampled.

    read(scores, rows)  ->  {("chnsenticorp", "accuracy"): Scored(seeds=(0, 1, 2), examples=1200, ...)}

Examples are told apart by a digest of their texts, so two models are compared on the same ones whatever their order. The metric
that follows from the predictions must be the one that the scores have.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.arrays import Flags, Ints
from pipeline.errors import DamagedError, TaskError
from workflows.evaluation.scores import Score
from workflows.registry.resampled import Floats, Row, Rows, form, units

SPLIT = "test"
"""The split that decides; dev has chosen the epoch."""
Key = tuple[str, int]
"""Digest of an example, and how many of the same are before it."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One model on one task by one metric."""

    task: str
    metric: str
    seeds: tuple[int, ...]
    keys: tuple[Key, ...]
    """(examples,)"""
    gold: tuple[str, ...]
    """(examples,) gold answers as JSON."""
    starts: tuple[frozenset[str], ...]
    """(examples,) digests of the starts of their texts, by which those that were found in documents are known."""
    terms: Floats
    """(seeds, examples, terms), see resampled.py."""
    hyperparameters: Mapping[str, Any]
    data: Mapping[str, str]
    """Digests of the examples of train, dev and test."""
    diverged: tuple[int, ...] = ()
    """The seeds whose fine-tuning diverged."""

    @property
    def values(self) -> Floats:
        """(seeds,) the metric."""
        return form(self.metric).combine(self.terms.mean(axis=1))

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    def at(self, places: Ints) -> "Scored":
        """Return the scores on some of the examples, in this order."""
        return replace(
            self,
            keys=tuple(self.keys[n] for n in places),
            gold=tuple(self.gold[n] for n in places),
            starts=tuple(self.starts[n] for n in places),
            terms=self.terms[:, places],
        )

    def has(self, found: frozenset[str]) -> Flags:
        """Return which examples (examples,) have a text whose start is among `found`."""
        flags: Flags = np.array([bool(starts & found) for starts in self.starts], bool)
        return flags


Scores = Mapping[tuple[str, str], Scored]
"""By task and metric."""


def read(scores: Sequence[Score], rows: Callable[[str], Sequence[Row]]) -> Scores:
    """Read the test scores of one model.

    Args:
        rows: reads a file of predictions, by its name in the scores.

    Raises: TaskError for predictions without ids of examples, or of other examples from seed to seed; DamagedError for
        predictions that do not give the score.
    """
    groups: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for score in scores:
        if score.split == SPLIT:
            groups[score.task, score.metric].append(score)
    cached: dict[str, Sequence[Row]] = {}
    found = {}
    for name, own in groups.items():
        for score in own:
            if score.predictions_uri not in cached:
                cached[score.predictions_uri] = rows(score.predictions_uri)
        found[name] = _scored(sorted(own, key=lambda score: score.seed), cached)
    return found


def _scored(scores: Sequence[Score], rows: Mapping[str, Rows]) -> Scored:
    first = scores[0]
    where, how = f"{first.model_id}, {first.task}", form(first.metric)
    seeds = [units(first.metric, rows[score.predictions_uri]) for score in scores]
    keys = [_keys(examples, where) for examples in seeds]
    for score, own in zip(scores, keys, strict=True):
        if own != keys[0] or score.hyperparameters != first.hyperparameters or score.data != first.data:
            raise TaskError(f"{where}: seeds {first.seed} and {score.seed} differ in data or settings; score them together")
    found = Scored(
        first.task,
        first.metric,
        tuple(score.seed for score in scores),
        keys[0],
        tuple(json.dumps([row["gold"] for row in example], ensure_ascii=False) for example in seeds[0]),
        tuple(frozenset(start for row in example for start in row.get("starts", ())) for example in seeds[0]),
        how.terms(seeds),
        first.hyperparameters,
        first.data,
        tuple(score.seed for score in scores if score.diverged),
    )
    for score, value in zip(scores, found.values, strict=True):
        if not math.isclose(value, score.value, abs_tol=how.tolerance):
            raise DamagedError(f"{where}, seed {score.seed}: the predictions do not give the score; score the model again")
    # In the order of the digests, so that the same resamples are drawn whatever the order of the file.
    return found.at(np.array(sorted(range(len(keys[0])), key=keys[0].__getitem__), np.int64))


def _keys(examples: Sequence[Rows], where: str) -> tuple[Key, ...]:
    seen: Counter[str] = Counter()
    keys = []
    for rows in examples:
        if not all("example" in row for row in rows):
            raise TaskError(f"{where}: the predictions do not say of which examples they are; score the model again")
        name = " ".join(row["example"] for row in rows)
        keys.append((name, seen[name]))
        seen[name] += 1
    return tuple(keys)


def aligned(first: Scored, second: Scored) -> bool:
    """Return whether two models were scored on the same examples with the same gold answers, then in the same order."""
    return first.keys == second.keys and first.gold == second.gold
