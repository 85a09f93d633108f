"""The order of training: every row once an epoch, weights met, the same numbers on any machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.samples.order import (
    BLOCK_ROWS,
    PATTERN,
    Order,
    pattern_counts,
    permute,
    shuffled,
)
from pipeline.errors import RecipeError


@pytest.mark.parametrize("rows", [1, 2, 5, 1_000, BLOCK_ROWS, 40_000, 150_000])
@pytest.mark.parametrize("window_blocks", [1, 2, 8])
def test_an_epoch_gives_every_row_once(rows: int, window_blocks: int) -> None:
    for epoch in range(3):
        given = shuffled(np.arange(rows), rows, seed=7, epoch=epoch, window_blocks=window_blocks)
        assert np.array_equal(np.sort(given), np.arange(rows))


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 5 * BLOCK_ROWS), seed=st.integers(0, 2**63), epoch=st.integers(0, 1_000))
def test_any_size_seed_and_epoch_is_a_permutation(rows: int, seed: int, epoch: int) -> None:
    given = shuffled(np.arange(rows), rows, seed, epoch, window_blocks=2)
    assert np.array_equal(np.sort(given), np.arange(rows))


def test_epochs_and_seeds_differ() -> None:
    places = np.arange(40_000)
    orders = [shuffled(places, 40_000, seed, epoch) for seed, epoch in [(1, 0), (1, 1), (1, 2), (2, 0)]]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert np.mean(one == other) < 0.001


def test_an_epoch_is_well_mixed() -> None:
    """Inside a window the row says nothing about the place: rank correlation is that of chance (3 / sqrt(n))."""
    given = shuffled(np.arange(16_384), 16_384, seed=3, epoch=0)
    assert abs(np.corrcoef(np.arange(16_384), given)[0, 1]) < 3 / np.sqrt(16_384)
    neighbours = np.abs(np.diff(given))
    assert 0.9 < neighbours.mean() / (16_384 / 3) < 1.1  # two random numbers below n differ by n / 3


def test_reads_stay_in_a_window() -> None:
    """Two blocks at a time are touched, whatever the number of blocks: the cache of an open shard set stays bounded."""
    rows = 20 * BLOCK_ROWS
    given = shuffled(np.arange(rows), rows, seed=3, epoch=0, window_blocks=2)
    for start in range(0, rows, 2 * BLOCK_ROWS):
        assert len(np.unique(given[start : start + 2 * BLOCK_ROWS] // BLOCK_ROWS)) == 2


def test_asking_in_parts_or_out_of_order_gives_the_same() -> None:
    order = Order({"news": 30, "wiki": 50_000}, {"news": 1, "wiki": 2}, seed=5)
    k = np.arange(25_000)
    whole = order.locate(k)
    assert whole.epoch.max() > 200  # news went round many times
    mixed = np.random.default_rng(0).permutation(k)
    parts = order.locate(mixed)
    for name in ("source", "epoch", "row"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name)[mixed])
    later = order.locate(np.arange(24_990, 25_000))
    assert np.array_equal(later.row, whole.row[-10:])


def test_a_source_goes_through_all_rows_before_it_repeats_one() -> None:
    order = Order({"news": 700, "wiki": 900}, {"news": 0.3, "wiki": 0.7}, seed=5)
    located = order.locate(np.arange(7_000))
    for number, rows in enumerate(order.rows):
        mine = located.row[located.source == number]
        for epoch in range(len(mine) // rows):
            assert np.array_equal(np.sort(mine[epoch * rows : (epoch + 1) * rows]), np.arange(rows))


def test_weights_are_met_over_a_period_and_evenly() -> None:
    order = Order({"baike": 10, "news": 10, "wiki": 10}, {"baike": 0.05, "news": 0.25, "wiki": 0.7}, seed=0)
    period = order.locate(np.arange(PATTERN, 2 * PATTERN)).source
    assert np.bincount(period).tolist() == [500, 2_500, 7_000]
    for start in range(0, PATTERN, 100):
        assert np.abs(np.bincount(period[start : start + 100], minlength=3) - [5, 25, 70]).max() <= 2


def test_without_weights_sources_count_by_their_rows() -> None:
    order = Order({"news": 300, "wiki": 700, "baike": 0}, {}, seed=0)
    assert order.sources == ("news", "wiki")
    assert order.counts.tolist() == [3_000, 7_000]


def test_shares_fill_the_pattern_and_forget_nobody() -> None:
    assert pattern_counts({"a": 1, "b": 1, "c": 1}) == {"a": 3_334, "b": 3_333, "c": 3_333}
    assert pattern_counts({"a": 1e-9, "b": 1}) == {"a": 1, "b": 9_999}
    assert sum(pattern_counts({str(i): i**3 + 1 for i in range(200)}).values()) == PATTERN


def test_a_weight_for_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'baike', which has no rows.*news"):
        Order({"news": 10, "baike": 0}, {"baike": 1.0}, seed=0)
    with pytest.raises(RecipeError, match="no source has a row"):
        Order({"news": 0}, {}, seed=0)


def test_golden_values() -> None:
    """A change here changes what every run trains on: a new major version of the order, never an accident."""
    assert permute(np.arange(10), np.array(10), np.array([42], np.uint64)).tolist() == GOLDEN_PERMUTATION
    located = Order({"news": 40_000, "wiki": 1_000_000}, {"news": 0.25, "wiki": 0.75}, seed=1).locate(np.arange(8))
    assert located.source.tolist() == [1, 0, 1, 1, 1, 0, 1, 1]
    assert located.row.tolist() == [426440, 17368, 439998, 582452, 87691, 12810, 85096, 433370]
    assert shuffled(np.arange(39_996, 40_000), 40_000, seed=2026, epoch=3, window_blocks=1).tolist() == GOLDEN_END


GOLDEN_PERMUTATION = [2, 6, 7, 8, 3, 9, 1, 4, 5, 0]
GOLDEN_END = [17282, 30035, 23130, 24988]
