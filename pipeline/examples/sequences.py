"""Many examples as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Flags, Hashes, Ints, TokenIds


@dataclass(frozen=True, eq=False)
class Sequences:
    """Concatenated examples: sequence i has the tokens `offsets[i]` to `offsets[i + 1]`."""

    example_ids: Hashes
    """(n,) from which masks are drawn."""
    input_ids: TokenIds
    """(tokens,) each sequence starts with [CLS] and ends with [SEP], and has a [SEP] before segment B, if there is one."""
    unit_starts: Flags
    """(tokens,) True where a unit starts. Each special token is a unit."""
    offsets: Ints
    """(n + 1,) rising from 0."""
    second_starts: Ints
    """(n,) start of segment B in its sequence; 0 = one segment."""

    @classmethod
    def join(
        cls,
        example_ids: Sequence[int],
        input_ids: Sequence[TokenIds],
        unit_starts: Sequence[Flags],
        second_starts: Sequence[int],
    ) -> "Sequences":
        """Concatenate sequences, given as one array each."""
        offsets = np.zeros(len(input_ids) + 1, np.int64)
        np.cumsum([len(ids) for ids in input_ids], out=offsets[1:])
        ids, units = np.concatenate(input_ids), np.concatenate(unit_starts)
        return cls(np.array(example_ids, np.uint64), ids, units, offsets, np.array(second_starts, np.int64))

    def __len__(self) -> int:
        return len(self.example_ids)

    def slice(self, start: int, end: int) -> "Sequences":
        """Return the sequences [start, end)."""
        first, last = self.offsets[start], self.offsets[end]
        return Sequences(
            self.example_ids[start:end],
            self.input_ids[first:last],
            self.unit_starts[first:last],
            self.offsets[start : end + 1] - first,
            self.second_starts[start:end],
        )
