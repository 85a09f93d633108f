"""Examples laid end to end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import TokenIds


@dataclass(frozen=True, eq=False)
class Sequences:
    """Examples laid end to end: sequence i has the tokens `offsets[i]` to `offsets[i + 1]`."""

    example_ids: NDArray[np.uint64]
    """(n,) they key the masks."""
    input_ids: TokenIds
    """(tokens,) of each sequence [CLS] first, [SEP] last, and if `second_starts` > 0 [SEP] just before it."""
    unit_starts: NDArray[np.bool_]
    """(tokens,) True where a unit begins; specials are units of their own."""
    offsets: NDArray[np.int64]
    """(n + 1,) rising from 0."""
    second_starts: NDArray[np.int64]
    """(n,) where segment B begins in its sequence; 0 = one segment."""

    @classmethod
    def join(
        cls,
        example_ids: Sequence[int],
        input_ids: Sequence[TokenIds],
        unit_starts: Sequence[NDArray[np.bool_]],
        second_starts: Sequence[int],
    ) -> "Sequences":
        """From arrays of one sequence each."""
        offsets = np.zeros(len(input_ids) + 1, np.int64)
        np.cumsum([len(ids) for ids in input_ids], out=offsets[1:])
        ids, units = np.concatenate(input_ids), np.concatenate(unit_starts)
        return cls(np.array(example_ids, np.uint64), ids, units, offsets, np.array(second_starts, np.int64))

    def __len__(self) -> int:
        return len(self.example_ids)

    def slice(self, start: int, end: int) -> "Sequences":
        """Sequences `start` to `end`."""
        first, last = self.offsets[start], self.offsets[end]
        return Sequences(
            self.example_ids[start:end],
            self.input_ids[first:last],
            self.unit_starts[first:last],
            self.offsets[start : end + 1] - first,
            self.second_starts[start:end],
        )
