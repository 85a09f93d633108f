"""The graph of duplicates: its edges are pairs of documents, and which document is kept follows from its components.

    kept_id 7, id 5, kind 0   ->   worse << 32 | better << 1 | exact       members are numbered from best to worst

An edge may hold at some limits only: those of the recipe are the first, the report counts what would be dropped at others.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.arrays import Bytes, Hashes, Ints32, starts_of_groups
from pipeline.dedup.short_pairs import CONTAINED, EXACT
from pipeline.engine import parquet

Levels = NDArray[np.uint16]

PAIRS_AT_ONCE = 2_000_000

_SAME = np.uint64(1)
"""The bit of an edge between exact duplicates."""
_MANY_EDGES = 100_000
"""Edges that are connected in less time than it takes to import scipy (0.3 s)."""


@dataclass(frozen=True)
class Edges:
    """Pairs of members, sorted and without repeats.

    Each is an integer: number of the worse member (32 bits), of the better one (31 bits), whether they are exact duplicates
    (1 bit).
    """

    packed: Hashes
    limits: Bytes
    """The limits at which each is a pair: a bit for each."""

    @classmethod
    def none(cls) -> "Edges":
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.uint8))

    def at(self, place: int) -> Hashes:
        """Return the pairs at one of the limits."""
        return self.packed[(self.limits >> np.uint8(place) & 1).view(np.bool_)]

    def plus(self, packed: Hashes, limits: Bytes) -> "Edges":
        """Return these and other pairs."""
        packed, limits = np.concatenate([self.packed, packed]), np.concatenate([self.limits, limits])
        if not len(packed):
            return self
        order = np.argsort(packed)
        packed = packed[order]
        first = np.flatnonzero(starts_of_groups(packed))
        return Edges(packed[first], np.bitwise_or.reduceat(limits[order], first))


def members(urls: Sequence[str]) -> tuple[Hashes, Hashes]:
    """Return the ids of the documents in all pairs, sorted and without repeats, and their ranks: (members,) and (members,)."""
    ids, rank = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    for table in _tables(urls):
        more = [ids, *(table[name].to_numpy() for name in ("id", "kept_id"))]
        ids, first = np.unique(np.concatenate(more), return_index=True)
        rank = np.concatenate([rank, *(table[name].to_numpy() for name in ("rank", "kept_rank"))])[first]
    return ids, rank


def read(urls: Sequence[str], ids: Hashes, number: Ints32) -> tuple[Edges, Edges]:
    """Return the pairs of duplicates, and those of a document and a longer one.

    Args:
        ids, number: (members,)
    """
    edges, containments = Edges.none(), Edges.none()
    for table in _tables(urls):
        ends = []
        for name in ("kept_id", "id"):
            # Search each distinct id once, in rising order: several times as fast as in the order of the file.
            distinct, inverse = np.unique(table[name].to_numpy(), return_inverse=True)
            ends.append(number[np.searchsorted(ids, distinct)][inverse].astype(np.uint64))
        kinds, limits = table["kind"].to_numpy(), table["at"].to_numpy().astype(np.uint8)
        packed = (ends[1] << np.uint64(32)) | (ends[0] << np.uint64(1)) | (kinds == EXACT)
        is_contained = kinds == CONTAINED
        edges = edges.plus(packed[~is_contained], limits[~is_contained])
        containments = containments.plus(packed[is_contained], limits[is_contained])
    return edges, containments


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


def closest(edges: Hashes, members: int) -> tuple[Bytes, Ints32]:
    """Return for each member (members,) whether it is an exact duplicate, and the best member that it is a duplicate of."""
    worse, better = (edges >> np.uint64(32)).astype(np.int32), _better(edges)
    kinds, twins = np.zeros(members, np.uint8), np.arange(members, dtype=np.int32)
    for kind in (0, EXACT):
        chosen = np.flatnonzero((edges & _SAME) == np.uint64(kind))
        # Edges are sorted, so the first of each worse member has the best one.
        first = chosen[starts_of_groups(worse[chosen])]
        kinds[worse[first]], twins[worse[first]] = kind, better[first]
    return kinds, twins


def _better(edges: Hashes) -> Ints32:
    """Return the better member of each edge."""
    return ((edges >> np.uint64(1)) & np.uint64(0x7FFFFFFF)).astype(np.int32)


def kept(edges: Hashes, levels: Levels) -> Ints32:
    """Return for each member, from best to worst, the member kept in its place: (members,).

    Goes level by level. The pairs whose worse member has this level merge clusters, then each member of this level is assigned
    the best member of its cluster so far. Members of better levels keep their assignment, whatever joins their clusters later.
    """
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
        left = best[_better(new)]
        right = best[(new >> np.uint64(32)).astype(np.int32)]
        # Each connected component of these clusters is named by its best, that is smallest, member.
        clusters = np.unique(np.concatenate([left, right]))
        left, right = (np.searchsorted(clusters, side).astype(np.int32) for side in (left, right))
        merged = np.arange(len(levels), dtype=np.int32)
        merged[clusters] = clusters[_heads(left, right, len(clusters))]
        best = merged[best]
        kept[start:end] = best[start:end]
    return kept


def _heads(left: Ints32, right: Ints32, nodes: int) -> Ints32:
    """Return for each node (nodes,) the smallest of its connected component. `left`, `right`: the ends of edges (edges,)."""
    if len(left) > _MANY_EDGES:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        graph = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(nodes, nodes))
        number, component = connected_components(graph, directed=False)
        smallest: Ints32 = np.full(number, nodes, np.int32)
        np.minimum.at(smallest, component, np.arange(nodes, dtype=np.int32))
        return smallest[np.asarray(component, np.int64)]
    heads = list(range(nodes))
    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        while heads[one] != one:
            heads[one] = one = heads[heads[one]]
        while heads[other] != other:
            heads[other] = other = heads[heads[other]]
        heads[max(one, other)] = min(one, other)
    for node, head in enumerate(heads):  # a head is smaller, so its own is final
        heads[node] = heads[head]
    return np.array(heads, np.int32)


def contained(containments: Hashes, kept: Ints32) -> Iterable[tuple[int, int]]:
    """Yield members that are kept so far and contained in a better one that is kept, with the best of those.

    From the best to the worst, so that the better one of each pair is decided.

    Args:
        containments: pairs, packed like edges.
        kept: (members,) the member kept in the place of each.
    """
    worse, better = (containments >> np.uint64(32)).astype(np.int32), _better(containments)
    open_ = np.flatnonzero((kept[worse] == worse) & (kept[better] == better))
    dropped = set()
    for one, other in zip(worse[open_].tolist(), better[open_].tolist(), strict=True):
        if one not in dropped and other not in dropped:
            dropped.add(one)
            yield one, other
