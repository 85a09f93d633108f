"""Clusters: documents that are the same, or nearly, found among the signatures of all sources.

    document   bands 7a1.. 03c.. ...   sketch 1011..   fingerprint 5f0..        a row for each band, and one for the fingerprint
    rows that share a hash, best first:  A B C          A is compared with B and C by their sketches
    pairs (A, B) (A, C)                                 connected: one cluster, A stays

Rows travel through spill files to a bucket of hashes, where numpy sorts them. In a run of equal hashes the best row leads: who
is as similar to it as asked for is paired with it, the best of the others leads those who are left, and so on. So pairs are
stars, a few a run, and boilerplate that puts different texts into one band links nothing.

What stays is decided source by source, best first: a document of a source is only ever dropped for one of its own source or of
a better one, and what a later source holds changes nothing before it. So a new source leaves the decisions on older ones, and
the shards made of them, as they were. Withdrawn documents come before all sources.

Within a source the longest document of a cluster stays, of equally long ones that of the smallest id.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.dedup.minhash import similarity
from pipeline.dedup.ngrams import Hashes, Numbers
from pipeline.dedup.signatures import binary_column, binary_rows
from pipeline.engine import counting, parquet, steps
from pipeline.engine.counting import Counts
from pipeline.engine.stages import FileEntry

Places = npt.NDArray[np.int32]

ROWS_A_BUCKET = 1_000_000
"""56 MB of rows, 180 MB while they are read and sorted."""
MOST_LEADERS = 64
"""Leaders of one run of equal hashes; rows like none of them are counted as `unpaired`."""
PAIRS_AT_ONCE = 2_000_000

WITHDRAWN = 0
"""The level of withdrawn documents; sources follow from 1 on, best first."""

_LEVEL_BITS = np.uint64(48)
_LONGEST = np.uint64(0xFFFFFFFF)
_EXACT = np.uint64(1)


def ranks(levels: npt.NDArray[Any], characters: npt.NDArray[Any]) -> Hashes:
    """What decides who stays, smallest first: the level, then the longer text."""
    return (levels.astype(np.uint64) << _LEVEL_BITS) | (_LONGEST - characters.astype(np.uint64))


def buckets(documents: int, bands: int) -> int:
    """How many buckets the rows of so many documents go into."""
    return -(-documents * (bands + 1) // ROWS_A_BUCKET) or 1


def rows(ids: Hashes, ranks: Hashes, fingerprints: Hashes | None, bands: Hashes | None, sketches: Hashes | None) -> pa.Table:
    """A row for each band of each document, and one for its fingerprint (halves, (documents, 2)); either may be left out."""
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


def bucket_of(hashes: Hashes, number: int) -> Numbers:
    """The bucket of each hash: equal hashes meet in one."""
    return ((hashes >> np.uint64(32)) * np.uint64(number) >> np.uint64(32)).astype(np.int64)


@dataclass(frozen=True)
class PairUp:
    """Reduce: the pairs among the rows of one bucket."""

    folder: str
    similarity: float

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        hashes, rank, ids = (table[name].to_numpy() for name in ("hash", "rank", "id"))
        leaders, followers, unpaired = stars(hashes, rank, ids, binary_rows(table["check"]), self.similarity)
        pairs = np.stack([rank[leaders], ids[leaders], rank[followers], ids[followers], hashes[followers] & _EXACT], axis=1)
        pairs = np.unique(pairs, axis=0)  # a pair may meet in several bands
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


def stars(hashes: Hashes, ranks: Hashes, ids: Hashes, checks: Hashes, least: float) -> tuple[Numbers, Numbers, int]:
    """Rows paired with the leader of their run of equal hashes: leaders, followers, and how many rows were given up on.

    Who leads and who follows depends only on rows of the same run that rank better, so more rows behind them change nothing.
    """
    order = np.lexsort((ids, ranks, hashes))
    leaders, followers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for _ in range(MOST_LEADERS):
        first = np.ones(len(order), np.bool_)
        first[1:] = hashes[order[1:]] != hashes[order[:-1]]
        alone = first & np.append(first[1:], True)[: len(order)]
        order, first = order[~alone], first[~alone]
        if not len(order):
            return np.concatenate(leaders), np.concatenate(followers), 0
        leader = order[first][np.cumsum(first) - 1]
        alike = ~first & _alike(hashes[order], checks[leader], checks[order], least)
        leaders.append(leader[alike])
        followers.append(order[alike])
        order = order[~first & ~alike]
    return np.concatenate(leaders), np.concatenate(followers), len(order)


def _alike(hashes: Hashes, left: Hashes, right: Hashes, least: float) -> npt.NDArray[np.bool_]:
    exact = (hashes & _EXACT).astype(np.bool_)
    near: npt.NDArray[np.bool_] = (similarity(left, right) >= least) | (least == 0)
    return np.where(exact, (left == right).all(axis=1), near)


@dataclass(frozen=True)
class Clusters:
    """Documents that are in a cluster, sorted by id: 25 bytes each, and about 180 while they are made."""

    ids: Hashes
    kept_ids: Hashes
    """Who stays for it: its own id if it stays. Of copies of a withdrawn document: that one."""
    levels: npt.NDArray[np.uint16]
    kept_levels: npt.NDArray[np.uint16]
    exact: npt.NDArray[np.bool_]
    """Whether a better document has the same text but for width, case, punctuation and white space."""
    sizes: npt.NDArray[np.uint32]
    """How many documents the one that stays stands for, itself included; 0 where that is a withdrawn one."""

    def reasons(self, places: Numbers) -> npt.NDArray[np.str_]:
        """Why some of them are dropped, "" for those that stay."""
        copies: npt.NDArray[np.str_] = np.where(self.exact[places], "duplicate", "near_duplicate")
        copies = np.where(self.kept_levels[places] == WITHDRAWN, "withdrawn_copy", copies)
        return np.where(self.ids[places] == self.kept_ids[places], "", copies)

    def find(self, ids: Hashes) -> tuple[npt.NDArray[np.bool_], Numbers]:
        """Which of some ids are in a cluster, and the places of those."""
        if not len(self.ids):
            return np.zeros(len(ids), np.bool_), np.zeros(0, np.int64)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        found: npt.NDArray[np.bool_] = self.ids[places] == ids
        return found, places[found]


def connect(urls: Sequence[str]) -> Clusters:
    """The clusters that the pairs of some files make."""
    ids, rank = _members(urls)
    assert len(ids) < 1 << 31, "more than two thousand million documents with copies"
    place = np.empty(len(ids), np.int32)
    best = np.lexsort((ids, rank)).astype(np.int32)  # from best to worst; from here on a member is its place in this order
    place[best] = np.arange(len(ids), dtype=np.int32)
    levels = (rank[best] >> _LEVEL_BITS).astype(np.uint16)
    del rank
    edges = _edges(urls, ids, place)
    exact = np.zeros(len(ids), np.bool_)
    exact[(edges[(edges & _EXACT) == _EXACT] >> np.uint64(32)).astype(np.int32)] = True
    keepers = _keepers(edges, levels)
    del edges
    sizes = np.bincount(keepers, minlength=len(ids)).astype(np.uint32)
    sizes[levels == WITHDRAWN] = 0
    kept = keepers[place]
    return Clusters(ids, ids[best[kept]], levels[place], levels[kept], exact[place], sizes[kept])


def _members(urls: Sequence[str]) -> tuple[Hashes, Hashes]:
    """Documents of all pairs, once each and sorted by id, with their ranks."""
    ids, rank = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    for table in _tables(urls):
        more = [ids, *(table[name].to_numpy() for name in ("id", "kept_id"))]
        ids, first = np.unique(np.concatenate(more), return_index=True)
        rank = np.concatenate([rank, *(table[name].to_numpy() for name in ("rank", "kept_rank"))])[first]
    return ids, rank


def _edges(urls: Sequence[str], ids: Hashes, place: Places) -> Hashes:
    """Pairs as one number each, sorted and once each: the place of the worse (32 bits), of the better (31), exact (1)."""
    edges = np.zeros(0, np.uint64)
    for table in _tables(urls):
        sides = []
        for name in ("kept_id", "id"):
            # Looked up in order, each once: several times as fast as in the order of the file.
            some, rows = np.unique(table[name].to_numpy(), return_inverse=True)
            sides.append(place[np.searchsorted(ids, some)][rows].astype(np.uint64))
        packed = (sides[1] << np.uint64(32)) | (sides[0] << np.uint64(1)) | table["exact"].to_numpy()
        edges = np.unique(np.concatenate([edges, packed]))
    return edges


def _tables(urls: Sequence[str]) -> Iterable[pa.Table]:
    """The files' tables, small ones together."""
    small, number = [], 0
    for url in urls:
        small.append(parquet.read(url))
        number += small[-1].num_rows
        if number >= PAIRS_AT_ONCE:
            yield pa.concat_tables(small)
            small, number = [], 0
    if small:
        yield pa.concat_tables(small)


def _keepers(edges: Hashes, levels: npt.NDArray[np.uint16]) -> Places:
    """Of each member the one that stays for it, members from best to worst.

    Level by level: the pairs whose worse side is of this level join clusters; a member of this level is kept for by the best
    of its cluster as it is now. Better members were decided on before, whatever joins their clusters later.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    best = np.arange(len(levels), dtype=np.int32)
    keepers = best.copy()
    bounds = np.searchsorted(levels, np.arange(int(levels[-1]) + 2 if len(levels) else 1))
    firsts = np.searchsorted(edges, bounds.astype(np.uint64) << np.uint64(32))
    for (begin, end), (first, last) in zip(itertools.pairwise(bounds), itertools.pairwise(firsts), strict=True):
        if first == last:
            continue
        joined = edges[first:last]
        left = best[((joined >> np.uint64(1)) & np.uint64(0x7FFFFFFF)).astype(np.int32)]
        right = best[(joined >> np.uint64(32)).astype(np.int32)]
        touched = np.unique(np.concatenate([left, right]))
        left, right = (np.searchsorted(touched, side).astype(np.int32) for side in (left, right))
        graph = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(len(touched), len(touched)))
        number, component = connected_components(graph, directed=False)
        head = np.full(number, len(levels), np.int32)
        np.minimum.at(head, component, touched)
        moved = np.arange(len(levels), dtype=np.int32)
        moved[touched] = head[component]
        best = moved[best]
        keepers[begin:end] = best[begin:end]
    return keepers
