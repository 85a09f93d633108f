"""NEZHA's attention on packed sequences by matrix products alone: any length, any clip, no memory that grows as L x L.

The rows of the score matrix S (L, L) of a head are computed block by block, and again in the backward pass. Relative terms:

    clipped      In memory with W places a row, the places S[i, i - c + 1 .. i + c] of all rows i form a matrix whose rows are
                 W + 1 apart. So one product Q (a[1:] - a[0])^T, written through that view, adds the band of all queries,
                 already skewed: 2c columns in place of L. What is further left needs nothing, as a softmax does not feel
                 q_i . a[0], taken from the whole row; what is further right needs one number a row, q_i . (a[2c] - a[0]).
                 Values: the same view of the weights P times the same rows, and the sum of P right of the band.
    paper form,  Q . a(j - i) is rotate(q_i, -i) . PE(j): a second product of full width is added to S, and P PE rotated back
    or L <= c+1  to the values (arXiv 1909.00204, equations 4 to 7, by the theorem of addition). PE has no gradient, so this
                 takes 12 products forward and backward, where plain attention of doubled width takes 14.

    L = 512, c = 64, in units of a product (L x H) (H x L): plain attention 7, clipped 8.25, paper form 12

Exact to rounding, gradients too, with dropout and with learned tables. Angles are float64. In half precision products are of
that type, softmax and its derivative float32.

Shapes: T packed tokens, N heads, H head width, L a sequence's length, G heads at once, R rows of a block, W their width in
memory. Names of tensors of one unit of work end with their shape.
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

BLOCK_PLACES = {"cpu": 3 << 17, "cuda": 1 << 26}
"""Scores computed at once: on a processor what its cache holds (1.5 MB of float32), on a GPU what fills it (256 MB)."""


def attend_banded(q: Tensor, k: Tensor, v: Tensor, packing: Packing, relative: Relative, dropout_p: float = 0.0) -> Tensor:
    """Context (T, N, H). Gradients also for the tables of `relative` where they are learned."""
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
    """What is computed at once: some heads of a block of rows of a sequence."""

    number: tuple[int, int]
    """Of the task and of its first row, for its draws."""
    start: int
    """Of the sequence."""
    length: int
    row0: int
    rows: int
    head0: int
    heads: int

    def queries(self, x: Tensor) -> Tensor:
        """(T, N, H) -> (G, R, H), a view"""
        return self._part(x, self.start + self.row0, self.rows)

    def keys(self, x: Tensor) -> Tensor:
        """(T, N, H) -> (G, L, H), a view"""
        return self._part(x, self.start, self.length)

    def _part(self, x: Tensor, start: int, count: int) -> Tensor:
        token, head, one = x.stride()
        offset = x.storage_offset() + start * token + self.head0 * head
        return x.as_strided((self.heads, count, x.shape[2]), (head, token, one), offset)


class _Pass:
    """One pass over all units, forward or backward."""

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
        self.memory: dict[tuple[str, int], tuple[Tensor, tuple[int, ...]]] = {}

    def _term(self, length: int) -> Term:
        clip = self.relative.clip
        if self.relative.functional and (clip is None or length <= clip + 1):
            return Rotated(length, clip or 0, self.q)
        keys, values = self.tables
        return Term() if keys is None or values is None else Band(length, keys, values, self.q)

    def tasks(self) -> list[list[_Unit]]:
        """All units; those that add to the same keys stand together, first rows first."""
        heads, most = self.q.shape[1], BLOCK_PLACES.get(self.q.device.type, BLOCK_PLACES["cuda"])
        tasks: list[list[_Unit]] = []
        for start, length in zip(self.packing.starts, self.packing.lengths, strict=True):
            if not length:
                continue
            places = length * (length + self.terms[length].span)
            rows = -(-length // -(-places // most))
            group = max(1, min(heads, most // places))
            for head0 in range(0, heads, group):
                some, number = min(group, heads - head0), len(tasks)
                blocks = [(row0, min(rows, length - row0)) for row0 in range(0, length, rows)]
                tasks.append([_Unit((number, row0), start, length, row0, count, head0, some) for row0, count in blocks])
        return tasks

    def each(self, task: Callable[[list[_Unit]], None]) -> None:
        """Do it for all tasks: on a processor one a thread, as their operations are small."""
        if self.q.device.type == "cpu":
            spread(task, self.tasks())
        else:
            for units in self.tasks():
                task(units)

    def room(self, name: str, unit: _Unit, dtype: torch.dtype, span: int, zeros: bool = False) -> Tensor:
        """(G, R, L + span) of memory, the same for every unit of this thread that asks for this name.

        `zeros`: zero where no unit of the same shape has written.
        """
        width = unit.length + span
        # Seen skewed, the rows of a head reach beyond its last place; oneDNN takes half precision only where heads stand apart.
        apart = unit.rows if dtype.itemsize == 2 else 0
        size = unit.heads * (unit.rows * width + apart)
        place, shape = (name, threading.get_ident()), (unit.heads, unit.rows, width)
        flat, before = self.memory.get(place, (None, None))
        if flat is None or flat.numel() < size:
            flat, before = torch.empty(size, dtype=dtype, device=self.q.device), None
        if before != shape:
            self.memory[place] = (flat.zero_() if zeros else flat, shape)
        return flat.as_strided(shape, (unit.rows * width + apart, width, 1))

    def products(self, unit: _Unit, x: Tensor, turned: Tensor | None, y: Tensor, side: int, scale: float) -> Tensor:
        """scale * x . (y + a) in float32 at least, (G, R, L); the common part of all a is left out."""
        term, rows = self.terms[unit.length], unit.queries(x)
        places = self.room(f"places {side}", unit, self.q.dtype, term.span)
        own = self.own(places, unit)
        torch.baddbmm(own, rows, unit.keys(y).mT, beta=0, alpha=scale, out=own)
        term.near(
            places, rows, None if turned is None else turned[:, unit.row0 : unit.row0 + unit.rows], side, scale, unit.row0
        )
        wide = own
        if term.span or own.dtype != self.wide:
            wide = self.room(f"wide {side}", unit, self.wide, 0).copy_(own)
        term.far(wide, rows, side, scale, unit.row0)
        return wide

    def apart(self, unit: _Unit, wide: Tensor) -> Tensor:
        """(G, R, L) in the type of q, with zeros around its rows (G, R, W), as the products over bands want it."""
        span = self.terms[unit.length].span
        if not span and wide.dtype == self.q.dtype:
            return wide
        places = self.room("apart", unit, self.q.dtype, span, zeros=True)
        self.own(places, unit).copy_(wide)
        return places

    def own(self, places: Tensor, unit: _Unit) -> Tensor:
        """(G, R, W) -> (G, R, L): the places that are keys."""
        left = self.terms[unit.length].left
        return places[..., left : left + unit.length]

    def weights(self, unit: _Unit, turned: Tensor | None) -> Tensor:
        """Softmax of a unit's scores, (G, R, L), in float32 at least."""
        scores = self.products(unit, self.q, turned, self.k, KEYS, self.scale)
        return torch.softmax(scores, -1, out=scores)

    def context(self) -> Tensor:
        """The forward pass: (T, N, H)."""
        out = torch.empty_like(self.q)

        def task(units: list[_Unit]) -> None:
            turned = self.turned(units[0], self.q)
            for unit in units:
                wide = self.weights(unit, turned)
                if self.dropout_p:
                    wide.mul_(self.kept(unit)).mul_(dropout.scale(self.dropout_p))
                self.sums(out, unit, self.apart(unit, wide), wide, self.v, VALUES)

        self.each(task)
        return out

    def sums(self, out: Tensor, unit: _Unit, weights: Tensor, wide: Tensor, y: Tensor, side: int) -> None:
        """out (T, N, H) = sum_j weights (y + a), in the unit's rows. Half precision is added up in float32."""
        rows, term = unit.queries(out), self.terms[unit.length]
        if out.dtype == self.wide:
            total = torch.bmm(self.own(weights, unit), unit.keys(y), out=rows)
        else:
            total = torch.bmm(self.own(weights, unit), unit.keys(y)).to(self.wide)
        term.spread(total, weights, wide, side, unit.row0)
        # The derivatives by scores, which weigh the keys, have the sum 0: what all encodings have in common adds nothing.
        if side == VALUES and (base := term.base(VALUES)) is not None:
            total += base if not self.dropout_p else wide.sum(-1, keepdim=True) * base
        if total is not rows:
            rows.copy_(total)

    def gradients(self, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The backward pass: gradients of q, k, v and the two tables, from that of the context."""
        dq, dk, dv = (torch.empty_like(self.q) for _ in range(3))
        learned = [table is not None and table.requires_grad for table in self.tables]
        parts: dict[tuple[int, ...], list[Tensor]] = {}

        def task(units: list[_Unit]) -> None:
            turned, turned_gradient = self.turned(units[0], self.q), self.turned(units[0], gradient)
            tables = [torch.zeros_like(table) for table in self.tables if table is not None] if any(learned) else []
            for unit in units:
                q, g = unit.queries(self.q), unit.queries(gradient)
                wide = self.weights(unit, turned)
                d_wide = self.products(unit, gradient, turned_gradient, self.v, VALUES, 1.0)
                dropped = wide
                if self.dropout_p:
                    kept, factor = self.kept(unit), dropout.scale(self.dropout_p)
                    dropped = torch.mul(wide, kept, out=self.room("dropped", unit, self.wide, 0)).mul_(factor)
                    if (base := self.terms[unit.length].base(VALUES)) is not None:
                        d_wide += torch.matmul(g.to(self.wide), base)[..., None]
                    d_wide.mul_(kept).mul_(factor)
                weights = self.apart(unit, dropped)
                self.add(dv, unit, weights, g, 1.0)
                if tables:
                    self.terms[unit.length].learn(tables[VALUES], g, weights, dropped, VALUES, unit.row0)
                # Derivative of the softmax: weight * (d - sum of weight * d), in one pass.
                torch.ops.aten._softmax_backward_data.out(d_wide, wide, -1, self.wide, grad_input=d_wide)
                d_scores = self.apart(unit, d_wide)
                self.sums(dq, unit, d_scores, d_wide, self.k, KEYS)
                self.add(dk, unit, d_scores, q, self.scale)
                if tables:
                    self.terms[unit.length].learn(tables[KEYS], q * self.scale, d_scores, d_wide, KEYS, unit.row0)
            parts[units[0].number] = tables

        self.each(task)
        d_tables: list[Tensor | None] = [None, None]
        if any(learned):
            # In the order of the units, whichever thread was first: the same bits again.
            ordered = [parts[number] for number in sorted(parts)]
            d_tables = [torch.stack([tables[side] for tables in ordered]).sum(0) for side in (KEYS, VALUES)]
        return dq.mul_(self.scale), dk, dv, *d_tables

    def turned(self, unit: _Unit, x: Tensor) -> Tensor | None:
        """(G, L, H) as the unit's term wants the rows turned."""
        return self.terms[unit.length].turned(unit.keys(x))

    def add(self, sums: Tensor, unit: _Unit, weights: Tensor, x: Tensor, alpha: float) -> None:
        """sums += alpha * weights^T x over the blocks of rows, which begin at row 0."""
        out = unit.keys(sums)
        torch.baddbmm(out, self.own(weights, unit).mT, x, beta=int(unit.row0 > 0), alpha=alpha, out=out)

    def kept(self, unit: _Unit) -> Tensor:
        """Which weights dropout leaves, (G, R, L) bool; the same in both passes."""
        shape = (unit.heads, unit.rows, unit.length)
        return dropout.drawn((self.seed, *unit.number), shape, self.dropout_p, self.q.device)
