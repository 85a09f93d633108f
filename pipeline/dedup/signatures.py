"""The stage `signatures_<source>`: a few hashes per document, from which its duplicates are found without its text.

    part-00000.parquet         id, letters, paragraphs, bands (8 bytes each), sketch (256 bits), sorted by id
    paragraphs-00000.parquet   id, ordinal (number of the line), hash, characters: lines that are long enough to be compared
    lines-00000.parquet        hash, id, ordinal: shorter lines that several documents of the part have, for the report
    short-00000.parquet        id, codes, anchors: documents of up to 500 characters, compared exactly (short_texts.py)

`letters` counts the normalised characters of a document. pipeline/dedup/minhash.py explains signatures and their accuracy.
Computing them takes 15 ms per MB of news (50 for texts as short as reviews), paragraphs included. On disk a document takes 160
bytes, a paragraph 24.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.arrays import Hashes, Ints, slices, starts_of_groups
from pipeline.config import DedupConfig, SourceConfig
from pipeline.dedup import short_texts
from pipeline.dedup.minhash import SKETCH_BITS, band_hashes, minhash, sketches
from pipeline.dedup.ngrams import NormalizedTexts, normalize_texts, span_hashes
from pipeline.documents.table import Part, parts
from pipeline.engine import counting, job, steps
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.integrity import open_finished
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage

STAGE_VERSION = 2
SHORT_LINE = 30
"""Normalised characters below which lines count as short where no lines are compared."""
BATCH_CHARACTERS = 1 << 17
"""Characters of the texts that are hashed at once: arrays of 1 MB stay in the processor's cache."""


def needed(dedup: DedupConfig) -> bool:
    """Return whether the recipe compares anything by signatures."""
    return dedup.near or dedup.min_paragraph_characters > 0


def signatures(
    source: SourceConfig,
    documents: Finished,
    dedup: DedupConfig,
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """Compute the signatures of the documents of one source.

    The key has only what shapes a signature, so a new similarity threshold does not recompute any.
    """
    short = dedup.short_characters if dedup.near else 0
    shape = SignatureShape(dedup.ngram_size, dedup.bands, dedup.rows, dedup.min_paragraph_characters, short)
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
    """The fields of `DedupConfig` that shape a signature."""

    ngram_size: int
    bands: int
    rows: int
    min_paragraph_characters: int
    short_characters: int
    """Characters of the longest short document; 0 = no document is stored for exact comparison."""

    @property
    def bins(self) -> int:
        """Bins of the MinHash signature, enough for both the bands and the sketch."""
        return max(SKETCH_BITS, self.bands * self.rows)


@dataclass(frozen=True)
class SignPart:
    """Map: the signatures of one part."""

    folder: str
    shape: SignatureShape

    def __call__(self, task: Part) -> steps.Reduced:
        signed = [signature_schema(self.shape).empty_table()]
        paragraphs, short = [PARAGRAPHS.empty_table()], [short_texts.STORED.empty_table()]
        lines = [LINES.empty_table()]
        for ids, texts in text_batches(task.url):
            normalized = normalize_texts(texts, gap=self.shape.ngram_size - 1)
            found, paragraph_counts, short_lines = _lines(ids, normalized, self.shape.min_paragraph_characters)
            paragraphs.append(found)
            lines.append(short_lines)
            signed.append(_signatures(ids, normalized, paragraph_counts, self.shape))
            if self.shape.short_characters:
                short.append(short_texts.stored(ids, normalized, self.shape.short_characters))
        table, found = pa.concat_tables(signed), pa.concat_tables(paragraphs)
        entries = [_write(self.folder, task.file, table)]
        if self.shape.min_paragraph_characters:
            entries.append(_write(self.folder, paragraph_file(task.file), found))
        entries.append(_write(self.folder, lines_file(task.file), _repeated(pa.concat_tables(lines))))
        if self.shape.short_characters:
            entries.append(_write(self.folder, short_texts.short_file(task.file), pa.concat_tables(short)))
        counts: Counts = {}
        counting.count(counts, "documents", number=len(table))
        counting.count(counts, "letters", number=int(table["letters"].to_numpy().sum(dtype=np.int64)))
        counting.count(counts, "paragraphs", number=len(found))
        return steps.Reduced(tuple(entries), counts)


def paragraph_file(part: str) -> str:
    """Return the file of a part's paragraphs: `part-00003.parquet` -> `paragraphs-00003.parquet`."""
    return part.replace("part-", "paragraphs-")


def lines_file(part: str) -> str:
    """Return the file of a part's repeated short lines: `part-00003.parquet` -> `lines-00003.parquet`."""
    return part.replace("part-", "lines-")


LINES = pa.schema(
    [
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("ordinal", pa.uint32(), nullable=False),
    ]
)
PARAGRAPHS = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("ordinal", pa.uint32(), nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("characters", pa.uint32(), nullable=False),
    ]
)


def signature_schema(shape: SignatureShape) -> pa.Schema:
    """Return the columns of a part of signatures."""
    return pa.schema(
        [
            pa.field("id", pa.uint64(), nullable=False),
            pa.field("letters", pa.uint32(), nullable=False),
            pa.field("paragraphs", pa.uint32(), nullable=False),
            pa.field("bands", pa.binary(8 * shape.bands), nullable=False),
            pa.field("sketch", pa.binary(SKETCH_BITS // 8), nullable=False),
        ]
    )


def text_batches(url: str) -> Iterator[tuple[Hashes, list[str]]]:
    """Yield ids and texts of a part of documents, about BATCH_CHARACTERS characters at a time."""
    with open_finished(url) as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1_024, columns=["id", "text"]):
            ids, texts = batch["id"].to_numpy(), batch["text"].to_pylist()
            for first, last in slices(np.array([len(text) for text in texts], np.int64), BATCH_CHARACTERS):
                yield ids[first:last], texts[first:last]


def _signatures(ids: Hashes, texts: NormalizedTexts, paragraph_counts: Ints, shape: SignatureShape) -> pa.Table:
    signatures = minhash(texts, shape.ngram_size, shape.bins)
    columns = [
        pa.array(ids),
        pa.array(texts.lengths.astype(np.uint32)),
        pa.array(paragraph_counts.astype(np.uint32)),
        binary_column(band_hashes(signatures, shape.bands, shape.rows)),
        binary_column(sketches(signatures)),
    ]
    return pa.table(columns, schema=signature_schema(shape))


def _lines(ids: Hashes, normalized: NormalizedTexts, min_characters: int) -> tuple[pa.Table, Ints, pa.Table]:
    """Return the lines of at least `min_characters` normalised characters, their number per text (texts,), and shorter lines.

    With `min_characters` 0, no line is long. A text of a single line has no short ones: it is no part of another text.
    """
    lines = normalized.lines()
    sizes = lines.ends - lines.starts
    hashes = span_hashes(normalized.codes, lines.starts, lines.ends)
    is_long = (sizes >= min_characters) & (min_characters > 0)
    long = np.flatnonzero(is_long)
    texts, starts, ends = lines.texts[long], lines.raw_starts[long], lines.raw_ends[long]
    # `characters` does not count spaces.
    spaces = np.zeros(len(normalized.raw) + 1, np.int64)
    np.cumsum(normalized.raw == ord(" "), out=spaces[1:])
    characters = ends - starts - (spaces[ends] - spaces[starts])
    columns = [ids[texts], lines.ordinals[long].astype(np.uint32), hashes[long], characters.astype(np.uint32)]
    found = pa.table([pa.array(column) for column in columns], schema=PARAGRAPHS)
    several = np.bincount(lines.texts, minlength=len(ids))[lines.texts] > 1
    short = np.flatnonzero(~is_long & several & (sizes > 0) & (sizes < (min_characters or SHORT_LINE)))
    rest = [hashes[short], ids[lines.texts[short]], lines.ordinals[short].astype(np.uint32)]
    others = pa.table([pa.array(column) for column in rest], schema=LINES)
    return found, np.bincount(texts, minlength=len(ids)), others


def _repeated(lines: pa.Table) -> pa.Table:
    """Return the lines of a part that at least two of its documents have, one row a document, sorted by hash and id."""
    hashes, ids, ordinals = (lines[name].to_numpy() for name in LINES.names)
    order = np.lexsort((ordinals, ids, hashes))
    hashes, ids = hashes[order], ids[order]
    first = starts_of_groups(hashes) | starts_of_groups(ids)  # of equal lines of a document
    order, hashes = order[first], hashes[first]
    alone = starts_of_groups(hashes) & np.append(starts_of_groups(hashes)[1:], True)[: len(hashes)]
    return lines.take(pa.array(order[~alone]))


def binary_column(rows: Hashes) -> pa.Array:
    """Return rows (n, k) of 64-bit numbers as a fixed-size binary column."""
    rows = np.ascontiguousarray(rows)
    return pa.Array.from_buffers(pa.binary(8 * rows.shape[1]), len(rows), [None, pa.py_buffer(rows)])


def binary_rows(column: pa.ChunkedArray) -> Hashes:
    """Return the rows (n, k) of a binary column: the reverse of `binary_column`."""
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    width = array.type.byte_width // 8
    numbers = np.frombuffer(array.buffers()[1], np.uint64)
    return numbers[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)


def _write(folder: str, name: str, table: pa.Table) -> FileEntry:
    with storage.open_write(storage.join(folder, name)) as file:
        # No compression: hashes do not compress.
        pq.write_table(table.combine_chunks(), file, compression="none", use_dictionary=False, write_statistics=["id"])
    return FileEntry.of(folder, name, table.num_rows)
