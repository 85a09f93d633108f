"""The stage `signatures_<source>`: a few numbers a document, by which copies of it are found without its text.

    part-00000.parquet         id, letters, paragraphs, bands (8 bytes a band), sketch (256 bits), sorted by id
    paragraphs-00000.parquet   id, ordinal (the line), hash, characters: lines long enough to be compared by themselves

What a signature is, and how well it tells, is written in pipeline/dedup/minhash.py. Signing takes 15 ms a MB of news (50 where
texts are as short as reviews), paragraphs included. On disk a document takes 160 bytes, a paragraph 24.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import DedupConfig, SourceConfig
from pipeline.dedup.minhash import (
    SKETCH_BITS,
    bands,
    minima,
    sketches,
)
from pipeline.dedup.ngrams import (
    Hashes,
    Letters,
    letters,
    segments,
)
from pipeline.documents.table import Part, parts
from pipeline.engine import counting, job, steps
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage

STAGE_VERSION = 1
BATCH_CHARACTERS = 1 << 17
"""Texts that are hashed together: arrays of 1 MB stay near the processor."""


def needed(dedup: DedupConfig) -> bool:
    """Whether anything is compared that takes signatures."""
    return dedup.near or dedup.min_paragraph_characters > 0


def signatures(
    source: SourceConfig,
    documents: Finished,
    dedup: DedupConfig,
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """Sign the documents of one source. Only what shapes a signature enters the key: a new threshold signs nothing again."""
    shape = SignatureShape(dedup.ngram_size, dedup.bands, dedup.rows, dedup.min_paragraph_characters)
    stage = Stage("signatures", STAGE_VERSION, {"shape": shape}, {"documents": documents.digest}, source=source.name)

    def body(folder: str) -> dict[str, Any]:
        name = f"signatures of {source.name}"
        work = steps.Job(name=name, folder=folder, tasks=parts([documents]), map=SignPart(folder, shape))
        entries, counts = job.run(work, execution)
        numbers = {kind: counts.get(kind, 0) for kind in ("documents", "letters", "paragraphs")}
        return {"files": entries, "counts": numbers}

    return run_stage(root, stage, body, execution)


@dataclass(frozen=True)
class SignatureShape:
    """What a signature is made of; fields as in `DedupConfig`."""

    ngram_size: int
    bands: int
    rows: int
    min_paragraph_characters: int

    @property
    def minima(self) -> int:
        return max(SKETCH_BITS, self.bands * self.rows)


@dataclass(frozen=True)
class SignPart:
    """Map: the signatures of one part."""

    folder: str
    shape: SignatureShape

    def __call__(self, task: Part) -> steps.Reduced:
        signed = [signature_schema(self.shape).empty_table()]
        paragraphs = [PARAGRAPHS.empty_table()]
        for ids, texts in text_batches(task.url):
            folded = letters(texts, gap=self.shape.ngram_size - 1)
            numbers = np.zeros(len(ids), np.int64)
            if self.shape.min_paragraph_characters:
                found, numbers = _paragraphs(ids, folded, self.shape.min_paragraph_characters)
                paragraphs.append(found)
            signed.append(_signed(ids, folded, numbers, self.shape))
        table, lines = pa.concat_tables(signed), pa.concat_tables(paragraphs)
        entries = [_write(self.folder, task.file, table)]
        if self.shape.min_paragraph_characters:
            entries.append(_write(self.folder, paragraph_file(task.file), lines))
        counts: Counts = {}
        counting.count(counts, "documents", number=len(table))
        counting.count(counts, "letters", number=int(table["letters"].to_numpy().sum(dtype=np.int64)))
        counting.count(counts, "paragraphs", number=len(lines))
        return steps.Reduced(tuple(entries), counts)


def paragraph_file(part: str) -> str:
    """`part-00003.parquet` -> `paragraphs-00003.parquet`."""
    return part.replace("part-", "paragraphs-")


PARAGRAPHS = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("ordinal", pa.uint32(), nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("characters", pa.uint32(), nullable=False),
    ]
)


def signature_schema(shape: SignatureShape) -> pa.Schema:
    """Columns of the signatures of a part."""
    return pa.schema(
        [
            pa.field("id", pa.uint64(), nullable=False),
            pa.field("letters", pa.uint32(), nullable=False),
            pa.field("paragraphs", pa.uint32(), nullable=False),
            pa.field("bands", pa.binary(8 * shape.bands), nullable=False),
            pa.field("sketch", pa.binary(SKETCH_BITS // 8), nullable=False),
        ]
    )


def text_batches(url: str) -> Iterator[tuple[npt.NDArray[np.uint64], list[str]]]:
    """Ids and texts of a part of documents, some at a time."""
    with storage.open_read(url) as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1_024, columns=["id", "text"]):
            ids, texts = batch["id"].to_numpy(), batch["text"].to_pylist()
            ends = np.cumsum([len(text) for text in texts])
            cuts = np.searchsorted(ends, np.arange(BATCH_CHARACTERS, ends[-1] if len(ends) else 0, BATCH_CHARACTERS))
            bounds = np.unique([0, *cuts.tolist(), len(texts)]).tolist()
            for first, last in itertools.pairwise(bounds):
                yield ids[first:last], texts[first:last]


def _signed(ids: npt.NDArray[np.uint64], folded: Letters, paragraphs: npt.NDArray[Any], shape: SignatureShape) -> pa.Table:
    found = minima(folded, shape.ngram_size, shape.minima)
    columns = [
        pa.array(ids),
        pa.array(folded.lengths.astype(np.uint32)),
        pa.array(paragraphs.astype(np.uint32)),
        binary_column(bands(found, shape.bands, shape.rows)),
        binary_column(sketches(found)),
    ]
    return pa.table(columns, schema=signature_schema(shape))


def _paragraphs(ids: npt.NDArray[np.uint64], folded: Letters, least: int) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Lines of at least `least` letters, and how many of them each text has."""
    lines = folded.lines()
    long = np.flatnonzero(lines.ends - lines.starts >= least)
    rows, starts, ends = lines.rows[long], lines.raw_starts[long], lines.raw_ends[long]
    blanks = np.zeros(len(folded.raw) + 1, np.int64)
    np.cumsum(folded.raw == ord(" "), out=blanks[1:])
    characters = ends - starts - (blanks[ends] - blanks[starts])
    hashes = segments(folded.codes, lines.starts[long], lines.ends[long])
    columns = [ids[rows], lines.ordinals[long].astype(np.uint32), hashes, characters.astype(np.uint32)]
    return pa.table([pa.array(column) for column in columns], schema=PARAGRAPHS), np.bincount(rows, minlength=len(ids))


def binary_column(rows: Hashes) -> pa.Array:
    """Rows of 64-bit numbers as one fixed-size binary column."""
    rows = np.ascontiguousarray(rows)
    return pa.Array.from_buffers(pa.binary(8 * rows.shape[1]), len(rows), [None, pa.py_buffer(rows)])


def binary_rows(column: pa.ChunkedArray) -> Hashes:
    """The reverse of `binary_column`."""
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    width = array.type.byte_width // 8
    return np.frombuffer(array.buffers()[1], np.uint64)[array.offset * width : (array.offset + len(array)) * width].reshape(
        -1, width
    )


def _write(folder: str, name: str, table: pa.Table) -> FileEntry:
    with storage.open_write(storage.join(folder, name)) as file:
        # Hashes do not compress.
        pq.write_table(table.combine_chunks(), file, compression="none", use_dictionary=False, write_statistics=["id"])
    return FileEntry.of(folder, name, table.num_rows)
