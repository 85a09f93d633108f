"""The Triton kernels against the definition in float64: compiled on a GPU, elsewhere in Triton's interpreter."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from model.attention.positions import sinusoids

GPU = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
DEVICE = torch.device("cuda" if GPU else "cpu")
loaded = sys.modules.get("triton")
if loaded is not None and not GPU and not loaded.knobs.runtime.interpret:
    pytest.skip("Triton is already loaded for a GPU in this process: run this file by itself", allow_module_level=True)
with pytest.MonkeyPatch.context() as patch:  # Triton reads this when a kernel is defined
    patch.setenv("TRITON_INTERPRET", "0" if GPU else "1")
    pytest.importorskip("triton", reason="triton is not installed: pip install -e '.[gpu]'")
    triton = import_module("model.attention.varlen")
    import_module("triton.experimental.gluon")  # torch.compile in other tests loads it, and it must find the same setting

SEED = (1 << 40) + 5


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRITON_INTERPRET", "0" if GPU else "1")  # some parts of Triton are loaded by the first call
    yield


def starts_of(lengths: list[int]) -> list[int]:
    return [sum(lengths[:i]) for i in range(len(lengths) + 1)]


def packed(lengths: list[int], heads: int = 1, width: int = 16, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Projections (T, 3, N, H), as a layer makes them, and the gradient of the context."""
    torch.manual_seed(len(lengths))
    tokens = sum(lengths)
    return torch.randn(tokens, 3, heads, width).to(DEVICE, dtype), torch.randn(tokens, heads, width).to(DEVICE, dtype)


def ours(qkv: Tensor, lengths: list[int], clip: int | None, dropout_p: float = 0.0, seed: int = SEED) -> Tensor:
    starts = torch.tensor(starts_of(lengths), dtype=torch.int32, device=DEVICE)
    context: Tensor = triton.attend_varlen(
        *qkv.unbind(1),
        starts,
        max(lengths),
        clip=clip,
        shift=clip or 0,
        dropout_p=dropout_p,
        seed=seed,
        scale=qkv.shape[-1] ** -0.5,
    )
    return context


def by_definition(qkv: Tensor, lengths: list[int], clip: int | None, dropout_p: float = 0.0) -> Tensor:
    """Each sequence with its (L, L, H) table written out, in the type of qkv."""
    parts = []
    for start, end in pairwise(starts_of(lengths)):
        q, k, v = qkv[start:end].permute(1, 2, 0, 3)
        position = torch.arange(end - start, device=qkv.device)
        offset = position[None, :] - position[:, None]
        index = offset if clip is None else offset.clamp(-clip, clip) + clip
        table = sinusoids(index.flatten().double(), q.shape[-1]).reshape(*index.shape, -1).to(qkv.dtype)
        weights = ((q @ k.mT + torch.einsum("nlh,lmh->nlm", q, table)) * q.shape[-1] ** -0.5).softmax(-1)
        if dropout_p:
            kept = triton.kept_weights(SEED, q.shape[0], start + position, start + position, dropout_p)
            weights = weights * kept / (1 - dropout_p)
        parts.append((weights @ v + torch.einsum("nlm,lmh->nlh", weights, table)).transpose(0, 1))
    return torch.cat(parts)


def with_gradient(attend: Callable[..., Tensor], qkv: Tensor, cotangent: Tensor, *rest: Any) -> list[Tensor]:
    """Context, then the gradients of q, k and v."""
    leaf = qkv.detach().requires_grad_()
    context = attend(leaf, *rest)
    return [context, *torch.autograd.grad(context, leaf, cotangent.to(context.dtype))[0].unbind(1)]


def errors(results: list[Tensor], expected: list[Tensor]) -> list[float]:
    return [float(((a.double() - b).norm() / b.norm()).detach()) for a, b in zip(results, expected, strict=True)]


def check(lengths: list[int], clip: int | None, dropout_p: float = 0.0, heads: int = 1, width: int = 16) -> None:
    qkv, cotangent = packed(lengths, heads, width)
    results = with_gradient(ours, qkv, cotangent, lengths, clip, dropout_p)
    expected = with_gradient(by_definition, qkv.double(), cotangent, lengths, clip, dropout_p)
    assert max(errors(results, expected)) < 2e-6, errors(results, expected)


@pytest.mark.parametrize(
    ("clip", "lengths"),
    [(None, [1, 40]), (8, [1, 17, 65]), (64, [130]), (64, [33])],
    ids=["paper", "far tiles on both sides", "released", "released, shorter than the clip"],
)
def test_context_and_gradients_are_those_of_the_definition(clip: int | None, lengths: list[int]) -> None:
    check(lengths, clip)


def test_dropout_falls_on_the_same_weights_in_both_directions() -> None:
    check([17, 50], 8, dropout_p=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "clip"), [(16, 8), (32, 127), (64, None), (64, 64)])
def test_many_lengths_heads_and_widths(width: int, clip: int | None) -> None:
    check([1, 17, 65, 130, 200], clip, dropout_p=0.1, heads=2, width=width)


@pytest.mark.slow
@pytest.mark.parametrize("clip", [None, 64])
def test_far_from_the_start_angles_are_as_exact(clip: int | None) -> None:
    length, cut = 4096 if GPU else 640, 32
    qkv, _ = packed([length])
    last = by_definition(qkv.double(), [length], clip)[-cut:]
    assert errors([ours(qkv, [length], clip)[-cut:]], [last])[0] < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("clip", [None, 8])
def test_half_precision_is_no_worse_than_the_definition_in_that_type(clip: int | None, dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and not GPU:
        pytest.skip("Triton's interpreter multiplies the bits of bfloat16 as integers: only on a GPU")
    qkv, cotangent = packed([50], dtype=dtype)
    expected = with_gradient(by_definition, qkv.double(), cotangent, [50], clip)
    eager = errors(with_gradient(by_definition, qkv, cotangent, [50], clip), expected)
    kernels = errors(with_gradient(ours, qkv, cotangent, [50], clip), expected)
    assert all(a <= b for a, b in zip(kernels, eager, strict=True)), (kernels, eager)


def test_a_seed_gives_the_same_bits_again_and_another_seed_does_not() -> None:
    qkv, cotangent = packed([20])
    first, again, other = (with_gradient(ours, qkv, cotangent, [20], None, 0.1, seed) for seed in (7, 7, 8))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not first[0].equal(other[0])


def test_dropout_of_next_to_nothing_is_no_dropout() -> None:
    qkv, cotangent = packed([20])
    never, hardly = (with_gradient(ours, qkv, cotangent, [20], 8, p) for p in (0.0, 1e-12))
    assert all(a.equal(b) for a, b in zip(never, hardly, strict=True))


def test_kept_weights_are_like_coin_tosses() -> None:
    """Mean, and products over pairs, over the four corners of rectangles, over heads and seeds, within five deviations."""
    size, p = 512, 0.25
    both = torch.arange(1000, 1000 + size)
    tosses = [triton.kept_weights(seed, 2, both, both, p).double() - (1 - p) for seed in (0, 1, 1 << 32)]
    a, b = tosses[0]
    deviation = (p * (1 - p)) ** 0.5
    samples = {
        "mean": a / deviation,
        "neighbours in a row": a[:, 1:] * a[:, :-1] / deviation**2,
        "neighbours in a column": a[1:] * a[:-1] / deviation**2,
        "across the diagonal": torch.triu(a * a.T, 1)[torch.ones_like(a).triu(1) > 0] / deviation**2,
        "rectangles": a[1:, 1:] * a[:-1, :-1] * a[1:, :-1] * a[:-1, 1:] / deviation**4,
        "far rectangles": a[256:, 256:] * a[:256, :256] * a[256:, :256] * a[:256, 256:] / deviation**4,
        "heads": a * b / deviation**2,
        "next seed": a * tosses[1][0] / deviation**2,
        "seed with other high bits": a * tosses[2][0] / deviation**2,
    }
    for name, sample in samples.items():
        assert abs(sample.mean()) < 5 / sample.numel() ** 0.5, name
    for sums in (a.sum(0), a.sum(1)):  # whole rows and columns spread as they should
        assert 0.7 < sums.var() / (size * deviation**2) < 1.3


def test_any_strides_are_read() -> None:
    qkv, _ = packed([20])
    strided = torch.empty(3, 16, 1, 20, device=DEVICE).permute(3, 0, 2, 1).copy_(qkv)
    assert ours(strided, [20], 8).equal(ours(qkv, [20], 8))


def test_compiles_as_one_token_and_once_for_all_seeds() -> None:
    qkv, cotangent = packed([9])
    compiled = torch.compile(lambda x, seed: ours(2 * x, [9], 8, 0.1, seed), fullgraph=True, backend="aot_eager")
    for seed in (3, 4):
        eager = with_gradient(lambda x, seed: ours(2 * x, [9], 8, 0.1, seed), qkv, cotangent, seed)
        assert all(a.equal(b) for a, b in zip(with_gradient(compiled, qkv, cotangent, seed), eager, strict=True))
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(qkv.requires_grad_(), 5)


def test_what_the_kernels_do_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="width 24"):
        ours(torch.zeros(4, 3, 1, 24), [4], None)
    with pytest.raises(ValueError, match="float64"):
        ours(torch.zeros(4, 3, 1, 16, dtype=torch.float64), [4], None)
    with pytest.raises(ValueError, match="dropout"):
        ours(torch.zeros(4, 3, 1, 16), [4], None, dropout_p=1.0)


COMPILE = """
import sys
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from model.attention import kernels, varlen

capability, clipped = int(sys.argv[1]), sys.argv[2] == "clipped"
for name in ("forward", "query_gradient", "key_value_gradient"):
    cut = varlen.tiles(name, clipped, torch.bfloat16, 64)
    constants = dict(CLIPPED=clipped, DROPOUT=True, PRECISION="tf32", ROWS=cut.rows, COLUMNS=cut.columns, H=64)
    types = dict(STARTS="*i32", SMALL="*fp32", LSE="*fp32", PER_ROW="*fp32", scale="fp32", keep_scale="fp32")
    kernel = getattr(kernels, name)
    signature, aligned = {}, {}
    for i, argument in enumerate(kernel.arg_names):
        pointer = argument.isupper() and argument not in constants
        signature[argument] = "constexpr" if argument in constants else types.get(argument, "*bf16" if pointer else "i32")
        if pointer or argument.startswith("stride"):
            aligned[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    options = {"num_warps": cut.warps, "num_stages": cut.stages}
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert ("wgmma" if capability == 90 else "mma.sync") in built.asm["ptx"], "no tensor cores"
    assert built.asm["cubin"] and built.metadata.shared <= 160 * 1024
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["clipped", "paper"])
@pytest.mark.parametrize("capability", ["80", "90"])
def test_compiles_for_gpus_without_one(capability: str, form: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE, capability, form], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
