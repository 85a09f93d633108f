"""Documents on disk: columns, ids, and the parts they are written in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.arrays import Hashes, Ints
from pipeline.cleaning import quality
from pipeline.cleaning.web import junk
from pipeline.cleaning.web import measures as web_measures
from pipeline.engine import parquet
from pipeline.engine.stages import (
    Finished,
)

SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("script", pa.string(), nullable=False),
        pa.field("form", pa.string(), nullable=False),
        pa.field("fingerprint", pa.binary(16), nullable=False),
        *(pa.field(name, kind, nullable=False) for name, kind in (*quality.COLUMNS, *web_measures.COLUMNS, *junk.COLUMNS)),
    ]
)


READ_SCHEMA = SCHEMA.append(pa.field("revision", pa.int64(), nullable=False))
"""Documents as read: of pages that a dump contains twice, only the latest is written."""
BAD_SCHEMA = pa.schema([(name, pa.string()) for name in ("origin", "reason", "excerpt")])


def document_id(source: str, origin: str) -> int:
    """Return the id of a document: a 64-bit hash of its source's name and its origin."""
    return int.from_bytes(hashlib.blake2b(f"{source}|{origin}".encode(), digest_size=8).digest(), "little")


def part_of(ids: Hashes, parts: int) -> Ints:
    """Return the part of each id: the range of 64-bit numbers is divided into `parts` equal ranges."""
    width = -(-(1 << 64) // parts)
    return (ids // np.uint64(width)).astype(np.int64) if parts > 1 else np.zeros(len(ids), np.int64)


def part_name(part: int) -> str:
    """Return the file name of a part: `part-00003.parquet`."""
    return f"part-{part:05d}.parquet"


def part_file(document_id: int, parts: int) -> str:
    """Return the file name of the part that contains a document."""
    return part_name(int(part_of(np.array([document_id], np.uint64), parts)[0]))


@dataclass(frozen=True)
class Part:
    """One file of a stage that is written in parts, as a task of later stages."""

    source: int
    """Index of the source in the recipe, for jobs over several sources."""
    stage: Finished
    """Without its lists of files and samples: there are many tasks, and each is pickled."""
    file: str
    """`part-00003.parquet`"""

    @property
    def name(self) -> str:
        return f"{self.source:03d}-{self.file.partition('.')[0]}"

    @property
    def url(self) -> str:
        return self.stage.file(self.file)


def parts(done: Sequence[Finished]) -> list[Part]:
    """Return the parts of all sources' stages, in the recipe's order."""
    return [
        Part(index, stage.without_files, entry["name"]) for index, stage in enumerate(done) for entry in stage.files("part-")
    ]


def read_part(stage: Finished, name: str, columns: list[str] | None = None) -> pa.Table:
    """Read the documents of one part, or some of their columns."""
    return parquet.read(stage.file(name), columns)
