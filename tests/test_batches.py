"""Batches: every row once, padded within the budget, masked as its epoch says, whatever the number of workers."""

import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.samples.batches import (
    NO_LABEL,
    Batch,
    MaskedRows,
    micro_batches,
    padded,
    steps,
)
from model.samples.order import Located, Order
from pipeline.config import MaskingConfig, PairsConfig
from pipeline.engine import stages
from pipeline.examples.masking import MaskingRules
from pipeline.examples.shards import Row
from tests import tiny
from tests.single_masks import single_mask

BUDGET = 128


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("dynamic"), static_draws=0)


def opened(corpus: tiny.Corpus, seed: int = 7) -> tuple[MaskedRows, Order]:
    sources = [stages.load(url) for url in corpus.shards.values()]
    rows = MaskedRows(sources, "train", tiny.VOCAB, seed)
    return rows, Order(dict(zip(("news", "reviews"), map(len, rows.sets), strict=True)), {"news": 1, "reviews": 2}, seed)


def ranges(count: int, size: int = 20) -> list[tuple[int, int]]:
    return [(number * size, (number + 1) * size) for number in range(count)]


@given(st.lists(st.integers(1, 600), min_size=1, max_size=200), st.integers(8, 2_000))
def test_micro_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    packed = micro_batches(np.array(lengths), budget)
    assert sorted(np.concatenate(packed).tolist()) == list(range(len(lengths)))
    for picked in packed:
        positions = len(picked) * padded(max(lengths[i] for i in picked))
        assert positions <= budget or len(picked) == 1


def test_rows_of_like_length_go_together() -> None:
    packed = micro_batches(np.array([9, 128, 14, 120]), 256)
    assert [picked.tolist() for picked in packed] == [[1, 3], [2, 0]]
    # Padding of a plain cut into fours would be two thirds here; packed by length it is a tenth.
    lengths = np.random.default_rng(0).choice([16, 32, 512], 400)
    positions = sum(len(picked) * padded(int(lengths[picked].max())) for picked in micro_batches(lengths, 2_048))
    assert positions < 1.1 * lengths.sum()


def naive(row: Row, positions: np.ndarray, replacements: np.ndarray, length: int) -> tuple[list[int], list[int], list[int]]:
    """One row, padded and masked token by token."""
    ids = [int(token) for token in row.input_ids] + [0] * (length - len(row.input_ids))
    types = [int(bool(row.second_start) and row.second_start <= i < len(row.input_ids)) for i in range(length)]
    labels = [ids[position] for position in positions]
    for position, token in zip(positions, replacements, strict=True):
        ids[position] = int(token)
    return ids, types, labels


@pytest.mark.parametrize("epoch", [0, 1, 2, 5])
def test_a_batch_is_its_rows_with_the_draw_of_the_epoch(static: tiny.Corpus, epoch: int) -> None:
    rows, _ = opened(static)
    picked, sources = np.array([3, 250, 3, 299]), np.array([0, 0, 1, 1])
    batch = rows.batch(0, Located(sources, np.full(4, epoch), picked))
    length = batch.input_ids.shape[1]
    assert length % 8 == 0
    labels, places = [], []
    for i, (source, number) in enumerate(zip(sources, picked, strict=True)):
        row = rows.sets[source].row(int(number))
        assert len(row.draws) == 2
        positions, replacements = row.draws[epoch % 2]
        ids, types, masked = naive(row, positions, replacements, length)
        assert batch.input_ids[i].tolist() == ids
        assert batch.token_type_ids[i].tolist() == types
        assert batch.attention_mask[i].tolist() == [j < len(row.input_ids) for j in range(length)]
        assert batch.pair_labels[i] == row.pair_label
        assert batch.example_ids[i] == row.example_id
        assert batch.lengths is not None and batch.lengths[i] == len(row.input_ids)
        labels += masked
        places += [i * length + int(position) for position in positions]
    assert batch.mask_labels.tolist() == labels
    assert batch.mask_positions.tolist() == places
    assert batch.tokens == int(batch.attention_mask.sum()) and batch.pairs == 4 and batch.masked == len(labels)


def test_dynamic_masks_are_those_of_seed_epoch_and_example(dynamic: tiny.Corpus) -> None:
    rows, _ = opened(dynamic, seed=11)
    # Each source has its own rules, and rows of both stand in one batch.
    settings = (MaskingConfig(), MaskingConfig(masked_lm_prob=0.5, policy="span"))
    rows.rules = [MaskingRules.of(tiny.VOCAB, one, PairsConfig()) for one in settings]
    sources, epochs, picked = np.array([1, 0, 1, 0, 1]), np.array([0, 3, 3, 0, 1]), np.array([42, 42, 7, 9, 42])
    batch = rows.batch(0, Located(sources, epochs, picked))
    length = batch.input_ids.shape[1]
    places, shown = [], []
    for i, (source, epoch, number) in enumerate(zip(sources.tolist(), epochs.tolist(), picked.tolist(), strict=True)):
        row = rows.sets[source].row(number)
        drawn = single_mask(11, epoch, row.example_id, row.input_ids, row.unit_starts, row.second_start, rows.rules[source])
        places += [i * length + position for position in drawn.positions.tolist()]
        shown += drawn.replacements.tolist()
    assert batch.mask_positions.tolist() == places
    assert batch.input_ids.reshape(-1)[batch.mask_positions].tolist() == shown
    in_epochs = (np.array(places) // length == row for row in (0, 4))  # the same row in two epochs
    assert len({tuple((np.array(places)[here] % length).tolist()) for here in in_epochs}) == 2


def test_rows_without_pair_have_no_label(tmp_path: Path) -> None:
    rows, order = opened(tiny.prepare(tmp_path, task="none"))
    batch = rows.batch(0, order.locate(np.arange(6)))
    assert set(batch.pair_labels.tolist()) == {NO_LABEL} and batch.pairs == 0
    assert not batch.token_type_ids.any()


def ledger(corpus: tiny.Corpus, world: int) -> list[list[tuple[int, list[int], list[int], list[int]]]]:
    """Of each step, over all workers: micro-batch number, example ids, places and labels of masks."""
    result: list[list[tuple[int, list[int], list[int], list[int]]]] = [[] for _ in range(40)]
    for rank in range(world):
        rows, order = opened(corpus)
        for number, step in enumerate(steps(rows, order, ranges(40), BUDGET, rank, world)):
            result[number] += [
                (b.number, b.example_ids.tolist(), b.mask_positions.tolist(), b.mask_labels.tolist())
                for b in step.micro_batches
            ]
    return [sorted(step) for step in result]


@pytest.mark.parametrize("draws", ["static", "dynamic"])
def test_any_number_of_workers_sees_the_same(draws: str, request: pytest.FixtureRequest) -> None:
    corpus = request.getfixturevalue(draws)
    alone = ledger(corpus, 1)
    assert all(len(step) >= 3 for step in alone)
    assert ledger(corpus, 2) == alone
    assert ledger(corpus, 3) == alone


def test_an_epoch_holds_every_example_once(static: tiny.Corpus) -> None:
    rows, _ = opened(static)
    order = Order({"news": 300, "reviews": 300}, {}, seed=7)
    epochs = [
        steps(rows, order, [(start, start + 50) for start in range(epoch, epoch + 600, 50)], BUDGET) for epoch in (0, 600)
    ]
    for epoch in epochs:
        ids = [i for step in epoch for batch in step.micro_batches for i in batch.example_ids.tolist()]
        assert len(ids) == 600 and len(set(ids)) == 600


def test_going_on_in_the_middle_gives_the_same_steps(static: tiny.Corpus) -> None:
    whole = list(steps(*opened(static), ranges(10), BUDGET))
    later = list(steps(*opened(static), ranges(10)[6:], BUDGET))
    for one, other in zip(whole[6:], later, strict=True):
        assert (one.start, one.end) == (other.start, other.end)
        for a, b in zip(one.micro_batches, other.micro_batches, strict=True):
            assert torch.equal(a.input_ids, b.input_ids) and torch.equal(a.mask_positions, b.mask_positions)


def test_the_next_step_is_made_while_the_last_is_used(static: tiny.Corpus) -> None:
    rows, order = opened(static)
    made: queue.SimpleQueue[str] = queue.SimpleQueue()
    plain = rows._batch

    def noticed(number: int, *rest: Any) -> Batch:
        made.put(threading.current_thread().name)
        return plain(number, *rest)

    rows._batch = noticed  # type: ignore[method-assign, assignment]
    stream = steps(rows, order, ranges(2), BUDGET)
    first = next(stream)
    names = [
        made.get(timeout=30) for _ in range(len(first.micro_batches) + 1)
    ]  # one of the second step, which nobody asked for
    assert set(names) == {"batches_0"}


def test_an_error_while_reading_reaches_the_loop(static: tiny.Corpus) -> None:
    rows, order = opened(static)
    with pytest.raises(IndexError):
        list(steps(rows, Order({"news": 10**6, "reviews": 300}, {}, seed=1), ranges(3), BUDGET))
    assert len(list(steps(rows, order, [], BUDGET))) == 0
