"""Where a document went: what each finished stage records of one id.

documents_news-3f9a0c1b2d4e      news.jsonl#83712, 412 characters: 央视网消息（新闻联播）：……
contamination_news-0c1b2d4e3f9a  tasks/dev.tsv: 4 matching n-grams, 12 % of '他说……'
dedup-77c1b2d4e3f9               dropped: near_duplicate of 0a4f...; cluster of 3 documents
shards_news_128-1b2d4e3f9a0c     train-00003.arrow: 5 examples (rows 17, 941, ...)
"""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.documents.table import part_file
from pipeline.engine import parquet, stages
from pipeline.engine.integrity import open_finished
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError

SHOWN = 200
"""Characters shown of a document."""
ROWS_SHOWN = 5


@dataclass(frozen=True)
class Fact:
    """What one stage records of a document."""

    stage: str
    """Name of its folder."""
    kind: str
    """`document`, `overlap`, `dropped`, `kept`, `contaminated`, `cluster`, `paragraphs` or `shard`."""
    text: str
    """One line for the terminal."""
    details: dict[str, Any]
    """The same by name, for JSON."""


Trace = Callable[[Finished, int, Set[str]], Iterator[Fact]]
"""Facts of a stage on a document; also gets the sources that have a document with this id."""


def where(root: str, document_id: int, traces: Mapping[str, Trace]) -> list[Fact]:
    """Return what the finished stages in `root` record of a document.

    Args:
        traces: functions by kind of stage, in the order of the chain, `documents` first.

    Raises: CorpusError when no finished stage contains the document.
    """
    finished = stages.load_all(root)
    facts: list[Fact] = []
    sources: set[str] = set()
    for kind, trace in traces.items():
        for done in finished:
            if done.kind == kind:
                found = list(trace(done, document_id, sources))
                sources |= {fact.details["source"] for fact in found if fact.kind == "document"}
                facts += found
    if not sources:
        raise CorpusError(
            f"{root}: no finished stage contains document {document_id:016x}; ids are 16 hexadecimal digits, see `inspect`"
        )
    return facts


def _rows(url: str, document_id: int, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Read the rows of a Parquet file on the document."""
    rows: list[dict[str, Any]] = parquet.read_between(url, "id", document_id, document_id, columns).to_pylist()
    return rows


def documents(done: Finished, document_id: int, sources: Set[str]) -> Iterator[Fact]:
    """Yield the document itself."""
    name = part_file(document_id, done.manifest["parts"])
    if not done.files(name):
        return
    for row in _rows(done.file(name), document_id, ["id", "origin", "title", "text", "characters"]):
        beginning = " ".join(row["text"][:SHOWN].split())
        title = f"{row['title']}: " if row["title"] else ""
        text = f"{row['origin']} ({name}), {row['characters']:,} characters: {title}{beginning}"
        details = {"source": done.source, "part": name, **row, "text": row["text"][:SHOWN]}
        yield Fact(storage.base_name(done.url), "document", text, details)


def contamination(done: Finished, document_id: int, sources: Set[str]) -> Iterator[Fact]:
    """Yield the evaluation files that it has n-grams in common with."""
    if done.source not in sources:
        return
    name = part_file(document_id, done.manifest["parts"])
    for row in _rows(done.file(name), document_id) if done.files(name) else ():
        text = f"{row['file']}: {row['runs']} matching n-grams, {row['share']:.0%} of {row['text']!r}"
        yield Fact(storage.base_name(done.url), "overlap", text, row)


def dedup(done: Finished, document_id: int, sources: Set[str]) -> Iterator[Fact]:
    """Yield whether it is kept, and why not; its cluster; its removed lines."""
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
            found = f"{row['runs']} n-grams, {row['share']:.0%} of a text of {row['file']}"
            yield Fact(folder, "contaminated", f"contains {found}: {row['text']!r}", row)
        for row in rows("clusters"):
            kept = "this one is kept" if row["kept_id"] == document_id else f"{row['kept_id']:016x} is kept"
            yield Fact(folder, "cluster", f"one of {row['cluster_size']} duplicates, {kept}", row)
        if lines := rows("paragraphs"):
            numbers = ", ".join(f"{row['ordinal']} (as in {row['kept_id']:016x})" for row in lines[:ROWS_SHOWN])
            more = ", ..." if len(lines) > ROWS_SHOWN else ""
            text = f"{len(lines)} line{'' if len(lines) == 1 else 's'} removed: {numbers}{more}"
            yield Fact(folder, "paragraphs", text, {"id": document_id, "lines": lines})


def shards(done: Finished, document_id: int, sources: Set[str]) -> Iterator[Fact]:
    """Yield the shards with examples made from it. Reads their column of ids only."""
    if done.source not in sources:
        return
    for entry in done.files(suffix=".arrow"):
        rows = _shard_rows(done.file(entry["name"]), document_id)
        if rows:
            shown = ", ".join(map(str, rows[:ROWS_SHOWN])) + (", ..." if len(rows) > ROWS_SHOWN else "")
            s = "" if len(rows) == 1 else "s"
            text = f"{entry['name']}: {len(rows)} example{s} (row{s} {shown})"
            yield Fact(storage.base_name(done.url), "shard", text, {"id": document_id, "file": entry["name"], "rows": rows})


def _shard_rows(url: str, document_id: int) -> list[int]:
    """Return the rows of a shard that were made from the document."""
    with open_finished(url) as file:
        fields = pa.ipc.open_file(file).schema
        options = pa.ipc.IpcReadOptions(included_fields=[fields.get_field_index("document_id")])
        file.seek(0)
        ids = pa.ipc.open_file(file, options=options).read_all()["document_id"].to_numpy()
    return [int(row) for row in np.flatnonzero(ids == np.uint64(document_id))]
