"""Rows of shards as flat arrays, to check all of them at once.

two rows         [CLS] 他 来 。 [SEP]     [CLS] 好 [SEP] 对 [SEP]
ids                2  31 57  9  3           2  40  3  77  3        lengths 5 5, firsts 0 5, second 0 3
specials           1   0  0  0  1           1   0  1   0  1
starts             1   1  1  1  1           1   1  1   1  1        units, unpacked from the bits of each row
"""

from functools import cached_property

import numpy as np
import pyarrow as pa

from pipeline.arrays import Array, Flags, Ints


class Rows:
    """The columns of a batch of rows as flat arrays."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.example_ids = batch["example_id"].to_numpy()
        self.document_ids = batch["document_id"].to_numpy()
        self.labels = batch["pair_label"].fill_null(255).to_numpy()
        self.second = batch["second_start"].to_numpy().astype(np.int64)
        self.ids, self.lengths = ragged(batch["input_ids"])
        self.positions, self.masked = ragged(batch["mask_positions"])
        self.replacements, self.replaced = ragged(batch["mask_replacements"])
        self.draw_lengths, self.draws = ragged(batch["mask_lengths"])
        bits = batch["unit_starts"]
        offsets = np.frombuffer(bits.buffers()[1], np.int32)[bits.offset : bits.offset + len(bits) + 1]
        self.unit_bytes = np.diff(offsets)
        self.bits = np.frombuffer(bits.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]

    def __len__(self) -> int:
        return len(self.example_ids)

    @cached_property
    def firsts(self) -> Ints:
        """(n,) positions in `ids` of the first tokens."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def separators(self) -> Ints:
        """(n,) positions in `ids` of the [SEP] before segment B; with one segment, of the last token."""
        return self.firsts + np.where(self.second > 0, self.second, self.lengths) - 1

    @cached_property
    def owners(self) -> Ints:
        """(tokens,) the row of each token."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def specials(self) -> Flags:
        """(tokens,) whether it is [CLS] or [SEP], by its place."""
        flags = np.zeros(len(self.ids), np.bool_)
        for places in (self.firsts, self.separators, self.firsts + self.lengths - 1):
            flags[places] = True
        return flags

    @cached_property
    def units(self) -> tuple[Flags, Flags]:
        """(tokens,) whether a unit starts there; (n,) whether a row has bits after its last token."""
        bits = np.unpackbits(self.bits, bitorder="little").astype(np.bool_)
        starts = 8 * (np.cumsum(self.unit_bytes) - self.unit_bytes)
        border = np.zeros(len(bits) + 1, np.int8)
        border[starts] += 1
        border[starts + self.lengths] -= 1
        inside = np.cumsum(border[:-1], dtype=np.int8).astype(np.bool_)
        return bits[inside], np.logical_or.reduceat(bits & ~inside, starts)


def ragged(column: pa.ListArray) -> tuple[Array, Ints]:
    """Return all values, and how many each row has."""
    return column.flatten().to_numpy(zero_copy_only=False), np.diff(column.offsets.to_numpy()).astype(np.int64)
