"""The table of relative positions: known values of the release, and the definition."""

import hashlib
import math

import pytest
import torch

from model.attention.positions import relative_index, relative_table, table_on
from model.config import EncoderConfig

BASE = EncoderConfig()
PAPER = EncoderConfig(relative_positions="paper")


def test_the_released_table_is_huaweis_bit_for_bit() -> None:
    table = relative_table(BASE, 512)
    assert table.shape == (129, 64) and table.dtype == torch.float32
    assert table[64, :4].tolist() == pytest.approx([0.9200261, 0.3918572, -0.7639029, -0.6453312], abs=5e-8)
    assert table[128, :4].tolist() == pytest.approx([0.7210377, -0.6928958, 0.9859408, -0.1670953], abs=5e-8)
    assert hashlib.sha256(table.numpy().astype("<f4").tobytes()).hexdigest()[:16] == "8e638bc210238b06"


def test_the_table_of_en_base_is_huaweis_bit_for_bit() -> None:
    table = relative_table(EncoderConfig(max_relative_position=127), 128)
    assert hashlib.sha256(table.numpy().astype("<f4").tobytes()).hexdigest()[:16] == "ca18be4d1f442dfb"


def test_the_released_table_does_not_depend_on_the_length() -> None:
    assert torch.equal(relative_table(BASE, 8), relative_table(BASE, 1_024))


@pytest.mark.parametrize("length", [1, 5, 200])
def test_the_paper_form_is_sine_and_cosine_of_the_offset(length: int) -> None:
    table, index = relative_table(PAPER, length), relative_index(PAPER, length)
    assert table.shape == (2 * length - 1, 64)
    for i, j in ((0, 0), (0, length - 1), (length - 1, 0), (length // 2, length // 3)):
        row = [f((j - i) / 10_000 ** (2 * k / 64)) for k in range(32) for f in (math.sin, math.cos)]
        assert table[index[i, j]].tolist() == pytest.approx(row, abs=1e-7)


def test_the_released_index_is_clipped_and_shifted() -> None:
    config = EncoderConfig(max_relative_position=2)
    assert relative_index(config, 4).tolist() == [[2, 3, 4, 4], [1, 2, 3, 4], [0, 1, 2, 3], [0, 0, 1, 2]]


def test_a_table_cached_during_inference_works_in_training() -> None:
    table_on.cache_clear()
    with torch.inference_mode():
        table_on(BASE, 7, torch.device("cpu"))
    weight = torch.ones(64, requires_grad=True)
    torch.autograd.backward((table_on(BASE, 7, torch.device("cpu")) @ weight).sum())
    assert weight.grad is not None
