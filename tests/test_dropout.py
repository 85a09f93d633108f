"""Dropout: how many elements are kept, masks are reproducible by seed, and gradients use the same mask."""

import pytest
import torch

from model.attention.dropout import Dropout, keep_mask, scale

CPU = torch.device("cpu")


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_fraction_kept_and_the_mean_are_right(probability: float) -> None:
    kept = keep_mask(1, (1_000, 1_001), probability, CPU).double().mean().item()
    assert kept == pytest.approx(1 - probability, abs=2e-3)
    if probability < 1:
        assert kept * scale(probability) == pytest.approx(1, rel=5e-3 if probability < 0.9 else 2e-2)
    else:
        assert kept == 0 == scale(probability)


def test_draws_are_a_function_of_the_seed() -> None:
    assert torch.equal(keep_mask((7, 3), (50, 9), 0.3, CPU), keep_mask((7, 3), (50, 9), 0.3, CPU))
    others = [keep_mask(seed, (50, 9), 0.3, CPU) for seed in ((7, 3), (7, 4), (8, 3), 7)]
    assert len({tuple(one.flatten().tolist()) for one in others}) == 4


def test_neighbours_are_independent() -> None:
    kept = keep_mask(3, (4_000, 200), 0.5, CPU).double() * 2 - 1
    for step in range(1, 9):  # four elements share a word of the generator
        assert abs((kept[:, step:] * kept[:, :-step]).mean().item()) < 5e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_flow_through_kept_elements_only(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = torch.ones(100, 64, dtype=dtype, requires_grad=True)
    y = Dropout(0.25)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y) and set(y.unique().tolist()) == {0.0, y.max().item()} and y.dtype == dtype
    assert y.max().item() == pytest.approx(4 / 3, rel=1e-2)


def test_torchs_seed_makes_it_reproducible_and_evaluation_drops_nothing() -> None:
    layer, x = Dropout(0.5), torch.randn(20, 30)

    def dropped(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        result: torch.Tensor = layer(x)
        return result

    assert torch.equal(dropped(1), dropped(1)) and not torch.equal(dropped(1), dropped(2))
    assert torch.equal(layer.eval()(x), x)
