"""NEZHA's attention in three exact implementations, none of which builds a table of L x L x H.

In each head, with the sinusoid a(p) = [sin(p w_0), cos(p w_0), sin(p w_1), ...] of the offset from query i to key j:

    score(i, j) = q_i . (k_j + a(p_ij)) / sqrt(H)          context(i) = sum_j softmax_j(score(i, j)) (v_j + a(p_ij))

    paper form      p_ij = j - i
    released form   p_ij = clip(j - i, -m, m) + m           the index of Huawei's table, m = 64

    doubled   q_i . a(j - i + f) = rotate(q_i, f - i) . a(j), and sum_j w_ij a(j - i + f) is sum_j w_ij a(j) rotated back: one
              call of scaled_dot_product_attention with [q; rotated q], [k; a], [v; a]. Exact where no offset is clipped: the
              paper form at any length, the released form up to m + 1 tokens.
    clipped   The released form beyond that, in blocks of queries. Keys within m of a block use their column of q @ table^T, and
              their weights are summed into the 2m + 1 rows of the table; all keys further away share the first or last row.
    weighed   Either form at any length with the full weights, which it returns: `attn_implementation="eager"`, and graphs that
              are recorded for other lengths (torch.jit.trace, torch.export, ONNX).

Learned rows for clipped offsets (Shaw et al., arXiv 1803.02155) use `clipped`.
Angles are float64: in float32 those of position 4,096 would be wrong in the fourth digit.
Shape suffixes: B batch, N heads, L query position, M key position (as many), H head width.
"""
# mypy: allow-untyped-calls, no-warn-return-any, disable-error-code="union-attr,operator,arg-type,index,attr-defined"

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128
"""Queries per block in `clipped`: the fastest of 64, 128 and 256 at lengths 128 to 2,048 on a CPU."""
HAVE_FLOAT64 = ("cpu", "cuda", "meta")
"""Devices that compute in float64. Apple's GPU ("mps") and others do not: their tables are computed on the CPU."""
is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # torch 2.7 tells the two apart


class Positions(NamedTuple):
    """Tables of relative positions for one length, device and type."""

    clip: int | None
    """m; None: no offset is clipped."""
    cos_LH: Tensor | None
    sin_LH: Tensor | None
    """Cosines and sines of (f - i) w, each twice, which rotate query i. None for learned tables."""
    place_MH: Tensor | None
    """a(j) of key j. None for learned tables."""
    keys_RH: Tensor | None
    values_RH: Tensor | None
    """2m + 1 rows for keys and for values: the sinusoids of the released form, or learned ones. None: no offset is clipped."""


def positions(length: int, width: int, clip: int | None, like: Tensor) -> Positions:
    """Return the tables of functional positions, in at least float32; products use the type of q.

    clip: m for the released form, None for the paper form; like: a tensor of the model's type and device
    """
    device = like.device if like.device.type in HAVE_FLOAT64 else torch.device("cpu")
    wide = torch.promote_types(like.dtype, torch.float32)
    place = torch.arange(length, device=device).double()
    angle_LH = ((clip or 0) - place)[:, None] * frequencies(width, device).repeat_interleave(2)
    cos_LH, sin_LH, place_MH = (
        table.to(like.device, wide) for table in (angle_LH.cos(), angle_LH.sin(), sinusoids(place, width))
    )
    rows = None
    if clip is not None:
        rows = sinusoids(torch.arange(2 * clip + 1, device=device).double(), width).to(like.device, wide)
    return Positions(clip, cos_LH, sin_LH, place_MH, rows, rows)


def learned(keys_RH: Tensor, values_RH: Tensor) -> Positions:
    """Return positions with learned rows for keys and for values, 2m + 1 each."""
    return Positions(len(keys_RH) // 2, None, None, None, keys_RH, values_RH)


def frequencies(width: int, device: torch.device) -> Tensor:
    """Return w_0 .. w_(H/2 - 1), float64."""
    return 10_000.0 ** (-torch.arange(0, width, 2, device=device).double() / width)


def sinusoids(place: Tensor, width: int) -> Tensor:
    """Return the rows a(place) of `place` (P,): (P, H), float64."""
    angle = place[:, None] * frequencies(width, place.device)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)


def rotate(x: Tensor, where: Positions) -> Tensor:
    """Rotate queries x (B, N, L, H), so that rotate(x) . a(j) == x . a(j - i + f) for the query at position i."""
    turned = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
    return (x * where.cos_LH + turned * where.sin_LH).to(x.dtype)


def rotate_back(x: Tensor, where: Positions) -> Tensor:
    """Rotate sums x (B, N, L, H) back: rotate_back(sum_j w_j a(j)) == sum_j w_j a(j - i + f) for the query at position i."""
    turned = torch.stack((x[..., 1::2], -x[..., 0::2]), dim=-1).flatten(-2)
    return (x * where.cos_LH + turned * where.sin_LH).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, where: Positions | None, bias: Tensor | None, dropout: float) -> Tensor:
    """Return the context (B, N, L, H).

    q: (B, N, L, H); k, v: (B, N, M, H)
    where: relative positions; None for plain attention
    bias: (B, 1 or N, 1 or L, M), 0 for tokens and half the lowest number for padding; None: no padding
    """
    if where is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
    if where.clip is None:
        return doubled(q, k, v, where, bias, dropout)
    if torch.jit.is_tracing() or is_exporting():  # the graph would keep the branches of this length, wrong at others
        return weighed(q, k, v, where, bias, dropout)[0]
    if where.place_MH is not None and q.shape[-2] <= where.clip + 1:
        return doubled(q, k, v, where, bias, dropout)
    return clipped(q, k, v, where, bias, dropout)


def doubled(q: Tensor, k: Tensor, v: Tensor, where: Positions, bias: Tensor | None, dropout: float) -> Tensor:
    """Return the context by plain attention of twice the width; exact where no offset is clipped. Shapes as in `attend`."""
    width = q.shape[-1]
    place = where.place_MH.to(k.dtype).expand_as(k)
    out = F.scaled_dot_product_attention(
        torch.cat((q, rotate(q, where)), -1),
        torch.cat((k, place), -1),
        torch.cat((v, place), -1),
        attn_mask=bias,
        dropout_p=dropout,
        scale=width**-0.5,
    )
    return out[..., :width] + rotate_back(out[..., width:], where)


def clipped(q: Tensor, k: Tensor, v: Tensor, where: Positions, bias: Tensor | None, dropout: float) -> Tensor:
    """Return the context for clipped offsets at any length, one block of queries at a time. Shapes as in `attend`."""
    length, clip, q = q.shape[-2], where.clip, q * q.shape[-1] ** -0.5
    # q_i . a for all rows a of the table.
    relative = q @ where.keys_RH.to(q.dtype).mT  # (B, N, L, 2m + 1)
    place = torch.arange(length, device=q.device)
    blocks = []
    for begin in range(0, length, BLOCK):
        end = min(length, begin + BLOCK)
        left, right = max(0, begin - clip), min(length, end + clip)  # keys within m of some query of the block
        # Scores: near keys by their own row, all others by the first or last one.
        row = (place[left:right] - place[begin:end, None]).clamp(-clip, clip) + clip
        row = row.expand(*q.shape[:2], -1, -1)
        near = relative[..., begin:end, :]
        scores = q[..., begin:end, :] @ k.mT
        scores[..., left:right] += near.gather(-1, row)
        scores[..., :left] += near[..., :1]
        scores[..., right:] += near[..., -1:]
        rows = bias if bias is None or bias.shape[-2] == 1 else bias[..., begin:end, :]
        weights = dropped(softmax(scores, rows), dropout)
        # Sum of the weights that use each row, (B, N, rows of the block, 2m + 1).
        mass = torch.zeros(*q.shape[:2], end - begin, 2 * clip + 1, dtype=weights.dtype, device=q.device)
        mass = mass.scatter_add(-1, row, weights[..., left:right])
        mass[..., 0] += weights[..., :left].sum(-1)
        mass[..., -1] += weights[..., right:].sum(-1)
        blocks.append(weights.to(v.dtype) @ v + mass.to(v.dtype) @ where.values_RH.to(v.dtype))
    return torch.cat(blocks, dim=-2)


def weighed(
    q: Tensor, k: Tensor, v: Tensor, where: Positions | None, bias: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Return the context (B, N, L, H) and the weights (B, N, L, M), without branches on the length, as traced graphs need.

    Shapes as in `attend`.
    """
    q = q * q.shape[-1] ** -0.5
    scores = q @ k.transpose(-1, -2)
    if where is None:
        weights = dropped(softmax(scores, bias), dropout)
        return weights.to(v.dtype) @ v, weights
    if where.place_MH is None:
        return _weighed_by_row(q, scores, v, where, bias, dropout)
    # q_i . a(j - i + f) for all pairs, as if unclipped.
    place = where.place_MH.to(q.dtype)
    relative = rotate(q, where) @ place.transpose(-1, -2)
    if where.clip is None:
        weights = dropped(softmax(scores + relative, bias), dropout)
        probs = weights.to(v.dtype)
        return probs @ v + rotate_back(probs @ place, where), weights
    # Offsets beyond the clip use the first or last row instead.
    position = torch.arange(q.shape[-2], device=q.device)
    offset = position - position[:, None]
    left, right = offset < -where.clip, offset > where.clip
    ends = where.keys_RH[:: 2 * where.clip].to(q.dtype)  # (2, H): the rows for keys far left and far right
    far = q @ ends.transpose(-1, -2)
    relative = torch.where(left, far[..., :1], torch.where(right, far[..., 1:], relative))
    weights = dropped(softmax(scores + relative, bias), dropout)
    # Values: v, near rows by rotation, and the two far rows by the sums of their weights.
    probs = weights.to(v.dtype)
    mass = torch.stack(((weights * left).sum(-1), (weights * right).sum(-1)), -1).to(v.dtype)
    near = (probs * ~(left | right)) @ place
    return probs @ v + rotate_back(near, where) + mass @ ends, weights


def _weighed_by_row(
    q: Tensor, scores: Tensor, v: Tensor, where: Positions, bias: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Return context and weights for learned rows, which cannot be rotated: gather a row for each pair, scatter its weight.

    q: (B, N, L, H), scaled; scores: (B, N, L, M), q . k; v: (B, N, M, H)
    """
    position = torch.arange(q.shape[-2], device=q.device)
    row = (position - position[:, None]).clamp(-where.clip, where.clip) + where.clip
    row = row.expand_as(scores)
    relative = (q @ where.keys_RH.to(q.dtype).transpose(-1, -2)).gather(-1, row)
    weights = dropped(softmax(scores + relative, bias), dropout)
    mass = torch.zeros_like(weights[..., :1]).expand(-1, -1, -1, 2 * where.clip + 1).scatter_add(-1, row, weights)
    return weights.to(v.dtype) @ v + mass.to(v.dtype) @ where.values_RH.to(v.dtype), weights


def softmax(scores: Tensor, bias: Tensor | None) -> Tensor:
    """Return the softmax in at least float32: bfloat16 keeps three digits of a probability."""
    wide = torch.promote_types(scores.dtype, torch.float32)
    return (scores if bias is None else scores + bias).softmax(dim=-1, dtype=wide)


def dropped(weights: Tensor, dropout: float) -> Tensor:
    return F.dropout(weights, dropout) if dropout else weights
