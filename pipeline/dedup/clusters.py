"""Clusters of duplicates and near duplicates, found among the signatures of all sources.

    document   bands 7a1.. 03c.. ...   sketch 1011..   fingerprint 5f0..        a row for each band, and one for the fingerprint
    rows with the same hash, best first:  A B C         A is compared with B and C by their sketches
    pairs (A, B) (A, C)                                 connected: one cluster, A is kept

Rows go through spill files to a bucket of hashes, where numpy sorts them. In a group of equal hashes the best row leads: rows
that are similar enough are paired with it, the best of the remaining rows leads the rest, and so on. So the pairs of a group
form a few stars, and boilerplate that puts different texts into one band connects nothing. Short documents are also compared
exactly, in buckets of their own (short_pairs.py).

Documents are kept or dropped source by source, best first. A document is only dropped in favour of one in its own or a better
source, so a source that is added last changes neither the decisions on earlier sources nor their shards. Withdrawn documents
come before all sources.

Within a source the longest document of a cluster is kept; of equally long ones, the one with the smallest id. A short document
that is kept so far is dropped if a better one that is kept contains it. That joins no clusters: a phrase may be contained in
many documents that have nothing else in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Array, Bytes, Flags, Hashes, Ints, Ints32, Strings, starts_of_groups
from pipeline.dedup import edges, short_pairs
from pipeline.dedup.edges import Levels
from pipeline.dedup.minhash import similarity
from pipeline.dedup.short_pairs import CONTAINED, Limits
from pipeline.dedup.signatures import binary_column, binary_rows
from pipeline.engine import counting, steps
from pipeline.engine.counting import Counts
from pipeline.engine.stages import FileEntry

ROWS_PER_BUCKET = 1_000_000
"""56 MB of rows; 180 MB while they are read and sorted."""
MAX_LEADERS = 64
"""Leaders of one group of equal hashes. Rows similar to none of them are counted as `unpaired`."""

WITHDRAWN = 0
"""The level of withdrawn documents. Sources have levels from 1 on, best first."""

_LEVEL_BITS = np.uint64(48)
_LONGEST = np.uint64(0xFFFFFFFF)
_EXACT = np.uint64(1)
_NOW = np.uint64(1)
"""The bit of pairs at the limits of the recipe."""


def ranks(levels: Array, characters: Array) -> Hashes:
    """Return the rank (n,) of documents with these levels (n,) and lengths (n,). The smallest is kept: level, then length."""
    return (levels.astype(np.uint64) << _LEVEL_BITS) | (_LONGEST - characters.astype(np.uint64))


def buckets(documents: int, bands: int) -> int:
    """Return the number of buckets for the rows of `documents` documents with `bands` bands each."""
    return -(-documents * (bands + 1) // ROWS_PER_BUCKET) or 1


def rows(ids: Hashes, ranks: Hashes, fingerprints: Hashes | None, bands: Hashes | None, sketches: Hashes | None) -> pa.Table:
    """Return a row for each band of each document, and one for its fingerprint. Either kind may be left out.

    Args:
        ids, ranks: (n,)
        fingerprints: (n, 2), or None.
        bands, sketches: (n, bands) and (n, 4), or None and None.
    """
    hashes, owners, checks = [], [], []
    if bands is not None and sketches is not None:
        hashes.append(bands.ravel() & ~_EXACT)
        owners.append(np.repeat(np.arange(len(ids)), bands.shape[1]))
        checks.append(np.repeat(sketches, bands.shape[1], axis=0))
    if fingerprints is not None:
        hashes.append(fingerprints[:, 0] | _EXACT)
        owners.append(np.arange(len(ids)))
        checks.append(np.concatenate([fingerprints, np.zeros_like(fingerprints)], axis=1))
    owner = np.concatenate(owners)
    columns = [np.concatenate(hashes), ranks[owner], ids[owner]]
    return pa.table([*map(pa.array, columns), binary_column(np.concatenate(checks))], names=["hash", "rank", "id", "check"])


def bucket_of(hashes: Hashes, number: int) -> Ints:
    """Return the bucket of each hash, 0 <= bucket < number. Equal hashes meet in one bucket."""
    return ((hashes >> np.uint64(32)) * np.uint64(number) >> np.uint64(32)).astype(np.int64)


@dataclass(frozen=True)
class FindPairs:
    """Reduce: the rows of one bucket become pairs of duplicates."""

    folder: str
    limits: tuple[Limits, ...]
    """What counts as a pair; and others, at which the pairs are only counted (see overview.py)."""
    buckets: int
    """Buckets of bands and fingerprints; those after them have the anchors of short documents."""

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        rank, ids = (table[name].to_numpy() for name in ("rank", "id"))
        if bucket < self.buckets:
            leaders, followers, kinds, at, unpaired = self._stars(table["hash"].to_numpy(), rank, ids, table["check"])
        else:
            found = short_pairs.compare(table, self.limits)
            leaders, followers, kinds, at, unpaired = found.leaders, found.followers, found.kinds, found.at, found.unpaired
        pairs = np.stack([rank[leaders], ids[leaders], rank[followers], ids[followers], kinds, at], axis=1)
        pairs = np.unique(pairs, axis=0)  # a pair may share several bands or anchors
        now = pairs[(pairs[:, -1] & _NOW) > 0, :-1]
        name = f"bucket-{bucket:05d}.parquet"
        with storage.open_write(storage.join(self.folder, name)) as file:
            pq.write_table(
                pa.table(dict(zip(_PAIR, pairs.T.copy(), strict=True))), file, compression="none", use_dictionary=False
            )
        counts: Counts = {}
        counting.count(counts, "pairs", number=int((now[1:] != now[:-1]).any(axis=1).sum()) + 1 if len(now) else 0)
        counting.count(counts, "unpaired", number=unpaired)
        return steps.Reduced((FileEntry.of(self.folder, name, len(pairs)),), counts)

    def _stars(
        self, hashes: Hashes, rank: Hashes, ids: Hashes, check: pa.ChunkedArray
    ) -> tuple[Ints, Ints, Hashes, Hashes, int]:
        """Return leader, follower, kind and limits (a bit each) of the pairs, and rows that the first limits leave unpaired."""
        order, checks = in_groups(hashes, rank, ids), binary_rows(check)
        masks: dict[float, int] = {}
        for place, limit in enumerate(self.limits):
            masks[limit.similarity] = masks.get(limit.similarity, 0) | 1 << place
        found = [stars(order, hashes, checks, similarity) for similarity in masks]
        leaders, followers = (np.concatenate([each[side] for each in found]) for side in (0, 1))
        at = np.repeat(np.array(list(masks.values()), np.uint64), [len(each[0]) for each in found])
        return leaders, followers, hashes[followers] & _EXACT, at, found[0][2]


_PAIR = ("kept_rank", "kept_id", "rank", "id", "kind", "at")


def in_groups(hashes: Hashes, ranks: Hashes, ids: Hashes) -> Ints:
    """Return the rows whose hash others have too, group by group, best first: (rows,), (rows,), (rows,) -> (n,)."""
    return _several(np.lexsort((ids, ranks, hashes)), hashes)[0]


def _several(order: Ints, hashes: Hashes) -> tuple[Ints, Flags]:
    """Return `order` (n,) without rows that are alone in their group, and where groups start in it."""
    first = starts_of_groups(hashes[order])
    alone = first & np.append(first[1:], True)[: len(order)]
    return order[~alone], first[~alone]


def stars(order: Ints, hashes: Hashes, checks: Hashes, min_similarity: float) -> tuple[Ints, Ints, int]:
    """Pair rows with a leader of their group of equal hashes.

    Who leads and who follows depends only on better rows of the same group, so further rows behind them change nothing.

    Args:
        order: (n,) the rows to pair, as from `in_groups`.
        hashes: (rows,)
        checks: (rows, 4), the sketch, or the fingerprint for a row of that kind.

    Returns: (pairs,) the row of each leader, (pairs,) the row of each follower, and how many rows were left unpaired.
    """
    leaders, followers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for _ in range(MAX_LEADERS):
        order, first = _several(order, hashes)
        if not len(order):
            return np.concatenate(leaders), np.concatenate(followers), 0
        # The first row of each group leads; similar rows follow it.
        leader = order[first][np.cumsum(first) - 1]
        follows = ~first & _similar(hashes[order], checks[leader], checks[order], min_similarity)
        leaders.append(leader[follows])
        followers.append(order[follows])
        # The others try the next leader.
        order = order[~first & ~follows]
    return np.concatenate(leaders), np.concatenate(followers), len(order)


def _similar(hashes: Hashes, left: Hashes, right: Hashes, min_similarity: float) -> Flags:
    """Compare pairs of rows, (n, 4) and (n, 4): fingerprints must be equal, sketches similar. Returns (n,)."""
    exact = (hashes & _EXACT).astype(np.bool_)
    near: Flags = (similarity(left, right) >= min_similarity) | (min_similarity == 0)
    return np.where(exact, (left == right).all(axis=1), near)


@dataclass(frozen=True)
class Clusters:
    """The documents in clusters, sorted by id; all arrays are (members,). 34 bytes per member, about 200 while computed."""

    ids: Hashes
    kept_ids: Hashes
    """The document kept in its place: its own id if it is kept; the withdrawn one for duplicates of a withdrawn document."""
    levels: Levels
    kept_levels: Levels
    kinds: Bytes
    """Why a document is dropped: EXACT if a better one has the same text except for width, case, punctuation and white space;
    CONTAINED if a longer one contains it; else NEAR."""
    twins: Ints32
    """The member that it is equal to, similar to or contained in: the best of those it was compared with, or itself."""
    sizes: NDArray[np.uint32]
    """Documents that `kept_ids` represents, itself included; 0 for a withdrawn one."""
    dropped: Ints
    """(limits, levels) documents dropped at each of the limits of `FindPairs`."""

    def reasons(self, members: Ints) -> Strings:
        """Return why each of some members (n,) is dropped; "" for those that are kept."""
        reasons: Strings = REASONS[self.kinds[members]]
        reasons = np.where(self.kept_levels[members] == WITHDRAWN, "withdrawn_copy", reasons)
        return np.where(self.ids[members] == self.kept_ids[members], "", reasons)

    def dropped_of(self, level: int) -> list[int]:
        """Return how many documents of a level are dropped at each of the limits of `FindPairs`."""
        numbers: list[int] = self.dropped[:, level].tolist() if level < self.dropped.shape[1] else [0] * len(self.dropped)
        return numbers

    def find(self, ids: Hashes) -> tuple[Flags, Ints]:
        """Return which ids (n,) are in a cluster, and the members that they are (found,)."""
        if not len(self.ids):
            return np.zeros(len(ids), np.bool_), np.zeros(0, np.int64)
        members = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        found: Flags = self.ids[members] == ids
        return found, members[found]


REASONS = np.array(["near_duplicate", "duplicate", "contained"])
"""By kind of pair."""


def connect(urls: Sequence[str], limits: int = 1) -> Clusters:
    """Connect the pairs in some files to clusters. `limits`: the number of limits at which dropped documents are counted."""
    ids, rank = edges.members(urls)
    assert len(ids) < 1 << 31, "more than two billion documents have duplicates"
    # Number the members from best to worst; arrays below are in this order.
    by_rank = np.lexsort((ids, rank)).astype(np.int32)
    number = np.empty(len(ids), np.int32)
    number[by_rank] = np.arange(len(ids), dtype=np.int32)
    levels = (rank[by_rank] >> _LEVEL_BITS).astype(np.uint16)
    del rank
    pairs, containments = edges.read(urls, ids, number)
    kinds, twins = edges.closest(pairs.at(0), len(ids))
    dropped = np.zeros((limits, int(levels[-1]) + 1 if len(levels) else 1), np.int64)
    for place in reversed(range(limits)):
        kept = edges.kept(pairs.at(place), levels)
        for worse, better in edges.contained(containments.at(place), kept):
            if place == 0:
                kinds[worse], twins[worse] = CONTAINED, better
            kept[worse] = better
        dropped[place] = np.bincount(levels[kept != np.arange(len(ids))], minlength=dropped.shape[1])
    del pairs, containments
    kept = kept[kept]  # what represents a cluster may be contained in a document outside it
    sizes = np.bincount(kept, minlength=len(ids)).astype(np.uint32)
    sizes[levels == WITHDRAWN] = 0
    # Back to the order of ids.
    kept_of = kept[number]
    return Clusters(
        ids,
        ids[by_rank[kept_of]],
        levels[number],
        levels[kept_of],
        kinds[number],
        by_rank[twins[number]],
        sizes[kept_of],
        dropped,
    )
