"""The stage `signatures_<source>`: a few numbers a document, by which copies of it are found without its text.

    part-00000.parquet         id, letters, paragraphs, bands (8 bytes a band), sketch (256 bits), sorted by id
    paragraphs-00000.parquet   id, ordinal (the line), hash, characters: lines long enough to be compared by themselves

A document is the set of its runs of five letters (shingles). MinHash keeps, of 256 kinds of runs, the smallest hash; two
documents agree in a share of them that estimates the Jaccard similarity of their sets, |A & B| / |A | B|.

- One hash a run: its high bits are its kind, its low bits its value (one-permutation hashing). Kinds that no run fell into
  borrow the value of another (optimal densification: Shrivastava, ICML 2017), which leaves the estimate unbiased.
- `bands`: hashes of the first bands x rows minima, `rows` at a time. Who shares a band is a candidate; half of the pairs of
  similarity (1 / bands) ** (1 / rows) are: 0.72 for 14 x 8 (datatrove), 0.79 for 20 x 13 (NeMo Curator).
- `sketch`: one bit of each of 256 minima (b-bit minwise hashing, b = 1: Li and König, WWW 2010). Two sketches that differ in d
  bits have a similarity of about 1 - 2 d / 256: that checks a candidate with 32 bytes instead of two texts.

Measured on news of which 0.5 to 5 % of the letters were changed, texts of 30 to 2,000 letters, true similarities around 0.82:
the 256 minima err by 0.019 to 0.022 (256 permutations: 0.018 to 0.023, at four times the cost), the sketch by 0.036 to 0.039.
Of pairs from 0.75 on, 93 to 99 % are found and pass a threshold of 0.75; from 0.85 on 99.9 %; below 0.65, 0.4 %. It takes 15 ms
a MB of news (50 where texts are as short as reviews), paragraphs included, and 160 bytes a document.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import job, storage, tally
from pipeline.config import DedupConfig, SourceConfig
from pipeline.letters import Hashes, Letters, letters, mix, segments
from pipeline.stages import FileEntry, Finished, Report, Stage, silent
from pipeline.stages import run as run_stage
from pipeline.tally import Tally

STAGE_VERSION = 1
SKETCH_BITS = 256
BATCH_CHARACTERS = 1 << 17
"""Texts that are hashed together: arrays of 1 MB stay near the processor."""

LENDERS = 32
"""Turns in which an empty kind asks one other, before it asks all."""
DENSE_SHARE = 0.05
"""Whole rows are faster than single cells as long as so many are empty."""

_EMPTY = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class Part:
    """One part of the documents of a source, without the manifest: tasks are many, and each is pickled."""

    source: int
    """The source's place in the recipe."""
    folder: str
    """URL of the stage."""
    file: str
    """`part-00003.parquet`"""

    @property
    def name(self) -> str:
        return f"{self.source:03d}-{self.file.removesuffix('.parquet')}"

    @property
    def url(self) -> str:
        return storage.join(self.folder, self.file)


def parts(documents: Sequence[Finished]) -> list[Part]:
    """The parts of all sources, in the recipe's order."""
    return [Part(index, done.url, entry["name"]) for index, done in enumerate(documents) for entry in done.files("part-")]


def needed(dedup: DedupConfig) -> bool:
    """Whether anything is compared that takes signatures."""
    return dedup.near or dedup.paragraph_letters > 0


def signatures(
    source: SourceConfig,
    documents: Finished,
    dedup: DedupConfig,
    root: str,
    *,
    workers: int = 1,
    report: Report = silent,
) -> Finished:
    """Sign the documents of one source. Only what shapes a signature enters the key: a new threshold signs nothing again."""
    shape = SignatureShape(dedup.shingle, dedup.bands, dedup.rows, dedup.paragraph_letters)
    stage = Stage(f"signatures_{source.name}", STAGE_VERSION, {"shape": shape}, {"documents": documents.digest})

    def body(folder: str) -> dict[str, Any]:
        name = f"signatures of {source.name}"
        work = job.Job(name=name, folder=folder, tasks=parts([documents]), map=SignPart(folder, shape))
        entries, counts = job.run(work, workers, report)
        numbers = {kind: counts.get(kind, 0) for kind in ("documents", "letters", "paragraphs")}
        return {"files": entries, "source": source.name, "counts": numbers}

    return run_stage(root, stage, body)


@dataclass(frozen=True)
class SignatureShape:
    """What a signature is made of; fields as in `DedupConfig`."""

    shingle: int
    bands: int
    rows: int
    paragraph_letters: int

    @property
    def minima(self) -> int:
        return max(SKETCH_BITS, self.bands * self.rows)


@dataclass(frozen=True)
class SignPart:
    """Map: the signatures of one part."""

    folder: str
    shape: SignatureShape

    def __call__(self, task: Part) -> job.Reduced:
        signed = [signature_schema(self.shape).empty_table()]
        paragraphs = [PARAGRAPHS.empty_table()]
        for ids, texts in text_batches(task.url):
            folded = letters(texts, gap=self.shape.shingle - 1)
            numbers = np.zeros(len(ids), np.int64)
            if self.shape.paragraph_letters:
                found, numbers = _paragraphs(ids, folded, self.shape.paragraph_letters)
                paragraphs.append(found)
            signed.append(_signed(ids, folded, numbers, self.shape))
        table, lines = pa.concat_tables(signed), pa.concat_tables(paragraphs)
        entries = [_write(self.folder, task.file, table)]
        if self.shape.paragraph_letters:
            entries.append(_write(self.folder, paragraph_file(task.file), lines))
        counts: Tally = {}
        tally.count(counts, "documents", number=len(table))
        tally.count(counts, "letters", number=int(table["letters"].to_numpy().sum(dtype=np.int64)))
        tally.count(counts, "paragraphs", number=len(lines))
        return job.Reduced(tuple(entries), counts)


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


def minima(folded: Letters, shingle: int, number: int) -> npt.NDArray[np.uint32]:
    """MinHash of each text: (texts, number); all 2**32 - 1 for a text without letters."""
    hashes, counts = folded.windows(shingle)
    texts = len(folded.lengths)
    places = ((hashes >> np.uint64(32)) * np.uint64(number) >> np.uint64(32)).astype(np.int64)
    places += folded.owners(counts) * number
    result = np.full((texts + 1) * number, _EMPTY, np.uint32)  # the last row gathers what belongs to no text
    np.minimum.at(result, places, hashes.astype(np.uint32))
    return _densified(result.reshape(-1, number)[:texts])


def _densified(minima: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Empty kinds take the value of the first non-empty one in an order of their own, the same for all texts."""
    number = minima.shape[1]
    by_kind = np.ascontiguousarray(minima.T)
    blank = (by_kind == _EMPTY).all(axis=0)
    filled, turns, turn = by_kind.copy(), _lenders(number), 0
    full = filled != _EMPTY
    enough = (1 - DENSE_SHARE) * number * np.count_nonzero(~blank)
    while turn < LENDERS and np.count_nonzero(full) < enough:
        # The empty value is the largest, so this fills what is empty and leaves the rest.
        lent = by_kind[turns[turn]]
        lent |= np.negative(full.astype(np.uint32))
        np.minimum(filled, lent, out=filled)
        np.not_equal(filled, _EMPTY, out=full)
        turn += 1
    result, flat = np.ascontiguousarray(filled.T), minima.ravel()
    cells = np.flatnonzero(~(full | blank).T)
    for lenders in turns[turn:]:
        kinds = cells % number
        values = flat[cells - kinds + lenders[kinds]]
        result.ravel()[cells] = values
        cells = cells[values == _EMPTY]
    return _lent_by_rank(minima, result, cells)


@functools.cache
def _lenders(number: int) -> list[npt.NDArray[np.int64]]:
    """The first kinds that each kind asks, turn by turn."""
    turns = (mix(np.arange(number, dtype=np.uint64) + np.uint64(turn * number)) for turn in range(1, LENDERS + 1))
    return [np.argsort(turn, kind="stable") for turn in turns]


def _lent_by_rank(
    minima: npt.NDArray[np.uint32], result: npt.NDArray[np.uint32], cells: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint32]:
    """What is still empty asks all others in the order of a hash: texts of a few runs have few to ask."""
    number = minima.shape[1]
    rows, kinds = np.divmod(cells, number)
    asked, places = np.unique(rows, return_inverse=True)
    owners, lenders = np.nonzero(minima[asked] != _EMPTY)
    numbers = np.bincount(owners, minlength=len(asked))
    firsts = np.cumsum(numbers) - numbers
    each = numbers[places]  # lenders of each cell, cell after cell
    starts = np.cumsum(each) - each
    lender = lenders[np.repeat(firsts[places] - starts, each) + np.arange(each.sum())]
    order = mix((np.repeat(kinds, each) * number + lender).astype(np.uint64) + np.uint64((LENDERS + 1) * number))
    order = (order & ~np.uint64(0xFFFF)) | lender.astype(np.uint64)
    if len(cells):
        best = (np.minimum.reduceat(order, starts) & np.uint64(0xFFFF)).astype(np.int64)
        result.ravel()[cells] = minima[rows, best]
    return result


def bands(minima: npt.NDArray[np.uint32], number: int, rows: int) -> Hashes:
    """A hash a band, (texts, number): of its `rows` minima and of its own number."""
    hashes = np.tile(np.arange(number, dtype=np.uint64), (len(minima), 1))
    for row in range(rows):
        hashes = mix(hashes + minima[:, row : number * rows : rows])
    return hashes


def sketches(minima: npt.NDArray[np.uint32]) -> Hashes:
    """The lowest bit of the first 256 minima: (texts, 4)."""
    return np.packbits((minima[:, :SKETCH_BITS] & 1).astype(np.bool_), axis=1).view(np.uint64)


def similarity(left: Hashes, right: Hashes) -> npt.NDArray[np.float64]:
    """Estimated Jaccard similarity of sketches, row by row; below 0 where they agree less than chance does."""
    different: npt.NDArray[np.int64] = np.bitwise_count(left ^ right).sum(axis=-1, dtype=np.int64)
    return 1 - 2 * different / SKETCH_BITS


def _signed(ids: npt.NDArray[np.uint64], folded: Letters, paragraphs: npt.NDArray[Any], shape: SignatureShape) -> pa.Table:
    found = minima(folded, shape.shingle, shape.minima)
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
