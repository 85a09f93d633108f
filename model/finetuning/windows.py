"""Windows: texts framed by [CLS] and [SEP], cut to the length that the network reads, and batched.

A text to classify is truncated. For a pair, the longer text loses tokens until both fit:

    [CLS] 他 睡 了 [SEP] 他 没 睡 [SEP]       segments 0 0 0 0 0 1 1 1 1

A text to tag is a sequence of items, each a character or a word with one label. It is read in windows that overlap by half, and
each item belongs to the window in which it is furthest from an end. 7 tokens with room for 4:

    0 1 2 .
        . 3 4 .
          . . 5 6       the last window ends with the text; . = read here, but belongs to another window
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.arrays import Ints

IGNORED = -100
"""Label of positions that have none: torch's default `ignore_index`."""
POOL_BATCHES = 32
"""Batches whose texts are sorted by length together: little padding, but a different order in every epoch."""


@dataclass(frozen=True)
class Text:
    """A text as token ids, without [CLS] and [SEP]."""

    tokens: Ints
    """(P,) token ids."""
    labels: Ints
    """(1,) to classify; (T,) to tag T items."""
    firsts: Ints | None = None
    """(T,) index of each item's first token, -1 if it has none. Only to tag."""
    second: Ints | None = None
    """(Q,) token ids of the second text of a pair."""


class Readable(Protocol):
    """What the network reads at once."""

    @property
    def ids(self) -> Ints:
        """(L,) token ids, with [CLS] and [SEP]."""

    @property
    def segments(self) -> Ints:
        """(L,) segment ids."""


@dataclass(frozen=True)
class Window:
    """What the network reads at once: a text or a part of it."""

    text: int
    """Index of the text in its split."""
    ids: Ints
    """(L,) token ids, with [CLS] and [SEP]."""
    labels: Ints
    """(1,) to classify; (L,) to tag: the label of an item of this window at its first token, otherwise `IGNORED`."""
    items: Ints
    """(K,) indices of the text's items that belong to this window; empty to classify."""
    positions: Ints
    """(K,) index in `ids` of each item's first token; empty to classify."""
    second_start: int = 0
    """Index in `ids` of the second text of a pair; 0 = there is none."""

    @property
    def segments(self) -> Ints:
        """(L,) segment ids: 0, and 1 from the second text on."""
        return segments(len(self.ids), self.second_start or len(self.ids))


def segments(length: int, second_start: int) -> Ints:
    """(L,) segment ids: 0, and 1 from the second text on."""
    return (np.arange(length) >= second_start).astype(np.int64)


@dataclass(frozen=True)
class Frame:
    """The special tokens around a window, and its length."""

    cls: int
    """Id of [CLS]."""
    sep: int
    """Id of [SEP]."""
    max_length: int
    """Maximum tokens, [CLS] and [SEP] included."""
    separators: int = 1
    """How many [SEP] are between two texts: 1 as in BERT, 2 as in RoBERTa."""

    @property
    def room(self) -> int:
        """Maximum tokens of a text."""
        return self.max_length - 2

    @property
    def pair_room(self) -> int:
        """Maximum tokens of two texts."""
        return self.room - self.separators

    def around(self, tokens: Ints) -> Ints:
        """Return the tokens between [CLS] and [SEP]."""
        return np.concatenate([[self.cls], tokens, [self.sep]]).astype(np.int64)

    def pair(self, first: Ints, second: Ints) -> tuple[Ints, int]:
        """Return two texts with special tokens, and the index of the second one's first token."""
        ids = np.concatenate([[self.cls], first, [self.sep] * self.separators, second, [self.sep]]).astype(np.int64)
        return ids, 1 + len(first) + self.separators


def truncated(texts: Sequence[Text], frame: Frame) -> list[Window]:
    """Return one window per text or pair to classify, truncated to what fits."""
    none = np.zeros(0, np.int64)
    cut = []
    for number, text in enumerate(texts):
        if text.second is None:
            cut.append(Window(number, frame.around(text.tokens[: frame.room]), text.labels, none, none))
        else:
            first, second = longest_first(len(text.tokens), len(text.second), frame.pair_room)
            ids, second_start = frame.pair(text.tokens[:first], text.second[:second])
            cut.append(Window(number, ids, text.labels, none, none, second_start))
    return cut


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts to keep: the longer one loses tokens until both fit; of equal ones, the second.

    Source: google-research/bert, run_classifier.py, _truncate_seq_pair.

    longest_first(100, 20, 93) -> (73, 20)          longest_first(100, 80, 93) -> (47, 46)
    """
    if first + second <= room:
        return first, second
    kept_first = max(room - second, -(-room // 2))
    kept_first = min(kept_first, first)
    return kept_first, min(second, room - kept_first)


def windows(texts: Sequence[Text], frame: Frame) -> list[Window]:
    """Return the windows over texts to tag. Every item with a token belongs to exactly one window."""
    return [window for number, text in enumerate(texts) for window in _windows(number, text, frame)]


def _windows(number: int, text: Text, frame: Frame) -> list[Window]:
    assert text.firsts is not None
    # First token of each window: steps of half a window, then the last one that fits.
    length, last = len(text.tokens), max(len(text.tokens) - frame.room, 0)
    starts = [*range(0, last, max(frame.room // 2, 1)), last]
    # Each token (P,) belongs to the window whose middle is nearest, where it has most context on both sides.
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
    """Return batches of indices in random order, each of texts of similar length."""
    order = rng.permutation(len(lengths))
    pool = batch_size * POOL_BATCHES
    batches = []
    for begin in range(0, len(order), pool):
        by_length = sorted(order[begin : begin + pool].tolist(), key=lambda index: lengths[index])
        batches += [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def padded(rows: Sequence[Ints], filler: int) -> Ints:
    """Return the rows as (B, L), filled up to the longest."""
    table = np.full((len(rows), max(map(len, rows))), filler, np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table
