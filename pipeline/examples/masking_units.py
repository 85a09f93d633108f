"""The units of sequences as matrices, a row a sequence: how they make spans, and which of them are hidden.

    tokens       [CLS] 北 京 | 大 学 | 的 | 图 书 馆 [SEP] 很 | 好 [SEP]
    words               2      2     1     3       0    1    1          lengths of a row; [SEP] counts as a unit of 0
    spans               0      0     2     2       4    5    5          spans of 2, 2 and 2 words: the first word of each word's

Used by masking.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.examples.sequences import Sequences

SPAN_P, LONGEST_SPAN = 0.2, 10
"""SpanBERT, section 3.1: words of a span are geometric, p = 0.2, given that they are not more than 10; 3.8 on average."""
# Products and sums one by one: numpy's powers and sums may differ in the last bit between processors, and so would the masks.
_SPANBERT = list(accumulate(range(1, LONGEST_SPAN), lambda ratio, _: ratio * (1 - SPAN_P), initial=1.0))
SPAN_LENGTHS: dict[str, tuple[float, ...]] = {
    "span": tuple(accumulate(ratio / math.fsum(_SPANBERT) for ratio in _SPANBERT)),  # SpanBERT's code; its text says clip
}
"""Policies that hide several words in a row: which fraction of the spans has up to 1, 2, 3, ... words. The last one is 1."""
_PLACE_BITS = 10  # 53 bits of a random number and these: one bit is to spare for the 1.0 of places without a unit


@dataclass(frozen=True, eq=False)
class Units:
    """The units of n sequences, without [CLS] and the last [SEP]."""

    firsts: NDArray[np.int64]
    """(n, most) first token, in the flat arrays."""
    lengths: NDArray[np.int64]
    """(n, most) tokens; 0 after the last unit, and for a [SEP] inside: it takes part in a draw but hides nothing."""
    counts: NDArray[np.int64]
    """(n,) units, [SEP]s inside counted."""

    @classmethod
    def of(cls, sequences: "Sequences", separator: int = -1) -> "Units":
        """Units as they stand in the sequences. [CLS] and [SEP] are known by position; where more than one [SEP] may stand
        inside, as `full_sentences` has it, they are the tokens `separator`."""
        firsts = np.flatnonzero(sequences.unit_starts)
        rows = firsts.searchsorted(sequences.offsets)
        second = np.flatnonzero(sequences.second_starts)
        inside = sequences.offsets[second] + sequences.second_starts[second] - 1
        if separator >= 0:
            inside = np.union1d(
                inside, np.setdiff1d(np.flatnonzero(sequences.input_ids == separator), sequences.offsets[1:] - 1)
            )
        special = firsts.searchsorted(inside)
        assert (np.diff(rows) > 2).all() and (firsts[rows[1:] - 1] == sequences.offsets[1:] - 1).all(), "specials must be units"
        assert (firsts[special] == inside).all() and (firsts[special + 1] == inside + 1).all(), "a [SEP] inside must be a unit"
        lengths = np.diff(firsts, append=len(sequences.unit_starts))
        lengths[special] = 0
        counts = np.diff(rows) - 2
        column = np.arange(counts.max())
        index = np.minimum(rows[:-1, None] + 1 + column, len(firsts) - 1)
        return cls(firsts.take(index), lengths.take(index) * (column < counts[:, None]), counts)

    def take(self, rows: NDArray[np.int64]) -> "Units":
        """Some rows, in any order."""
        return Units(self.firsts.take(rows, axis=0), self.lengths.take(rows, axis=0), self.counts.take(rows))

    def spans(self, random: NDArray[np.float64], lengths: Sequence[float]) -> NDArray[np.int64]:
        """Return (n, most): the first word of the span that each word is in.

        Spans follow one another from the first word on; at the end of a segment they may be shorter.

        Args:
            random: (n, most) numbers in [0, 1): those of a row make the lengths of its spans, one after the other.
            lengths: which fraction of the spans has up to 1, 2, 3, ... words (SPAN_LENGTHS).
        """
        column = np.arange(self.lengths.shape[1])
        begins = np.zeros((len(random), len(column) + 1), np.bool_)
        begins[:, 0] = True
        words = 1 + np.searchsorted(lengths[:-1], random, side="right")
        np.put_along_axis(begins, np.minimum(words.cumsum(axis=1), len(column)), True, axis=1)
        specials = self.lengths == 0
        begins[:, :-1] |= specials
        begins[:, 1:] |= specials
        return np.maximum.accumulate(np.where(begins[:, :-1], column, 0), axis=1)


def units_on_a_circle(
    random: NDArray[np.float64],
    start: NDArray[np.float64],
    lengths: NDArray[np.int64],
    windows: NDArray[np.float64],
    max_predictions: int,
) -> NDArray[np.bool_]:
    """(n, most) which units to hide: those that begin inside a window.

    The units lie on a circle in the order of `random`, and the window begins at the share `start` of it.

    Args:
        random: (n, most) numbers in [0, 1), 1.0 after the last unit.
        lengths: (n, most) tokens of each unit, 0 where none can be hidden.
        windows: (n,) tokens that are to be hidden.
        max_predictions: most tokens that may be hidden, 0 = no limit.
    """
    order = _order(random)
    lengths = np.take_along_axis(lengths, order, axis=1)
    ends = lengths.cumsum(axis=1)
    totals = ends[:, -1:]
    # Where each unit begins, seen from the start of the window.
    begins = ends - lengths - start[:, None] * totals
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
    return _in_place(inside, order)


def units_of_spans(
    random: NDArray[np.float64],
    share: NDArray[np.float64],
    lengths: NDArray[np.int64],
    windows: NDArray[np.float64],
    max_predictions: int,
) -> NDArray[np.bool_]:
    """(n, most) which words to hide: those of the first spans, in the order of `random`, until the window is full.

    All words of a span have the same number; the rest is as for `units_on_a_circle`. The word over which the window fills is
    taken if `share` of it lies inside, so that the number of tokens is right on average.
    """
    order = _order(random)  # words of a span have the same number, and stay in their order
    lengths = np.take_along_axis(lengths, order, axis=1)
    begins = lengths.cumsum(axis=1) - lengths
    inside = (lengths > 0) & (begins + share[:, None] * lengths < windows[:, None])
    none = np.flatnonzero(~inside.any(axis=1))
    inside[none, (lengths[none] > 0).argmax(axis=1)] = True
    if max_predictions:
        inside &= begins + lengths <= max_predictions
    return _in_place(inside, order)


def _in_place(inside: NDArray[np.bool_], order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """From the order of a draw to that of the text."""
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
