"""Sequences one after another, without padding between them: what linear layers, LayerNorms and dropout see of a batch.

    padded (2, 5)                     packed (8,)
    今 天 天 气 好                     今 天 天 气 好 他 走 了        lengths (5, 3), starts (0, 5), positions 0 1 2 3 4 0 1 2
    他 走 了 .  .

Shapes: B sequences, L the longest of them, T tokens of all together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where each sequence of a batch stands among the T tokens."""

    lengths: tuple[int, ...]
    """(B,), known to the host: who cuts and who launches must not wait for a GPU."""
    width: int
    """L of the padded batch, at least the longest length."""
    device: torch.device
    gaps: Tensor | None = None
    """(B, L) bool, false where there is no token, of a batch that could not be packed: distances count its gaps."""

    @staticmethod
    def of(attention_mask: Tensor, lengths: Sequence[int] | None = None) -> "Packing":
        """Of a padded batch (B, L). Rows begin with their tokens; where some do not, all stay as they are, gaps and all.

        `lengths`, where the caller knows them, spares a GPU the wait for its mask.
        """
        if lengths is None:
            counts = attention_mask.sum(1)
            column = torch.arange(attention_mask.shape[1], device=attention_mask.device)
            if not torch.equal(attention_mask, column < counts[:, None]):
                rows, width = attention_mask.shape
                return replace(Packing.full(rows, width, attention_mask.device), gaps=attention_mask)
            lengths = counts.tolist()
        return Packing(tuple(lengths), attention_mask.shape[1], attention_mask.device)

    @staticmethod
    def full(sequences: int, length: int, device: torch.device) -> "Packing":
        """Of a batch without padding."""
        return Packing((length,) * sequences, length, device)

    @cached_property
    def total(self) -> int:
        """T"""
        return sum(self.lengths)

    @cached_property
    def longest(self) -> int:
        return max(self.lengths, default=0)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """(B,) where each sequence begins."""
        return tuple(accumulate(self.lengths, initial=0))[:-1]

    @cached_property
    def dense(self) -> bool:
        """No padding at all: packed and padded are the same memory."""
        return self.total == len(self.lengths) * self.width

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """(B + 1,) int32, beginnings and the end, as kernels of packed sequences take them."""
        return torch.tensor([*self.starts, self.total], dtype=torch.int32).to(self.device, non_blocking=True)

    @cached_property
    def first(self) -> Tensor:
        """(B,) int64: the place of [CLS]. A sequence of no tokens has none: it is given some other's."""
        return self.cu_seqlens[:-1].long().clamp(max=max(self.total - 1, 0))

    @cached_property
    def positions(self) -> Tensor:
        """(T,) int64, from zero in each sequence."""
        return self.places % self.width

    @cached_property
    def places(self) -> Tensor:
        """(T,) int64: where the tokens stand among the B * L places of the padded batch."""
        if self.dense:
            return torch.arange(self.total, device=self.device)
        lengths = torch.tensor(self.lengths, dtype=torch.int64).to(self.device, non_blocking=True)
        shift = torch.arange(len(self.lengths), device=self.device) * self.width - self.cu_seqlens[:-1]
        return torch.arange(self.total, device=self.device) + shift.repeat_interleave(lengths, output_size=self.total)

    def packed(self, places: Tensor) -> Tensor:
        """Indices into the B * L padded places as indices into the T packed ones; of padding, some index."""
        if self.dense:
            return places
        return (self.cu_seqlens[places // self.width] + places % self.width).clamp(max=max(self.total - 1, 0))

    def pack(self, padded: Tensor) -> Tensor:
        """(B, L, ...) -> (T, ...)"""
        flat = padded.flatten(0, 1)
        return flat if self.dense else flat.index_select(0, self.places)

    def pad(self, packed: Tensor) -> Tensor:
        """(T, ...) -> (B, L, ...), zeros at padding."""
        shape = (len(self.lengths), self.width, *packed.shape[1:])
        if self.dense:
            return packed.reshape(shape)
        return packed.new_zeros(shape).flatten(0, 1).index_copy(0, self.places, packed).view(shape)

    def mask(self) -> Tensor | None:
        """(B, L) bool, true for tokens; None where there is no padding."""
        if self.dense:
            return self.gaps
        lengths = torch.tensor(self.lengths).to(self.device, non_blocking=True)
        return torch.arange(self.width, device=self.device) < lengths[:, None]
