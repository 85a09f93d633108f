"""Paragraphs: long lines that stood in a document before are taken out of the later ones.

    A   央视网消息：……。 / 本文由 LCTT 原创编译，Linux中国 荣誉推出        stays
    B   另一篇文章……。   / 本文由 LCTT 原创编译，Linux中国 荣誉推出        its second line goes

`paragraphs_<source>.parquet` lists them: id, ordinal (the line's number), kept_id (where the same line stays), characters. Two
lines are the same when their letters are (width, case, punctuation and white space do not count). Of equal lines the first one
stays: by the order of sources that `dedup` decides with, then by id, then by place; lines of dropped documents
do not count.

A document that loses all its long lines, and of which less is left than a document must have, is dropped too
(`duplicate_paragraphs`): what is left of it are short lines, so no other document needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.dedup.clusters import bucket_of
from pipeline.dedup.ngrams import Hashes, Numbers
from pipeline.dedup.signatures import paragraph_file
from pipeline.documents.table import Part
from pipeline.engine import parquet, steps
from pipeline.engine.stages import FileEntry, Finished

ROWS_A_BUCKET = 2_000_000

SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("ordinal", pa.uint32(), nullable=False),
        pa.field("kept_id", pa.uint64(), nullable=False),
        pa.field("characters", pa.uint32(), nullable=False),
    ]
)


def buckets(signatures: Sequence[Finished]) -> int:
    """How many buckets all paragraphs go into."""
    return -(-sum(done.manifest["counts"]["paragraphs"] for done in signatures) // ROWS_A_BUCKET) or 1


@dataclass(frozen=True)
class ReadParagraphs:
    """Map: the paragraphs of those documents of a part that stay."""

    signatures: tuple[str, ...]
    """URLs of the stages, by source."""
    dropped: tuple[str, ...]
    """A source's file of dropped documents, sorted by id."""
    levels: tuple[int, ...]
    buckets: int

    def __call__(self, task: Part) -> steps.Mapped:
        table = parquet.read(storage.join(self.signatures[task.source], paragraph_file(task.file)))
        table = table.filter(pc.invert(pc.is_in(table["id"], ids_between(self.dropped[task.source], table["id"]))))
        for name, value in (("source", task.source), ("level", self.levels[task.source])):
            table = table.append_column(name, pa.array(np.full(len(table), value, np.uint16)))
        return steps.Mapped(table, bucket_of(table["hash"].to_numpy(), self.buckets), {})


@dataclass(frozen=True)
class FirstOfEach:
    """Reduce: of equal paragraphs the first stays, the others are listed, sorted by source, id and ordinal."""

    folder: str

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        keys = [table[name].to_numpy() for name in ("hash", "level", "id", "ordinal")]
        order, repeated = repeats(*keys)
        kept = pa.array(keys[2][order[np.maximum.accumulate(np.where(repeated, 0, np.arange(len(order))))]][repeated])
        found = table.take(pa.array(order[repeated])).select(["source", "id", "ordinal", "characters"])
        found = found.append_column("kept_id", kept).sort_by([(name, "ascending") for name in ("source", "id", "ordinal")])
        name = f"paragraphs-{bucket:05d}.parquet"
        with storage.open_write(storage.join(self.folder, name)) as file:
            pq.write_table(found, file, row_group_size=1 << 16)
        return steps.Reduced((FileEntry.of(self.folder, name, len(found)),), {})


def repeats(
    hashes: Hashes, levels: npt.NDArray[Any], ids: Hashes, ordinals: npt.NDArray[Any]
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Rows in the order (hash, level, id, ordinal), and for each place whether its hash stands before it."""
    order = np.lexsort((ordinals, ids, levels, hashes))
    repeated = np.zeros(len(order), np.bool_)
    repeated[1:] = hashes[order[1:]] == hashes[order[:-1]]
    return order, repeated


def gather(urls: Sequence[str], source: int) -> pa.Table:
    """All paragraphs that go out of the documents of one source, sorted by id and ordinal: about 24 bytes each."""
    found = [parquet.read_between(url, "source", source, source, SCHEMA.names).cast(SCHEMA) for url in urls]
    return (
        pa.concat_tables([SCHEMA.empty_table(), *found])
        .sort_by([("id", "ascending"), ("ordinal", "ascending")])
        .combine_chunks()
    )


def ids_between(url: str, ids: pa.ChunkedArray) -> pa.Array:
    """The ids of a file sorted by id that lie in the range of some others: only row groups of that range are read."""
    if not len(ids):
        return pa.array([], pa.uint64())
    return parquet.read_between(url, "id", ids[0].as_py(), ids[-1].as_py(), ["id"])["id"].combine_chunks()


def without(texts: pa.ChunkedArray, ids: Hashes, gone: pa.Table) -> pa.Array:
    """The texts (of some ids, sorted) without the lines of `gone` (id, ordinal; sorted)."""
    rows, ordinals = gone["id"].to_numpy(), gone["ordinal"].to_numpy()
    result = texts.to_pylist()
    numbers, starts = np.unique(rows, return_index=True)
    for number, lines in zip(numbers, np.split(ordinals, starts[1:]) if len(starts) else [], strict=True):
        place = int(np.searchsorted(ids, number))
        if place < len(ids) and ids[place] == number:
            out = set(lines.tolist())
            result[place] = "\n".join(line for ordinal, line in enumerate(result[place].split("\n")) if ordinal not in out)
    return pa.array(result, pa.string())
