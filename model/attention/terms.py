"""What relative positions add to the scores and to the values of a sequence, for model/attention/banded.py.

    Term       nothing: BERT's attention
    Rotated    functional positions that are nowhere clipped: a second product of full width
    Band       a table of 2m + 1 rows: a product over the band, written through a skewed view of the scores

A band with c = 1 in memory of L = 4 keys and W = 5 places a row; . is no key, and [ ] are the places that j = i, i + 1 take:

    [k k]k k .          row i begins W = 5 places after row i - 1, and its band W + 1 = 6 places after that of row i - 1:
     k[k k]k .          one matrix (L, 2c) in which every row has the same offsets j - i = 1 - c .. c
     k k[k k].
     k k k[k .]

Shapes: N heads, G heads at once, L a sequence's length, R rows of a block from `row0` on, W places of a row, H head width.
"""

import threading
from functools import lru_cache

import torch
from torch import Tensor

from model.attention.positions import rotate, rotation

KEYS, VALUES = 0, 1
"""Sides: the scores are products with keys, the context sums values."""


class Term:
    """What positions add in a sequence of one length; this one: nothing (BERT's attention)."""

    left = span = 0
    """Places of a row before its first key, and in all that are no keys."""

    def turned(self, x: Tensor) -> Tensor | None:
        """What `near` needs of the rows (G, L, H) of a sequence."""
        return None

    def near(self, places: Tensor, x: Tensor, turned: Tensor | None, side: int, scale: float, row0: int) -> None:
        """Add scale * x . a to scores (G, R, W) that have x . y, but for what `far` adds. What is no key becomes anything."""

    def far(self, wide: Tensor, x: Tensor, side: int, scale: float, row0: int) -> None:
        """Add to scores (G, R, L) what is right of the band."""

    def spread(self, out: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        """Add sum_j weights(i, j) a(j - i) to out (G, R, H). Weights (G, R, W) are 0 at what is no key, `wide` is (G, R, L)."""

    def base(self, side: int) -> Tensor | None:
        """(H,): of all encodings of a row the common part, which the others leave out."""
        return None

    def learn(self, gradient: Tensor, x: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        """Add the gradient of x . (sum_j weights a) to that of a table (2m + 1, H)."""


class Rotated(Term):
    """Functional encodings that are nowhere clipped: a second product of full width."""

    def __init__(self, length: int, shift: int, like: Tensor) -> None:
        self.phases, self.encodings = rotation(like.shape[-1], length, shift, like.dtype, like.device)
        self.back = self.phases.conj()

    def turned(self, x: Tensor) -> Tensor | None:
        return rotate(x, self.phases)

    def near(self, places: Tensor, x: Tensor, turned: Tensor | None, side: int, scale: float, row0: int) -> None:
        assert turned is not None
        torch.baddbmm(places, turned, _repeated(self.encodings, len(x)).mT, alpha=scale, out=places)

    def spread(self, out: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        summed = torch.matmul(weights, self.encodings).to(out.dtype)
        out += rotate(summed, self.back[row0 : row0 + out.shape[1]])


class Band(Term):
    """A table of 2m + 1 rows: what stands nearer than c = min(m, L - 1) has a row of its own, the rest shares the last ones."""

    def __init__(self, length: int, keys: Tensor, values: Tensor, like: Tensor) -> None:
        middle = len(keys) // 2
        self.clip = clip = min(middle, length - 1)
        self.rows = slice(middle - clip, middle + clip + 1)
        self.tables = [(table[self.rows][1:] - table[self.rows][:1]).to(like.dtype) for table in (keys, values)]
        wide = torch.promote_types(like.dtype, torch.float32)
        self.bases = [table[self.rows][0].to(wide) for table in (keys, values)]
        self.lasts = [(table[self.rows][-1] - table[self.rows][0]).to(wide) for table in (keys, values)]
        self.left, self.span = max(clip - 1, 0), max(2 * clip - 1, 0)
        self.length = length
        self.scratch: dict[int, Tensor] = {}

    def near(self, places: Tensor, x: Tensor, turned: Tensor | None, side: int, scale: float, row0: int) -> None:
        if self.clip:
            band = self.skewed(places, row0)
            torch.baddbmm(band, x, _repeated(self.tables[side], len(x)).mT, alpha=scale, out=band)

    def far(self, wide: Tensor, x: Tensor, side: int, scale: float, row0: int) -> None:
        if self.beyond(row0):
            wide.addcmul_(torch.matmul(x.to(wide.dtype), self.lasts[side] * scale)[..., None], self.mask(wide, row0))

    def spread(self, out: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        if self.clip:
            near, rows = self.skewed(weights, row0), _repeated(self.tables[side], len(out))
            if out.dtype == near.dtype:
                torch.baddbmm(out, near, rows, out=out)
            else:
                out += torch.bmm(near, rows)
        if self.beyond(row0):
            out.addcmul_(self.right(wide, row0), self.lasts[side])

    def base(self, side: int) -> Tensor | None:
        return self.bases[side]

    def learn(self, gradient: Tensor, x: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        near = torch.bmm(self.skewed(weights, row0).mT, x).to(gradient.dtype).sum(0)
        if self.beyond(row0):
            near[-1] += (self.right(wide, row0) * x).sum((0, 1))
        part = gradient[self.rows]
        part[1:] += near
        part[0] -= near.sum(0)
        if side == VALUES:  # a softmax does not feel what all keys have in common
            part[0] += (wide.sum(-1, keepdim=True) * x).sum((0, 1))

    def skewed(self, places: Tensor, row0: int) -> Tensor:
        """(G, R, W) seen as (G, R, 2c): in each row the keys from c - 1 before to c behind its own position."""
        (heads, rows, width), stride = places.shape, places.stride(0)
        return places.as_strided((heads, rows, 2 * self.clip), (stride, width + 1, 1), places.storage_offset() + row0)

    def beyond(self, row0: int) -> bool:
        """Whether any key is right of the band of a block."""
        return row0 + self.clip + 1 < self.length

    def mask(self, wide: Tensor, row0: int) -> Tensor:
        """(R, L) of 0 and 1: 1 right of the band."""
        rows, columns = -(-wide.shape[1] // 128) * 128, -(-self.length // 128) * 128
        start = columns - row0 - self.clip - 1
        return _right(rows, columns, wide.dtype, wide.device)[: wide.shape[1], start : start + self.length]

    def right(self, wide: Tensor, row0: int) -> Tensor:
        """(G, R, 1): sums of what stands right of the band."""
        thread = threading.get_ident()
        if thread not in self.scratch or self.scratch[thread].shape != wide.shape:
            self.scratch[thread] = torch.empty_like(wide)
        return torch.mul(wide, self.mask(wide, row0), out=self.scratch[thread]).sum(-1, keepdim=True)


def _repeated(table: Tensor, times: int) -> Tensor:
    """(rows, H) -> (times, rows, H). In half precision a copy: oneDNN fails on steps of 0, torch then leaves it for good."""
    repeated = table.expand(times, -1, -1)
    return repeated if table.dtype.itemsize > 2 or times == 1 else repeated.contiguous()


@lru_cache(maxsize=8)
def _right(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(rows, 2 * columns): 1 where column - row >= columns. Every mask of what is right of a band is a window of it."""
    with torch.inference_mode(False):
        column = torch.arange(2 * columns, dtype=torch.int32, device=device)
        row = torch.arange(rows, dtype=torch.int32, device=device)
        return (column >= row[:, None] + columns).to(dtype)
