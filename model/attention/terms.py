"""What relative positions add to the scores and to the context of a sequence. Part of banded.py; a first reader can skip it.

    Term       nothing: BERT's attention
    Rotated    functional positions with no offset clipped: a second product of full width
    Band       a table of 2m + 1 rows: a product over the band, written through a skewed view of the scores

A band with c = 1, in memory with L = 4 keys and W = 5 elements per row. k is a key, . is margin, [ ] is the band j = i, i + 1:

    [k k]k k .          row i starts W = 5 elements after row i - 1, and its band W + 1 = 6 elements after that of row i - 1:
     k[k k]k .          the bands form one matrix (L, 2c) whose rows all have the offsets j - i = 1 - c .. c
     k k[k k].
     k k k[k .]

Shapes: G heads processed at once, L length of a sequence, R rows of a block starting at `row0`, W elements of a row in memory,
H head width.
"""

import threading
from functools import lru_cache

import torch
from torch import Tensor

from model.attention.positions import rotate, rotation

KEYS, VALUES = 0, 1
"""The two sides of a table: scores multiply keys, the context sums values."""


class Term:
    """What positions add in sequences of one length. This base class adds nothing, as in BERT's attention."""

    left = span = 0
    """Margin of a row before its first key, and W - L, the margins on both sides."""

    def rotated(self, x: Tensor) -> Tensor | None:
        """Return the rows x (G, L, H) of a sequence as `add_near` needs them."""
        return None

    def add_near(self, padded: Tensor, x: Tensor, rotated: Tensor | None, side: int, scale: float, row0: int) -> None:
        """Add scale * x . a to scores, except for keys right of the band. The margins may receive any value.

        padded: (G, R, W); x: (G, R, H); rotated: (G, R, H) or None
        """

    def add_far(self, wide: Tensor, x: Tensor, side: int, scale: float, row0: int) -> None:
        """Add scale * x . a to the scores of keys right of the band.

        wide: (G, R, L); x: (G, R, H)
        """

    def add_values(self, out: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        """Add sum_j weights(i, j) a(j - i) to `out`.

        out: (G, R, H); weights: (G, R, W), zero in the margins; wide: (G, R, L), the same weights in at least float32
        """

    def base(self, side: int) -> Tensor | None:
        """Return a[0] (H,), which the other methods subtract from every encoding; None if they do not."""
        return None

    def add_table_gradient(self, gradient: Tensor, x: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        """Add the gradient of x . (sum_j weights(i, j) a(j - i)) with respect to the table.

        gradient: (2m + 1, H); x: (G, R, H); weights: (G, R, W), zero in the margins; wide: (G, R, L)
        """


class Rotated(Term):
    """Functional encodings with no offset clipped: a second product of full width."""

    def __init__(self, length: int, shift: int, like: Tensor) -> None:
        self.phases, self.encodings = rotation(like.shape[-1], length, shift, like.dtype, like.device)
        self.back = self.phases.conj()

    def rotated(self, x: Tensor) -> Tensor | None:
        return rotate(x, self.phases)

    def add_near(self, padded: Tensor, x: Tensor, rotated: Tensor | None, side: int, scale: float, row0: int) -> None:
        assert rotated is not None
        torch.baddbmm(padded, rotated, _repeated(self.encodings, len(x)).mT, alpha=scale, out=padded)

    def add_values(self, out: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        summed = torch.matmul(weights, self.encodings).to(out.dtype)
        out += rotate(summed, self.back[row0 : row0 + out.shape[1]])


class Band(Term):
    """A table of 2m + 1 rows: offsets within c = min(m, L - 1) have their own row, all others share the first or last one."""

    def __init__(self, length: int, keys: Tensor, values: Tensor, like: Tensor) -> None:
        # Rows that a sequence of this length can use: a[0] .. a[2c].
        middle = len(keys) // 2
        self.clip = clip = min(middle, length - 1)
        self.rows = slice(middle - clip, middle + clip + 1)
        # Per side: a[1:] - a[0] (2c, H), a[0] (H,) and a[2c] - a[0] (H,).
        self.tables = [(table[self.rows][1:] - table[self.rows][:1]).to(like.dtype) for table in (keys, values)]
        wide = torch.promote_types(like.dtype, torch.float32)
        self.bases = [table[self.rows][0].to(wide) for table in (keys, values)]
        self.lasts = [(table[self.rows][-1] - table[self.rows][0]).to(wide) for table in (keys, values)]
        self.left, self.span = max(clip - 1, 0), max(2 * clip - 1, 0)
        self.length = length
        self.scratch: dict[int, Tensor] = {}

    def add_near(self, padded: Tensor, x: Tensor, rotated: Tensor | None, side: int, scale: float, row0: int) -> None:
        if self.clip:
            band = self.skewed(padded, row0)
            torch.baddbmm(band, x, _repeated(self.tables[side], len(x)).mT, alpha=scale, out=band)

    def add_far(self, wide: Tensor, x: Tensor, side: int, scale: float, row0: int) -> None:
        if self.has_far(row0):
            wide.addcmul_(torch.matmul(x.to(wide.dtype), self.lasts[side] * scale)[..., None], self.far_mask(wide, row0))

    def add_values(self, out: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        if self.clip:
            near, rows = self.skewed(weights, row0), _repeated(self.tables[side], len(out))
            if out.dtype == near.dtype:
                torch.baddbmm(out, near, rows, out=out)
            else:
                out += torch.bmm(near, rows)
        if self.has_far(row0):
            out.addcmul_(self.far_sums(wide, row0), self.lasts[side])

    def base(self, side: int) -> Tensor | None:
        return self.bases[side]

    def add_table_gradient(self, gradient: Tensor, x: Tensor, weights: Tensor, wide: Tensor, side: int, row0: int) -> None:
        # Gradient of a[1:] - a[0], (2c, H): the band, and the keys right of it in the last row.
        near = torch.bmm(self.skewed(weights, row0).mT, x).to(gradient.dtype).sum(0)
        if self.has_far(row0):
            near[-1] += (self.far_sums(wide, row0) * x).sum((0, 1))
        # From the differences to the rows themselves.
        part = gradient[self.rows]
        part[1:] += near
        part[0] -= near.sum(0)
        if side == VALUES:  # for keys a[0] has no gradient: softmax ignores what all scores of a row have in common
            part[0] += (wide.sum(-1, keepdim=True) * x).sum((0, 1))

    def skewed(self, padded: Tensor, row0: int) -> Tensor:
        """Return the band as a view: (G, R, W) -> (G, R, 2c), in row i the keys i - c + 1 .. i + c."""
        (heads, rows, width), stride = padded.shape, padded.stride(0)
        return padded.as_strided((heads, rows, 2 * self.clip), (stride, width + 1, 1), padded.storage_offset() + row0)

    def has_far(self, row0: int) -> bool:
        """Return whether a block of rows has any key right of its band."""
        return row0 + self.clip + 1 < self.length

    def far_mask(self, wide: Tensor, row0: int) -> Tensor:
        """Return (R, L): 1 right of the band, otherwise 0."""
        rows, columns = -(-wide.shape[1] // 128) * 128, -(-self.length // 128) * 128
        start = columns - row0 - self.clip - 1
        return _far_masks(rows, columns, wide.dtype, wide.device)[: wide.shape[1], start : start + self.length]

    def far_sums(self, wide: Tensor, row0: int) -> Tensor:
        """Return the sums of each row right of the band: (G, R, L) -> (G, R, 1)."""
        thread = threading.get_ident()
        if thread not in self.scratch or self.scratch[thread].shape != wide.shape:
            self.scratch[thread] = torch.empty_like(wide)
        return torch.mul(wide, self.far_mask(wide, row0), out=self.scratch[thread]).sum(-1, keepdim=True)


def _repeated(table: Tensor, times: int) -> Tensor:
    """Repeat a table: (rows, H) -> (times, rows, H).

    A copy in half precision: oneDNN fails on strides of 0, and torch then stops using it altogether.
    """
    repeated = table.expand(times, -1, -1)
    return repeated if table.dtype.itemsize > 2 or times == 1 else repeated.contiguous()


@lru_cache(maxsize=8)
def _far_masks(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (rows, 2 * columns): 1 where column - row >= columns, otherwise 0. Every `far_mask` is a window of it."""
    with torch.inference_mode(False):
        column = torch.arange(2 * columns, dtype=torch.int32, device=device)
        row = torch.arange(rows, dtype=torch.int32, device=device)
        return (column >= row[:, None] + columns).to(dtype)
