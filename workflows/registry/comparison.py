"""Two models side by side: a row for each task and metric, with the interval of the difference, and what was not the same.

compared(a, b)  ->  [Comparison("chnsenticorp", "accuracy", ..., differs=("other settings: learning_rate 3e-05 and 5e-05",))]
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workflows.registry.bootstrap import Difference, difference, score_interval
from workflows.registry.config import GateConfig
from workflows.registry.entries import Entry
from workflows.registry.predictions import Scored, aligned
from workflows.registry.resampled import form

MIN_SEEDS = 2
"""Below that, nothing is known of the spread between seeds."""
SHOWN_RESAMPLES = 2_000
"""Resamples for the interval of one score, by which nothing is decided."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A model and another on one task by one metric. What is None is not known."""

    task: str
    metric: str
    means: tuple[float | None, float | None]
    seeds: tuple[int, int]
    examples: tuple[int, int]
    intervals: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)
    """Intervals of the two scores, each by itself."""
    difference: Difference | None = None
    interval: tuple[float, float] | None = None
    """Interval of the difference: first model minus second."""
    clean: "Comparison | None" = None
    """The same without the examples that either model was trained on; None if there are none, or it is unknown."""
    contaminated: int | None = None
    """Number of these examples; None if it is unknown for either model."""
    differs: tuple[str, ...] = ()
    """What was not the same. Scores that differ in this are not comparable."""

    def to_json(self) -> dict[str, Any]:
        """Return all figures as JSON types."""
        difference = self.difference
        return {
            "task": self.task,
            "metric": self.metric,
            "scores": list(self.means),
            "score_intervals": [None if one is None else list(one) for one in self.intervals],
            "seeds": list(self.seeds),
            "examples": list(self.examples),
            "difference": None if difference is None else difference.value,
            "interval": None if self.interval is None else list(self.interval),
            "deviation": None if difference is None else difference.deviation,
            "seed_deviation": None if difference is None else difference.seed_variance**0.5,
            "example_deviation": None if difference is None else difference.example_variance**0.5,
            "contaminated": self.contaminated,
            "without_contaminated": None if self.clean is None else self.clean.to_json(),
            "differs": list(self.differs),
        }


def compared(first: Entry, second: Entry, config: GateConfig | None = None) -> list[Comparison]:
    """Compare two models on every task that either was scored on.

    Raises: TaskError, DamagedError for scores that cannot be used.
    """
    config = config or GateConfig()
    seen = None
    if first.contaminated is not None and second.contaminated is not None:
        seen = first.contaminated | second.contaminated
    rows = []
    for name in dict.fromkeys([*first.scores, *second.scores]):
        pair, tried = (first.scores.get(name), second.scores.get(name)), first.tried(name[0])
        # Where both had the same values to choose from, the choice is the model's own.
        chosen = {setting for point in tried for setting in point} if tried == second.tried(name[0]) else set()
        rows.append(_compared(name, pair, seen, chosen, config))
    return rows


def _compared(
    name: tuple[str, str],
    pair: tuple[Scored | None, Scored | None],
    seen: frozenset[str] | None,
    chosen: Set[str],
    config: GateConfig,
) -> Comparison:
    """Compare two models on one task by one metric.

    Args:
        seen: digests of the starts of contaminated texts.
        chosen: settings that may differ.
    """
    first, second = pair
    row = Comparison(
        *name,
        means=(first.mean if first else None, second.mean if second else None),
        seeds=(len(first.seeds) if first else 0, len(second.seeds) if second else 0),
        examples=(len(first.keys) if first else 0, len(second.keys) if second else 0),
        intervals=(score_interval_of(first, config), score_interval_of(second, config)),
    )
    if first is None or second is None:
        return replace(row, differs=(f"{'first' if first is None else 'second'} model: not scored on it",))
    same = aligned(first, second)
    differs = tuple(_differences(first, second, same, chosen))
    if not same:
        return replace(row, differs=differs)
    if min(row.seeds) < MIN_SEEDS:
        return replace(row, differs=(*differs, "one seed: nothing is known of the spread between seeds"))
    found = difference(first.terms, second.terms, form(first.metric).combine, resamples=config.resamples)
    row = replace(row, difference=found, interval=found.interval(config.confidence), differs=differs)
    if seen is None:
        return row
    flags = first.has(seen)
    row = replace(row, contaminated=int(flags.sum()))
    if not flags.any() or flags.all():
        return row
    clean = first.at(np.flatnonzero(~flags)), second.at(np.flatnonzero(~flags))
    return replace(row, clean=_compared(name, clean, None, chosen, config))


def score_interval_of(scored: Scored | None, config: GateConfig) -> tuple[float, float] | None:
    """Return the interval of a score by itself; None with fewer than `MIN_SEEDS` seeds."""
    if scored is None or len(scored.seeds) < MIN_SEEDS:
        return None
    combine, resamples = form(scored.metric).combine, min(config.resamples, SHOWN_RESAMPLES)
    return score_interval(scored.terms, combine, config.confidence, resamples=resamples)


def _differences(first: Scored, second: Scored, same_examples: bool, chosen: Set[str]) -> Iterator[str]:
    """Say what was not the same: files, then settings; and of what no score tells how good the model is."""
    if not same_examples:
        common = len({key[0] for key in first.keys} & {key[0] for key in second.keys})
        yield f"other test examples: {len(first.keys):,} and {len(second.keys):,}, {common:,} texts in common"
    for split in ("train", "dev"):
        if first.data.get(split) != second.data.get(split):
            yield f"other {split} examples"
    for name in sorted({*first.hyperparameters, *second.hyperparameters} - chosen):
        one, other = first.hyperparameters.get(name), second.hyperparameters.get(name)
        if one != other:
            yield f"other settings: {name} {'none' if one is None else one} and {'none' if other is None else other}"
    for which, scored in (("first", first), ("second", second)):
        if scored.diverged:
            seeds = ", ".join(map(str, scored.diverged))
            yield f"{which} model: its fine-tuning diverged (seed {seeds}); score it again with a smaller learning rate"
