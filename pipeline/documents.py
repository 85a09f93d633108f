"""The stage `documents_<source>`: records of one source become cleaned, measured documents in Parquet.

    part-00000.parquet ... part-00015.parquet       documents sorted by id; a part is a range of ids

An id is a hash of where the document stands, so parts are shuffled documents, and stay the same however the input was cut into
tasks. What is measured (length, share of Chinese) stands beside the text; whether that is good enough is decided later, in
pipeline/duplicates.py, so that a changed threshold reads nothing again.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import cleaning, demo, inputs, job, sources, storage, tally
from pipeline.config import SourceConfig
from pipeline.errors import CorpusError
from pipeline.stages import FileEntry, Finished, Report, Stage, silent
from pipeline.stages import run as run_stage
from pipeline.tally import Tally

STAGE_VERSION = 1
PART_BYTES = 32 << 20
"""Input of a part: small enough to hold a part and what becomes of it in memory."""
LEAST_PARTS = 16
"""Parts of even the smallest source, so that several workers share the work on it."""
TASK_BYTES = 16 << 20

SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("characters", pa.int32(), nullable=False),
        pa.field("chinese_share", pa.float32(), nullable=False),
        pa.field("fingerprint", pa.binary(16), nullable=False),
    ]
)


def document_id(source: str, origin: str) -> int:
    """The identity of a document: 64 bits of a hash of its source's name and its place there."""
    return int.from_bytes(hashlib.blake2b(f"{source}|{origin}".encode(), digest_size=8).digest(), "little")


def part_of(ids: npt.NDArray[np.uint64], parts: int) -> npt.NDArray[np.int64]:
    """The part of each id: the range of all 64-bit numbers is cut into equal pieces."""
    width = -(-(1 << 64) // parts)
    return (ids // np.uint64(width)).astype(np.int64) if parts > 1 else np.zeros(len(ids), np.int64)


def number_of_parts(input_bytes: int) -> int:
    """How many parts a source has: a matter of the input alone, never of workers."""
    return max(LEAST_PARTS, -(-input_bytes // PART_BYTES))


def documents(
    source: SourceConfig,
    root: str,
    *,
    workers: int = 1,
    task_bytes: int = TASK_BYTES,
    report: Report = silent,
) -> Finished:
    """Read and clean one source.

    Raises: CorpusError when the input is missing or not text, or too many records of it cannot be read.
    """
    files = inputs.expand(demo.files(_demo_part(source)) if source.kind == "demo" else _inputs(source))
    # Where the input lies does not change what it is: its digest stands for it. Priority matters to duplicates alone, and
    # how many bad records are too many is asked of a finished stage too, so that a higher limit reads nothing again.
    named = source.input if source.kind == "demo" else ()
    settings = {"source": {"name": source.name, "kind": source.kind, "licence": source.licence, "input": named}}
    stage = Stage(f"documents_{source.name}", STAGE_VERSION, settings, {"input": inputs.digest(files, root)})

    def body(folder: str) -> dict[str, Any]:
        input_bytes = sum(file.size for file in files)
        parts = number_of_parts(input_bytes)
        entries, counts = job.run(
            job.Job(
                name=f"documents of {source.name}",
                folder=folder,
                tasks=sources.plan(source, files, task_bytes),
                map=ReadDocuments(source, parts),
                reduce=WritePart(folder),
            ),
            workers,
            report,
        )
        facts = {"source": source.name, "kind": source.kind, "licence": source.licence, "parts": parts}
        facts |= _facts(counts, input_bytes)
        _check(source, facts)
        return {"files": entries, **facts}

    finished = run_stage(root, stage, body)
    _check(source, finished.manifest)
    return finished


def _inputs(source: SourceConfig) -> tuple[str, ...]:
    if not source.input:
        raise CorpusError(f"source {source.name!r} of kind {source.kind!r} has no input; name files, folders or globs")
    return source.input


def _demo_part(source: SourceConfig) -> str:
    if len(source.input) != 1:
        raise CorpusError(f"source {source.name!r}: kind 'demo' takes one input, the part: {' or '.join(demo.PARTS)}")
    return source.input[0]


def _check(source: SourceConfig, facts: Mapping[str, Any]) -> None:
    """Refuse a source without documents, or with too many records that cannot be read."""
    counts = facts["counts"]
    if counts["bad"] > source.max_bad * counts["read"]:
        samples = "; ".join(f"{s['origin']}: {s['reason']}" for s in facts["samples"]["bad"][:2])
        hint = "; is it GB18030? iconv -f gb18030 -t utf-8 converts it" if "not UTF-8" in samples else ""
        raise CorpusError(
            f"source {source.name!r}: {counts['bad']:,} of {counts['read']:,} records cannot be read, "
            f"max_bad allows {source.max_bad:.2%} ({samples}){hint}"
        )
    if counts["kept"] == 0:
        raise CorpusError(f"source {source.name!r}: no document in its input; check the files and the kind {source.kind!r}")


def _facts(counts: Tally, input_bytes: int) -> dict[str, Any]:
    """What the manifest says of the records."""
    numbers = {name: counts.get(name, 0) for name in ("read", "bad", "empty", "split_off", "kept", "characters")}
    return {
        "counts": {**numbers, "bytes_in": input_bytes},
        "changed": counts.get("changed", {}),
        "bad": counts.get("reasons", {}),
        "characters_histogram": dict(sorted(counts.get("histogram", {}).items(), key=lambda item: int(item[0]))),
        "samples": counts.get("samples", {}),
    }


@dataclass(frozen=True)
class ReadDocuments:
    """Map: one task's records, cleaned and measured."""

    source: SourceConfig
    parts: int

    def __call__(self, task: sources.ReadTask) -> job.Mapped:
        counts: Tally = {}
        rows: list[dict[str, Any]] = []
        for record in self._records(task, counts):
            tally.count(counts, "read")
            if isinstance(record, sources.Skipped):
                tally.count(counts, record.reason)
            elif isinstance(record, sources.Bad):
                tally.count(counts, "bad")
                tally.count(counts, "reasons", record.reason)
                sample = {"origin": record.origin, "reason": record.reason, "text": record.excerpt}
                tally.sample(counts, "bad", sample)
            else:
                rows.extend(self._document(record, counts))
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        return job.Mapped(table, part_of(table["id"].to_numpy(), self.parts), counts)

    def _records(self, task: sources.ReadTask, counts: Tally) -> Iterator[sources.Record | sources.Bad | sources.Skipped]:
        return sources.records(self.source, task, counts)

    def _document(self, record: sources.Record, counts: Tally) -> Iterator[dict[str, Any]]:
        text, changed = cleaning.clean(record.text, record.markup)
        title, _ = cleaning.clean(record.title, record.markup)
        for rule in sorted(changed):
            tally.count(counts, "changed", rule)
        characters = cleaning.visible(text)
        if not characters:
            tally.count(counts, "empty")
            return
        tally.count(counts, "kept")
        tally.count(counts, "characters", number=characters)
        tally.count(counts, "histogram", str(1 << (characters.bit_length() - 1)))
        yield {
            "id": document_id(self.source.name, record.origin),
            "source": self.source.name,
            "origin": record.origin,
            "title": title,
            "text": text,
            "url": record.url,
            "characters": characters,
            "chinese_share": cleaning.chinese(text) / characters,
            "fingerprint": cleaning.fingerprint(text),
        }


@dataclass(frozen=True)
class WritePart:
    """Reduce: one part, sorted by id."""

    folder: str

    def __call__(self, part: int, table: pa.Table) -> job.Reduced:
        table = table.sort_by("id").combine_chunks()
        name = f"part-{part:05d}.parquet"
        with storage.open_write(storage.join(self.folder, name)) as file:
            # Row groups of 4,096 documents: a reader of some ids or columns skips the rest.
            pq.write_table(table, file, compression="zstd", row_group_size=4_096)
        return job.Reduced((FileEntry.of(self.folder, name, table.num_rows),), {})


def read_part(stage: Finished, name: str, columns: list[str] | None = None) -> pa.Table:
    """The documents of one part, or some of their columns."""
    with storage.open_read(stage.file(name)) as file:
        return pq.read_table(file, columns=columns)
