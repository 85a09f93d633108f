"""NEZHA's attention on packed sequences in one pass over the keys, forward and backward, for GPUs that Triton supports.

A first reader can skip this file and kernels.py: eager.py computes the same from the definition.

    weight(i, j) = softmax_j(scale * q_i . (k_j + a(j - i)))        context(i) = sum_j dropout(weight(i, j)) (v_j + a(j - i))
    a(p) = sines and cosines of clip(p, -m, m) + shift              paper: no clip, shift 0; released: clip m, shift m

    今天天气好 and 他走了, 12 heads of 64: q, k, v (8, 12, 64), cu_seqlens [0, 5, 8], max_seqlen 5
    context = attend_varlen(q, k, v, cu_seqlens, 5, clip=64, shift=64, dropout_p=0.1, seed=7, scale=0.125)

No (L, L) matrix and no (L, L, H) table is ever in memory: encodings come from a table of a few hundred rows that stays in the
cache, and a tile beyond the clip costs one number per row (kernels.py). Products use the type of q; sums and softmax are
float32. Equal calls give equal bits, gradients included: no atomics.

Dropout is a function of (seed, head, row, column), with rows and columns counted over all packed tokens. Nothing is stored: the
backward pass computes it again, and `kept_weights` computes the same mask in plain PyTorch. Triton's Philox would need ten
rounds, about a hundred integer instructions, for every weight; this needs eight instructions (flash attention shares one Philox
call among 16 weights).

Tested with Triton's interpreter, and compiled for compute capability 8.0 and 9.0; not run on a GPU yet. Below 8.0 (V100) Triton
3.7 compiles it without tensor cores, which is slow: use scaled_dot_product_attention there.

Shapes: T tokens of all sequences, N heads, H head width (16, 32, 64 or 128).
"""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from model.attention import kernels
from model.attention.positions import sinusoids

WIDTHS = (16, 32, 64, 128)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


class Tiles(NamedTuple):
    """The tiling of a kernel."""

    rows: int
    """Queries per tile."""
    columns: int
    """Keys per tile."""
    warps: int
    """Warps per program."""
    stages: int
    """Tiles loaded ahead."""


def tiles(kernel: str, clipped: bool, dtype: torch.dtype, width: int) -> Tiles:
    """Return the tiling of a kernel. It is a table, not an autotuner: tiles affect rounding, and runs must be reproducible.

    float32 is for tests: its products are exact and do not use tensor cores.
    """
    if dtype == torch.float32:
        return Tiles(32, 32, 8, 1) if width <= 64 else Tiles(16, 16, 8, 1)
    return TABLE[kernel, clipped][max(width, 32)]


# Compiled for compute capability 9.0 with dropout, these spill no registers at widths 32 and 64, and few at 128. With a clip,
# 64 keys per tile would spill. Shared memory stays below the 163 KB of compute capability 8.0.
TABLE = {
    ("forward", False): {32: Tiles(64, 64, 4, 2), 64: Tiles(128, 64, 8, 2), 128: Tiles(64, 64, 8, 2)},
    ("forward", True): {32: Tiles(64, 64, 4, 3), 64: Tiles(64, 32, 4, 3), 128: Tiles(64, 32, 8, 2)},
    ("query_gradient", False): {32: Tiles(64, 64, 4, 2), 64: Tiles(64, 64, 4, 2), 128: Tiles(64, 32, 8, 2)},
    ("query_gradient", True): {32: Tiles(64, 32, 4, 2), 64: Tiles(64, 32, 4, 2), 128: Tiles(64, 32, 8, 2)},
    ("key_value_gradient", False): {32: Tiles(32, 64, 4, 2), 64: Tiles(32, 64, 4, 2), 128: Tiles(32, 64, 8, 2)},
    ("key_value_gradient", True): {32: Tiles(32, 64, 4, 2), 64: Tiles(32, 64, 4, 2), 128: Tiles(32, 64, 8, 2)},
}


def supports(width: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether `attend_varlen` supports heads of this width and type on this device, at a good speed."""
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0) and dtype != torch.float32
    return width in WIDTHS and dtype in DTYPES and fast


def attend_varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    *,
    clip: int | None,
    shift: int,
    dropout_p: float,
    seed: int,
    scale: float,
) -> Tensor:
    """Return the context (T, N, H) of packed sequences; each token attends to its own sequence only.

    q, k, v: (T, N, H), all float16, bfloat16 or float32; views of one (T, 3, N, H) projection are fine
    cu_seqlens: (B + 1,), the start of each sequence, then T; every token belongs to a sequence
    max_seqlen: at least the longest sequence; longer ones would be truncated silently
    seed: 0 <= seed < 2**63, different for each layer and step; recomputing a layer needs the same seed

    Raises: ValueError for what the kernels do not support.
    """
    if q.shape[-1] not in WIDTHS or q.dtype not in DTYPES:
        raise ValueError(f"no Triton attention for heads of width {q.shape[-1]} in {q.dtype}: widths {WIDTHS}, types {DTYPES}")
    if not q.shape == k.shape == v.shape or not q.dtype == k.dtype == v.dtype:
        raise ValueError("q, k and v differ in shape or type")
    if not 0.0 <= dropout_p < 1.0:
        raise ValueError(f"dropout {dropout_p} is not in [0, 1)")
    if clip is not None and max_seqlen <= clip + 1:
        clip = None  # no pair is that far apart, and the kernels without a clip are faster
    context: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        q, k, v, cu_seqlens.to(torch.int32), max_seqlen, clip, shift, dropout_p, seed, scale
    )
    return context


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int, clip: int | None, shift: int, *rest: Any
    ) -> Tensor:
        context: Tensor
        context, lse = _forward(q, k, v, starts, longest, clip, shift, *rest)
        ctx.save_for_backward(q, k, v, starts, context, lse)
        ctx.settings = (longest, clip, shift, *rest)
        return context

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, starts, context, lse = ctx.saved_tensors
        return *_backward(gradients[0], q, k, v, starts, context, lse, *ctx.settings), *[None] * 7


# Both passes are custom operators, which torch.compile treats as opaque: a layer compiles in one piece.
@torch.library.custom_op("nezha::attend_varlen", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int, clip: int | None, shift: int,
    dropout_p: float, seed: int, scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    q, k, v = _dense_rows(q), _dense_rows(k), _dense_rows(v)
    context, lse = _forward_shapes(q, k, v, starts, longest, clip, shift, dropout_p, seed, scale)
    near, small = _tables(_reach(clip, longest), q.shape[2], clip, shift, q.dtype, q.device)
    cut = tiles("forward", clip is not None, q.dtype, q.shape[2])
    launch = _Launch(q, k, v, starts, longest, clip, dropout_p, seed, scale)
    launch(kernels.forward, cut, cut.rows, q, k, v, near, small, starts, context, lse)
    return context, lse


@_forward.register_fake
def _forward_shapes(q: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    tokens, heads, _width = q.shape
    return q.new_empty(q.shape), q.new_empty((heads, tokens), dtype=torch.float32)


@torch.library.custom_op("nezha::attend_varlen_backward", mutates_args=())
def _backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, context: Tensor, lse: Tensor,
    longest: int, clip: int | None, shift: int, dropout_p: float, seed: int, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    q, k, v, gradient = _dense_rows(q), _dense_rows(k), _dense_rows(v), gradient.contiguous()
    dq, dk, dv = _backward_shapes(gradient, q)
    turned_q, turned_g, _ = _backward_shapes(gradient, q)
    per_row = lse.new_empty((5, *lse.shape))
    near, small = _tables(_reach(clip, longest), q.shape[2], clip, shift, q.dtype, q.device)
    launch = _Launch(q, k, v, starts, longest, clip, dropout_p, seed, scale)
    cut = tiles("query_gradient", clip is not None, q.dtype, q.shape[2])
    launch(
        kernels.query_gradient, cut, cut.rows,
        q, k, v, near, small, starts, context, lse, gradient, dq, turned_q, turned_g, per_row,
    )  # fmt: skip
    cut = tiles("key_value_gradient", clip is not None, q.dtype, q.shape[2])
    launch(
        kernels.key_value_gradient, cut, cut.columns,
        q, k, v, near, starts, lse, gradient, turned_q, turned_g, per_row, dk, dv,
    )  # fmt: skip
    return dq, dk, dv


@_backward.register_fake
def _backward_shapes(gradient: Tensor, q: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), q.new_empty(q.shape), q.new_empty(q.shape)


class _Launch:
    """The arguments that all kernels share; calling it launches a kernel."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int, clip: int | None,
        dropout_p: float, seed: int, scale: float,
    ) -> None:  # fmt: skip
        self.tokens, self.heads, self.width = q.shape
        self.strides = [stride for x in (q, k, v) for stride in x.stride()[:2]]
        self.sequences, self.longest, self.device = starts.numel() - 1, longest, q.device
        threshold = _threshold(dropout_p)
        keep_scale = 2.0**32 / (2**32 - threshold)
        self.numbers = (clip or 0, scale, keep_scale, _signed(seed), _signed(seed >> 32), _signed(threshold))
        self.constants = {
            "CLIPPED": clip is not None,
            "DROPOUT": dropout_p > 0.0,
            "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32",  # without effect where q is 16 bits wide
            "H": self.width,
        }

    def __call__(self, kernel: Any, cut: Tiles, step: int, *tensors: Tensor) -> None:
        count = triton.cdiv(self.longest, step)
        if not count * self.sequences * self.tokens:
            return
        on: AbstractContextManager[Any] = torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()
        with on:
            kernel[(count * self.sequences, self.heads)](
                *tensors, *self.strides, self.tokens, self.heads, count, *self.numbers, **self.constants,
                ROWS=cut.rows, COLUMNS=cut.columns, num_warps=cut.warps, num_stages=cut.stages,
            )  # fmt: skip


def _reach(clip: int | None, longest: int) -> int:
    """Return the rows that the table needs on either side of offset 0: those that near tiles touch, with their margins."""
    # A power of two, so that many batches share one table.
    return (triton.next_power_of_2(max(longest, 1)) if clip is None else clip) + 3 * kernels.SPAN


@lru_cache(maxsize=32)
def _tables(
    reach: int, width: int, clip: int | None, shift: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return two tables, computed with float64 angles.

    near: (reach + 1, H) in `dtype`, encodings from offset 0 on; rows of offsets from -reach precede it in memory
    small: (SPAN + 2, H) float32, sines and cosines of the first SPAN positions, then the two far rows
    """
    with torch.inference_mode(False):  # tables first created during inference must be usable in training
        near = sinusoids(torch.arange(-reach, reach + 1, dtype=torch.float64) + shift, width)
        far = torch.tensor([shift - (clip or 0), shift + (clip or 0)], dtype=torch.float64)
        small = sinusoids(torch.cat((torch.arange(kernels.SPAN, dtype=torch.float64), far)), width)
        return near.to(device, dtype)[reach:], small.to(device, torch.float32)


def _dense_rows(x: Tensor) -> Tensor:
    return x if x.stride(2) == 1 else x.contiguous()


def _signed(word: int) -> int:
    """Return the low 32 bits as a signed number. Triton chooses an integer's type, and so a kernel, by its size."""
    return (word & 0xFFFFFFFF) - ((word & 0x80000000) << 1)


def _threshold(dropout_p: float) -> int:
    return min(round(dropout_p * 2**32), 2**32 - 1)


def kept_weights(seed: int, heads: int, rows: Tensor, columns: Tensor, dropout_p: float) -> Tensor:
    """Return the dropout mask of `attend_varlen` in plain PyTorch, (N, rows, columns) bool, for tests.

    rows, columns: int64 positions among all packed tokens. Kept weights are divided by 1 - dropout_p.
    """
    head = torch.arange(heads, device=rows.device)
    key = _mix(_mix(((seed & 0xFFFFFFFF) + head * 0x9E3779B9) & 0xFFFFFFFF) ^ (seed >> 32 & 0xFFFFFFFF))
    row = _mix(rows ^ key[:, None])
    column = _mix(columns ^ _mix((key + 0x9E3779B9) & 0xFFFFFFFF)[:, None])
    return _scramble(row[:, :, None] ^ column[:, None, :]) >= _threshold(dropout_p)


def _scramble(x: Tensor) -> Tensor:
    """lowbias32 without its last step, on 32-bit numbers in int64; the kernels do the same in uint32."""
    x = _times(x ^ (x >> 16), 0x7FEB352D)
    return _times(x ^ (x >> 15), 0x846CA68B)


def _mix(x: Tensor) -> Tensor:
    x = _scramble(x)
    return x ^ (x >> 16)


def _times(x: Tensor, factor: int) -> Tensor:
    """Return x * factor modulo 2**32, computed in halves so that int64 does not overflow."""
    return (x * (factor & 0xFFFF) + ((x * (factor >> 16) & 0xFFFF) << 16)) & 0xFFFFFFFF
