"""Whole-word masking: which pieces are hidden, and what the network sees in their place.

    words          |     | 北京    | 大学    | 的 | 图书馆       |
    pieces         [CLS]   北   京   大   学   的   图   书   馆   [SEP]     input_ids, what shards hold
    units            1     1    0    1    0    1    1    0    0    1         1 = a unit begins (a jieba word; specials alone)
    positions                                       6    7    8              whole units, 15 % of all pieces
    replacements                                  [MASK] 书  [MASK]          each 80 % [MASK], 10 % itself, 10 % any piece
    labels                                          图   书   馆             input_ids[positions]

The same function draws the static masks of shards and the fresh masks of a training epoch. Imports numpy only.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.vocab import Vocab

_WORD = (1 << 64) - 1

Ids = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class MaskingRules:
    """How masks are drawn; the same for every example of a corpus."""

    mask_id: int
    replacements: NDArray[np.int64]
    """Ids that a random replacement may have: see `replacement_ids`."""
    rate: float = 0.15
    """Share of pieces, [CLS] and [SEP] counted (as BERT counts), that are predicted."""
    max_predictions: int = 0
    """Most pieces predicted in an example; 0 = no limit."""

    @classmethod
    def of(cls, vocab: "Vocab", rate: float = 0.15, max_predictions: int = 0) -> "MaskingRules":
        """The rules for a vocabulary."""
        return cls(vocab.mask_id, replacement_ids(vocab), rate, max_predictions)


def replacement_ids(vocab: "Vocab") -> NDArray[np.int64]:
    """Ids of pieces that can begin a word of a text.

    Not the special pieces, [unused7] and <S>, which no text contains, and not `##` pieces: Google's Chinese vocabulary has
    7,322 of `##` + ideograph that its tokenizer never makes; shown to the network, their rows would be learnt from noise
    alone. BERT's script (create_masked_lm_predictions) draws from all of them.
    """
    usable = [
        number for number, piece in enumerate(vocab.pieces) if not (len(piece) > 1 and (piece[0] in "[<" or piece[:2] == "##"))
    ]
    return np.array(usable, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Draw:
    """One mask of one example. Its labels are `input_ids[positions]`."""

    positions: NDArray[np.uint16]
    """(predictions,) rising places of the hidden pieces."""
    replacements: Ids
    """(predictions,) what stands there instead, in the type of `input_ids`."""


def generator(seed: int, epoch: int, example_id: int, purpose: int = 0) -> np.random.Generator:
    """Random numbers that depend on these four numbers alone. Masks have purpose 0.

    Philox is a counter-based generator: here its key is (seed, example_id) and its counter starts at (0, 0, purpose, epoch),
    so that no two streams ever meet.
    """
    key = np.array([seed & _WORD, example_id & _WORD], dtype=np.uint64)
    counter = np.array([0, 0, purpose & _WORD, epoch & _WORD], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def draw(
    rng: np.random.Generator, input_ids: Ids, unit_starts: NDArray[np.bool_], second_start: int, rules: MaskingRules
) -> Draw:
    """Draws a mask.

    Every unit, long or short, is hidden with the same probability, and the expected number of hidden pieces is exactly
    `rate` x `len(input_ids)`: the units are laid on a circle in random order, and those that begin within a window of that many
    pieces, put down at random, are taken. (BERT takes units until one overflows the budget, and skips that: words of three
    pieces are then hidden less often than single ones.) The number hidden so varies by a word's length around the budget.
    Where no unit begins in the window, the unit in which it lies is taken, so that every example has something to predict.
    `max_predictions` is a hard limit: the unit that overflows it is left out.

    Args:
        input_ids: (pieces,) with [CLS] first, [SEP] last, and if `second_start` > 0 [SEP] just before it. These three are never
            hidden, whatever ids they have: they are known by position.
        unit_starts: (pieces,) True where a unit begins; specials are units of their own.
    """
    unit_first = np.flatnonzero(unit_starts)
    lengths = unit_first[2:] - unit_first[1:-1]  # without [CLS] and [SEP]
    assert len(lengths) and unit_first[1] == 1 and unit_first[-1] == len(input_ids) - 1, "specials must be units, with text"
    maskable = lengths
    if second_start:
        assert unit_starts[second_start - 1] and unit_starts[second_start], "the middle [SEP] must be a unit"
        maskable = lengths.copy()
        maskable[unit_first[1:].searchsorted(second_start - 1)] = 0  # takes part in the draw, hides nothing, is never taken
    hidden = np.zeros(len(lengths), dtype=np.bool_)
    hidden[_draw_units(rng, maskable, rules.rate * len(input_ids), rules.max_predictions)] = True
    positions = 1 + np.flatnonzero(np.repeat(hidden, lengths))
    labels = input_ids[positions]
    return Draw(positions.astype(np.uint16), _replace(rng, labels, rules))


def _draw_units(rng: np.random.Generator, lengths: NDArray[np.int64], budget: float, max_predictions: int) -> NDArray[np.int64]:
    """Indices of the units to hide, given the number of pieces of each."""
    if max_predictions:
        budget = min(budget, max_predictions)
    random = rng.random(len(lengths) + 1)
    order = random[:-1].argsort(kind="stable")
    lengths = lengths[order]
    ends = lengths.cumsum()
    total = int(ends[-1])
    window = min(budget, total)
    # Where each unit begins, seen from the start of the window.
    begins = (ends - lengths - random[-1] * total) % total
    inside = begins < window
    taken = np.flatnonzero(inside & (lengths > 0))
    if not len(taken):
        taken = np.flatnonzero(lengths > 0)
        taken = taken[begins[taken].argmax() :][:1]  # the unit that began last before the window
    if max_predictions and lengths[taken].sum() > max_predictions:
        taken = taken[begins[taken].argsort(kind="stable")]
        taken = taken[lengths[taken].cumsum() <= max_predictions]
    return order[taken]


def _replace(rng: np.random.Generator, labels: Ids, rules: MaskingRules) -> Ids:
    """80 % [MASK], 10 % the piece itself, 10 % a random piece, for each piece by itself (BERT paper, section 3.1)."""
    random = rng.random(len(labels))
    replacements = np.where(random < 0.8, labels.dtype.type(rules.mask_id), labels)
    swapped = np.flatnonzero(random >= 0.9)
    if len(swapped):
        # The same number again: given that it is in [0.9, 1), it is as random as a new one.
        places = ((random[swapped] - 0.9) * (10 * len(rules.replacements))).astype(np.int64)
        replacements[swapped] = rules.replacements[np.minimum(places, len(rules.replacements) - 1)]
    return replacements


def draws(
    number: int,
    seed: int,
    example_id: int,
    input_ids: Ids,
    unit_starts: NDArray[np.bool_],
    second_start: int,
    rules: MaskingRules,
) -> tuple[NDArray[np.uint16], Ids, NDArray[np.uint16]]:
    """`number` static masks, flat as a shard row holds them: positions, replacements, and how many belong to each draw.

    Draw d is what `draw` gives with `generator(seed, d, example_id)`: the masks of epoch d, were they drawn while training.
    """
    if not number:
        return np.empty(0, np.uint16), np.empty(0, input_ids.dtype), np.empty(0, np.uint16)
    each = [draw(generator(seed, d, example_id), input_ids, unit_starts, second_start, rules) for d in range(number)]
    lengths = np.array([len(one.positions) for one in each], dtype=np.uint16)
    return np.concatenate([one.positions for one in each]), np.concatenate([one.replacements for one in each]), lengths
