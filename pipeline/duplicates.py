"""The stage `duplicates`: which documents are dropped, over all sources, and why. No text is touched.

    dropped_news.parquet     id, reason, kept_id (of a duplicate: which document stands for it), cluster_size, sorted by id

Filters are decided first, on what `documents` measured, so that a duplicate is only dropped for a document that stays. Of the
same text in several places the source of higher priority keeps it, then the smaller id. Fingerprints are sorted bucket by
bucket with numpy, a few bytes a document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import job, storage, tally
from pipeline.config import DedupConfig, FilterConfig, SourceConfig
from pipeline.documents import part_of, read_part
from pipeline.errors import CorpusError
from pipeline.stages import WORK, FileEntry, Finished, Report, Stage, silent
from pipeline.stages import run as run_stage
from pipeline.tally import Tally

STAGE_VERSION = 1
BUCKETS = 16
SAMPLES = 3
"""Samples shown of each reason and source."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("kept_id", pa.uint64()),
        pa.field("cluster_size", pa.uint32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class PartTask:
    """One part of the documents of a source."""

    source: int
    """The source's place in the recipe."""
    stage: Finished
    part: str

    @property
    def name(self) -> str:
        return f"{self.source:03d}-{self.part.removesuffix('.parquet')}"


def duplicates(
    sources: Sequence[SourceConfig],
    documents: Sequence[Finished],
    filters: FilterConfig,
    dedup: DedupConfig,
    root: str,
    *,
    workers: int = 1,
    report: Report = silent,
) -> Finished:
    """Decide over the documents of all sources (`documents[i]` is the finished stage of `sources[i]`).

    Raises: CorpusError when nothing is left of a source.
    """
    priorities = {source.name: source.priority for source in sources}
    stage = Stage(
        "duplicates",
        STAGE_VERSION,
        {"filters": filters, "dedup": dedup, "priorities": priorities, "order": [source.name for source in sources]},
        {source.name: finished.digest for source, finished in zip(sources, documents, strict=True)},
    )

    def body(folder: str) -> dict[str, Any]:
        buckets = storage.join(folder, f"{WORK}buckets")
        tasks = [PartTask(i, done, e["name"]) for i, done in enumerate(documents) for e in done.files("part-")]
        work = job.Job(
            name="duplicates",
            folder=folder,
            tasks=tasks,
            map=Decide(filters, tuple(source.priority for source in sources)),
            reduce=DropCopies(buckets, dedup.exact),
        )
        parts, counts = job.run(work, workers, report)
        entries, samples = [], []
        for index, (source, done) in enumerate(zip(sources, documents, strict=True)):
            dropped = _gather(buckets, parts, index)
            entries.append(_write(folder, f"dropped_{source.name}.parquet", dropped))
            samples += _samples(done, source.name, dropped)
        facts = {
            source.name: _counts(counts.get(str(index), {}), done, source.name)
            for index, (source, done) in enumerate(zip(sources, documents, strict=True))
        }
        return {"files": entries, "counts": facts, "samples": samples}

    return run_stage(root, stage, body)


@dataclass(frozen=True)
class Decide:
    """Map: what the filters say of each document; a row a document, without its text."""

    filters: FilterConfig
    priorities: tuple[int, ...]

    def __call__(self, task: PartTask) -> job.Mapped:
        table = read_part(task.stage, task.part, ["id", "characters", "chinese_share", "fingerprint"])
        characters, share = table["characters"].to_numpy(), table["chinese_share"].to_numpy()
        reasons = np.select(
            [
                characters < self.filters.min_characters,
                characters > self.filters.max_characters,
                share < np.float32(self.filters.min_chinese_share),
            ],
            ["too_short", "too_long", "not_chinese"],
            "",
        )
        counts: Tally = {}
        for reason, number in zip(*np.unique(reasons[reasons != ""], return_counts=True), strict=True):
            tally.count(counts, str(task.source), "dropped", str(reason), number=int(number))
        tally.count(counts, str(task.source), "characters_kept", number=int(characters[reasons == ""].sum()))
        rows = table.select(["id", "fingerprint", "characters"])
        rows = rows.append_column("source", pa.array(np.full(len(rows), task.source, np.int16)))
        rows = rows.append_column("priority", pa.array(np.full(len(rows), self.priorities[task.source], np.int64)))
        rows = rows.append_column("reason", pa.array(reasons.astype(object), pa.string()))
        first_byte = np.frombuffer(b"".join(table["fingerprint"].to_pylist()), np.uint8)[::16]
        return job.Mapped(rows, first_byte // (256 // BUCKETS), counts)


@dataclass(frozen=True)
class DropCopies:
    """Reduce: among the documents of one range of fingerprints, one of each text stays."""

    folder: str
    exact: bool

    def __call__(self, bucket: int, table: pa.Table) -> job.Reduced:
        filtered = table.filter(pc.not_equal(table["reason"], ""))
        dropped = [_decisions(filtered, filtered["reason"], pa.nulls(len(filtered), pa.uint64()), np.ones(len(filtered)))]
        counts: Tally = {}
        if self.exact:
            kept = table.filter(pc.equal(table["reason"], ""))
            copies, kept_ids, sizes = _copies(kept)
            dropped.append(_decisions(copies, pa.array(["duplicate"] * len(copies), pa.string()), kept_ids, sizes))
            for source, characters in zip(copies["source"].to_pylist(), copies["characters"].to_pylist(), strict=True):
                tally.count(counts, str(source), "dropped", "duplicate")
                tally.count(counts, str(source), "characters_kept", number=-characters)
        name = f"bucket-{bucket:05d}.parquet"
        with storage.open_write(storage.join(self.folder, name)) as file:
            pq.write_table(pa.concat_tables(dropped), file)
        return job.Reduced((FileEntry.of(self.folder, name),), counts)


def _copies(table: pa.Table) -> tuple[pa.Table, pa.Array, npt.NDArray[np.int64]]:
    """Rows whose text another row keeps, with the id of that row and the size of the cluster."""
    halves = np.frombuffer(b"".join(table["fingerprint"].to_pylist()), np.uint64).reshape(-1, 2)
    ids = table["id"].to_numpy()
    # Sorted by fingerprint, then priority (highest first), then id: the first of each run stays.
    order = np.lexsort((ids, -table["priority"].to_numpy(), halves[:, 1], halves[:, 0]))
    sorted_halves = halves[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (sorted_halves[1:] != sorted_halves[:-1]).any(axis=1)
    cluster = np.cumsum(first) - 1
    sizes = np.bincount(cluster, minlength=1)
    keeper = ids[order][first][cluster] if len(order) else ids
    copies = ~first
    return table.take(pa.array(order[copies])), pa.array(keeper[copies], pa.uint64()), sizes[cluster[copies]]


def _decisions(rows: pa.Table, reasons: Any, kept_ids: Any, sizes: npt.NDArray[Any]) -> pa.Table:
    columns = [rows["source"], rows["id"], reasons, kept_ids, pa.array(sizes.astype(np.uint32))]
    return pa.table(columns, names=["source", "id", "reason", "kept_id", "cluster_size"])


def _gather(folder: str, parts: list[FileEntry], source: int) -> pa.Table:
    """All decisions on one source, sorted by id."""
    tables = []
    for part in parts:
        with storage.open_read(storage.join(folder, part.name)) as file:
            tables.append(pq.read_table(file, filters=[("source", "=", source)]))
    return pa.concat_tables(tables).sort_by("id").select(SCHEMA.names).cast(SCHEMA).combine_chunks()


def _write(folder: str, name: str, table: pa.Table) -> FileEntry:
    with storage.open_write(storage.join(folder, name)) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=1 << 16)
    return FileEntry.of(folder, name, table.num_rows)


def _counts(counts: Tally, documents: Finished, source: str) -> dict[str, Any]:
    number = documents.manifest["counts"]["kept"]
    dropped = counts.get("dropped", {})
    kept = number - sum(dropped.values())
    if not kept:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(dropped.items())) or "it is empty"
        raise CorpusError(f"source {source!r}: no document is left of {number:,} ({reasons}); look at [filters] and the input")
    return {"documents": number, "kept": kept, "characters_kept": counts["characters_kept"], "dropped": dropped}


def _samples(documents: Finished, source: str, dropped: pa.Table) -> list[dict[str, str]]:
    """The beginning of a few dropped documents of each reason."""
    samples = []
    for reason in sorted(set(dropped["reason"].to_pylist())):
        ids = dropped.filter(pc.equal(dropped["reason"], reason))["id"].to_numpy()[:SAMPLES]
        for part in np.unique(part_of(ids, documents.manifest["parts"])):
            table = read_part(documents, f"part-{part:05d}.parquet", ["id", "text"])
            found = table.filter(pc.is_in(table["id"], pa.array(ids)))
            samples += [{"source": source, "reason": reason, "text": text[:200]} for text in found["text"].to_pylist()]
    return samples


def kept_documents(documents: Finished, decisions: Finished, part: str) -> pa.Table:
    """The documents of one part that are not dropped: id, title, text."""
    table = read_part(documents, part, ["id", "title", "text"])
    source = documents.manifest["source"]
    ids = table["id"]
    with storage.open_read(decisions.file(f"dropped_{source}.parquet")) as file:
        # Both are sorted by id: only the row groups of this range are read.
        in_range = (pc.field("id") >= ids[0]) & (pc.field("id") <= ids[-1])
        dropped = pq.read_table(file, columns=["id"], filters=in_range)["id"]
    return table.filter(pc.invert(pc.is_in(ids, dropped.combine_chunks())))
