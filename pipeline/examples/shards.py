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
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Array, Flags, Ints
from pipeline.engine import integrity
from pipeline.engine.row_order import Rows
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.examples.cache import Cache, Ranges
from pipeline.tokenization.encoded import id_type

MOST_OPEN = 256
"""Files that a set of shards keeps open. Most systems allow a process 1,024, and 128 GB of shards are as many files."""
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


def unpack_units(bits: bytes, length: int) -> Flags:
    """Unpack the flags (tokens,) of `length` tokens from little-endian bits: bit i = token i starts a unit."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=length, bitorder="little").astype(np.bool_)


@dataclass(frozen=True)
class Row:
    """An example of a shard. Arrays are views of its batch."""

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

    Rows have one index over all shards; the manifest has the number of rows of each shard. A file is compared with its SHA-256
    before its first row is read, and read batch by batch: if it were memory-mapped, cutting it short would kill the process
    without a word. Files of an object store are read from copies in a cache (cache.py), and fetched again when it drops them.

    Memory: `open_batches` of 0.6 MB (2.4 MB at length 512) with four draws of masks. The order of samples
    (model/samples/order.py) stays in a window of 128 batches, and in 16 more that its blocks begin or end in.
    """

    def __init__(self, stage: Finished, split: str, open_batches: int = 160) -> None:
        self.stage = stage
        self.entries = stage.files(f"{split}-", ".arrow")
        self.starts = np.concatenate(([0], np.cumsum([entry["rows"] for entry in self.entries], dtype=np.int64)))
        self.cache = None if storage.is_local(stage.url) else Cache.of_environment()
        """Copies of the files of an object store."""
        self._readers: dict[int, _Reader] = {}
        self._tidied = 0.0
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
            self._batches[key] = _Batch(self._read(shard, number))
        return self._batches[key]

    def covering(self, rows: Iterable[tuple[int, int]]) -> set[int]:
        """Return the numbers of the shards that hold some ranges (first row, end)."""
        found: set[int] = set()
        for first, end in rows:
            if first < end:
                last = bisect.bisect_left(self.starts, end)
                found.update(range(bisect.bisect_right(self.starts, first) - 1, last))
        return {shard for shard in found if self.entries[shard]["rows"]}

    def fetch(self, shard: int, keep: Collection[str], stopped: threading.Event) -> None:
        """Copy a shard of a store into the cache ahead of time; see `Cache.fetch`."""
        if self.cache is not None:
            entry = self.entries[shard]
            self.cache.fetch(self.stage.file(entry["name"]), entry, keep, stopped)

    def _read(self, shard: int, number: int) -> pa.RecordBatch:
        """Read a batch, after comparing the file with the manifest: at first use, and when it has changed since."""
        entry = self.entries[shard]
        url = self.stage.file(entry["name"])
        if self.cache is None:
            integrity.check(url, entry)
        else:
            self._close_removed(self.cache)
        try:
            if shard not in self._readers:
                if len(self._readers) >= MOST_OPEN:
                    self._readers.pop(next(iter(self._readers)))
                self._readers[shard] = self._opened(url, entry)
            reader = self._readers[shard]
            if self.cache is not None and reader.path is not None and not self.cache.touch(reader.path):
                reader = self._readers[shard] = self._opened(url, entry)
            return reader.batches.get_batch(number)
        except (pa.ArrowException, OSError) as error:
            if self.cache is None:
                integrity.check(url, entry)  # was it cut short since?
            raise CorpusError(f"{url}: not a readable shard ({error}); `nezha-pipe verify` says more") from error

    def _opened(self, url: str, entry: integrity.Entry) -> "_Reader":
        """Open a shard, or its copy in the cache; without room for one, the store's own, after comparing that."""
        if self.cache is None:
            return _Reader(_open(pa.OSFile(str(storage.local_path(url))), url))
        while path := self.cache.fetch(url, entry):
            try:
                return _Reader(_open(pa.OSFile(str(path)), url), path)
            except FileNotFoundError:  # another process needed the room
                continue
        integrity.check(url, entry)
        return _Reader(_open(pa.PythonFile(Ranges(url, entry["bytes"]), "r"), url))

    def _close_removed(self, cache: Cache) -> None:
        """Close, about once a second, what was removed from the cache: until then the disk has it."""
        if time.monotonic() - self._tidied > 1:
            self._tidied = time.monotonic()
            gone = [shard for shard, reader in self._readers.items() if reader.path and not reader.path.exists()]
            for shard in gone:
                del self._readers[shard]


@dataclass(frozen=True)
class _Reader:
    """An open shard."""

    batches: pa.ipc.RecordBatchFileReader
    path: Path | None = None
    """Of the copy in the cache, if it is one."""


def _open(file: pa.NativeFile, url: str) -> pa.ipc.RecordBatchFileReader:
    """Open a shard.

    Raises: CorpusError for one of another version.
    """
    reader = pa.ipc.open_file(file)
    version = (reader.schema.metadata or {}).get(b"schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise CorpusError(f"{url}: shard schema version {version}, this program reads {SCHEMA_VERSION}")
    return reader
