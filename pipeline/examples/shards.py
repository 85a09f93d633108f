"""Shards: the examples that training reads. Uncompressed Arrow IPC files, in which any row can be read without the others.

The row of 他出生在北京。 as a single segment, with 北京 masked:

    input_ids          [CLS] 他 出 生 在 北 京 。 [SEP]     the original tokens
    unit_starts          1   1  1  0  1  1  0  1   1       bit i: token i starts a unit (a jieba word)
    second_start         0                                 one segment
    mask_positions                       5  6              labels are input_ids at these positions
    mask_replacements               [MASK] [MASK]          what the network sees there
    mask_lengths         2                                 one static draw of two tokens

Needs only numpy and pyarrow, because training reads shards where little else is installed.
"""

import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Array, Flags, Ints
from pipeline.engine.row_order import Rows
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.tokenization.encoded import id_type

SCHEMA_VERSION = 1
BATCH_ROWS = 1_024
"""Rows per record batch: the fastest for random access to uncompressed files."""


def schema(vocabulary_size: int, metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Return the columns of a shard. `metadata` adds the hashes of vocabulary and recipe."""
    token = id_type(vocabulary_size)
    fields = [
        pa.field("example_id", pa.uint64(), nullable=False),
        pa.field("document_id", pa.uint64(), nullable=False),
        pa.field("input_ids", pa.list_(token), nullable=False),
        pa.field("unit_starts", pa.binary(), nullable=False),
        pa.field("second_start", pa.uint16(), nullable=False),
        pa.field("pair_label", pa.uint8()),
        pa.field("mask_positions", pa.list_(pa.uint16()), nullable=False),
        pa.field("mask_replacements", pa.list_(token), nullable=False),
        pa.field("mask_lengths", pa.list_(pa.uint16()), nullable=False),
    ]
    return pa.schema(fields, {"schema_version": str(SCHEMA_VERSION), **(metadata or {})})


def write_shard(file: IO[bytes], table: pa.Table, metadata: Mapping[str, str], order: NDArray[np.intp] | None = None) -> None:
    """Write rows as a shard, in the order of the row indices `order` (rows,) if given. Equal rows give equal bytes."""
    rows = Rows(table.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION), **metadata}))
    order = np.arange(len(table)) if order is None else order
    with pa.ipc.new_file(file, rows.schema) as writer:
        # Batch by batch: reordering all rows at once would need memory for a second copy of the shard.
        for start in range(0, len(order), BATCH_ROWS):
            writer.write_batch(rows.take(order[start : start + BATCH_ROWS]))


def pack_units(unit_starts: Flags) -> bytes:
    """Pack flags (tokens,) into little-endian bits: bit i = token i starts a unit."""
    return np.packbits(unit_starts, bitorder="little").tobytes()


def unpack_units(bits: bytes, length: int) -> Flags:
    """Unpack the flags of `length` tokens: the reverse of `pack_units`."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=length, bitorder="little").astype(np.bool_)


@dataclass(frozen=True)
class Row:
    """An example of a shard. Arrays are views of the file."""

    example_id: int
    document_id: int
    input_ids: Array
    """(length,) the original tokens."""
    unit_starts: Flags
    """(length,)"""
    second_start: int
    pair_label: int | None
    draws: tuple[tuple[Array, Array], ...]
    """Static masks: (positions, replacements) of each draw; empty if masks are drawn during training."""


class _Batch:
    """The columns of a record batch as numpy views, which are much faster to slice than Arrow's scalars."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.example_id = batch["example_id"].to_numpy()
        self.document_id = batch["document_id"].to_numpy()
        self.second_start = batch["second_start"].to_numpy()
        self.pair_label = batch["pair_label"].fill_null(255).to_numpy()
        self.unit_starts = batch["unit_starts"]
        self.input_ids = _ragged(batch["input_ids"])
        self.mask_positions = _ragged(batch["mask_positions"])
        self.mask_replacements = _ragged(batch["mask_replacements"])
        self.mask_lengths = _ragged(batch["mask_lengths"])

    def row(self, index: int) -> Row:
        input_ids = _slice(self.input_ids, index)
        label = int(self.pair_label[index])
        return Row(
            int(self.example_id[index]),
            int(self.document_id[index]),
            input_ids,
            unpack_units(self.unit_starts[index].as_buffer(), len(input_ids)),
            int(self.second_start[index]),
            None if label == 255 else label,
            tuple(self._draws(index)),
        )

    def _draws(self, index: int) -> Iterator[tuple[Array, Array]]:
        """Yield positions and replacements of each stored draw."""
        lengths = _slice(self.mask_lengths, index)
        if len(lengths):
            positions, replacements = _slice(self.mask_positions, index), _slice(self.mask_replacements, index)
            start = 0
            for length in lengths.tolist():
                yield positions[start : start + length], replacements[start : start + length]
                start += length


def _ragged(column: pa.ListArray) -> tuple[list[int], Array]:
    """Return the offsets of the rows, (n + 1,), as a list because numpy is slow at single numbers; and the values."""
    return column.offsets.to_pylist(), column.values.to_numpy()


def _slice(column: tuple[list[int], Array], index: int) -> Array:
    offsets, values = column
    return values[offsets[index] : offsets[index + 1]]


class ShardSet:
    """All shards of one split (`train` or `validation`) of a finished stage, as one long list of rows.

    Rows have one index over all shards; the manifest has the number of rows of each shard. Files are memory-mapped on first
    use. Those of an object store are first copied to the local cache.
    """

    def __init__(self, stage: Finished, split: str, open_batches: int = 256) -> None:
        self.stage = stage
        self.entries = stage.files(f"{split}-", ".arrow")
        self.starts = np.concatenate(([0], np.cumsum([entry["rows"] for entry in self.entries], dtype=np.int64)))
        self._readers: dict[int, pa.ipc.RecordBatchFileReader] = {}
        self._batches: dict[tuple[int, int], _Batch] = {}
        self._open_batches = open_batches

    def __len__(self) -> int:
        return int(self.starts[-1])

    def row(self, index: int) -> Row:
        """Return row `index`, 0 <= index < len(self)."""
        shard = bisect.bisect_right(self.starts, index) - 1
        batch, position = divmod(index - int(self.starts[shard]), BATCH_ROWS)
        return self._batch(shard, batch).row(position)

    def lengths(self, indices: Iterable[int]) -> Ints:
        """Return the number of tokens of some rows, without reading the tokens."""
        result = []
        for index in indices:
            shard = bisect.bisect_right(self.starts, index) - 1
            batch, position = divmod(int(index) - int(self.starts[shard]), BATCH_ROWS)
            offsets = self._batch(shard, batch).input_ids[0]
            result.append(offsets[position + 1] - offsets[position])
        return np.array(result, np.int64)

    def _batch(self, shard: int, number: int) -> _Batch:
        key = (shard, number)
        if key not in self._batches:
            if len(self._batches) >= self._open_batches:
                self._batches.pop(next(iter(self._batches)))
            self._batches[key] = _Batch(self._reader(shard).get_batch(number))
        return self._batches[key]

    def _reader(self, shard: int) -> pa.ipc.RecordBatchFileReader:
        if shard not in self._readers:
            entry = self.entries[shard]
            url = self.stage.file(entry["name"])
            path = storage.local_copy(url, entry["sha256"])
            try:
                reader = pa.ipc.open_file(pa.memory_map(str(path)))
            except (pa.ArrowInvalid, OSError) as error:
                raise CorpusError(f"{url}: not a readable shard ({error}); `nezha-pipe verify` says more") from error
            version = (reader.schema.metadata or {}).get(b"schema_version", b"none").decode()
            if version != str(SCHEMA_VERSION):
                raise CorpusError(f"{url}: shard schema version {version}, this program reads {SCHEMA_VERSION}")
            self._readers[shard] = reader
        return self._readers[shard]
