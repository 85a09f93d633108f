"""The interval of a difference between two models. Examples and seeds are both resampled; examples are paired.

    seeds of A        0 1 2 3 4   ->   1 1 4 0          of R seeds, R - 1 are drawn
    seeds of B        0 1 2       ->   2 0
    examples          0 1 2 3 ... ->   3 0 0 7 ...      the same for both models

A score is the mean over seeds of a metric of the examples. It would be another with other seeds and with other examples, and a
resample imitates both. scipy.stats.bootstrap draws the three samples independently of each other.

Such a bootstrap is known to be too narrow where there are few seeds, and too wide where predictions flip from seed to seed
(Owen, The pigeonhole bootstrap, 2007: what belongs to one example with one seed counts three times). Its spread is therefore
set to the variance that an analysis of variance estimates without bias, and its tails to those of Student's t:

    variance = seeds / R            variance of the score between seeds, of both models
             + examples / N         variance of the difference between examples
             - both / (R N)         what only one seed does to one example: it is in each of the two terms
    degrees of freedom              Satterthwaite's, of the first two terms

What remains of the bootstrap is its shape, which is not that of a normal distribution for scores near 0 or 1.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workflows.registry.resampled import Combine, Floats, ratio

BATCH = 500
"""Resamples at once: 30 MB for 3,000 examples."""
MAX_SEEDS = 1_000
"""A number of seeds that nobody trains."""


@dataclass(frozen=True, eq=False)
class Difference:
    """A model's score minus another's, and how sure that is."""

    scores: tuple[float, float]
    """Means over seeds of the two models."""
    seeds: tuple[int, int]
    examples: int
    spreads: tuple[float, float]
    """Variance of the score between seeds, of the two models."""
    example_variance: float
    """What the examples add to the variance of the difference, whatever the number of seeds."""
    deviates: Floats
    """(resamples,) sorted: differences of resamples minus the difference, scaled to the estimated variance."""

    @property
    def value(self) -> float:
        return self.scores[0] - self.scores[1]

    @property
    def seed_variance(self) -> float:
        """What the seeds add to the variance of the difference."""
        return _seed_variance(self.spreads, self.seeds)

    @cached_property
    def deviation(self) -> float:
        """Standard error of the difference."""
        return math.sqrt(self.seed_variance + self.example_variance)

    @cached_property
    def degrees(self) -> float:
        """Degrees of freedom of the deviation."""
        return _degrees(self.spreads, self.seeds, self.example_variance, self.examples)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return lower and upper end."""
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.deviates, (tail, 1 - tail))
        wider = _t(self.degrees, confidence) / _t(math.inf, confidence)
        return self.value + wider * float(low), self.value + wider * float(high)

    def seeds_to_tell(self, margin: float, confidence: float) -> int | None:
        """Return how many seeds of each model would tell, if difference and variances are what they seem to be.

        None: no number of seeds would, because the examples are too few.
        """
        for seeds in range(max(self.seeds) + 1, MAX_SEEDS + 1):
            both = (seeds, seeds)
            variance = _seed_variance(self.spreads, both) + self.example_variance
            half = _t(_degrees(self.spreads, both, self.example_variance, self.examples), confidence) * math.sqrt(variance)
            if self.value - half > -margin or self.value + half < 0:
                return seeds
        return None


def difference(
    first: Floats, second: Floats, combine: Combine = ratio, *, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """Compare two models on the same examples.

    Args:
        first, second: (seeds, examples, terms) what each example adds to the sums of a metric. Two seeds at least.
        combine: makes the metric of the sums (see resampled.py).
    """
    assert min(len(first), len(second)) > 1 and first.shape[1] == second.shape[1]
    models, examples = (first, second), first.shape[1]
    values = [combine(model.mean(axis=1)) for model in models]
    parts = [_parts(model, combine) for model in models]
    spreads = (float(values[0].var(ddof=1)), float(values[1].var(ddof=1)))
    paired = parts[0].mean(axis=0) - parts[1].mean(axis=0)
    flips = sum(_flips(part) / part.size for part in parts)
    of_examples = max(0.0, float(paired.var(ddof=1)) / examples - flips)
    drawn = _resampled(models, combine, resamples, seed) - (values[0].mean() - values[1].mean())
    spread, deviation = float(drawn.std()), math.sqrt(_seed_variance(spreads, (len(first), len(second))) + of_examples)
    return Difference(
        scores=(float(values[0].mean()), float(values[1].mean())),
        seeds=(len(first), len(second)),
        examples=examples,
        spreads=spreads,
        example_variance=of_examples,
        deviates=np.sort(drawn * (deviation / spread if spread else 0.0)),
    )


def score_interval(model: Floats, combine: Combine, confidence: float, *, resamples: int = 10_000) -> tuple[float, float]:
    """Return the interval of one model's score: its difference from nothing. `model`: (seeds, examples, terms)."""
    low, high = difference(model, np.zeros_like(model), combine, resamples=resamples).interval(confidence)
    return max(-1.0, low), min(1.0, high)


def _resampled(models: tuple[Floats, Floats], combine: Combine, resamples: int, seed: int) -> Floats:
    """Return the difference (resamples,) in each resample of examples and seeds."""
    from scipy import stats

    examples = models[0].shape[1]
    # (examples, seeds and terms of both models): one product of matrices has all sums of a batch of resamples.
    columns = np.concatenate([model.swapaxes(0, 1).reshape(examples, -1) for model in models], axis=1).astype(np.float32)
    split = models[0].shape[0] * models[0].shape[2]

    def statistic(first: NDArray[np.int64], second: NDArray[np.int64], drawn: NDArray[np.int64], axis: int) -> Floats:
        sums = _counts(drawn, examples) @ columns
        scores = []
        for model, part, own in zip(models, (sums[:, :split], sums[:, split:]), (first, second), strict=True):
            values = combine(part.reshape(-1, model.shape[0], model.shape[2]).astype(np.float64))
            # R - 1 of R seeds: with R, the variance would be too small by that factor.
            scores.append(np.take_along_axis(values, own[:, :-1], axis=1).mean(axis=1))
        found: Floats = scores[0] - scores[1]
        return found

    samples = tuple(np.arange(number) for number in (len(models[0]), len(models[1]), examples))
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        batch=BATCH,
        vectorized=True,
        paired=False,
        axis=-1,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    drawn: Floats = result.bootstrap_distribution
    return drawn


def _counts(drawn: NDArray[np.int64], examples: int) -> NDArray[np.float32]:
    """Return how often each example is in each resample: (resamples, examples)."""
    rows = len(drawn)
    cells = drawn + np.arange(rows)[:, None] * examples
    return np.bincount(cells.ravel(), minlength=rows * examples).reshape(rows, examples).astype(np.float32)


def _parts(model: Floats, combine: Combine) -> Floats:
    """Return what each example adds to each seed's score, so that its mean over examples is the score: (seeds, examples).

    That is the first-order term of the change when an example is drawn once more; exact for accuracy.
    """
    means = model.mean(axis=1)
    values = combine(means)
    parts = np.repeat(values[:, None], model.shape[1], axis=1)
    for term in range(model.shape[2]):
        step = np.zeros_like(means)
        step[:, term] = 1e-5 * np.maximum(np.abs(means[:, term]), 1e-3)
        slope = (combine(means + step) - combine(means - step)) / (2 * step[:, term])
        parts += slope[:, None] * (model[..., term] - means[:, None, term])
    return parts


def _flips(parts: Floats) -> float:
    """Return the variance of what is neither of the seed nor of the example: (seeds, examples) -> interaction mean square."""
    seeds, examples = len(parts), len(parts[0])
    rest = parts - parts.mean(axis=0) - parts.mean(axis=1, keepdims=True) + parts.mean()
    return float((rest**2).sum()) / ((seeds - 1) * max(examples - 1, 1))


def _seed_variance(spreads: tuple[float, float], seeds: tuple[int, int]) -> float:
    return spreads[0] / seeds[0] + spreads[1] / seeds[1]


def _degrees(spreads: tuple[float, float], seeds: tuple[int, int], of_examples: float, examples: int) -> float:
    terms = [(spread / number, number - 1) for spread, number in zip(spreads, seeds, strict=True)]
    terms.append((of_examples, max(examples - 1, 1)))
    below = math.fsum(variance**2 / degrees for variance, degrees in terms)
    return math.fsum(variance for variance, _ in terms) ** 2 / below if below else math.inf


def _t(degrees: float, confidence: float) -> float:
    """Return the quantile of Student's t; of the normal distribution for infinite degrees."""
    from scipy import special

    upper = (1 + confidence) / 2
    return float(special.ndtri(upper) if math.isinf(degrees) else special.stdtrit(degrees, upper))
