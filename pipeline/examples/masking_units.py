"""The masking units of sequences as matrices with a row per sequence. Used by masking.py; skip this on a first reading.

tokens       [CLS] 北 京 | 大 学 | 的 | 图 书 馆 [SEP] 很 | 好 [SEP]
words               2      2     1     3       0    1    1          lengths; a [SEP] inside counts as a unit of length 0
spans               0      0     2     2       4    5    5          the first word of each word's span, here of 2 words each
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from pipeline.arrays import Flags, Floats, Ints

if TYPE_CHECKING:
    from pipeline.examples.sequences import Sequences

SPAN_P, LONGEST_SPAN = 0.2, 10
"""SpanBERT, section 3.1: the length of a span in words has a geometric distribution, p = 0.2, cut off at 10; 3.8 on average."""
# Plain Python, because the last bit of numpy's powers and sums depends on the processor, and would change masks.
_SPANBERT = list(accumulate(range(1, LONGEST_SPAN), lambda ratio, _: ratio * (1 - SPAN_P), initial=1.0))
SPAN_LENGTHS: dict[str, tuple[float, ...]] = {
    "span": tuple(accumulate(ratio / math.fsum(_SPANBERT) for ratio in _SPANBERT)),  # SpanBERT's code; its text says clip
}
"""For policies that mask several words in a row: the fractions of spans with up to 1, 2, 3, ... words. The last one is 1."""
_PLACE_BITS = 10
"""With the 53 bits of a random number this leaves a bit for the 1.0 of columns without a unit."""


@dataclass(frozen=True, eq=False)
class Units:
    """The units of n sequences, without [CLS] and the last [SEP]."""

    firsts: Ints
    """(n, units) first token, as an index into the flat arrays."""
    lengths: Ints
    """(n, units) tokens; 0 after the last unit, and for a [SEP] inside, which takes part in a draw but masks nothing."""
    counts: Ints
    """(n,) units, including [SEP]s inside."""

    @classmethod
    def of(cls, sequences: "Sequences", separator: int = -1) -> "Units":
        """Return the units of sequences. [CLS] and [SEP] are recognised by position.

        Args:
            separator: the token that separates documents where there may be more than one [SEP] inside (`full_sentences`).
        """
        firsts = np.flatnonzero(sequences.unit_starts)
        rows = firsts.searchsorted(sequences.offsets)  # (n + 1,) the first unit of each sequence
        # (k,) positions of every [SEP] that is not the last token of its sequence.
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
        # From flat to (n, units), without the first and the last unit of each sequence.
        counts = np.diff(rows) - 2
        column = np.arange(counts.max())
        index = np.minimum(rows[:-1, None] + 1 + column, len(firsts) - 1)
        return cls(firsts.take(index), lengths.take(index) * (column < counts[:, None]), counts)

    def take(self, rows: Ints) -> "Units":
        """Return some rows, in any order."""
        return Units(self.firsts.take(rows, axis=0), self.lengths.take(rows, axis=0), self.counts.take(rows))

    def spans(self, random: Floats, lengths: Sequence[float]) -> Ints:
        """Divide the words of each row into spans; return the first word of each word's span, (n, units).

        Spans follow one another from the first word on. At the end of a segment they may be shorter.

        Args:
            random: (n, units) in [0, 1): one number for the length of each of the row's spans, in order.
            lengths: the fractions of spans with up to 1, 2, 3, ... words (SPAN_LENGTHS).
        """
        column = np.arange(self.lengths.shape[1])
        starts = np.zeros((len(random), len(column) + 1), np.bool_)
        starts[:, 0] = True
        # Lengths by inverting the distribution; their running sum gives the starts.
        words = 1 + np.searchsorted(lengths[:-1], random, side="right")
        np.put_along_axis(starts, np.minimum(words.cumsum(axis=1), len(column)), True, axis=1)
        # A [SEP] ends a span, and the next unit starts one.
        specials = self.lengths == 0
        starts[:, :-1] |= specials
        starts[:, 1:] |= specials
        return np.maximum.accumulate(np.where(starts[:, :-1], column, 0), axis=1)


def units_on_a_circle(random: Floats, start: Floats, lengths: Ints, windows: Floats, max_predictions: int) -> Flags:
    """Choose the units that start within a window on a circle, in which the units are in the order of `random`: (n, units).

    Args:
        random: (n, units) in [0, 1), 1.0 after the last unit.
        start: (n,) in [0, 1): where on the circle the window starts.
        lengths: (n, units) tokens of each unit, 0 for units that cannot be masked.
        windows: (n,) length of the window, in tokens.
        max_predictions: maximum number of tokens to mask, 0 = no limit.
    """
    order = _order(random)
    lengths = np.take_along_axis(lengths, order, axis=1)
    ends = lengths.cumsum(axis=1)
    totals = ends[:, -1:]
    # The start of each unit, relative to that of the window.
    starts = ends - lengths - start[:, None] * totals
    starts += np.where(starts < 0, totals, 0)
    maskable = lengths > 0
    inside = maskable & (starts < windows[:, None])
    # If no unit starts in the window, take the last that starts before it.
    if (none := np.flatnonzero(~inside.any(axis=1))).size:
        inside[none, np.where(maskable[none], starts[none], -1).argmax(axis=1)] = True
    # Drop the units that exceed the limit. Units in the window are adjacent, so distances between starts are integers.
    if max_predictions:
        full = np.flatnonzero((lengths * inside).sum(axis=1) > max_predictions)
        first = np.where(inside[full], starts[full], np.inf).min(axis=1, keepdims=True)
        inside[full] &= np.rint(starts[full] - first) + lengths[full] <= max_predictions
    return _in_text_order(inside, order)


def units_of_spans(random: Floats, threshold: Floats, lengths: Ints, windows: Floats, max_predictions: int) -> Flags:
    """Choose the words of the first spans, in the order of `random`, until the window is full: (n, units).

    The arguments are those of `units_on_a_circle`, but all words of a span have the same random number.

    Args:
        threshold: (n,) in [0, 1): the word that overfills the window is taken if more than this ratio of it fits, which makes
            the number of tokens right on average.
    """
    order = _order(random)  # the sort is stable, so words of a span stay in their order
    lengths = np.take_along_axis(lengths, order, axis=1)
    starts = lengths.cumsum(axis=1) - lengths
    inside = (lengths > 0) & (starts + threshold[:, None] * lengths < windows[:, None])
    # Take at least one word.
    none = np.flatnonzero(~inside.any(axis=1))
    inside[none, (lengths[none] > 0).argmax(axis=1)] = True
    if max_predictions:
        inside &= starts + lengths <= max_predictions
    return _in_text_order(inside, order)


def _in_text_order(inside: Flags, order: Ints) -> Flags:
    """Undo the permutation `order` of the columns, both (n, units)."""
    result: Flags = np.zeros_like(inside)
    np.put_along_axis(result, order, inside, axis=1)
    return result


def _order(random: Floats) -> Ints:
    """Return `random.argsort(axis=1, kind="stable")` for numbers of 53 bits in [0, 1], twenty times as fast.

    Sorts integers with the number in the high bits and the column in the low bits, which carries the columns along.
    """
    if random.shape[1] > 1 << _PLACE_BITS:
        return random.argsort(axis=1, kind="stable")
    keys = (random * (1 << 53)).astype(np.uint64) << np.uint64(_PLACE_BITS)
    keys |= np.arange(random.shape[1], dtype=np.uint64)
    keys.sort(axis=1)
    return (keys & np.uint64((1 << _PLACE_BITS) - 1)).astype(np.int64)
