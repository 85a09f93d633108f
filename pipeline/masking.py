"""Whole-word masking: which pieces are hidden, and what the network sees in their place.

    words          |     | 北京    | 大学    | 的 | 图书馆       |
    pieces         [CLS]   北   京   大   学   的   图   书   馆   [SEP]     input_ids, what shards hold
    units            1     1    0    1    0    1    1    0    0    1         1 = a unit begins (a jieba word; specials alone)
    positions                                       6    7    8              whole units, 15 % of all pieces
    replacements                                  [MASK] 书  [MASK]          each 80 % [MASK], 10 % itself, 10 % any piece
    labels                                          图   书   馆             input_ids[positions]

The same function draws the static masks of shards and the fresh masks of a training epoch. Imports numpy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import streams

if TYPE_CHECKING:
    from pipeline.vocab import Vocab

CHUNK_PIECES = 1 << 15
"""Sequences are masked by so many pieces at a time: the arrays then stay in the processor's cache."""
_PLACE_BITS = 10  # 53 bits of a random number and these: one bit is to spare for the 1.0 of places without a unit

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


@dataclass(frozen=True, eq=False)
class Sequences:
    """Examples laid end to end: sequence i has the pieces `offsets[i]` to `offsets[i + 1]`."""

    example_ids: NDArray[np.uint64]
    """(n,) they key the masks."""
    input_ids: Ids
    """(pieces,) of each sequence [CLS] first, [SEP] last, and if `second_starts` > 0 [SEP] just before it."""
    unit_starts: NDArray[np.bool_]
    """(pieces,) True where a unit begins; specials are units of their own."""
    offsets: NDArray[np.int64]
    """(n + 1,) rising from 0."""
    second_starts: NDArray[np.int64]
    """(n,) where segment B begins in its sequence; 0 = one segment."""

    @classmethod
    def join(
        cls,
        example_ids: Sequence[int],
        input_ids: Sequence[Ids],
        unit_starts: Sequence[NDArray[np.bool_]],
        second_starts: Sequence[int],
    ) -> "Sequences":
        """From arrays of one sequence each."""
        offsets = np.zeros(len(input_ids) + 1, np.int64)
        np.cumsum([len(ids) for ids in input_ids], out=offsets[1:])
        ids, units = np.concatenate(input_ids), np.concatenate(unit_starts)
        return cls(np.array(example_ids, np.uint64), ids, units, offsets, np.array(second_starts, np.int64))

    def __len__(self) -> int:
        return len(self.example_ids)

    def slice(self, start: int, end: int) -> "Sequences":
        """Sequences `start` to `end`."""
        first, last = self.offsets[start], self.offsets[end]
        return Sequences(
            self.example_ids[start:end],
            self.input_ids[first:last],
            self.unit_starts[first:last],
            self.offsets[start : end + 1] - first,
            self.second_starts[start:end],
        )


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks laid end to end, draw after draw, sequence after sequence. Labels are `input_ids` at the positions."""

    positions: NDArray[np.uint16]
    """(predictions,) rising places of the hidden pieces in their sequence."""
    replacements: Ids
    """(predictions,) what stands there instead, in the type of `input_ids`."""
    lengths: NDArray[np.int64]
    """(n, draws) how many predictions belong to each draw of each sequence."""


def static_masks(number: int, seed: int, sequences: Sequences, rules: MaskingRules) -> Masks:
    """`number` draws for every sequence, as shards hold them: draw d is the mask of epoch d, were it drawn while training."""
    return draw(seed, np.broadcast_to(np.arange(number), (len(sequences), number)), sequences, rules)


def draw(seed: int, epochs: NDArray[np.int64], sequences: Sequences, rules: MaskingRules) -> Masks:
    """Draws masks.

    Every unit, long or short, is hidden with the same probability, and the expected number of hidden pieces is exactly
    `rate` x the length: the units are laid on a circle in random order, and those that begin within a window of that many
    pieces, put down at random, are taken. (BERT takes units until one overflows the budget, and skips that: words of three
    pieces are then hidden less often than single ones.) The number hidden so varies by a word's length around the budget.
    Where no unit begins in the window, the unit in which it lies is taken, so that every example has something to predict.
    `max_predictions` is a hard limit: the unit that overflows it is left out.

    Specials are never hidden, whatever ids they have: they are known by position.

    Args:
        epochs: (n, draws) the epochs for which each sequence is masked: draws of a sequence differ only by these.
    """
    rows = max(1, CHUNK_PIECES * len(sequences) // max(1, len(sequences.input_ids) * max(1, epochs.shape[1])))
    parts = [
        _draw(seed, epochs[start : start + rows], sequences.slice(start, min(start + rows, len(sequences))), rules)
        for start in range(0, len(sequences) if epochs.shape[1] else 0, rows)
    ]
    return Masks(
        np.concatenate([part.positions for part in parts] or [np.empty(0, np.uint16)]),
        np.concatenate([part.replacements for part in parts] or [sequences.input_ids[:0]]),
        np.concatenate([part.lengths for part in parts] or [np.empty(epochs.shape, np.int64)]),
    )


@dataclass(frozen=True, eq=False)
class _Units:
    """The units of some sequences, without [CLS] and the last [SEP], as a matrix of one row a sequence."""

    firsts: NDArray[np.int64]
    """(n, most) first piece, in the flat arrays."""
    lengths: NDArray[np.int64]
    """(n, most) pieces; 0 after the last unit, and for the middle [SEP]: it takes part in the draw but hides nothing."""
    counts: NDArray[np.int64]
    """(n,) units, the middle [SEP] counted."""

    @classmethod
    def of(cls, sequences: Sequences) -> "_Units":
        firsts = np.flatnonzero(sequences.unit_starts)
        rows = firsts.searchsorted(sequences.offsets)
        second = np.flatnonzero(sequences.second_starts)
        seps = sequences.offsets[second] + sequences.second_starts[second] - 1
        special = firsts.searchsorted(seps)
        assert (np.diff(rows) > 2).all() and (firsts[rows[1:] - 1] == sequences.offsets[1:] - 1).all(), "specials must be units"
        assert (firsts[special] == seps).all() and (firsts[special + 1] == seps + 1).all(), "the middle [SEP] must be a unit"
        lengths = np.diff(firsts, append=len(sequences.unit_starts))
        lengths[special] = 0
        counts = np.diff(rows) - 2
        column = np.arange(counts.max())
        inside = column < counts[:, None]
        index = np.minimum(rows[:-1, None] + 1 + column, len(firsts) - 1)
        return cls(firsts[index], lengths[index] * inside, counts)


def _draw(seed: int, epochs: NDArray[np.int64], sequences: Sequences, rules: MaskingRules) -> Masks:
    """`draw` for as many sequences as fit in the processor's cache."""
    units = _Units.of(sequences)
    rows = np.repeat(np.arange(len(sequences)), epochs.shape[1])  # one a draw from here on
    lengths, counts = units.lengths[rows], units.counts[rows]
    budgets = rules.rate * np.diff(sequences.offsets)[rows]
    if rules.max_predictions:
        budgets = np.minimum(budgets, rules.max_predictions)
    windows = np.minimum(budgets, lengths.sum(axis=1))
    most = windows.astype(np.int64) + 1 + lengths.max(axis=1)  # pieces that may be hidden, each of which needs a number
    random = streams.numbers(seed, epochs.ravel(), sequences.example_ids[rows], counts + 1 + most)
    at = np.cumsum(counts + 1 + most) - (counts + 1 + most)
    hidden = _draw_units(random, at, lengths, counts, windows, rules.max_predictions)
    row, column = np.nonzero(hidden)
    taken = lengths[row, column]
    places = ranges(units.firsts[rows[row], column], taken)
    row = np.repeat(row, taken)
    number = np.bincount(row, minlength=len(rows))
    labels = sequences.input_ids[places]
    fates = random[ranges(at + counts + 1, number)]
    positions = (places - sequences.offsets[rows[row]]).astype(np.uint16)
    return Masks(positions, _replace(fates, labels, rules), number.reshape(epochs.shape))


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers from each start on, so many: starts 5 9, lengths 2 3 -> 5 6 9 10 11."""
    shifts = starts - np.cumsum(lengths) + lengths
    return np.repeat(shifts, lengths) + np.arange(int(lengths.sum()))


def _draw_units(
    random: NDArray[np.float64],
    at: NDArray[np.int64],
    lengths: NDArray[np.int64],
    counts: NDArray[np.int64],
    windows: NDArray[np.float64],
    max_predictions: int,
) -> NDArray[np.bool_]:
    """(n, most) which units to hide. The numbers of row i begin at `random[at[i]]`: one a unit, then one for the window."""
    column = np.arange(lengths.shape[1])
    order = _order(np.where(column < counts[:, None], random[np.minimum(at[:, None] + column, len(random) - 1)], 1.0))
    lengths = np.take_along_axis(lengths, order, axis=1)
    ends = lengths.cumsum(axis=1)
    totals = ends[:, -1:]
    # Where each unit begins, seen from the start of the window.
    begins = ends - lengths - random[at + counts][:, None] * totals
    begins += np.where(begins < 0, totals, 0)
    hides = lengths > 0
    inside = hides & (begins < windows[:, None])
    if (none := np.flatnonzero(~inside.any(axis=1))).size:
        # The unit that began last before the window.
        inside[none, np.where(hides[none], begins[none], -1).argmax(axis=1)] = True
    if max_predictions:
        full = np.flatnonzero((lengths * inside).sum(axis=1) > max_predictions)
        first = np.where(inside[full], begins[full], np.inf).min(axis=1, keepdims=True)
        # Units of the window follow one another on the circle, so that these are whole numbers.
        inside[full] &= np.rint(begins[full] - first) + lengths[full] <= max_predictions
    hidden: NDArray[np.bool_] = np.zeros_like(inside)
    np.put_along_axis(hidden, order, inside, axis=1)
    return hidden


def _order(random: NDArray[np.float64]) -> NDArray[np.int64]:
    """`random.argsort(axis=1, kind="stable")` of numbers of 53 bits in [0, 1], twenty times as fast.

    Whole numbers of 53 bits, and the place in the bits below: sorting these sorts the places along.
    """
    if random.shape[1] > 1 << _PLACE_BITS:
        return random.argsort(axis=1, kind="stable")
    keys = (random * (1 << 53)).astype(np.uint64) << np.uint64(_PLACE_BITS)
    keys |= np.arange(random.shape[1], dtype=np.uint64)
    keys.sort(axis=1)
    return (keys & np.uint64((1 << _PLACE_BITS) - 1)).astype(np.int64)


def _replace(random: NDArray[np.float64], labels: Ids, rules: MaskingRules) -> Ids:
    """80 % [MASK], 10 % the piece itself, 10 % a random piece, for each piece by itself (BERT paper, section 3.1)."""
    replacements = np.where(random < 0.8, labels.dtype.type(rules.mask_id), labels)
    swapped = np.flatnonzero(random >= 0.9)
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
    """`static_masks` of one sequence, flat: positions, replacements, and how many belong to each draw."""
    one = static_masks(number, seed, Sequences.join([example_id], [input_ids], [unit_starts], [second_start]), rules)
    return one.positions, one.replacements, one.lengths[0].astype(np.uint16)
