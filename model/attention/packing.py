"""Packing: the tokens of a batch one sequence after another, without padding. All layers work on packed tokens.

    padded (2, 5)                     packed (8,)
    今 天 天 气 好                     今 天 天 气 好 他 走 了        lengths (5, 3), starts (0, 5), positions 0 1 2 3 4 0 1 2
    他 走 了 .  .

Shapes: B sequences, L width of the padded batch, T tokens of all sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """The position of each sequence of a batch among its T packed tokens."""

    lengths: tuple[int, ...]
    """(B,) tokens per sequence, on the host, so that slicing and kernel launches need not wait for a GPU."""
    width: int
    """L of the padded batch, at least the longest length."""
    device: torch.device
    gaps: Tensor | None = None
    """(B, L) bool, False at padding, for a batch that cannot be packed because its rows have padding before tokens. Offsets
    then count the gaps."""

    @staticmethod
    def of(attention_mask: Tensor, lengths: Sequence[int] | None = None) -> "Packing":
        """Return the packing of a padded batch. If some row has padding before a token, nothing is packed: see `gaps`.

        attention_mask: (B, L) bool, True for tokens
        lengths: (B,) tokens per row, if the caller knows them; the host then need not wait for a mask on a GPU
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
        """Return the packing of a batch without padding."""
        return Packing((length,) * sequences, length, device)

    @cached_property
    def total(self) -> int:
        """T, the tokens of all sequences."""
        return sum(self.lengths)

    @cached_property
    def longest(self) -> int:
        return max(self.lengths, default=0)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """(B,) the first packed token of each sequence."""
        return tuple(accumulate(self.lengths, initial=0))[:-1]

    @cached_property
    def dense(self) -> bool:
        """Whether there is no padding, so that packed and padded tensors are the same memory."""
        return self.total == len(self.lengths) * self.width

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """(B + 1,) int32, the starts and T, as kernels for packed sequences expect them."""
        return torch.tensor([*self.starts, self.total], dtype=torch.int32).to(self.device, non_blocking=True)

    @cached_property
    def first(self) -> Tensor:
        """(B,) int64, the packed index of each [CLS]. A sequence without tokens gets the index of some other token."""
        return self.cu_seqlens[:-1].long().clamp(max=max(self.total - 1, 0))

    @cached_property
    def positions(self) -> Tensor:
        """(T,) int64, the position of each token in its sequence, from 0."""
        return self.places % self.width

    @cached_property
    def places(self) -> Tensor:
        """(T,) int64, the index of each token in the flattened padded batch (B * L)."""
        if self.dense:
            return torch.arange(self.total, device=self.device)
        lengths = torch.tensor(self.lengths, dtype=torch.int64).to(self.device, non_blocking=True)
        shift = torch.arange(len(self.lengths), device=self.device) * self.width - self.cu_seqlens[:-1]
        return torch.arange(self.total, device=self.device) + shift.repeat_interleave(lengths, output_size=self.total)

    def packed(self, places: Tensor) -> Tensor:
        """Convert indices into the flattened padded batch to indices into the packed tokens; for padding, an arbitrary one."""
        if self.dense:
            return places
        return (self.cu_seqlens[places // self.width] + places % self.width).clamp(max=max(self.total - 1, 0))

    def pack(self, padded: Tensor) -> Tensor:
        """(B, L, ...) -> (T, ...)"""
        flat = padded.flatten(0, 1)
        return flat if self.dense else flat.index_select(0, self.places)

    def pad(self, packed: Tensor) -> Tensor:
        """(T, ...) -> (B, L, ...), zero at padding."""
        shape = (len(self.lengths), self.width, *packed.shape[1:])
        if self.dense:
            return packed.reshape(shape)
        return packed.new_zeros(shape).flatten(0, 1).index_copy(0, self.places, packed).view(shape)

    def mask(self) -> Tensor | None:
        """Return (B, L) bool, True for tokens; None if there is no padding."""
        if self.dense:
            return self.gaps
        lengths = torch.tensor(self.lengths).to(self.device, non_blocking=True)
        return torch.arange(self.width, device=self.device) < lengths[:, None]
