"""Self-attention against the formula written out in float64, one pair of positions at a time."""

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from model.attention import SelfAttention
from model.config import EncoderConfig
from model.positions import relative_index, relative_table

FORMS: tuple[Literal["released", "paper"], ...] = ("released", "paper")


def small(form: Literal["released", "paper"], dropout: float = 0.0) -> EncoderConfig:
    return EncoderConfig(hidden_size=16, num_attention_heads=2, relative_positions=form, attention_probs_dropout_prob=dropout)


def encoding(config: EncoderConfig, offset: int) -> list[float]:
    """The row of a pair (i, j) with j - i = offset, straight from the definition."""
    width, clip = config.head_size, config.max_relative_position
    index = min(max(offset, -clip), clip) + clip if config.relative_positions == "released" else offset
    return [f(index / 10_000 ** (2 * k / width)) for k in range(width // 2) for f in (math.sin, math.cos)]


def by_definition(config: EncoderConfig, q: Tensor, k: Tensor, v: Tensor, real: Tensor) -> Tensor:
    """Context (L, D) of one sequence from its projections (L, D): heads and queries in loops, padded keys left out."""
    length, width = q.shape[0], config.head_size
    rows = {offset: encoding(config, offset) for offset in range(1 - length, length)}
    keys = [j for j in range(length) if real[j]]
    heads = []
    for head in range(config.num_attention_heads):
        part = slice(head * width, (head + 1) * width)
        context = []
        for i in range(length):
            relative = torch.tensor([rows[j - i] for j in keys], dtype=torch.float64)
            scores = (k[keys, part] @ q[i, part] + relative @ q[i, part]) / math.sqrt(width)
            context.append(scores.softmax(0) @ (v[keys, part] + relative))
        heads.append(torch.stack(context))
    return torch.cat(heads, dim=1)


def attend(attention: SelfAttention, config: EncoderConfig, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    relative = relative_table(config, hidden.shape[1])[relative_index(config, hidden.shape[1])].to(hidden.dtype)
    context: Tensor = attention(hidden, relative, mask)
    return context


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [5, 65, 130])
def test_forward_and_gradients_are_those_of_the_formula(form: Literal["released", "paper"], length: int) -> None:
    torch.manual_seed(1)
    config = small(form)
    attention = SelfAttention(config).double()
    hidden = torch.randn(2, length, 16, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, length - 2 :] = False
    cotangent = torch.randn(2, length, 16, dtype=torch.float64)

    ours = attend(attention, config, hidden, mask)
    rows = [
        by_definition(config, attention.query(row), attention.key(row), attention.value(row), real)
        for row, real in zip(hidden, mask, strict=True)
    ]
    expected = torch.stack(rows)
    inputs = [hidden, *attention.parameters()]
    ours_grads = torch.autograd.grad((ours * cotangent).sum(), inputs)
    expected_grads = torch.autograd.grad((expected * cotangent).sum(), inputs)

    # The table is float32: its rounding, 3e-8, is what differs.
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
    for name, a, b in zip(["hidden", *dict(attention.named_parameters())], ours_grads, expected_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=f"gradient of {name} differs")


@pytest.mark.parametrize("form", FORMS)
def test_padding_does_not_leak(form: Literal["released", "paper"]) -> None:
    torch.manual_seed(2)
    config = small(form)
    attention = SelfAttention(config)
    short, long = torch.randn(1, 70, 16), torch.randn(1, 100, 16)
    batch = torch.cat((torch.cat((short, 1e3 * torch.randn(1, 30, 16)), dim=1), long))
    mask = torch.arange(100) < torch.tensor([[70], [100]])
    padded = attend(attention, config, batch, mask)
    torch.testing.assert_close(padded[:1, :70], attend(attention, config, short), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(padded[1:], attend(attention, config, long), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_longer_than_512_works(form: Literal["released", "paper"]) -> None:
    torch.manual_seed(3)
    config = small(form)
    attention = SelfAttention(config).double()
    hidden = torch.randn(1, 1_024, 16, dtype=torch.float64)
    with torch.no_grad():
        row = hidden[0]
        q, k, v = attention.query(row), attention.key(row), attention.value(row)
        relative = torch.tensor([encoding(config, j - 1_000) for j in range(1_024)], dtype=torch.float64)
        scores = (k[:, :8] @ q[1_000, :8] + relative @ q[1_000, :8]) / math.sqrt(8)
        expected = scores.softmax(0) @ (v[:, :8] + relative)
        torch.testing.assert_close(attend(attention, config, hidden)[0, 1_000, :8], expected, rtol=1e-6, atol=1e-6)


def test_a_row_of_padding_only_stays_finite() -> None:
    config = small("released")
    context = attend(SelfAttention(config), config, torch.randn(1, 6, 16), torch.zeros(1, 6, dtype=torch.bool))
    assert context.isfinite().all()


def test_dropout_falls_on_the_weights_of_values_and_positions_alike() -> None:
    config = small("released", dropout=1.0)
    attention = SelfAttention(config)
    hidden = torch.randn(1, 9, 16)
    assert attend(attention, config, hidden).eq(0).all()
    assert attend(attention.eval(), config, hidden).ne(0).any()


def test_softmax_is_float32_under_bfloat16() -> None:
    config = small("released")
    attention = SelfAttention(config).eval()
    seen: list[torch.dtype] = []
    attention.dropout.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        context = attend(attention, config, torch.randn(1, 9, 16))
    assert seen == [torch.float32] and context.dtype == torch.bfloat16
