"""How much a text repeats itself, measured on n-grams of characters, for many texts at once.

    text        好吃好吃好吃，推荐              8 characters: letters and digits only
    3-grams     好吃好 twice, 吃好吃 twice       most frequent 3-gram: 2 * 3 / 8 = 0.75
    duplicate   好吃好 and 吃好吃 recur at characters 2 and 3: 4 of 8 characters are in a 3-gram seen before

Equal n-grams are found exactly. Each n-gram is named by the position of its first occurrence, and the name of a longer one is
the pair of names of two shorter, overlapping ones (Karp, Miller and Rosenberg, "Rapid identification of repeated patterns in
strings, trees and arrays", 1972). An n-gram that occurs once gets no name, and no longer one around it needs to be considered:
most of the work is done after the first two lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import GOLDEN_RATIO, CodePoints, Floats, Hashes, Ints, Ints32

_ODD = int(GOLDEN_RATIO)


@dataclass(frozen=True)
class NGrams:
    """The n-grams of one length that occur more than once in their text."""

    length: int
    at: Ints32
    """Their positions, ascending."""
    names: Ints32
    """For each of `at`, the position of the first occurrence of the same n-gram in the same text."""


def repeated_ngrams(points: CodePoints, texts: Ints32, lengths: Sequence[int]) -> list[NGrams]:
    """Return, for each length, the n-grams that occur more than once in their text.

    Args:
        points: the characters of all texts, concatenated: (characters,). Best some 100,000, which fit into a processor's cache.
        texts: the index of the text of each character: (characters,).
        lengths: ascending from 3, each less than twice the one before.
    """
    # Bigrams first. Their key: two code points (21 bits each) and the index of the text (22 bits).
    keys = points.astype(np.uint64)
    keys[:-1] = keys[:-1] << np.uint64(21) | keys[1:]
    keys |= texts.astype(np.uint64) << np.uint64(42)
    inside = np.flatnonzero(texts[1:] == texts[:-1]).astype(np.int32)
    ngrams = _keep_repeated(2, inside, keys.take(inside))
    named = np.empty(len(points) + 1, np.int32)
    found = []
    for length in lengths:
        named.fill(-1)
        named[ngrams.at] = ngrams.names
        # Two overlapping n-grams of the same text form the longer one, so none reaches into the next text.
        second = named.take(ngrams.at + (length - ngrams.length), mode="clip")
        both = np.flatnonzero(second >= 0)
        keys = ngrams.names.take(both).astype(np.uint64) << np.uint64(32) | second.take(both).astype(np.uint64)
        ngrams = _keep_repeated(length, ngrams.at.take(both), keys)
        found.append(ngrams)
    return found


def _keep_repeated(length: int, at: Ints32, keys: Hashes) -> NGrams:
    """Return the n-grams at positions `at`, equal if their keys are, without those that occur once."""
    first = first_equal(keys)
    again = np.flatnonzero(np.bincount(first, minlength=1).take(first) > 1)
    return NGrams(length, at.take(again), at.take(first.take(again)))


def first_equal(keys: Hashes) -> Ints32:
    """Return, for each key, the index of the first key equal to it.

    A hash table without chains: every key writes its index into its slot, in reverse order, so that the first key of a slot
    wins. Keys that find a different key in their slot retry with another hash function. Twice as fast as sorting, and as exact.
    """
    bits = max(8, (4 * len(keys)).bit_length() - 1)
    slots = np.empty(1 << bits, np.int32)
    first = np.empty(len(keys), np.int32)
    left = np.arange(len(keys), dtype=np.int32)
    odd = _ODD
    while len(left):
        # The slot of each remaining key: the top bits of a multiplicative hash.
        mine = keys.take(left) if len(left) < len(keys) else keys
        place = ((mine * np.uint64(odd)) >> np.uint64(64 - bits)).view(np.int64)
        # Later writes win, so in reverse order the first key of each slot stays.
        slots[place[::-1]] = left[::-1]
        winner = slots.take(place)
        first[left] = winner  # overwritten in a later round for keys that lost their slot to a different key
        left = left.compress(keys.take(winner) != mine)
        # The others try again with another multiplier.
        odd = odd * _ODD % (1 << 64) | 1
    return first


def top_ngram_ratio(ngrams: NGrams, texts: Ints32, characters: Ints) -> Floats:
    """Return, per text: occurrences of the most frequent n-gram, times n, divided by the text's characters; at most 1."""
    most = np.zeros(len(characters), np.int64)
    counts = np.bincount(ngrams.names, minlength=1)[ngrams.names]
    np.maximum.at(most, texts[ngrams.at], counts)
    ratio: Floats = np.minimum(most * ngrams.length / np.maximum(characters, 1), 1)
    return ratio


def dup_ngram_ratio(ngrams: NGrams, texts: Ints32, characters: Ints) -> Floats:
    """Return, per text: the fraction of characters inside an n-gram that already occurred further up."""
    later = ngrams.at[ngrams.names < ngrams.at]
    # Overlapping n-grams share characters, so each counts up to the start of the next. Other texts' n-grams are further away.
    covered = np.minimum(np.diff(later, append=np.iinfo(np.int32).max), ngrams.length)
    inside = np.bincount(texts[later], weights=covered, minlength=len(characters))
    ratio: Floats = inside / np.maximum(characters, 1)
    return ratio
