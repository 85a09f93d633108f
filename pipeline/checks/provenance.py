"""Where a document went: everything that finished stages say of one id.

documents_news-3f9a0c1b2d4e      news.jsonl#83712, 412 characters: 央视网消息（新闻联播）：……
contamination_news-0c1b2d4e3f9a       tasks/dev.tsv: 4 runs, 12 % of 他说……
duplicates-77c1b2d4e3f9          dropped: near_duplicate of 0a4f...; cluster of 3 documents
shards_news_128-1b2d4e3f9a0c     train-00003.arrow: 5 examples (rows 17, 941, ...)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.documents.table import part_file
from pipeline.engine import parquet, stages
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError

SHOWN = 200
"""Characters of a document that are shown."""
ROWS_SHOWN = 5


@dataclass(frozen=True)
class Fact:
    """What one stage says of a document."""

    stage: str
    """Its folder."""
    kind: str
    """`document`, `overlap`, `dropped`, `kept`, `contaminated`, `cluster`, `paragraphs` or `shard`."""
    text: str
    """One line for a person."""
    details: dict[str, Any]
    """The same, by name."""


def where(root: str, document_id: int) -> list[Fact]:
    """All that the finished stages under `root` say of a document, in the order of the chain.

    Shards are looked through by their column of ids alone.

    Raises: CorpusError when no finished stage holds such a document.
    """
    finished = [done for name in storage.list_names(root) if (done := _finished(storage.join(root, name)))]
    facts: list[Fact] = []
    sources: set[str] = set()
    for prefix, look in (
        ("documents_", _document),
        ("contamination_", _overlaps),
        ("dedup", _decision),
        ("shards_", _shards),
    ):
        for done in finished:
            if done.name.startswith(prefix):
                found = list(look(done, document_id, sources))
                sources |= {fact.details["source"] for fact in found if fact.kind == "document"}
                facts += found
    if not sources:
        raise CorpusError(
            f"{root}: no finished stage holds document {document_id:016x}; ids are 16 hexadecimal digits, see `inspect`"
        )
    return facts


def _finished(url: str) -> Finished | None:
    return stages.load(url) if storage.exists(storage.join(url, stages.MANIFEST)) else None


def _rows(url: str, document_id: int, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a Parquet file on the document."""
    rows: list[dict[str, Any]] = parquet.read_between(url, "id", document_id, document_id, columns).to_pylist()
    return rows


def _document(done: Finished, document_id: int, sources: set[str]) -> Iterator[Fact]:
    name = part_file(document_id, done.manifest["parts"])
    if not done.files(name):
        return
    for row in _rows(done.file(name), document_id, ["id", "origin", "title", "text", "characters"]):
        beginning = " ".join(row["text"][:SHOWN].split())
        title = f"{row['title']}: " if row["title"] else ""
        text = f"{row['origin']} ({name}), {row['characters']:,} characters: {title}{beginning}"
        details = {"source": done.manifest["source"], "part": name, **row, "text": row["text"][:SHOWN]}
        yield Fact(storage.base_name(done.url), "document", text, details)


def _overlaps(done: Finished, document_id: int, sources: set[str]) -> Iterator[Fact]:
    if done.manifest["source"] not in sources:
        return
    name = part_file(document_id, done.manifest["parts"])
    for row in _rows(done.file(name), document_id) if done.files(name) else ():
        text = f"{row['file']}: {row['runs']} runs in common, {row['share']:.0%} of {row['text']!r}"
        yield Fact(storage.base_name(done.url), "overlap", text, row)


def _decision(done: Finished, document_id: int, sources: set[str]) -> Iterator[Fact]:
    folder = storage.base_name(done.url)
    for source in sorted(sources & done.manifest["counts"].keys()):

        def rows(kind: str, source: str = source) -> list[dict[str, Any]]:
            name = f"{kind}_{source}.parquet"
            return _rows(done.file(name), document_id) if done.files(name) else []

        dropped = rows("dropped")
        for row in dropped:
            of = f" of {row['kept_id']:016x}" if row["kept_id"] is not None else ""
            yield Fact(folder, "dropped", f"dropped: {row['reason']}{of}", row)
        if not dropped:
            yield Fact(folder, "kept", "kept", {"id": document_id})
        for row in rows("contaminated"):
            text = f"holds {row['runs']} runs, {row['share']:.0%} of a text of {row['file']}: {row['text']!r}"
            yield Fact(folder, "contaminated", text, row)
        for row in rows("clusters"):
            stays = "it stays for them" if row["kept_id"] == document_id else f"{row['kept_id']:016x} stays"
            yield Fact(folder, "cluster", f"one of {row['cluster_size']} copies, {stays}", row)
        if lines := rows("paragraphs"):
            numbers = ", ".join(f"{row['ordinal']} (as in {row['kept_id']:016x})" for row in lines[:ROWS_SHOWN])
            more = ", ..." if len(lines) > ROWS_SHOWN else ""
            yield Fact(folder, "paragraphs", f"{len(lines)} lines go: {numbers}{more}", {"id": document_id, "lines": lines})


def _shards(done: Finished, document_id: int, sources: set[str]) -> Iterator[Fact]:
    if done.name.removeprefix("shards_").rpartition("_")[0] not in sources:
        return
    for entry in done.files(suffix=".arrow"):
        rows = _shard_rows(done.file(entry["name"]), document_id)
        if rows:
            shown = ", ".join(map(str, rows[:ROWS_SHOWN])) + (", ..." if len(rows) > ROWS_SHOWN else "")
            text = f"{entry['name']}: {len(rows)} examples (rows {shown})"
            yield Fact(storage.base_name(done.url), "shard", text, {"id": document_id, "file": entry["name"], "rows": rows})


def _shard_rows(url: str, document_id: int) -> list[int]:
    """Rows of a shard that were made of the document."""
    with storage.open_read(url) as file:
        fields = pa.ipc.open_file(file).schema
        options = pa.ipc.IpcReadOptions(included_fields=[fields.get_field_index("document_id")])
        file.seek(0)
        ids = pa.ipc.open_file(file, options=options).read_all()["document_id"].to_numpy()
    return [int(row) for row in np.flatnonzero(ids == np.uint64(document_id))]
