"""Texts as the network reads them at once: framed by [CLS] and [SEP], cut to its length, put together to batches.

A text to classify is cut off where the network's length ends. Of a pair the longer text is, token by token, until both fit:

    [CLS] 他 睡 了 [SEP] 他 没 睡 [SEP]       segments 0 0 0 0 0 1 1 1 1

A text to tag is read in windows that overlap by half, and each item belongs to the one window where it stands furthest from an
end. 7 tokens with room for 4:

    0 1 2 .
        . 3 4 .
          . . 5 6       the last window ends with the text; . = read there, but belongs to another window
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]
IGNORED = -100
"""Positions without a label: torch's own default for `ignore_index`."""
POOL_BATCHES = 32
"""Texts of so many batches are drawn together and sorted by length: little padding, and still another order every epoch."""


@dataclass(frozen=True)
class Text:
    """A text as tokens, without [CLS] and [SEP]."""

    tokens: Array
    """(P,)"""
    labels: Array
    """(1,) to classify, (T,) to tag T items."""
    firsts: Array | None = None
    """(T,) where each item's first token stands; -1 = it has none. Only to tag."""
    second: Array | None = None
    """(Q,) tokens of the second text of a pair."""


@dataclass(frozen=True)
class Window:
    """What the network reads at once: a text or a part of it."""

    text: int
    """Number of the text in its split."""
    ids: Array
    """(L,) with [CLS] and [SEP]"""
    labels: Array
    """(1,) to classify; (L,) to tag, `IGNORED` where no item that belongs to this window begins."""
    items: Array
    """Which items of the text belong to this window, and"""
    positions: Array
    """where in `ids` they begin. Both empty to classify."""
    second_start: int = 0
    """Where the second text of a pair begins in `ids`; 0 = there is none."""

    @property
    def segments(self) -> Array:
        """(L,) 0, and 1 from the second text on."""
        return (np.arange(len(self.ids)) >= (self.second_start or len(self.ids))).astype(np.int64)


@dataclass(frozen=True)
class Frame:
    """How much the network reads at once, and what stands at its ends."""

    cls: int
    sep: int
    max_length: int
    """Tokens, [CLS] and [SEP] included."""

    @property
    def room(self) -> int:
        return self.max_length - 2

    def around(self, tokens: Array) -> Array:
        return np.concatenate([[self.cls], tokens, [self.sep]]).astype(np.int64)


def beginnings(texts: Sequence[Text], frame: Frame) -> list[Window]:
    """Of each text to classify, or of each pair, as much as fits."""
    none = np.zeros(0, np.int64)
    cut = []
    for number, text in enumerate(texts):
        if text.second is None:
            cut.append(Window(number, frame.around(text.tokens[: frame.room]), text.labels, none, none))
        else:
            first, second = longest_first(len(text.tokens), len(text.second), frame.room - 1)
            ids = np.concatenate([frame.around(text.tokens[:first]), text.second[:second], [frame.sep]])
            cut.append(Window(number, ids, text.labels, none, none, second_start=first + 2))
    return cut


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Tokens that stay of two texts: the longer one loses a token until both fit; of two equal ones the second, as in BERT.

    Source: google-research/bert, run_classifier.py, _truncate_seq_pair.

    longest_first(100, 20, 93) -> (73, 20)          longest_first(100, 80, 93) -> (47, 46)
    """
    if first + second <= room:
        return first, second
    kept_first = max(room - second, -(-room // 2))
    kept_first = min(kept_first, first)
    return kept_first, min(second, room - kept_first)


def windows(texts: Sequence[Text], frame: Frame) -> list[Window]:
    """Windows over texts to tag; every item that has a token belongs to exactly one."""
    return [window for number, text in enumerate(texts) for window in _windows(number, text, frame)]


def _windows(number: int, text: Text, frame: Frame) -> list[Window]:
    assert text.firsts is not None
    length, last = len(text.tokens), max(len(text.tokens) - frame.room, 0)
    starts = [*range(0, last, max(frame.room // 2, 1)), last]
    # Where a token is nearest to the middle, it has most around it on both sides.
    middles = np.array(starts) + (min(frame.room, length) - 1) / 2
    owner = np.abs(np.arange(length)[:, None] - middles).argmin(axis=1)
    has_token = np.flatnonzero(text.firsts >= 0)
    cut = []
    for window, begin in enumerate(starts):
        items = has_token[owner[text.firsts[has_token]] == window]
        positions = text.firsts[items] - begin + 1
        ids = frame.around(text.tokens[begin : begin + frame.room])
        labels = np.full(len(ids), IGNORED, np.int64)
        labels[positions] = text.labels[items]
        cut.append(Window(number, ids, labels, items, positions))
    return cut


def shuffled(lengths: Sequence[int], batch_size: int, rng: np.random.Generator) -> list[list[int]]:
    """Batches of indices in random order, each of texts of about the same length."""
    order = rng.permutation(len(lengths))
    pool = batch_size * POOL_BATCHES
    batches = []
    for begin in range(0, len(order), pool):
        by_length = sorted(order[begin : begin + pool].tolist(), key=lambda index: lengths[index])
        batches += [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def padded(rows: Sequence[Array], filler: int) -> Array:
    """(B, L) of rows that are filled up to the longest."""
    table = np.full((len(rows), max(map(len, rows))), filler, np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table
