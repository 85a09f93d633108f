"""NEZHA's attention in three exact forms, none of which writes out a table of L x L x H.

In each head, with the sinusoid a(p) = [sin(p w_0), cos(p w_0), sin(p w_1), ...] of how far key j stands from query i:

    score(i, j) = q_i . (k_j + a(p_ij)) / sqrt(H)          context(i) = sum_j softmax_j(score(i, j)) (v_j + a(p_ij))

    paper form      p_ij = j - i
    released form   p_ij = clip(j - i, -m, m) + m           the index of Huawei's table, m = 64

    doubled   q_i . a(j - i + f) = rotate(q_i, f - i) . a(j), and sum_j w_ij a(j - i + f) is sum_j w_ij a(j) rotated back: one
              call of scaled_dot_product_attention with [q; rotated q], [k; a], [v; a]. Exact where nothing is clipped: the
              paper's form at any length, the released one up to m + 1 tokens.
    clipped   The released form beyond. Queries by the block; keys within m of a block take their row of q @ table^T, and their
              weights are summed into the 2m + 1 rows of the table; all keys further away share the first or the last row.
    weighed   Either form at any length with the weights in full, which are returned: `attn_implementation="eager"`, and ONNX.

Learned rows for clipped offsets (Shaw and others, arXiv 1803.02155) go the way of `clipped`.
Angles are float64: in float32 those of position 4,096 would be wrong in the fourth digit.
Shape suffixes: B batch, N heads, L query position, M key position (as many), H head width.
"""
# mypy: allow-untyped-calls, no-warn-return-any, disable-error-code="union-attr,operator,arg-type,index"

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128
"""Queries of a block of `clipped`: measured best of 64, 128 and 256 at lengths 128 to 2,048 on a CPU."""


class Positions(NamedTuple):
    """What attention needs to know of positions, for one length, device and type."""

    clip: int | None
    """m; None: nothing is clipped."""
    cos_LH: Tensor | None
    sin_LH: Tensor | None
    """Angles to rotate query i by: (f - i) w, each twice. None where tables are learned."""
    place_MH: Tensor | None
    """a(j) of key j."""
    keys_RH: Tensor | None
    values_RH: Tensor | None
    """2m + 1 rows that keys and values take: the sinusoids of the released form, or learned ones. None: nothing is clipped."""


def positions(length: int, width: int, clip: int | None, like: Tensor) -> Positions:
    """`clip` is m of the released form, None for the paper's. Tables are float32 at least: products are taken in q's type."""
    place = torch.arange(length, device=like.device).double()
    wide = torch.promote_types(like.dtype, torch.float32)
    angle_LH = ((clip or 0) - place)[:, None] * frequencies(width, like.device).repeat_interleave(2)
    rows = None
    if clip is not None:
        rows = sinusoids(torch.arange(2 * clip + 1, device=like.device).double(), width).to(wide)
    return Positions(clip, angle_LH.cos().to(wide), angle_LH.sin().to(wide), sinusoids(place, width).to(wide), rows, rows)


def learned(keys_RH: Tensor, values_RH: Tensor) -> Positions:
    """Learned rows for keys and for values, 2m + 1 each."""
    return Positions(len(keys_RH) // 2, None, None, None, keys_RH, values_RH)


def frequencies(width: int, device: torch.device) -> Tensor:
    """w_0 .. w_(H/2 - 1), float64."""
    return 10_000.0 ** (-torch.arange(0, width, 2, device=device).double() / width)


def sinusoids(place: Tensor, width: int) -> Tensor:
    """Rows a(place): (P, H), float64."""
    angle = place[:, None] * frequencies(width, place.device)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)


def rotate(x: Tensor, where: Positions) -> Tensor:
    """x . a(j - i + f) == rotate(x, ...) . a(j) for the query x of position i."""
    turned = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
    return (x * where.cos_LH + turned * where.sin_LH).to(x.dtype)


def rotate_back(x: Tensor, where: Positions) -> Tensor:
    """sum_j w_j a(j - i + f) == rotate_back(sum_j w_j a(j), ...) for the query of position i."""
    turned = torch.stack((x[..., 1::2], -x[..., 0::2]), dim=-1).flatten(-2)
    return (x * where.cos_LH + turned * where.sin_LH).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, where: Positions | None, bias: Tensor | None, dropout: float) -> Tensor:
    """Context (B, N, L, H). `where`: None for plain attention. `bias` (B, 1, 1, M): 0 where a key is a token, the lowest number
    there is where it is padding."""
    if where is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
    if where.place_MH is not None and (where.clip is None or q.shape[-2] <= where.clip + 1):
        return doubled(q, k, v, where, bias, dropout)
    return clipped(q, k, v, where, bias, dropout)


def doubled(q: Tensor, k: Tensor, v: Tensor, where: Positions, bias: Tensor | None, dropout: float) -> Tensor:
    """Plain attention of twice the width; exact where no offset is clipped."""
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
    """Clipped offsets at any length, a block of queries at a time."""
    length, clip, q = q.shape[-2], where.clip, q * q.shape[-1] ** -0.5
    relative = q @ where.keys_RH.to(q.dtype).mT  # (B, N, L, 2m + 1)
    place = torch.arange(length, device=q.device)
    blocks = []
    for begin in range(0, length, BLOCK):
        end = min(length, begin + BLOCK)
        left, right = max(0, begin - clip), min(length, end + clip)  # keys that some query of the block has near
        row = (place[left:right] - place[begin:end, None]).clamp(-clip, clip) + clip
        row = row.expand(*q.shape[:2], -1, -1)
        near = relative[..., begin:end, :]
        scores = q[..., begin:end, :] @ k.mT
        scores[..., left:right] += near.gather(-1, row)
        scores[..., :left] += near[..., :1]
        scores[..., right:] += near[..., -1:]
        weights = dropped(softmax(scores, bias), dropout)
        mass = torch.zeros(*q.shape[:2], end - begin, 2 * clip + 1, dtype=weights.dtype, device=q.device)
        mass = mass.scatter_add(-1, row, weights[..., left:right])
        mass[..., 0] += weights[..., :left].sum(-1)
        mass[..., -1] += weights[..., right:].sum(-1)
        blocks.append(weights.to(v.dtype) @ v + mass.to(v.dtype) @ where.values_RH.to(v.dtype))
    return torch.cat(blocks, dim=-2)


def weighed(
    q: Tensor, k: Tensor, v: Tensor, where: Positions | None, bias: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Context (B, N, L, H) and weights (B, N, L, M). No branch on the length: what graphs are made of."""
    q = q * q.shape[-1] ** -0.5
    scores = q @ k.transpose(-1, -2)
    if where is None:
        weights = dropped(softmax(scores, bias), dropout)
        return weights.to(v.dtype) @ v, weights
    if where.place_MH is None:
        return _weighed_by_row(q, scores, v, where, bias, dropout)
    place = where.place_MH.to(q.dtype)
    relative = rotate(q, where) @ place.transpose(-1, -2)
    if where.clip is None:
        weights = dropped(softmax(scores + relative, bias), dropout)
        shares = weights.to(v.dtype)
        return shares @ v + rotate_back(shares @ place, where), weights
    position = torch.arange(q.shape[-2], device=q.device)
    offset = position - position[:, None]
    left, right = offset < -where.clip, offset > where.clip
    ends = where.keys_RH[:: 2 * where.clip].to(q.dtype)  # (2, H): the rows of keys far to the left, and far to the right
    far = q @ ends.transpose(-1, -2)
    relative = torch.where(left, far[..., :1], torch.where(right, far[..., 1:], relative))
    weights = dropped(softmax(scores + relative, bias), dropout)
    shares = weights.to(v.dtype)
    mass = torch.stack(((weights * left).sum(-1), (weights * right).sum(-1)), -1).to(v.dtype)
    near = (shares * ~(left | right)) @ place
    return shares @ v + rotate_back(near, where) + mass @ ends, weights


def _weighed_by_row(
    q: Tensor, scores: Tensor, v: Tensor, where: Positions, bias: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Learned rows are no sinusoids, and cannot be rotated: each pair takes its own, and gives its weight to it."""
    position = torch.arange(q.shape[-2], device=q.device)
    row = (position - position[:, None]).clamp(-where.clip, where.clip) + where.clip
    row = row.expand_as(scores)
    relative = (q @ where.keys_RH.to(q.dtype).transpose(-1, -2)).gather(-1, row)
    weights = dropped(softmax(scores + relative, bias), dropout)
    mass = torch.zeros_like(weights[..., :1]).expand(-1, -1, -1, 2 * where.clip + 1).scatter_add(-1, row, weights)
    return weights.to(v.dtype) @ v + mass.to(v.dtype) @ where.values_RH.to(v.dtype), weights


def softmax(scores: Tensor, bias: Tensor | None) -> Tensor:
    """In float32 at least: bfloat16 keeps three digits of a probability."""
    wide = torch.promote_types(scores.dtype, torch.float32)
    return (scores if bias is None else scores + bias).softmax(dim=-1, dtype=wide)


def dropped(weights: Tensor, dropout: float) -> Tensor:
    return F.dropout(weights, dropout) if dropout else weights
