"""NEZHA's attention on packed sequences with matrix products only: any length, any clip, no memory that grows as L x L.

A first reader can skip this file: eager.py computes the same from the definition.

Rows of the score matrix S (L, L) of a head are computed in blocks, and again in the backward pass. Relative terms:

    clipped      Let a row of S have W elements in memory. The elements S[i, i - c + 1 .. i + c] of all rows i then form a
                 matrix with row stride W + 1. One product Q (a[1:] - a[0])^T, written through that view, adds the relative
                 term of the whole band, already skewed: 2c columns instead of L. Keys left of the band need nothing: q_i . a[0]
                 is subtracted from the whole row, which does not change its softmax. Keys right of the band all get the same
                 number, q_i . (a[2c] - a[0]).
                 For values: the same view of the weights P times the same rows, plus the sum of P right of the band.
    paper form,  q_i . a(j - i) = rotate(q_i, -i) . PE(j), by the angle addition theorem: a second product of full width is
    or L <= c+1  added to S, and P PE is rotated back and added to the context. PE has no gradient, so forward and backward
                 take 12 products; plain attention of doubled width would take 14.

    L = 512, c = 64, in units of one product (L x H) (H x L): plain attention 7, clipped 8.25, paper form 12

Context and gradients are exact up to rounding, with dropout and learned tables too. Angles are float64. In half precision,
products use that type; softmax and its derivative use float32.

Shapes: T packed tokens, N heads, H head width, L length of a sequence, G heads processed at once, R rows of a block, W elements
of a row in memory: L keys and the margins that the band overhangs.
Source: arXiv 1909.00204, equations 4 to 7.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.attention import dropout
from model.attention.packing import Packing
from model.attention.positions import Relative
from model.attention.terms import KEYS, VALUES, Band, Rotated, Term
from model.threads import spread

BLOCK_SCORES = {"cpu": 3 << 17, "cuda": 1 << 26}
"""Scores computed at once: as many as fit a CPU's cache (1.5 MB of float32), or keep a GPU busy (256 MB)."""


def attend_banded(q: Tensor, k: Tensor, v: Tensor, packing: Packing, relative: Relative, dropout_p: float = 0.0) -> Tensor:
    """Return the context (T, N, H). Gradients reach the tables of `relative` too if they are learned.

    q, k, v: (T, N, H), one floating-point type
    """
    keys, values = relative.tables(q.device)
    seed = dropout.new_seed() if dropout_p else 0
    inputs = (q.contiguous(), k.contiguous(), v.contiguous(), keys, values)
    context: Tensor = _Banded.apply(*inputs, packing, relative, dropout_p, seed)  # type: ignore[no-untyped-call]
    return context


class _Banded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *inputs, packing, relative, dropout_p, seed = arguments
        ctx.settings = (packing, relative, dropout_p, seed)
        with torch.autocast(inputs[0].device.type, enabled=False):
            context = _Pass(*inputs, *ctx.settings).context()
        ctx.save_for_backward(*inputs)
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            gradients = _Pass(*inputs, *ctx.settings).gradients(gradient.contiguous())
        return (*gradients, None, None, None, None)


class _Unit(NamedTuple):
    """The part of the scores that is computed at once: a block of rows of one sequence, in some heads."""

    number: tuple[int, int]
    """Number of the task, and the block's first row: the seed of its dropout."""
    start: int
    """First packed token of the sequence."""
    length: int
    """L"""
    row0: int
    """First row of the block."""
    rows: int
    """R"""
    head0: int
    """First head."""
    heads: int
    """G"""

    def queries(self, x: Tensor) -> Tensor:
        """The block's rows: (T, N, H) -> (G, R, H), a view."""
        return self._part(x, self.start + self.row0, self.rows)

    def keys(self, x: Tensor) -> Tensor:
        """All rows of the sequence: (T, N, H) -> (G, L, H), a view."""
        return self._part(x, self.start, self.length)

    def _part(self, x: Tensor, start: int, count: int) -> Tensor:
        token, head, one = x.stride()
        offset = x.storage_offset() + start * token + self.head0 * head
        return x.as_strided((self.heads, count, x.shape[2]), (head, token, one), offset)


class _Pass:
    """One pass over all units, forward or backward.

    `units` of a task share their keys. `wide` tensors are float32, or float64 if q is; `padded` tensors have margins around the
    keys, (G, R, W).
    """

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        keys: Tensor | None,
        values: Tensor | None,
        packing: Packing,
        relative: Relative,
        dropout_p: float,
        seed: int,
    ) -> None:
        self.q, self.k, self.v, self.tables = q, k, v, (keys, values)
        self.packing, self.relative, self.dropout_p, self.seed = packing, relative, dropout_p, seed
        self.scale = q.shape[2] ** -0.5
        self.wide = torch.promote_types(q.dtype, torch.float32)
        self.terms = {length: self._term(length) for length in set(packing.lengths) if length}
        self.buffers: dict[tuple[str, int], tuple[Tensor, tuple[int, ...]]] = {}

    def _term(self, length: int) -> Term:
        clip = self.relative.clip
        if self.relative.functional and (clip is None or length <= clip + 1):
            return Rotated(length, clip or 0, self.q)
        keys, values = self.tables
        return Term() if keys is None or values is None else Band(length, keys, values, self.q)

    def tasks(self) -> list[list[_Unit]]:
        """Return all units. Those that add to the gradients of the same keys form one task, in the order of their rows."""
        heads, most = self.q.shape[1], BLOCK_SCORES.get(self.q.device.type, BLOCK_SCORES["cuda"])
        tasks: list[list[_Unit]] = []
        for start, length in zip(self.packing.starts, self.packing.lengths, strict=True):
            if not length:
                continue
            count = length * (length + self.terms[length].span)
            rows = -(-length // -(-count // most))
            group = max(1, min(heads, most // count))
            for head0 in range(0, heads, group):
                some, number = min(group, heads - head0), len(tasks)
                blocks = [(row0, min(rows, length - row0)) for row0 in range(0, length, rows)]
                tasks.append([_Unit((number, row0), start, length, row0, count, head0, some) for row0, count in blocks])
        return tasks

    def each(self, task: Callable[[list[_Unit]], None]) -> None:
        """Run `task` for each list of units: on a CPU one per thread, since the operations are small."""
        if self.q.device.type == "cpu":
            spread(task, self.tasks())
        else:
            for units in self.tasks():
                task(units)

    def buffer(self, name: str, unit: _Unit, dtype: torch.dtype, span: int, zeros: bool = False) -> Tensor:
        """Return memory of shape (G, R, L + span), reused for all units of this thread and this name.

        `zeros`: zero wherever no unit of the same shape has written.
        """
        width = unit.length + span
        # The skewed view of a head reaches beyond its last element. In half precision oneDNN needs heads that do not overlap.
        gap = unit.rows if dtype.itemsize == 2 else 0
        size = unit.heads * (unit.rows * width + gap)
        place, shape = (name, threading.get_ident()), (unit.heads, unit.rows, width)
        flat, before = self.buffers.get(place, (None, None))
        if flat is None or flat.numel() < size:
            flat, before = torch.empty(size, dtype=dtype, device=self.q.device), None
        if before != shape:
            self.buffers[place] = (flat.zero_() if zeros else flat, shape)
        return flat.as_strided(shape, (unit.rows * width + gap, width, 1))

    def products(self, unit: _Unit, x: Tensor, rotated: Tensor | None, y: Tensor, side: int, scale: float) -> Tensor:
        """Return scale * x . (y + a), (G, R, L), in at least float32, without what all encodings a have in common.

        x, y: (T, N, H); rotated: (G, L, H), rows x of the sequence as `Term.rotated` returns them
        side: KEYS for scores, VALUES for the gradient of the weights
        """
        term, rows = self.terms[unit.length], unit.queries(x)
        # x . y, in the key columns of a buffer with margins.
        padded = self.buffer(f"padded {side}", unit, self.q.dtype, term.span)
        scores = self.key_columns(padded, unit)
        torch.baddbmm(scores, rows, unit.keys(y).mT, beta=0, alpha=scale, out=scores)
        # + x . a inside the band, or everywhere.
        term.add_near(
            padded, rows, None if rotated is None else rotated[:, unit.row0 : unit.row0 + unit.rows], side, scale, unit.row0
        )
        # Contiguous, in at least float32.
        wide = scores
        if term.span or scores.dtype != self.wide:
            wide = self.buffer(f"wide {side}", unit, self.wide, 0).copy_(scores)
        # + x . a right of the band.
        term.add_far(wide, rows, side, scale, unit.row0)
        return wide

    def with_margins(self, unit: _Unit, wide: Tensor) -> Tensor:
        """Return (G, R, L) as (G, R, W) in the type of q, with zero margins, as products over the band need it."""
        span = self.terms[unit.length].span
        if not span and wide.dtype == self.q.dtype:
            return wide
        padded = self.buffer("margins", unit, self.q.dtype, span, zeros=True)
        self.key_columns(padded, unit).copy_(wide)
        return padded

    def key_columns(self, padded: Tensor, unit: _Unit) -> Tensor:
        """The columns that are keys: (G, R, W) -> (G, R, L), a view."""
        left = self.terms[unit.length].left
        return padded[..., left : left + unit.length]

    def weights(self, unit: _Unit, rotated: Tensor | None) -> Tensor:
        """Return the softmax of a unit's scores, (G, R, L), in at least float32."""
        scores = self.products(unit, self.q, rotated, self.k, KEYS, self.scale)
        return torch.softmax(scores, -1, out=scores)

    def context(self) -> Tensor:
        """Run the forward pass; return the context (T, N, H)."""
        out = torch.empty_like(self.q)

        def task(units: list[_Unit]) -> None:
            rotated = self.rotated(units[0], self.q)
            for unit in units:
                wide = self.weights(unit, rotated)
                if self.dropout_p:
                    wide.mul_(self.dropout_mask(unit)).mul_(dropout.scale(self.dropout_p))
                self.weighted_sum(out, unit, self.with_margins(unit, wide), wide, self.v, VALUES)

        self.each(task)
        return out

    def weighted_sum(self, out: Tensor, unit: _Unit, weights: Tensor, wide: Tensor, y: Tensor, side: int) -> None:
        """Write sum_j weights (y + a) to the unit's rows of `out`. Half precision is summed in float32.

        out, y: (T, N, H); weights: (G, R, W), zero in the margins; wide: (G, R, L), the same weights in at least float32
        """
        rows, term = unit.queries(out), self.terms[unit.length]
        # sum_j weights y.
        if out.dtype == self.wide:
            total = torch.bmm(self.key_columns(weights, unit), unit.keys(y), out=rows)
        else:
            total = torch.bmm(self.key_columns(weights, unit), unit.keys(y)).to(self.wide)
        # + sum_j weights (a - a[0]), then a[0]. On the keys' side the weights are gradients of scores: they sum to 0.
        term.add_values(total, weights, wide, side, unit.row0)
        if side == VALUES and (base := term.base(VALUES)) is not None:
            total += base if not self.dropout_p else wide.sum(-1, keepdim=True) * base
        if total is not rows:
            rows.copy_(total)

    def gradients(self, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Run the backward pass: from the gradient of the context (T, N, H) to those of q, k, v and the two tables.

        The tables' are None unless they are learned.
        """
        dq, dk, dv = (torch.empty_like(self.q) for _ in range(3))
        learned = [table is not None and table.requires_grad for table in self.tables]
        parts: dict[tuple[int, ...], list[Tensor]] = {}

        def task(units: list[_Unit]) -> None:
            rotated, rotated_gradient = self.rotated(units[0], self.q), self.rotated(units[0], gradient)
            tables = [torch.zeros_like(table) for table in self.tables if table is not None] if any(learned) else []
            for unit in units:
                q, g = unit.queries(self.q), unit.queries(gradient)
                # The weights again, and the gradient of the dropped weights: g . (v + a).
                wide = self.weights(unit, rotated)
                d_wide = self.products(unit, gradient, rotated_gradient, self.v, VALUES, 1.0)
                # Back through dropout. Dropped weights do not sum to 1, so here the common part of the encodings counts.
                dropped = wide
                if self.dropout_p:
                    kept, factor = self.dropout_mask(unit), dropout.scale(self.dropout_p)
                    dropped = torch.mul(wide, kept, out=self.buffer("dropped", unit, self.wide, 0)).mul_(factor)
                    if (base := self.terms[unit.length].base(VALUES)) is not None:
                        d_wide += torch.matmul(g.to(self.wide), base)[..., None]
                    d_wide.mul_(kept).mul_(factor)
                # Gradients of values, and of their table.
                weights = self.with_margins(unit, dropped)
                self.accumulate(dv, unit, weights, g, 1.0)
                if tables:
                    self.terms[unit.length].add_table_gradient(tables[VALUES], g, weights, dropped, VALUES, unit.row0)
                # Back through the softmax: weight * (d - sum of weight * d), in one pass.
                torch.ops.aten._softmax_backward_data.out(d_wide, wide, -1, self.wide, grad_input=d_wide)
                # Gradients of queries, of keys, and of the keys' table. The factor 1 / sqrt(H) of dq comes at the end.
                d_scores = self.with_margins(unit, d_wide)
                self.weighted_sum(dq, unit, d_scores, d_wide, self.k, KEYS)
                self.accumulate(dk, unit, d_scores, q, self.scale)
                if tables:
                    self.terms[unit.length].add_table_gradient(tables[KEYS], q * self.scale, d_scores, d_wide, KEYS, unit.row0)
            parts[units[0].number] = tables

        self.each(task)
        d_tables: list[Tensor | None] = [None, None]
        if any(learned):
            # Summed in the order of the units, not of the threads, so that the bits are reproducible.
            ordered = [parts[number] for number in sorted(parts)]
            d_tables = [torch.stack([tables[side] for tables in ordered]).sum(0) for side in (KEYS, VALUES)]
        return dq.mul_(self.scale), dk, dv, *d_tables

    def rotated(self, unit: _Unit, x: Tensor) -> Tensor | None:
        """Return the rows of the unit's sequence, rotated if its term needs that: (T, N, H) -> (G, L, H) or None."""
        return self.terms[unit.length].rotated(unit.keys(x))

    def accumulate(self, sums: Tensor, unit: _Unit, weights: Tensor, x: Tensor, alpha: float) -> None:
        """Add alpha * weights^T x to the sequence's keys in `sums`. The first block, at row 0, overwrites them instead.

        sums: (T, N, H); weights: (G, R, W); x: (G, R, H)
        """
        out = unit.keys(sums)
        torch.baddbmm(out, self.key_columns(weights, unit).mT, x, beta=int(unit.row0 > 0), alpha=alpha, out=out)

    def dropout_mask(self, unit: _Unit) -> Tensor:
        """Return which weights dropout keeps, (G, R, L) bool; the same in both passes."""
        shape = (unit.heads, unit.rows, unit.length)
        return dropout.keep_mask((self.seed, *unit.number), shape, self.dropout_p, self.q.device)
