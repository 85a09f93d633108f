"""Documents as tokens: Arrow files on disk, flat arrays in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from pipeline.arrays import Flags, Hashes, Ints, Ints32, TokenIds, ranges
from pipeline.engine import integrity
from pipeline.engine.stages import Finished


@dataclass(frozen=True, eq=False)
class Documents:
    """The documents of one part as tokens, concatenated: any span of text is a slice."""

    ids: TokenIds
    """(tokens,)"""
    unit_starts: Flags
    """(tokens,) True where a masking unit starts. Every sentence starts a unit."""
    sentence_ends: Ints
    """(sentences,) the end of each sentence in `ids`, rising over all documents. Every token is in a sentence."""
    document_starts: Ints
    """(documents + 1,) the start of each document in `ids`, then the number of tokens. A document may be empty."""
    document_ids: Hashes
    """(documents,) distinct."""

    def __len__(self) -> int:
        return len(self.document_ids)

    @cached_property
    def units(self) -> Ints32:
        """(units + 1,) the start of each unit, then the number of tokens."""
        return np.flatnonzero(np.append(self.unit_starts, True)).astype(np.int32)

    @cached_property
    def unit_of(self) -> Ints32:
        """(tokens,) the unit of each token."""
        return np.cumsum(self.unit_starts, dtype=np.int32) - np.int32(1)

    @cached_property
    def sentence_of(self) -> Ints32:
        """(tokens,) the sentence of each token."""
        return np.repeat(np.arange(len(self.sentence_ends), dtype=np.int32), np.diff(self.sentence_ends, prepend=0))

    def starts_sentence(self, positions: Ints) -> Flags:
        """Return whether a sentence starts at each of `positions` (n,), or the last one ends there: (n,)."""
        return np.asarray((positions == 0) | (self.sentence_ends[self.sentence_of[positions - 1]] == positions))

    def select(self, kept: Flags) -> "Documents":
        """Return some of the documents, given as flags (documents,)."""
        tokens = np.repeat(kept, np.diff(self.document_starts))
        # A sentence is kept with its last token; it ends after as many kept tokens as there are up to that one.
        last = self.sentence_ends - 1
        ends = np.cumsum(tokens, dtype=np.int64)[last[tokens[last]]]
        starts = np.concatenate(([0], np.cumsum(np.diff(self.document_starts)[kept])))
        return Documents(self.ids[tokens], self.unit_starts[tokens], ends, starts, self.document_ids[kept])

    def joined(self, separator: int) -> tuple["Documents", Ints]:
        """Join all documents to one, with separators between them that are units; also return their positions."""
        ends = self.document_starts[1:][np.diff(self.document_starts) > 0][:-1]
        shift = np.searchsorted(ends, self.sentence_ends)  # separators before the end of each sentence
        total = np.array([0, len(self.ids) + len(ends)])
        return Documents(
            np.insert(self.ids, ends, separator),
            np.insert(self.unit_starts, ends, True),
            self.sentence_ends + shift,
            total,
            self.document_ids[:1],
        ), ends + np.arange(len(ends))


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Documents as rows of a part, in flat arrays. A row may be empty."""

    ids: TokenIds
    """(tokens,)"""
    unit_starts: Flags
    """(tokens,)"""
    starts: Ints
    """(rows + 1,) the start of each row in `ids`, then the number of tokens."""
    ends: Ints
    """(sentences,) the end of each sentence, counted from the start of its row."""
    first_ends: Ints
    """(rows + 1,) the start of each row in `ends`, then the number of sentences."""

    @staticmethod
    def empty() -> "TokenRows":
        return TokenRows(np.empty(0, np.uint16), np.empty(0, np.bool_), *(np.array(one, np.int64) for one in ([0], [], [0])))

    @staticmethod
    def joined(several: "Sequence[TokenRows]") -> "TokenRows":
        """Concatenate rows."""
        return TokenRows(
            np.concatenate([one.ids for one in several]),
            np.concatenate([one.unit_starts for one in several]),
            np.cumsum(np.concatenate([[0], *(np.diff(one.starts) for one in several)])),
            np.concatenate([one.ends for one in several]),
            np.cumsum(np.concatenate([[0], *(np.diff(one.first_ends) for one in several)])),
        )

    def take(self, order: Ints) -> "TokenRows":
        """Return the rows with the indices `order`, in that order."""
        lengths, numbers = np.diff(self.starts)[order], np.diff(self.first_ends)[order]
        tokens, ends = ranges(self.starts[order], lengths), ranges(self.first_ends[order], numbers)
        starts, first_ends = (np.concatenate(([0], np.cumsum(some))) for some in (lengths, numbers))
        return TokenRows(self.ids[tokens], self.unit_starts[tokens], starts, self.ends[ends], first_ends)

    def batch(self, ids: Hashes, kind: pa.Schema) -> pa.RecordBatch:
        """Return the rows as a record batch, with the id of each document."""
        starts = pa.array(self.starts.astype(np.int32))
        columns = [
            pa.array(ids),
            pa.ListArray.from_arrays(starts, pa.array(self.ids, kind.field("ids").type.value_type)),
            pa.ListArray.from_arrays(starts, pa.array(self.unit_starts)),
            pa.ListArray.from_arrays(pa.array(self.first_ends.astype(np.int32)), pa.array(self.ends.astype(np.uint32))),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=kind)


def schema(vocabulary_size: int) -> pa.Schema:
    """Return the columns of a part."""
    fields = {
        "id": pa.uint64(),
        "ids": pa.list_(id_type(vocabulary_size)),
        "unit_starts": pa.list_(pa.bool_()),
        "sentence_ends": pa.list_(pa.uint32()),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields.items()])


def read_part(stage: Finished, name: str) -> Documents:
    """Read the documents of one part."""
    table = pa.ipc.open_file(pa.py_buffer(integrity.read_bytes(stage.file(name)))).read_all()
    columns = {column: table[column].combine_chunks() for column in table.column_names}
    starts = columns["ids"].offsets.to_numpy().astype(np.int64)
    first_sentence = columns["sentence_ends"].offsets.to_numpy()
    ends = columns["sentence_ends"].values.to_numpy().astype(np.int64)
    ends += np.repeat(starts[:-1], np.diff(first_sentence))  # in the file they count from the start of their document
    units = columns["unit_starts"].values.to_numpy(zero_copy_only=False)
    return Documents(columns["ids"].values.to_numpy(), units, ends, starts, columns["id"].to_numpy())


def id_type(vocabulary_size: int) -> pa.DataType:
    """Return the type of token ids: two bytes if the vocabulary allows."""
    return pa.uint16() if vocabulary_size <= 1 << 16 else pa.uint32()
