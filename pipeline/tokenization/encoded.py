"""Documents as tokens, on disk and end to end in memory."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Flags, Ints, TokenIds
from pipeline.engine.stages import (
    Finished,
)


@dataclass(frozen=True, eq=False)
class Documents:
    """The documents of one part as tokens, end to end: a stretch of text is a slice."""

    ids: TokenIds
    """(tokens,)"""
    unit_starts: Flags
    """(tokens,) True where a masking unit begins; every sentence begins one."""
    sentence_ends: Ints
    """(sentences,) where each sentence ends in `ids`, rising over all documents; every token is in a sentence."""
    document_starts: Ints
    """(documents + 1,) where each document begins in `ids`; the last is the number of tokens. A document may be empty."""
    document_ids: NDArray[np.uint64]
    """(documents,) all different."""

    def __len__(self) -> int:
        return len(self.document_ids)

    @cached_property
    def units(self) -> NDArray[np.int32]:
        """(units + 1,) where units begin; the last is the number of tokens."""
        return np.flatnonzero(np.append(self.unit_starts, True)).astype(np.int32)

    @cached_property
    def unit_of(self) -> NDArray[np.int32]:
        """(tokens,) the unit in which each token stands."""
        return np.cumsum(self.unit_starts, dtype=np.int32) - np.int32(1)

    @cached_property
    def sentence_of(self) -> NDArray[np.int32]:
        """(tokens,) the sentence in which each token stands."""
        return np.repeat(np.arange(len(self.sentence_ends), dtype=np.int32), np.diff(self.sentence_ends, prepend=0))

    def begins_sentence(self, places: Ints) -> Flags:
        """Whether sentences begin at `places`, or the last one ends there."""
        return np.asarray((places == 0) | (self.sentence_ends[self.sentence_of[places - 1]] == places))

    def select(self, kept: Flags) -> "Documents":
        """Some of the documents, given as flags (documents,)."""
        tokens = np.repeat(kept, np.diff(self.document_starts))
        last = self.sentence_ends - 1
        ends = np.cumsum(tokens, dtype=np.int64)[last[tokens[last]]]
        starts = np.concatenate(([0], np.cumsum(np.diff(self.document_starts)[kept])))
        return Documents(self.ids[tokens], self.unit_starts[tokens], ends, starts, self.document_ids[kept])

    def joined(self, separator: int) -> tuple["Documents", Ints]:
        """All as one document, with a separator between documents that is a unit; and where the separators stand."""
        ends = self.document_starts[1:][np.diff(self.document_starts) > 0][:-1]
        shift = np.searchsorted(ends, self.sentence_ends)  # separators before each sentence's end: its own is not
        total = np.array([0, len(self.ids) + len(ends)])
        return Documents(
            np.insert(self.ids, ends, separator),
            np.insert(self.unit_starts, ends, True),
            self.sentence_ends + shift,
            total,
            self.document_ids[:1],
        ), ends + np.arange(len(ends))


def schema(vocabulary_size: int) -> pa.Schema:
    """The columns of a part."""
    fields = {
        "id": pa.uint64(),
        "ids": pa.list_(id_type(vocabulary_size)),
        "unit_starts": pa.list_(pa.bool_()),
        "sentence_ends": pa.list_(pa.uint32()),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields.items()])


def read_part(stage: Finished, name: str) -> Documents:
    """The documents of one part, end to end."""
    table = pa.ipc.open_file(pa.py_buffer(storage.read_bytes(stage.file(name)))).read_all()
    columns = {column: table[column].combine_chunks() for column in table.column_names}
    starts = columns["ids"].offsets.to_numpy().astype(np.int64)
    first_sentence = columns["sentence_ends"].offsets.to_numpy()
    ends = columns["sentence_ends"].values.to_numpy().astype(np.int64)
    ends += np.repeat(starts[:-1], np.diff(first_sentence))
    units = columns["unit_starts"].values.to_numpy(zero_copy_only=False)
    return Documents(columns["ids"].values.to_numpy(), units, ends, starts, columns["id"].to_numpy())


def id_type(vocabulary_size: int) -> pa.DataType:
    """Two bytes a token as long as the vocabulary allows."""
    return pa.uint16() if vocabulary_size <= 1 << 16 else pa.uint32()
