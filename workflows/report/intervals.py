"""Test scores of an ablation: means, what they vary by, and which differences hold.

Two things vary. Fine-tuning: the same pretrained weights with another seed. Pretraining: the same settings with another seed,
which a new pretraining would draw again. An interval is over pretrainings, paired: the n-th of both have the same seed.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workflows.evaluation.scores import Score

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scored:
    """A score, and which pretraining of its variant it is of."""

    score: Score
    pretraining: int


def compared(scores: Sequence[Scored], base: str) -> list[dict[str, Any]]:
    """Return test scores by task and metric: means, deviations (n - 1), and differences from the variant `base`.

    `deviation` is that of fine-tuning seeds within a pretraining, `pretraining_deviation` that of the means of pretrainings;
    None where there is one. `difference_deviation` is that of the paired differences: of fine-tuning seeds with one
    pretraining, in which the effect that a seed has on both (order of texts, weights of the new layer) cancels; else of
    pretrainings. `interval` has the true difference in it in 95 of 100 ablations; None with one pretraining.
    """
    tested = [one for one in scores if one.score.split == "test"]
    rows = []
    for task, metric in dict.fromkeys((one.score.task, one.score.metric) for one in tested):
        of_metric = [one for one in tested if (one.score.task, one.score.metric) == (task, metric)]
        by_variant: dict[str, list[Scored]] = {}
        for one in of_metric:
            by_variant.setdefault(one.score.model_id, []).append(one)
        for variant, own in by_variant.items():
            others = by_variant.get(base, []) if variant != base else []
            spread = {"task": task, "variant": variant, "metric": metric, **_spread(own)}
            rows.append({**spread, **_difference(own, others)})
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    return sorted(rows, key=lambda row: tasks.index(row["task"]))


def _by_pretraining(scores: Sequence[Scored]) -> dict[int, dict[int, float]]:
    """Return values by pretraining and fine-tuning seed."""
    found: dict[int, dict[int, float]] = {}
    for one in scores:
        found.setdefault(one.pretraining, {})[one.score.seed] = one.score.value
    return found


def _spread(own: Sequence[Scored]) -> dict[str, Any]:
    values = _by_pretraining(own)
    means = [statistics.fmean(seeds.values()) for seeds in values.values()]
    variances = [statistics.variance(seeds.values()) for seeds in values.values() if len(seeds) > 1]
    return {
        "seeds": max(len(seeds) for seeds in values.values()),
        "pretrainings": len(values),
        "n": own[0].score.n,
        "mean": statistics.fmean(means),
        "deviation": math.sqrt(statistics.fmean(variances)) if variances else None,
        "pretraining_deviation": statistics.stdev(means) if len(means) > 1 else None,
    }


def _difference(own: Sequence[Scored], base: Sequence[Scored]) -> dict[str, Any]:
    ours, theirs = _by_pretraining(own), _by_pretraining(base)
    if len(ours) == 1 and len(theirs) > 1:
        return _from_one(next(iter(ours.values())), theirs)
    pairs = [
        [value - theirs[number][seed] for seed, value in seeds.items() if seed in theirs[number]]
        for number, seeds in ours.items()
        if number in theirs
    ]
    gains = [statistics.fmean(found) for found in pairs if found]
    single = pairs[0] if len(gains) == 1 else gains
    low_high = None
    if len(gains) > 1:
        margin = _student(len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
        low_high = [statistics.fmean(gains) - margin, statistics.fmean(gains) + margin]
    return {
        "difference": statistics.fmean(gains) if gains else None,
        "difference_deviation": statistics.stdev(single) if len(single) > 1 else None,
        **_verdict(low_high),
    }


def _from_one(seeds: dict[int, float], base: dict[int, dict[int, float]]) -> dict[str, Any]:
    """Return the difference of what is not pretrained, with its fine-tuning seeds, from several pretrainings (Welch)."""
    from scipy import stats

    means = [statistics.fmean(found.values()) for found in base.values()]
    difference = statistics.fmean(seeds.values()) - statistics.fmean(means)
    low_high = None
    if len(seeds) > 1 and statistics.variance(seeds.values()) + statistics.variance(means) > 0:
        found = stats.ttest_ind(list(seeds.values()), means, equal_var=False).confidence_interval(CONFIDENCE)
        low_high = [float(found.low), float(found.high)]
    return {"difference": difference, "difference_deviation": None, **_verdict(low_high)}


def _verdict(low_high: list[float] | None) -> dict[str, Any]:
    holds = None if low_high is None else low_high[0] > 0 or low_high[1] < 0
    return {"interval": low_high, "holds": holds}


def _student(freedom: int) -> float:
    """Return the quantile of Student's t that a two-sided interval needs."""
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
