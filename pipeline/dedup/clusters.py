"""Clusters of duplicates and near duplicates, found among the signatures of all sources.

    document   bands 7a1.. 03c.. ...   sketch 1011..   fingerprint 5f0..        a row for each band, and one for the fingerprint
    rows with the same hash, best first:  A B C         A is compared with B and C by their sketches
    pairs (A, B) (A, C)                                 connected: one cluster, A is kept

Rows go through spill files to a bucket of hashes, where numpy sorts them. In a group of equal hashes the best row leads: rows
that are similar enough are paired with it, the best of the remaining rows leads the rest, and so on. So the pairs of a group
form a few stars, and boilerplate that puts different texts into one band connects nothing.

Documents are kept or dropped source by source, best first. A document is only dropped in favour of one in its own or a better
source, so a source that is added last changes neither the decisions on earlier sources nor their shards. Withdrawn documents
come before all sources.

Within a source the longest document of a cluster is kept; of equally long ones, the one with the smallest id.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Array, Flags, Hashes, Ints, Ints32, Strings, starts_of_groups
from pipeline.dedup.minhash import similarity
from pipeline.dedup.signatures import binary_column, binary_rows
from pipeline.engine import counting, parquet, steps
from pipeline.engine.counting import Counts
from pipeline.engine.stages import FileEntry

Levels = NDArray[np.uint16]

ROWS_PER_BUCKET = 1_000_000
"""56 MB of rows; 180 MB while they are read and sorted."""
MAX_LEADERS = 64
"""Leaders of one group of equal hashes. Rows similar to none of them are counted as `unpaired`."""
PAIRS_AT_ONCE = 2_000_000

WITHDRAWN = 0
"""The level of withdrawn documents. Sources have levels from 1 on, best first."""

_LEVEL_BITS = np.uint64(48)
_LONGEST = np.uint64(0xFFFFFFFF)
_EXACT = np.uint64(1)


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
    similarity: float

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        hashes, rank, ids = (table[name].to_numpy() for name in ("hash", "rank", "id"))
        leaders, followers, unpaired = stars(hashes, rank, ids, binary_rows(table["check"]), self.similarity)
        pairs = np.stack([rank[leaders], ids[leaders], rank[followers], ids[followers], hashes[followers] & _EXACT], axis=1)
        pairs = np.unique(pairs, axis=0)  # a pair may share several bands
        name = f"bucket-{bucket:05d}.parquet"
        with storage.open_write(storage.join(self.folder, name)) as file:
            pq.write_table(
                pa.table(dict(zip(_PAIR, pairs.T.copy(), strict=True))), file, compression="none", use_dictionary=False
            )
        counts: Counts = {}
        counting.count(counts, "pairs", number=len(pairs))
        counting.count(counts, "unpaired", number=unpaired)
        return steps.Reduced((FileEntry.of(self.folder, name, len(pairs)),), counts)


_PAIR = ("kept_rank", "kept_id", "rank", "id", "exact")


def stars(hashes: Hashes, ranks: Hashes, ids: Hashes, checks: Hashes, min_similarity: float) -> tuple[Ints, Ints, int]:
    """Pair rows with a leader of their group of equal hashes.

    Who leads and who follows depends only on better rows of the same group, so further rows behind them change nothing.

    Args:
        hashes, ranks, ids: (rows,)
        checks: (rows, 4), the sketch, or the fingerprint for a row of that kind.

    Returns: (pairs,) the row of each leader, (pairs,) the row of each follower, and how many rows were left unpaired.
    """
    order = np.lexsort((ids, ranks, hashes))  # rows still to be paired: group by group, best first
    leaders, followers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for _ in range(MAX_LEADERS):
        # Drop groups of a single row.
        first = starts_of_groups(hashes[order])
        alone = first & np.append(first[1:], True)[: len(order)]
        order, first = order[~alone], first[~alone]
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
    """The documents in clusters, sorted by id; all arrays are (members,). 25 bytes per member, about 180 while computed."""

    ids: Hashes
    kept_ids: Hashes
    """The document kept in its place: its own id if it is kept; the withdrawn one for duplicates of a withdrawn document."""
    levels: Levels
    kept_levels: Levels
    exact: Flags
    """Whether a better document has the same text except for width, case, punctuation and white space."""
    sizes: NDArray[np.uint32]
    """Documents that `kept_ids` represents, itself included; 0 for a withdrawn one."""

    def reasons(self, members: Ints) -> Strings:
        """Return why each of some members (n,) is dropped; "" for those that are kept."""
        reasons: Strings = np.where(self.exact[members], "duplicate", "near_duplicate")
        reasons = np.where(self.kept_levels[members] == WITHDRAWN, "withdrawn_copy", reasons)
        return np.where(self.ids[members] == self.kept_ids[members], "", reasons)

    def find(self, ids: Hashes) -> tuple[Flags, Ints]:
        """Return which ids (n,) are in a cluster, and the members that they are (found,)."""
        if not len(self.ids):
            return np.zeros(len(ids), np.bool_), np.zeros(0, np.int64)
        members = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        found: Flags = self.ids[members] == ids
        return found, members[found]


def connect(urls: Sequence[str]) -> Clusters:
    """Connect the pairs in some files to clusters."""
    ids, rank = _members(urls)
    assert len(ids) < 1 << 31, "more than two billion documents have duplicates"
    # Number the members from best to worst; arrays below are in this order.
    by_rank = np.lexsort((ids, rank)).astype(np.int32)
    number = np.empty(len(ids), np.int32)
    number[by_rank] = np.arange(len(ids), dtype=np.int32)
    levels = (rank[by_rank] >> _LEVEL_BITS).astype(np.uint16)
    del rank
    edges = _edges(urls, ids, number)
    # The worse document of an exact pair.
    exact = np.zeros(len(ids), np.bool_)
    exact[(edges[(edges & _EXACT) == _EXACT] >> np.uint64(32)).astype(np.int32)] = True
    kept = _kept(edges, levels)
    del edges
    sizes = np.bincount(kept, minlength=len(ids)).astype(np.uint32)
    sizes[levels == WITHDRAWN] = 0
    # Back to the order of ids.
    kept_of = kept[number]
    return Clusters(ids, ids[by_rank[kept_of]], levels[number], levels[kept_of], exact[number], sizes[kept_of])


def _members(urls: Sequence[str]) -> tuple[Hashes, Hashes]:
    """Return the ids of the documents in all pairs, sorted and without repeats, and their ranks: (members,) and (members,)."""
    ids, rank = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    for table in _tables(urls):
        more = [ids, *(table[name].to_numpy() for name in ("id", "kept_id"))]
        ids, first = np.unique(np.concatenate(more), return_index=True)
        rank = np.concatenate([rank, *(table[name].to_numpy() for name in ("rank", "kept_rank"))])[first]
    return ids, rank


def _edges(urls: Sequence[str], ids: Hashes, number: Ints32) -> Hashes:
    """Return each pair as one integer, sorted and without repeats: number of the worse member (32 bits), of the better one (31
    bits), exact (1 bit). `ids` and `number`: (members,)."""
    edges = np.zeros(0, np.uint64)
    for table in _tables(urls):
        ends = []
        for name in ("kept_id", "id"):
            # Search each distinct id once, in rising order: several times as fast as in the order of the file.
            distinct, inverse = np.unique(table[name].to_numpy(), return_inverse=True)
            ends.append(number[np.searchsorted(ids, distinct)][inverse].astype(np.uint64))
        packed = (ends[1] << np.uint64(32)) | (ends[0] << np.uint64(1)) | table["exact"].to_numpy()
        edges = np.unique(np.concatenate([edges, packed]))
    return edges


def _tables(urls: Sequence[str]) -> Iterable[pa.Table]:
    """Yield the tables of the files, small ones concatenated to about PAIRS_AT_ONCE rows."""
    small, number = [], 0
    for url in urls:
        small.append(parquet.read(url))
        number += small[-1].num_rows
        if number >= PAIRS_AT_ONCE:
            yield pa.concat_tables(small)
            small, number = [], 0
    if small:
        yield pa.concat_tables(small)


def _kept(edges: Hashes, levels: Levels) -> Ints32:
    """Return for each member, from best to worst, the member kept in its place: (members,).

    Goes level by level. The pairs whose worse member has this level merge clusters, then each member of this level is assigned
    the best member of its cluster so far. Members of better levels keep their assignment, whatever joins their clusters later.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    best = np.arange(len(levels), dtype=np.int32)  # the best member of each member's cluster
    kept = best.copy()
    # Where the members of each level start, and the edges whose worse member has that level.
    member_bounds = np.searchsorted(levels, np.arange(int(levels[-1]) + 2 if len(levels) else 1))
    edge_bounds = np.searchsorted(edges, member_bounds.astype(np.uint64) << np.uint64(32))
    for (start, end), (first, last) in zip(itertools.pairwise(member_bounds), itertools.pairwise(edge_bounds), strict=True):
        if first == last:
            continue
        # Each edge connects two clusters, which are named by their best members.
        new = edges[first:last]
        left = best[((new >> np.uint64(1)) & np.uint64(0x7FFFFFFF)).astype(np.int32)]
        right = best[(new >> np.uint64(32)).astype(np.int32)]
        # Find the connected components among these clusters.
        clusters = np.unique(np.concatenate([left, right]))
        left, right = (np.searchsorted(clusters, side).astype(np.int32) for side in (left, right))
        graph = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(len(clusters), len(clusters)))
        number, component = connected_components(graph, directed=False)
        # Each component is named by its best, that is smallest, member.
        head = np.full(number, len(levels), np.int32)
        np.minimum.at(head, component, clusters)
        merged = np.arange(len(levels), dtype=np.int32)
        merged[clusters] = head[component]
        best = merged[best]
        kept[start:end] = best[start:end]
    return kept
