"""Masks drawn one by one, as a person would read the rules: what pipeline.masking draws for many at once must be equal."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.masking import Ids, MaskingRules
from pipeline.streams import generator


@dataclass(frozen=True, slots=True)
class Draw:
    """One mask of one example. Its labels are `input_ids[positions]`."""

    positions: NDArray[np.uint16]
    replacements: Ids


def single_mask(
    seed: int, epoch: int, example_id: int, ids: Ids, unit_starts: NDArray[np.bool_], second_start: int, rules: MaskingRules
) -> Draw:
    """The mask of one example."""
    rng = generator(seed, epoch, example_id)
    unit_first = np.flatnonzero(unit_starts)
    lengths = unit_first[2:] - unit_first[1:-1]  # without [CLS] and [SEP]
    maskable = lengths.copy()
    if second_start:
        maskable[unit_first[1:].searchsorted(second_start - 1)] = 0  # takes part in the draw, hides nothing, is never taken
    hidden = np.zeros(len(lengths), dtype=np.bool_)
    hidden[_units(rng, maskable, rules.rate * len(ids), rules.max_predictions)] = True
    positions = 1 + np.flatnonzero(np.repeat(hidden, lengths))
    return Draw(positions.astype(np.uint16), _replace(rng, ids[positions], rules))


def _units(rng: np.random.Generator, lengths: NDArray[np.int64], budget: float, max_predictions: int) -> NDArray[Any]:
    """Indices of the units to hide, given the number of pieces of each."""
    if max_predictions:
        budget = min(budget, max_predictions)
    random = rng.random(len(lengths) + 1)
    order = random[:-1].argsort(kind="stable")
    lengths = lengths[order]
    ends = lengths.cumsum()
    total = int(ends[-1])
    begins = (ends - lengths - random[-1] * total) % total
    taken = np.flatnonzero((begins < min(budget, total)) & (lengths > 0))
    if not len(taken):
        taken = np.flatnonzero(lengths > 0)
        taken = taken[begins[taken].argmax() :][:1]  # the unit that began last before the window
    if max_predictions and lengths[taken].sum() > max_predictions:
        taken = taken[begins[taken].argsort(kind="stable")]
        taken = taken[lengths[taken].cumsum() <= max_predictions]
    return order[taken]


def _replace(rng: np.random.Generator, labels: Ids, rules: MaskingRules) -> Ids:
    replacements = labels.copy()
    for place, random in enumerate(rng.random(len(labels)).tolist()):
        if random < 0.8:
            replacements[place] = rules.mask_id
        elif random >= 0.9:
            number = len(rules.replacements)
            replacements[place] = rules.replacements[min(int((random - 0.9) * (10 * number)), number - 1)]
    return replacements
