"""Documents that an earlier stage has tokenised: found by their text, and their tokens taken from there.

    known-00000.parquet    a row for each row of part-00000.arrow:
        digest             of the text: the title, and the paragraphs that are kept
        unknown            what became [UNK] in it, in order

Only the rows that are needed are read: files are mapped into memory. In an object store a part is read as a whole, so there
documents are looked for in the part of the same name only.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.arrays import Bytes, Flags, Hashes, Ints, ranges
from pipeline.engine import earlier, integrity, parquet
from pipeline.engine.counting import Counts
from pipeline.engine.earlier import Earlier
from pipeline.tokenization.encoded import TokenRows

FILE = pa.schema(
    [pa.field("digest", pa.binary(16), nullable=False), pa.field("unknown", pa.list_(pa.string()), nullable=False)]
)


def digests_of(texts: Sequence[str]) -> Hashes:
    """Return 16 bytes for each text as two numbers, (texts, 2)."""
    return earlier.numbers(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)


class Memory:
    """What the task of one part knows of earlier documents, and notes of its own."""

    def __init__(self, part: str, before: Earlier | None) -> None:
        self._part = part
        self._index = _index(before.known) if before else None
        self._tokens = [_tokens_of(url) for url in before.known] if before else []
        self._digests: list[Hashes] = []
        self._unknown: list[Sequence[str]] = []
        self._work = dict.fromkeys(earlier.WORK, 0)

    def find(self, digests: Hashes) -> Ints:
        """Return the file and row where the tokens of each text are, (texts, 2); -1 for those that are unknown."""
        if self._index is None:
            return np.full((len(digests), 2), -1)
        places = self._index.find(digests)
        if self._tokens and not storage.is_local(self._tokens[0]):
            here = [storage.base_name(url) == self._part for url in self._tokens]
            places[~np.array([*here, False])[places[:, 0]]] = -1
        return places

    def take(self, places: Ints) -> tuple[TokenRows, list[list[str]]]:
        """Return the tokens at some places (documents, 2), and what was unknown in each document."""
        assert self._index is not None
        found = [TokenRows.empty()]
        order = np.lexsort((places[:, 1], places[:, 0]))
        for some in np.split(order, np.flatnonzero(np.diff(places[order, 0])) + 1):
            if len(some):
                found += _read(self._tokens[int(places[some[0], 0])], places[some, 1])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return TokenRows.joined(found).take(back), [self._index.unknown(*place) for place in places.tolist()]

    def note(self, digests: Hashes, unknown: Sequence[Sequence[str]], has_tokens: Flags, reused: int) -> None:
        """Note documents, in the order in which they are written.

        Args:
            has_tokens: which documents (documents,) are written.
            reused: how many of them an earlier stage had.
        """
        self._digests.append(digests[has_tokens])
        self._unknown += [texts for texts, written in zip(unknown, has_tokens.tolist(), strict=True) if written]
        self._work["reused"] += reused
        self._work["anew"] += len(digests) - reused

    def write(self, folder: str) -> Counts:
        """Write what was noted; return counts that list the file and what was reused."""
        rows = np.concatenate([np.empty((0, 2), np.uint64), *self._digests])
        column = pa.Array.from_buffers(pa.binary(16), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))])
        table = pa.table([column, pa.array(self._unknown, FILE.field("unknown").type)], schema=FILE)
        name = self._part.removeprefix("part-").partition(".")[0]
        return {**earlier.write_known(folder, name, table), "work": self._work}


class _Index:
    """What a stage noted, by digest."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self._unknown = [table["unknown"].combine_chunks() for table in tables]
        self._digests = earlier.Digests(table["digest"] for table in tables)
        self._starts = np.cumsum([0, *(len(table) for table in tables)])

    def find(self, digests: Hashes) -> Ints:
        """Return file and row of each digest (n, 2); -1 for unknown ones."""
        rows = self._digests.find(digests)
        files = np.searchsorted(self._starts, rows, side="right") - 1
        return np.where(rows[:, None] < 0, -1, np.stack([files, rows - self._starts[files]], axis=1))

    def unknown(self, file: int, row: int) -> list[str]:
        """Return what was unknown in a document."""
        texts: list[str] = self._unknown[file][row].as_py()
        return texts


@lru_cache(maxsize=2)
def _index(urls: tuple[str, ...]) -> _Index:
    return _Index([parquet.read(url) for url in urls])


def _tokens_of(known: str) -> str:
    """Return the file of tokens whose documents a file tells of: `known-00003.parquet` -> `part-00003.arrow`."""
    folder, _, name = known.rpartition("/")
    return storage.join(folder, f"part-{name.removeprefix(earlier.PREFIX).partition('.')[0]}.arrow")


@dataclass(frozen=True, eq=False)
class _File:
    """A file of tokens: its record batches, and the number of rows before each."""

    batches: Sequence[pa.RecordBatch]
    starts: Ints


@lru_cache(maxsize=128)
def _open(url: str) -> _File:
    if storage.is_local(url):
        with integrity.open_finished(url):  # compared
            source = pa.memory_map(str(storage.local_path(url)))
    else:
        source = pa.py_buffer(integrity.read_bytes(url))
    reader = pa.ipc.open_file(source)
    batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    return _File(batches, np.cumsum([0, *(batch.num_rows for batch in batches)]))


def _read(url: str, rows: Ints) -> list[TokenRows]:
    """Return some rows, sorted, of a file of tokens, those of each record batch together."""
    file = _open(url)
    numbers = np.searchsorted(file.starts, rows, side="right") - 1
    return [_of_batch(file.batches[number], rows[numbers == number] - file.starts[number]) for number in np.unique(numbers)]


def _of_batch(batch: pa.RecordBatch, rows: Ints) -> TokenRows:
    tokens, units, sentences = (batch[name] for name in ("ids", "unit_starts", "sentence_ends"))
    offsets, ends = (column.offsets.to_numpy().astype(np.int64) for column in (tokens, sentences))
    lengths, numbers = np.diff(offsets)[rows], np.diff(ends)[rows]
    wanted = ranges(offsets[rows], lengths)
    bits: Bytes = np.frombuffer(units.values.buffers()[1], np.uint8)
    return TokenRows(
        tokens.values.to_numpy()[wanted],
        (bits[wanted >> 3] >> (wanted & 7).astype(np.uint8)) & 1 == 1,
        np.concatenate(([0], np.cumsum(lengths))),
        sentences.values.to_numpy()[ranges(ends[rows], numbers)].astype(np.int64),
        np.concatenate(([0], np.cumsum(numbers))),
    )
