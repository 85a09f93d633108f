"""Shards: what prepare gives to training. Arrow IPC files, uncompressed, so that any row is read without copying the rest.

One row of 他出生在北京。 with nothing masked but 北京, segment pair left out:

    input_ids          [CLS] 他 出 生 在 北 京 。 [SEP]     the original tokens
    unit_starts          1   1  1  0  1  1  0  1   1       bit i: token i begins a unit (a jieba word)
    second_start         0                                 one segment
    mask_positions                       5  6              labels are input_ids at these positions
    mask_replacements               [MASK] [MASK]          what the network sees there
    mask_lengths         2                                 one static draw of two tokens

Light: needs numpy and pyarrow only, because training reads shards where nothing else is installed.
"""

import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.engine.row_order import Rows
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.tokenization.encoded import id_type

SCHEMA_VERSION = 1
BATCH_ROWS = 1_024
"""Rows of a record batch: measured best for random access (uncompressed)."""

Array = npt.NDArray[Any]


def schema(vocabulary_size: int, metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """The columns of a shard; `metadata` adds the vocabulary's and the recipe's hash."""
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


def write_shard(
    file: IO[bytes], table: pa.Table, metadata: Mapping[str, str], order: npt.NDArray[np.intp] | None = None
) -> None:
    """Write rows as one shard, in the order of `order` (indices of rows) where it is given. Equal rows give equal bytes."""
    rows = Rows(table.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION), **metadata}))
    order = np.arange(len(table)) if order is None else order
    with pa.ipc.new_file(file, rows.schema) as writer:
        # A batch at a time: all rows in their order at once would be one more copy of the shard in memory.
        for start in range(0, len(order), BATCH_ROWS):
            writer.write_batch(rows.take(order[start : start + BATCH_ROWS]))


def pack_units(unit_starts: npt.NDArray[np.bool_]) -> bytes:
    """Little-endian bits: bit i = token i begins a unit."""
    return np.packbits(unit_starts, bitorder="little").tobytes()


def unpack_units(bits: bytes, length: int) -> npt.NDArray[np.bool_]:
    """The reverse of `pack_units` for `length` tokens."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=length, bitorder="little").astype(np.bool_)


@dataclass(frozen=True)
class Row:
    """One example as read from a shard; arrays are views into the file."""

    example_id: int
    document_id: int
    input_ids: Array
    """(length,) the original tokens."""
    unit_starts: npt.NDArray[np.bool_]
    """(length,)"""
    second_start: int
    pair_label: int | None
    draws: tuple[tuple[Array, Array], ...]
    """Static masks: (positions, replacements) of each draw; empty when masks are dynamic."""


class _Batch:
    """The columns of one record batch as numpy views: slicing them costs far less than Arrow's scalars."""

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
        """Positions and replacements of each stored draw."""
        lengths = _slice(self.mask_lengths, index)
        if len(lengths):
            positions, replacements = _slice(self.mask_positions, index), _slice(self.mask_replacements, index)
            start = 0
            for length in lengths.tolist():
                yield positions[start : start + length], replacements[start : start + length]
                start += length


def _ragged(column: pa.ListArray) -> tuple[list[int], Array]:
    """Where each row begins and ends, and all rows' values: a list, as numpy is slow at giving single numbers."""
    return column.offsets.to_pylist(), column.values.to_numpy()


def _slice(column: tuple[list[int], Array], index: int) -> Array:
    offsets, values = column
    return values[offsets[index] : offsets[index + 1]]


class ShardSet:
    """All shards of one split (`train` or `validation`) of a finished shards stage, as one long list of rows.

    Rows are addressed by one index over all shards (their numbers of rows stand in the manifest, and need not be equal).
    Files are memory-mapped when first touched; those of an object store are copied to the local cache once.
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
        """Row `index`, 0 <= index < len(self)."""
        shard = bisect.bisect_right(self.starts, index) - 1
        batch, position = divmod(index - int(self.starts[shard]), BATCH_ROWS)
        return self._batch(shard, batch).row(position)

    def lengths(self, indices: Iterable[int]) -> npt.NDArray[np.int64]:
        """Numbers of tokens of some rows, without reading their tokens."""
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
