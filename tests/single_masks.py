"""Masks drawn one by one, straight from the rules: pipeline.examples.masking, which draws many at once, must give the same."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import TokenIds
from pipeline.examples.masking import MaskingRules
from pipeline.examples.random_streams import SPANS, generator


@dataclass(frozen=True, slots=True)
class Draw:
    """One mask of one example. Its labels are `input_ids[positions]`."""

    positions: NDArray[np.uint16]
    replacements: TokenIds


def single_mask(
    seed: int,
    epoch: int,
    example_id: int,
    ids: TokenIds,
    unit_starts: NDArray[np.bool_],
    second_start: int,
    rules: MaskingRules,
) -> Draw:
    """Draw the mask of one example."""
    rng = generator(seed, epoch, example_id)
    unit_first = np.flatnonzero(unit_starts)
    lengths = unit_first[2:] - unit_first[1:-1]  # without [CLS] and [SEP]
    maskable = lengths.copy()
    if second_start:
        maskable[unit_first[1:].searchsorted(second_start - 1)] = 0  # takes part in the draw, hides nothing, is never taken
    if rules.separator >= 0:
        maskable[ids[unit_first[1:-1]] == rules.separator] = 0
    budget = rules.rate * len(ids)
    if rules.max_predictions:
        budget = min(budget, rules.max_predictions)
    budget = min(budget, int(maskable.sum()))
    hidden = np.zeros(len(lengths), dtype=np.bool_)
    fates = None
    if rules.spans:
        spans, span_fates = _spans(generator(seed, epoch, example_id, SPANS), maskable.tolist())
        hidden[_span_words(rng, spans, maskable.tolist(), budget, rules.max_predictions)] = True
        fates = [span_fates[spans[unit]] for unit in np.flatnonzero(hidden) for _ in range(lengths[unit])]
    else:
        hidden[_units(rng, maskable, budget, rules.max_predictions)] = True
    positions = 1 + np.flatnonzero(np.repeat(hidden, lengths))
    return Draw(positions.astype(np.uint16), _replace(rng, ids[positions], fates, rules))


def _units(rng: np.random.Generator, lengths: NDArray[np.int64], budget: float, max_predictions: int) -> NDArray[Any]:
    """Return the indices of the units to mask, given the number of tokens of each."""
    random = rng.random(len(lengths) + 1)
    order = random[:-1].argsort(kind="stable")
    lengths = lengths[order]
    ends = lengths.cumsum()
    total = int(ends[-1])
    begins = (ends - lengths - random[-1] * total) % total
    taken = np.flatnonzero((begins < budget) & (lengths > 0))
    if not len(taken):
        taken = np.flatnonzero(lengths > 0)
        taken = taken[begins[taken].argmax() :][:1]  # the unit that began last before the window
    if max_predictions and lengths[taken].sum() > max_predictions:
        taken = taken[begins[taken].argsort(kind="stable")]
        taken = taken[lengths[taken].cumsum() <= max_predictions]
    return order[taken]


def _spans(rng: np.random.Generator, lengths: list[int]) -> tuple[list[int], dict[int, float]]:
    """Return the first word of each word's span, and a number for each span."""
    probabilities = [0.2 * 0.8**k for k in range(10)]
    words = []
    for random in rng.random(len(lengths)).tolist():
        k = 0
        while k < 9 and random * sum(probabilities) >= sum(probabilities[: k + 1]):
            k += 1
        words.append(k + 1)
    ends = set(np.cumsum(words).tolist())
    first, firsts = 0, []
    for place, length in enumerate(lengths):
        if place in ends or length == 0 or (place and lengths[place - 1] == 0):
            first = place
        firsts.append(first)
    return firsts, dict(enumerate(rng.random(len(lengths)).tolist()))


def _span_words(
    rng: np.random.Generator, spans: list[int], lengths: list[int], budget: float, max_predictions: int
) -> list[int]:
    """Return words of spans in random order, until the budget is used up."""
    random = rng.random(len(lengths) + 1).tolist()
    order = sorted(range(len(lengths)), key=lambda word: (random[spans[word]], word))
    taken, used = [], 0
    for word in order:
        if lengths[word] and used + random[-1] * lengths[word] < budget:
            taken.append(word)
        used += lengths[word]
    if not taken:
        taken = [word for word in order if lengths[word]][:1]
    kept, used = [], 0
    for word in order:
        used += lengths[word]
        if word in taken and (not max_predictions or used <= max_predictions):
            kept.append(word)
    return kept


def _replace(rng: np.random.Generator, labels: TokenIds, fates: list[float] | None, rules: MaskingRules) -> TokenIds:
    """`fates`: of tokens in spans; others have the fate that their own number says."""
    replacements = labels.copy()
    number = len(rules.replacements)
    for place, random in enumerate(rng.random(len(labels)).tolist()):
        fate, choice = (random, (random - 0.9) * (10 * number)) if fates is None else (fates[place], random * number)
        if fate < 0.8:
            replacements[place] = rules.mask_id
        elif fate >= 0.9:
            replacements[place] = rules.replacements[min(int(choice), number - 1)]
    return replacements
