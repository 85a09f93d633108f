"""Clusters: pairs among rows, which document is kept, and that later sources change nothing; compared with union-find."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.arrays import Hashes
from pipeline.dedup import clusters
from pipeline.dedup import edges as edges_of
from pipeline.dedup.clusters import (
    Clusters,
    FindPairs,
    connect,
    in_groups,
    ranks,
    rows,
    stars,
)
from pipeline.dedup.short_pairs import Limits

U64 = np.uint64
Pair = tuple[tuple[int, int, int], tuple[int, int, int], bool]
"""Two documents (level, characters, id), the better one first, and whether they are exact duplicates."""


def array(*values: int) -> Hashes:
    return np.array(values, U64)


def checks(*values: int) -> Hashes:
    """Sketches that differ in one word."""
    return np.array([[value, 0, 0, 0] for value in values], U64)


def paired(hashes: Any, rank: Any, ids: Any, check: Any, min_similarity: float = 0.75) -> tuple[list[tuple[int, int]], int]:
    leaders, followers, unpaired = stars(in_groups(hashes, rank, ids), hashes, check, min_similarity)
    return sorted(zip(ids[leaders].tolist(), ids[followers].tolist(), strict=True)), unpaired


def test_the_best_row_of_a_hash_leads() -> None:
    pairs, _ = paired(array(4, 2, 4, 4), array(3, 0, 1, 1), array(10, 11, 13, 12), checks(0, 0, 0, 0))
    assert pairs == [(12, 10), (12, 13)]


def test_rows_unlike_the_leader_are_led_by_the_best_of_them() -> None:
    unlike = (1 << 64) - 1
    pairs, _ = paired(array(2, 2, 2, 2), array(0, 1, 2, 3), array(1, 2, 3, 4), checks(0, unlike, 0, unlike))
    assert pairs == [(1, 3), (2, 4)]


def test_similarity_is_read_from_the_bits_that_differ() -> None:
    # 32 of 256 bits differ: a similarity of 0.75.
    at, below = (1 << 32) - 1, (1 << 33) - 1
    assert paired(array(2, 2), array(0, 1), array(1, 2), checks(0, at))[0] == [(1, 2)]
    assert paired(array(2, 2), array(0, 1), array(1, 2), checks(0, below))[0] == []
    assert paired(array(2, 2), array(0, 1), array(1, 2), checks(0, below), min_similarity=0)[0] == [(1, 2)]


def test_an_exact_row_is_paired_only_with_its_equal() -> None:
    assert paired(array(3, 3, 3), array(0, 1, 2), array(1, 2, 3), checks(0, 1, 0))[0] == [(1, 3)]


def test_rows_similar_to_none_are_left_unpaired_after_some_leaders() -> None:
    number = clusters.MAX_LEADERS + 40
    chance = np.random.default_rng(1)
    check = chance.integers(0, 1 << 63, (number, 4)).astype(U64)
    pairs, unpaired = paired(np.full(number, 2, U64), np.arange(number, dtype=U64), np.arange(number, dtype=U64), check)
    assert (pairs, unpaired) == ([], 40)


def test_ranks_order_levels_then_longer_texts() -> None:
    levels, characters = np.array([1, 0, 1, 2]), np.array([10, 1, 20, 9_999])
    assert np.argsort(ranks(levels, characters)).tolist() == [1, 2, 0, 3]


def write_pairs(folder: Path, pairs: list[Pair], files: int = 1) -> list[str]:
    urls = []
    for number in range(files):
        chosen = pairs[number::files]
        columns = {}
        for name, side in (("kept", 0), ("", 1)):
            documents = [pair[:2][side] for pair in chosen]
            level, characters, ids = (np.array([document[k] for document in documents], np.int64) for k in range(3))
            prefix = f"{name}_" if name else ""
            columns[f"{prefix}rank"] = pa.array(ranks(level, characters))
            columns[f"{prefix}id"] = pa.array(ids.astype(U64))
        columns["kind"] = pa.array(np.array([p[2] for p in chosen], U64))
        columns["at"] = pa.array(np.ones(len(chosen), U64))
        url = str(folder / f"pairs-{number}.parquet")
        with storage.open_write(url) as file:
            pa.parquet.write_table(pa.table(columns), file)
        urls.append(url)
    return urls


def result(found: Clusters) -> dict[int, tuple[int, str, int]]:
    reasons = found.reasons(np.arange(len(found.ids)))
    return {
        int(number): (int(kept), str(reason), int(size))
        for number, kept, reason, size in zip(found.ids, found.kept_ids, reasons, found.sizes, strict=True)
    }


def plain(pairs: list[Pair]) -> dict[int, tuple[int, str]]:
    """Level by level, with sets."""
    documents = sorted({document for a, b, _ in pairs for document in (a, b)}, key=lambda d: (d[0], -d[1], d[2]))
    order = {document: place for place, document in enumerate(documents)}
    exact = {b for _, b, same in pairs if same}
    groups = {document: {document} for document in documents}
    decided = {}
    for level in sorted({document[0] for document in documents}):
        for a, b, _ in pairs:
            if max(a[0], b[0]) == level and groups[a] is not groups[b]:
                joined = groups[a] | groups[b]
                groups.update(dict.fromkeys(joined, joined))
        for document in documents:
            if document[0] == level:
                best = min(groups[document], key=order.__getitem__)
                copy = "withdrawn_copy" if best[0] == 0 else "duplicate" if document in exact else "near_duplicate"
                decided[document[2]] = (best[2], "" if best is document else copy)
    return decided


document = st.tuples(st.integers(0, 3), st.integers(1, 4))


@st.composite
def some_pairs(draw: st.DrawFn) -> list[Pair]:
    documents = [
        (level, characters, number * 7 % 31)
        for number, (level, characters) in enumerate(draw(st.lists(document, min_size=2, max_size=30)))
    ]
    result = []
    for one, other, same in draw(
        st.lists(st.tuples(st.sampled_from(documents), st.sampled_from(documents), st.booleans()), max_size=40)
    ):
        if one != other:
            better, worse = sorted((one, other), key=lambda d: (d[0], -d[1], d[2]))
            result.append((better, worse, same))
    return result


@settings(deadline=None)
@given(some_pairs(), st.integers(1, 3))
def test_clusters_are_those_of_a_plain_union_find(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair], files: int
) -> None:
    found = result(connect(write_pairs(tmp_path_factory.mktemp("pairs"), pairs, files)))
    assert {number: values[:2] for number, values in found.items()} == plain(pairs)
    kept = [values[0] for values in found.values()]
    withdrawn = {d[2] for a, b, _ in pairs for d in (a, b) if d[0] == 0}
    assert all(size == (0 if values_kept in withdrawn else kept.count(values_kept)) for values_kept, _, size in found.values())


@settings(deadline=None)
@given(some_pairs())
def test_a_later_level_changes_nothing_before_it(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    whole = plain(pairs)
    earlier = [pair for pair in pairs if pair[1][0] < 3]
    before = result(connect(write_pairs(folder, earlier)))
    assert {number: values[:2] for number, values in before.items()}.items() <= whole.items()


def test_no_pairs_no_clusters(tmp_path: Path) -> None:
    for urls in ([], write_pairs(tmp_path, [])):
        found = connect(urls)
        assert len(found.ids) == 0
        assert found.find(array(1, 2))[0].tolist() == [False, False]


def test_rows_of_documents_meet_in_their_bands_and_fingerprints(tmp_path: Path) -> None:
    ids, rank = array(5, 6, 7), array(0, 1, 2)
    fingerprints = np.array([[1, 1], [9, 9], [1, 1]], U64)
    bands = np.array([[100, 200], [100, 300], [400, 500]], U64)
    table = rows(ids, rank, fingerprints, bands, checks(0, 3, 12345))
    assert len(table) == 3 * (2 + 1)
    reduced = FindPairs(str(tmp_path), (Limits(5, 0.75, 0.9, 150),), 1)(
        0, table.take(pa.array(random.Random(1).sample(range(9), 9)))
    )
    with storage.open_read(str(tmp_path / reduced.files[0].name)) as file:
        found = pa.parquet.read_table(file).to_pylist()
    assert [(row["kept_id"], row["id"], row["kind"]) for row in found] == [(5, 6, 0), (5, 7, 1)]


def test_equal_hashes_meet_in_one_bucket() -> None:
    hashes = np.random.default_rng(1).integers(0, 1 << 63, 1_000).astype(U64) * U64(2)
    places = clusters.bucket_of(hashes, 7)
    assert set(places.tolist()) == set(range(7))
    assert clusters.buckets(0, 14) == 1
    assert clusters.buckets(20_000_000, 14) == 300


@pytest.mark.parametrize("edges", [0, 1, 700, 5_000])
def test_heads_are_those_of_scipy(edges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = np.random.default_rng(edges).integers(0, 1_000, (2, edges)).astype(np.int32)
    found = edges_of._heads(left, right, 1_000)
    monkeypatch.setattr(edges_of, "_MANY_EDGES", -1)
    assert np.array_equal(edges_of._heads(left, right, 1_000), found)
    assert found.dtype == np.int32
