"""Repeated paragraphs: a long line that an earlier document has is removed from later documents.

    A   央视网消息：……。 / 本文由 LCTT 原创编译，Linux中国 荣誉推出        unchanged
    B   另一篇文章……。   / 本文由 LCTT 原创编译，Linux中国 荣誉推出        its second line is removed

`paragraphs_<source>.parquet` lists the removed lines: id, ordinal (number of the line), kept_id (the document that keeps the
line), characters. Lines are equal when their normalised characters are: width, case, punctuation and white space do not count.
Of equal lines the first is kept: by level of the source (as in clusters.py), then id, then ordinal. Lines of dropped documents
do not count.

A document that loses all its long lines, and then has fewer characters than `filters.min_characters`, is dropped too
(`duplicate_paragraphs`): only short lines are left, so no other document depends on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.arrays import Array, Flags, Hashes, Ints, starts_of_groups
from pipeline.dedup.clusters import bucket_of
from pipeline.dedup.signatures import paragraph_file
from pipeline.documents.table import Part
from pipeline.engine import parquet, steps
from pipeline.engine.stages import FileEntry, Finished

ROWS_PER_BUCKET = 2_000_000

SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("ordinal", pa.uint32(), nullable=False),
        pa.field("kept_id", pa.uint64(), nullable=False),
        pa.field("characters", pa.uint32(), nullable=False),
    ]
)


def buckets(signatures: Sequence[Finished]) -> int:
    """Return the number of buckets for all paragraphs."""
    return -(-sum(done.manifest["counts"]["paragraphs"] for done in signatures) // ROWS_PER_BUCKET) or 1


@dataclass(frozen=True)
class ReadParagraphs:
    """Map: the paragraphs of the documents of a part that are kept."""

    signatures: tuple[str, ...]
    """URL of each source's stage of signatures."""
    dropped: tuple[str, ...]
    """URL of each source's file of dropped documents, sorted by id."""
    levels: tuple[int, ...]
    buckets: int

    def __call__(self, task: Part) -> steps.Mapped:
        table = parquet.read(storage.join(self.signatures[task.source], paragraph_file(task.file)))
        table = table.filter(pc.invert(pc.is_in(table["id"], ids_between(self.dropped[task.source], table["id"]))))
        for name, value in (("source", task.source), ("level", self.levels[task.source])):
            table = table.append_column(name, pa.array(np.full(len(table), value, np.uint16)))
        return steps.Mapped(table, bucket_of(table["hash"].to_numpy(), self.buckets), {})


@dataclass(frozen=True)
class ListRepeats:
    """Reduce: the first of equal paragraphs is kept, the others are listed, sorted by source, id and ordinal."""

    folder: str

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        keys = [table[name].to_numpy() for name in ("hash", "level", "id", "ordinal")]
        order, repeated = repeats(*keys)
        # For each repeat, the first row of its group: the last row before it that is not a repeat.
        first = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(order))))
        kept = pa.array(keys[2][order[first]][repeated])
        found = table.take(pa.array(order[repeated])).select(["source", "id", "ordinal", "characters"])
        found = found.append_column("kept_id", kept).sort_by([(name, "ascending") for name in ("source", "id", "ordinal")])
        name = f"paragraphs-{bucket:05d}.parquet"
        with storage.open_write(storage.join(self.folder, name)) as file:
            pq.write_table(found, file, row_group_size=1 << 16)
        return steps.Reduced((FileEntry.of(self.folder, name, len(found)),), {})


def repeats(hashes: Hashes, levels: Array, ids: Hashes, ordinals: Array) -> tuple[Ints, Flags]:
    """Return the order (rows,) by (hash, level, id, ordinal), and which rows in it repeat an earlier hash, (rows,)."""
    order = np.lexsort((ordinals, ids, levels, hashes))
    return order, ~starts_of_groups(hashes[order])


def gather(urls: Sequence[str], source: int) -> pa.Table:
    """Return the paragraphs to remove from the documents of one source, sorted by id and ordinal: about 24 bytes each."""
    found = [parquet.read_between(url, "source", source, source, SCHEMA.names).cast(SCHEMA) for url in urls]
    return (
        pa.concat_tables([SCHEMA.empty_table(), *found])
        .sort_by([("id", "ascending"), ("ordinal", "ascending")])
        .combine_chunks()
    )


def ids_between(url: str, ids: pa.ChunkedArray) -> pa.Array:
    """Return the ids in a file (sorted by id) between the first and the last of `ids`. Reads only row groups of that range."""
    if not len(ids):
        return pa.array([], pa.uint64())
    return parquet.read_between(url, "id", ids[0].as_py(), ids[-1].as_py(), ["id"])["id"].combine_chunks()


def without(texts: pa.ChunkedArray, ids: Hashes, removed: pa.Table) -> pa.Array:
    """Return texts (n,) without some of their lines.

    Args:
        ids: (n,) ids of the texts, sorted.
        removed: the lines to remove, with columns id and ordinal, sorted by both.
    """
    owners, ordinals = removed["id"].to_numpy(), removed["ordinal"].to_numpy()
    result = texts.to_pylist()
    distinct, starts = np.unique(owners, return_index=True)
    for owner, lines in zip(distinct, np.split(ordinals, starts[1:]) if len(starts) else [], strict=True):
        index = int(np.searchsorted(ids, owner))
        if index < len(ids) and ids[index] == owner:
            skipped = set(lines.tolist())
            result[index] = "\n".join(line for ordinal, line in enumerate(result[index].split("\n")) if ordinal not in skipped)
    return pa.array(result, pa.string())
