"""Attention by every implementation against the definition in float64: forward and all gradients, packed and padded."""

import importlib.util
import logging
import math
import warnings
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import pytest
import torch
from torch import Tensor

from model.attention import banded, choice
from model.attention.choice import SHORT, choose
from model.attention.packing import Packing
from model.attention.positions import Relative
from model.attention.self_attention import SelfAttention, attend
from model.config import EncoderConfig
from pipeline.errors import RecipeError

CPU = torch.device("cpu")
Form = Literal["released", "paper", "relative", "absolute"]
FORMS: tuple[Form, ...] = ("released", "paper", "relative", "absolute")


def config_of(form: Form, clip: int = 64, width: int = 64, heads: int = 2, dropout: float = 0.0) -> EncoderConfig:
    return EncoderConfig(
        hidden_size=heads * width,
        num_attention_heads=heads,
        positions=form if form in ("relative", "absolute") else "functional",
        relative_positions="paper" if form == "paper" else "released",
        max_relative_position=clip,
        attention_probs_dropout_prob=dropout,
    )


def encoding(config: EncoderConfig, offset: int) -> list[float]:
    """The encoding of a pair (i, j) with j - i = offset, straight from the definition."""
    width, clip = config.head_size, config.max_relative_position
    index = min(max(offset, -clip), clip) + clip if config.relative_positions == "released" else offset
    return [f(index / 10_000 ** (2 * k / width)) for k in range(width // 2) for f in (math.sin, math.cos)]


def by_definition(config: EncoderConfig, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Context (L, D) of one sequence from its projections (L, D): heads and queries in loops."""
    length, width = q.shape[0], config.head_size
    heads = []
    for head in range(config.num_attention_heads):
        part = slice(head * width, (head + 1) * width)
        context = []
        for i in range(length):
            relative = torch.tensor([encoding(config, j - i) for j in range(length)], dtype=torch.float64)
            scores = (k[:, part] @ q[i, part] + relative @ q[i, part]) / math.sqrt(width)
            context.append(scores.softmax(0) @ (v[:, part] + relative))
        heads.append(torch.stack(context))
    return torch.cat(heads, dim=1)


class Case(NamedTuple):
    """Inputs (T, N, H) of packed sequences, learned tables where there are any, and the gradient of the context."""

    config: EncoderConfig
    lengths: tuple[int, ...]
    inputs: tuple[Tensor, ...]
    cotangent: Tensor

    def run(self, implementation: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """The context, and the gradients of all inputs."""
        inputs = [
            x.to(dtype if x.dim() == 3 else torch.promote_types(dtype, torch.float32)).requires_grad_() for x in self.inputs
        ]
        relative = Relative(self.config, *inputs[3:])
        packing = Packing(self.lengths, max(self.lengths), CPU)
        context = attend(inputs[0], inputs[1], inputs[2], packing, relative, implementation=implementation)
        return [context, *torch.autograd.grad(context, inputs, self.cotangent.to(dtype))]


@lru_cache(maxsize=2)
def case(form: Form, length: int, clip: int = 64, width: int = 64) -> Case:
    config = config_of(form, clip, width)
    lengths = (length, 37, 1)
    generator = torch.Generator().manual_seed(length)
    rows = [(sum(lengths), 2, width)] * 3 + ([(2 * clip + 1, width)] * 2 if form == "relative" else [])
    inputs = tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in rows[:3])
    inputs += tuple(0.3 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in rows[3:])
    return Case(config, lengths, inputs, torch.randn(rows[0], generator=generator, dtype=torch.float64))


@lru_cache(maxsize=2)
def expected(form: Form, length: int, clip: int = 64, width: int = 64) -> list[Tensor]:
    """The definition in float64, one sequence at a time, with the whole (L, L, H) table."""
    one = case(form, length, clip, width)
    inputs = [x.clone().requires_grad_() for x in one.inputs]
    contexts = []
    for q, k, v in zip(*(torch.split(x, list(one.lengths)) for x in inputs[:3]), strict=True):
        position = torch.arange(len(q))
        index = (position[None, :] - position[:, None]).clamp(-clip, clip) + clip
        if form == "relative":
            keys, values = inputs[3][index], inputs[4][index]
        else:
            offset = (position[None, :] - position[:, None]).double() if form == "paper" else index.double()
            angle = offset[..., None] * 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
            keys = values = torch.stack((angle.sin(), angle.cos()), -1).flatten(-2) * (form != "absolute")
        scores = torch.einsum("lnh,mnh->nlm", q, k) + torch.einsum("lnh,lmh->nlm", q, keys)
        weights = (scores / math.sqrt(width)).softmax(-1)
        contexts.append(torch.einsum("nlm,mnh->lnh", weights, v) + torch.einsum("nlm,lmh->lnh", weights, values))
    context = torch.cat(contexts)
    return [context.detach(), *torch.autograd.grad(context, inputs, one.cotangent)]


def errors(ours: list[Tensor], truth: list[Tensor]) -> list[float]:
    return [((a.double() - b).norm() / b.norm()).item() for a, b in zip(ours, truth, strict=True)]


CASES: list[tuple[Form, int, int, int]] = [
    *[(form, length, 64, 64) for form in FORMS for length in (37, 65, 66, 128, 200, 512)],
    *[("released", length, 127, 64) for length in (128, 129, 200, 512)],
    *[(form, length, 64, 32) for form in FORMS for length in (66, 200)],
]


@pytest.mark.parametrize("form, length, clip, width", CASES)
def test_all_implementations_agree_with_float64(form: Form, length: int, clip: int, width: int) -> None:
    tried = []
    for name in ("eager", "banded", "sdpa"):
        if name == "sdpa" and (form == "relative" or (form == "released" and length > clip + 1)):
            with pytest.raises(RecipeError, match="sdpa"):
                case(form, length, clip, width).run(name)
            continue
        tried.append(name)
        assert max(errors(case(form, length, clip, width).run(name), expected(form, length, clip, width))) < 1e-6, name
    assert len(tried) >= 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [66, 200])
def test_half_precision_is_no_worse_than_eager(form: Form, length: int) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        eager = errors(case(form, length).run("eager", dtype), expected(form, length))
        for name in ("banded", "sdpa"):
            if choosable(name, form, length):
                ours = errors(case(form, length).run(name, dtype), expected(form, length))
                # Rounding errors are random: 10 % more is noise.
                assert all(a < 1.1 * b for a, b in zip(ours, eager, strict=True)), (name, dtype, ours, eager)


def choosable(name: str, form: Form, length: int, clip: int = 64) -> bool:
    return name != "sdpa" or form in ("paper", "absolute") or (form == "released" and length <= clip + 1)


@pytest.mark.parametrize("form", ["released", "paper"])
@pytest.mark.parametrize("name", ["eager", "banded"])
def test_the_layer_is_the_formula_pair_by_pair(form: Form, name: str) -> None:
    torch.manual_seed(1)
    config = config_of(form, clip=16, width=8)
    layer = SelfAttention(config).double()
    layer.implementation = name
    hidden = torch.randn(40 + 17, 16, dtype=torch.float64, requires_grad=True)
    ours = layer(hidden, Packing((40, 17), 40, CPU))
    rows = [by_definition(config, layer.query(x), layer.key(x), layer.value(x)) for x in torch.split(hidden, [40, 17])]
    cotangent = torch.randn_like(ours)
    inputs = [hidden, *layer.parameters()]
    torch.testing.assert_close(ours, torch.cat(rows), rtol=1e-12, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, cotangent), torch.autograd.grad(torch.cat(rows), inputs, cotangent), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["banded", "sdpa"])
@pytest.mark.parametrize("first", [512, 4_096])
def test_far_from_the_start_nothing_is_less_exact(name: str, first: int) -> None:
    """The same 40 tokens at the start of a sequence, and after `first` others that receive no weight."""
    torch.manual_seed(2)
    config = config_of("paper", heads=1)
    q, k, v = (torch.randn(40, 1, 64) for _ in range(3))
    q = q + 1
    nowhere = torch.full((first, 1, 64), -30.0)
    near = attend(q, k, v, Packing((40,), 40, CPU), Relative(config), implementation=name)
    packing = Packing((first + 40,), first + 40, CPU)
    far = attend(
        torch.cat((q[:1].expand(first, -1, -1), q)),
        torch.cat((nowhere, k)),
        torch.cat((nowhere, v)),
        packing,
        Relative(config),
        implementation=name,
    )[first:]
    # Angles in float32 would be off by 3e-5 at 512 and 2e-4 at 4,096.
    assert ((far - near).norm() / near.norm()).item() < 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_4096_forward_and_backward_in_bounded_memory(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    sizes: list[int] = []
    empty = torch.empty

    def noticed(*size: int, **how: Any) -> Tensor:
        sizes.append(math.prod(size))
        return empty(*size, **how)

    monkeypatch.setattr(torch, "empty", noticed)
    config = config_of(form, width=16)
    tables = [torch.randn(129, 16) for _ in range(2)] if form == "relative" else []
    q, k, v = (torch.randn(4_096, 2, 16, requires_grad=True) for _ in range(3))
    context = attend(q, k, v, Packing((4_096,), 4_096, CPU), Relative(config, *tables))
    gradients = torch.autograd.grad(context.sum(), (q, k, v))
    assert all(x.isfinite().all() for x in (context, *gradients))
    assert 0 < max(sizes) < 2_000_000  # L * L alone is 16.8 million
    eager = attend(q[:300], k[:300], v[:300], Packing((300,), 300, CPU), Relative(config, *tables), implementation="eager")
    short = attend(q[:300], k[:300], v[:300], Packing((300,), 300, CPU), Relative(config, *tables))
    torch.testing.assert_close(short, eager, rtol=1e-4, atol=1e-5)


def test_the_size_of_blocks_and_groups_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for form in FORMS:
        whole = case(form, 200).run("banded", torch.float64)
        for places in (3_000, 50_000, 10**7):
            monkeypatch.setitem(banded.BLOCK_SCORES, "cpu", places)
            assert max(errors(case(form, 200).run("banded", torch.float64), whole)) < 1e-13
        monkeypatch.undo()


def test_one_dnn_takes_every_product_in_half_precision() -> None:
    """If oneDNN rejects one, torch warns and disables it for the whole process, which makes everything 20 times slower."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in FORMS:
            for length in (37, 128, 512):
                case(form, length).run("banded", torch.bfloat16)


@pytest.mark.parametrize("name", ["eager", "banded", "sdpa"])
def test_dropout_keeps_the_mean_and_is_reproducible_by_seed(name: str) -> None:
    config = config_of("paper" if name == "sdpa" else "released", clip=8, width=8)
    torch.manual_seed(5)
    q, k, v = (torch.randn(30, 2, 8) for _ in range(3))
    packing = Packing((20, 10), 20, CPU)
    plain = attend(q, k, v, packing, Relative(config), implementation=name)

    def dropped(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return attend(q, k, v, packing, Relative(config), 0.3, name)

    assert torch.equal(dropped(1), dropped(1)) and not torch.equal(dropped(1), dropped(2))
    mean = torch.stack([dropped(seed) for seed in range(400)]).mean(0)
    assert (mean - plain).abs().mean() < 0.05 * plain.abs().mean()
    assert attend(q, k, v, packing, Relative(config), 1.0, name).eq(0).all()


@pytest.mark.parametrize("form", FORMS)
def test_dropout_applies_to_values_and_positions_and_their_gradients(form: Form) -> None:
    """With a fixed mask the context is linear in the values, and gradients match finite differences."""
    torch.manual_seed(6)
    config = config_of(form, clip=3, width=4, heads=1)
    inputs = [torch.randn(9, 1, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    if form == "relative":
        inputs += [torch.randn(7, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def context(q: Tensor, k: Tensor, v: Tensor, *tables: Tensor) -> Tensor:
        torch.manual_seed(7)
        return attend(q, k, v, Packing((7, 2), 7, CPU), Relative(config, *tables), 0.4, "banded")

    assert torch.autograd.gradcheck(context, inputs)


def test_the_fastest_is_chosen_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    choose.cache_clear()
    choice._log_once.cache_clear()
    with caplog.at_level(logging.INFO, "model.attention.choice"):
        for _ in range(3):
            case("released", SHORT).run("auto")
            case("released", SHORT + 1).run("auto")
    assert [record.getMessage() for record in caplog.records] == [
        "attention: eager (cpu, float32, released form): the fastest up to 128 tokens",
        "attention: banded (cpu, float32, released form): the fastest here",
    ]


@pytest.mark.parametrize(
    "name, form, why",
    [
        ("triton", "released", "it needs a GPU"),
        ("sdpa", "relative", "learned relative positions are not a rotation"),
        ("sdpa", "released", "exact only up to 65 tokens"),
        ("flash", "released", "unknown attention 'flash'; use one of auto, eager"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(name: str, form: Form, why: str) -> None:
    with pytest.raises(RecipeError, match=why) as refused:
        case(form, 200).run(name)
    assert "\n" not in str(refused.value)


def test_on_a_gpu_the_order_is_triton_sdpa_banded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that Triton does not support, such as one of compute capability 7.0, gets another one."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    choose.cache_clear()
    gpu, half = torch.device("cuda", 0), torch.float16
    assert choose("auto", gpu, half, config_of("released"), unclipped=False) == "banded"
    assert choose("auto", gpu, half, config_of("released"), unclipped=True) == "sdpa"
    assert choose("auto", gpu, half, config_of("paper"), unclipped=True) == "sdpa"
    assert choose("auto", gpu, half, config_of("relative"), unclipped=False) == "banded"
    choose.cache_clear()


def test_softmax_is_float32_under_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = SelfAttention(config_of("released", width=8)).eval()
    layer.implementation = "banded"
    seen: list[torch.dtype] = []
    softmax = torch.softmax

    def noticed(x: Tensor, *how: Any, **more: Any) -> Tensor:
        seen.append(x.dtype)
        return softmax(x, *how, **more)

    monkeypatch.setattr(torch, "softmax", noticed)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        context = layer(torch.randn(90, 16), Packing((90,), 90, CPU))
    assert seen == [torch.float32] and context.dtype == torch.bfloat16
