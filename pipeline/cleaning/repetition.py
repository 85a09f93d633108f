"""How much of a text repeats itself, counted over n-grams of characters, for many texts at once.

    text        好吃好吃好吃，推荐              10 characters
    3-grams     好吃好 twice, 吃好吃 twice       top 3-gram: 2 * 3 / 10 = 0.6
    repeated    好吃好 and 吃好吃 come again at characters 2 and 3: 4 of 10 characters lie in a 3-gram that was there before

Equal n-grams are found exactly: each gets the position of its first occurrence as its name, and the name of a longer gram is
the pair of the names of two shorter ones that overlap (Karp, Miller and Rosenberg, "Rapid identification of repeated patterns
in strings, trees and arrays", 1972). A gram that occurs once has no name, and none that holds it need be looked at: most of the
work is done after the first two lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.cleaning.characters import Ints

_ODD = 0x9E3779B97F4A7C15
Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Grams:
    """The n-grams of one length that occur more than once in their text."""

    length: int
    at: Indices
    """Their positions, rising."""
    names: Indices
    """The position where the same gram of the same text stood first; one for each of `at`."""


def repeated_grams(points: npt.NDArray[np.uint32], texts: npt.NDArray[np.int32], lengths: Sequence[int]) -> list[Grams]:
    """The grams of each length that their text repeats. Lengths rise from 3, each less than twice the one before.

    `points` are the characters of all texts behind each other, `texts` the number of the text of each. Best for some 100,000
    characters at a time, which fit into a processor's cache.
    """
    # The first key: a pair of code points (21 bits each) and the text's number (22 bits).
    keys = points.astype(np.uint64)
    keys[:-1] = keys[:-1] << np.uint64(21) | keys[1:]
    keys |= texts.astype(np.uint64) << np.uint64(42)
    inside = np.flatnonzero(texts[1:] == texts[:-1]).astype(np.int32)
    grams = _grams(2, inside, keys.take(inside))
    named = np.empty(len(points) + 1, np.int32)
    found = []
    for length in lengths:
        named.fill(-1)
        named[grams.at] = grams.names
        # Two grams that overlap make the longer one; so none reaches into the next text.
        second = named.take(grams.at + (length - grams.length), mode="clip")
        both = np.flatnonzero(second >= 0)
        keys = grams.names.take(both).astype(np.uint64) << np.uint64(32) | second.take(both).astype(np.uint64)
        grams = _grams(length, grams.at.take(both), keys)
        found.append(grams)
    return found


def _grams(length: int, at: Indices, keys: npt.NDArray[np.uint64]) -> Grams:
    """The grams at `at`, equal where their keys are, without those that occur once."""
    first = first_equal(keys)
    again = np.flatnonzero(np.bincount(first, minlength=1).take(first) > 1)
    return Grams(length, at.take(again), at.take(first.take(again)))


def first_equal(keys: npt.NDArray[np.uint64]) -> Indices:
    """The index of the first key that is equal to each key.

    A table of slots, as in hashing: every key writes its index, the first one of a slot last, so that it stays. Keys that find
    another key in their slot try again with another hash. Two times faster than sorting, and as exact.
    """
    bits = max(8, (4 * len(keys)).bit_length() - 1)
    slots = np.empty(1 << bits, np.int32)
    first = np.empty(len(keys), np.int32)
    left = np.arange(len(keys), dtype=np.int32)
    odd = _ODD
    while len(left):
        mine = keys.take(left) if len(left) < len(keys) else keys
        place = ((mine * np.uint64(odd)) >> np.uint64(64 - bits)).view(np.int64)
        slots[place[::-1]] = left[::-1]
        winner = slots.take(place)
        first[left] = winner  # for those that another key kept out, until their next turn
        left = left.compress(keys.take(winner) != mine)
        odd = odd * _ODD % (1 << 64) | 1
    return first


def top_share(grams: Grams, texts: npt.NDArray[np.int32], characters: Ints) -> npt.NDArray[np.float64]:
    """Of each text: occurrences of its most frequent gram, times the gram's length, by characters; at most 1."""
    most = np.zeros(len(characters), np.int64)
    counts = np.bincount(grams.names, minlength=1)[grams.names]
    np.maximum.at(most, texts[grams.at], counts)
    share: npt.NDArray[np.float64] = np.minimum(most * grams.length / np.maximum(characters, 1), 1)
    return share


def repeated_share(grams: Grams, texts: npt.NDArray[np.int32], characters: Ints) -> npt.NDArray[np.float64]:
    """Of each text: the share of characters that lie in a gram which stood further up already."""
    later = grams.at[grams.names < grams.at]
    # Grams that overlap share characters: each counts up to the start of the next. Those of other texts are further away.
    covered = np.minimum(np.diff(later, append=np.iinfo(np.int32).max), grams.length)
    inside = np.bincount(texts[later], weights=covered, minlength=len(characters))
    share: npt.NDArray[np.float64] = inside / np.maximum(characters, 1)
    return share
