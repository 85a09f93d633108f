"""Compare short documents that share an anchor (see short_texts.py): exactly, by their sets of n-grams.

    房间很干净，服务也好            6 of 8 n-grams in common: near duplicates from 0.75 on
    房间很干净，服务也好。推荐！

    房间很干净，服务也好            all its n-grams are in a longer document: contained in it
    ……房间很干净，服务也好……

In a group of equal anchors each row is compared with the best rows before it, at most MAX_LEADERS of them. So further rows
behind them change nothing, and popular phrases do not take quadratic time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.arrays import CodePoints, Hashes, Ints, mix, ranges, slices, starts_of_groups
from pipeline.dedup.ngrams import polynomials
from pipeline.dedup.short_texts import flat_codes, whole

NEAR, EXACT, CONTAINED = 0, 1, 2
"""Kinds of pairs: near duplicates, exact duplicates, and a document contained in a longer one."""
MAX_LEADERS = 64
"""Better rows of a group that a row is compared with. Rows with more are counted as `unpaired`."""
_PAIRS_AT_ONCE = 1 << 17
_PREFIX = np.uint64(40)
"""Bits of an n-gram's hash in a key; the row is above them."""
_SLACK = 1e-9
"""For ratios that are equal to a threshold but for rounding."""


@dataclass(frozen=True)
class Limits:
    """What counts as a pair."""

    ngram_size: int
    similarity: float
    containment: float
    short_characters: int


@dataclass(frozen=True)
class Found:
    """Pairs of rows."""

    leaders: Ints
    followers: Ints
    kinds: Hashes
    at: Hashes
    """The limits at which they are pairs: a bit for each."""
    unpaired: int
    """Rows that were not compared with all others of their group."""


def compare(table: pa.Table, limits: Sequence[Limits]) -> Found:
    """Find the pairs among some rows, columns as in `short_texts.ROWS`, at some limits that differ in their ratios."""
    order, starts = _groups(table)
    characters, own = table["characters"].to_numpy()[order], table["own"].to_numpy()[order].astype(np.bool_)
    is_whole = characters <= whole(limits[0].short_characters)
    before = np.arange(len(order)) - starts
    compared = np.minimum(before, MAX_LEADERS)
    none = np.zeros(0, np.int64)
    found = [(none, none, np.zeros(0, np.uint64), np.zeros(0, np.uint64))]
    for first, last in slices(compared, _PAIRS_AT_ONCE):
        followers = np.repeat(np.arange(first, last), compared[first:last])
        leaders = ranges(starts[first:last], compared[first:last])
        # Which rows have an anchor of their own here does not depend on other sources, whose anchors are in the bitmap too.
        wanted = is_whole[followers] & (own[followers] | own[leaders])
        followers, leaders = followers[wanted], leaders[wanted]
        for kind, at in _kinds(table, order, leaders, followers, characters, limits).items():
            is_pair = np.flatnonzero(at)
            kinds = np.full(len(is_pair), kind, np.uint64)
            found.append((order[leaders[is_pair]], order[followers[is_pair]], kinds, at[is_pair]))
    one, other, kinds, at = (np.concatenate(column) for column in zip(*found, strict=True))
    return Found(one, other, kinds, at, int(np.count_nonzero(before > MAX_LEADERS)))


def _groups(table: pa.Table) -> tuple[Ints, Ints]:
    """Return rows (n,) by group of equal hashes, best first, and where the group of each starts in this order, (n,).

    Of rows with the same text only the best is there. Groups in which nothing can be compared are left out.
    """
    hashes, ranks, ids, contents = (table[name].to_numpy() for name in ("hash", "rank", "id", "content"))
    order = np.lexsort((ids, ranks, contents, hashes))
    order = order[starts_of_groups(hashes[order]) | starts_of_groups(contents[order])]
    order = order[np.lexsort((ids[order], ranks[order], hashes[order]))]
    if not len(order):
        return order, order
    firsts = np.flatnonzero(starts_of_groups(hashes[order]))
    sizes = np.diff(np.append(firsts, len(order)))
    used = (sizes > 1) & (np.add.reduceat(table["own"].to_numpy()[order], firsts, dtype=np.int64) > 0)
    order, sizes = order[np.repeat(used, sizes)], sizes[used]
    return order, np.repeat(np.cumsum(sizes) - sizes, sizes)


def _kinds(
    table: pa.Table, order: Ints, leaders: Ints, followers: Ints, characters: Ints, limits: Sequence[Limits]
) -> dict[int, Hashes]:
    """Return for both kinds the limits at which each pair is of that kind: (pairs,) a bit each. Rows are places in `order`."""
    rows, numbers = np.unique(np.concatenate([leaders, followers]), return_inverse=True)
    one, other = numbers[: len(leaders)], numbers[len(leaders) :]
    sets = _Sets.of(*flat_codes(table["codes"].take(pa.array(order[rows]))), limits[0].ngram_size)
    # Most pairs differ too much in size to be similar, and have no short follower.
    short, loosest = limits[0].short_characters, min(limit.similarity for limit in limits)
    smaller, larger = np.minimum(sets.sizes[one], sets.sizes[other]), np.maximum(sets.sizes[one], sets.sizes[other])
    near = (characters[leaders] <= whole(short)) & (loosest > 0) & (smaller >= loosest * larger - _SLACK)
    contained = (characters[followers] <= short) & (characters[leaders] > characters[followers])
    contained &= limits[0].containment > 0
    possible = np.flatnonzero(near | contained)
    one, other, near, contained = one[possible], other[possible], near[possible], contained[possible]
    common, sizes = sets.common(one, other), sets.sizes[other]
    union = sets.sizes[one] + sizes - common
    at = {NEAR: np.zeros(len(leaders), np.uint64), CONTAINED: np.zeros(len(leaders), np.uint64)}
    for place, limit in enumerate(limits):
        is_near = near & (common >= limit.similarity * union - _SLACK)
        is_contained = contained & ~is_near & (common >= limit.containment * sizes - _SLACK)
        for kind, flags in ((NEAR, is_near), (CONTAINED, is_contained)):
            at[kind][possible] |= flags.astype(np.uint64) << np.uint64(place)
    return at


@dataclass(frozen=True)
class _Sets:
    """The sets of n-grams of some rows."""

    keys: Hashes
    """(n-grams,) row and hash in one integer, sorted: set after set."""
    sizes: Ints
    """(rows,)"""

    @classmethod
    def of(cls, codes: CodePoints, lengths: Ints, ngram_size: int) -> "_Sets":
        """Return the sets of rows whose codes follow one another. `lengths`: (rows,)"""
        # A gap after each row, as in ngrams.py: a text shorter than an n-gram is one n-gram.
        gap = ngram_size - 1
        starts = np.cumsum(lengths + gap) - lengths - gap
        spread = np.full(int((lengths + gap).sum()), 0xFFFF, np.uint32)
        spread[ranges(starts, lengths)] = codes
        numbers = np.where(lengths >= ngram_size, lengths - ngram_size + 1, np.minimum(lengths, 1))
        hashes = mix(polynomials(spread, ngram_size))[ranges(starts, numbers)]
        rows = np.repeat(np.arange(len(lengths), dtype=np.uint64), numbers)
        keys = np.sort((rows << _PREFIX) | (hashes >> (np.uint64(64) - _PREFIX)))
        keys = keys[starts_of_groups(keys)]  # np.unique is ten times as slow: it hashes
        return cls(keys, np.bincount((keys >> _PREFIX).astype(np.int64), minlength=len(lengths)))

    def common(self, one: Ints, other: Ints) -> Ints:
        """Return how many n-grams each pair of rows has in common: (pairs,), (pairs,) -> (pairs,)."""
        if not len(one):
            return np.zeros(0, np.int64)
        sizes = self.sizes[other]
        wanted = self.keys[ranges((np.cumsum(self.sizes) - self.sizes)[other], sizes)]
        wanted &= (np.uint64(1) << _PREFIX) - np.uint64(1)
        wanted |= np.repeat(one.astype(np.uint64) << _PREFIX, sizes)
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.add.reduceat(self.keys[places] == wanted, np.cumsum(sizes) - sizes, dtype=np.int64)
