"""The stage `documents_<source>`: records of one source become cleaned, measured documents in Parquet.

    part-00000.parquet ... part-00015.parquet       documents sorted by id; a part is a range of ids
    bad.jsonl                                       unreadable records, each with its reason

An id is a hash of the document's source and position, so parts are shuffled, and stay the same however the input was cut into
tasks. Measures (length, ratio of Chinese) are stored next to the text; whether they are good enough is decided later, in
pipeline/dedup/stage.py, so that a changed threshold does not read the input again.
"""

import importlib.metadata
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.cleaning import web
from pipeline.cleaning.web import phrases
from pipeline.config import SourceConfig
from pipeline.documents import reading
from pipeline.documents.reading import too_many_bad
from pipeline.documents.table import SCHEMA, part_name
from pipeline.engine import counting, earlier, job, steps
from pipeline.engine.counting import Counts
from pipeline.engine.earlier import Earlier
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.sources import demo, inputs
from pipeline.wiki.conversion import variants

T = TypeVar("T")

STAGE_VERSION = 5
PART_BYTES = 16 << 20
"""Input bytes of a part: small enough to hold the part, and what later stages make of it, in memory."""
MIN_PARTS = 16
"""Parts of even the smallest source, so that several workers can share it."""
TASK_BYTES = 8 << 20
"""Minimum input bytes of a task, small enough for workers to finish at about the same time."""
MAX_TASK_BYTES = 256 << 20
TASKS = 256
"""Tasks of a large source. With more, their many small spill ranges would cost more than the better balance gains."""
REUSING_TASKS = 32
"""Tasks of a large source of which an earlier stage knows records: each may read that stage's documents once."""
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
UNPACKED = 4
"""Approximate ratio of text to its compressed size; only used for the number of parts."""

BAD_FILE = "bad.jsonl"
"""Unreadable records, each with its reason."""
MAX_SKIPPED = 20
"""Files about the corpus that the manifest lists."""
MAX_TEMPLATES = 200
"""Templates that the manifest lists, of those that lost text and of those that broke sentences."""


def number_of_parts(files: Sequence[inputs.InputFile]) -> int:
    """Return the number of parts of a source. It depends on the input alone, never on workers."""
    input_bytes = sum(file.size * (UNPACKED if file.shown_url.endswith(COMPRESSED) else 1) for file in files)
    return max(MIN_PARTS, -(-input_bytes // PART_BYTES))


def _task_bytes(files: Sequence[inputs.InputFile], before: Earlier | None) -> int:
    """Return the input bytes of a task, by the size of the source."""
    size = sum(file.size for file in files)
    return max(TASK_BYTES, size // REUSING_TASKS) if before else max(TASK_BYTES, min(MAX_TASK_BYTES, size // TASKS))


def documents(
    source: SourceConfig,
    root: str,
    *,
    execution: Execution = SERIAL,
    task_bytes: int = 0,
) -> Finished:
    """Read and clean one source.

    Args:
        task_bytes: input bytes of a task; 0 = chosen by the size of the source. Does not change what is written.

    Raises: CorpusError when the input is missing or not text, or too many of its records are unreadable.
    """
    named = _named(source, root, execution)
    skipped: list[str] = []
    files = inputs.expand(named, skipped)
    formats = reading.wiki_formats(source, files) if source.kind == "wiki" else None
    dumps = reading.dumps(formats) if formats else []
    side = _side_input(source, dumps, root, execution) if dumps else None
    # Not part of the key: the input's location, since its digest identifies it; priority, which only matters to dedup; and
    # max_bad_ratio, which is checked on finished stages too, so that raising it does not read the input again.
    source = source.resolved()
    source = replace(source, spam_phrases=phrases.load(source.spam_phrases))
    settings: dict[str, Any] = {name: getattr(source, name) for name in READING_SETTINGS}
    if source.kind == "demo":
        settings["input"] = source.input
    known = inputs.digests(files, root)
    digests = {"input": inputs.digest(known), **({"side": side.digest} if side else {})}
    if source.spam_phrases:  # in the settings, addresses among them are redacted
        digests["spam_phrases"] = storage.bytes_digest(storage.json_bytes(source.spam_phrases))
    stage = Stage("documents", STAGE_VERSION, {"source": settings, "tools": _tools(source)}, digests, source=source.name)

    def body(folder: str) -> dict[str, Any]:
        from pipeline.documents.clean_part import ReadDocuments

        parts = number_of_parts(files)
        before = earlier.find(root, stage, ("input", "side"), execution)
        with inputs.unchanged(f"source {source.name!r}", named, files, known, root, folder):
            work = steps.Job(
                name=f"documents of {source.name}",
                folder=folder,
                tasks=reading.plan(source, files, task_bytes or _task_bytes(files, before), formats),
                map=ReadDocuments(source, parts, folder, side, before),
                reduce=WritePart(folder, parts),
                made_of=inputs.versions(files),
            )
            entries, counts = _with_room(side, execution, lambda: job.run(work, execution))
        ran = earlier.run_facts(counts, before)
        earlier.report(stage.name, ran, execution)
        facts = {"kind": source.kind, "licence": source.licence, "parts": parts}
        facts |= _facts(counts, sum(file.size for file in files), skipped)
        _check(source, facts, folder)
        return {"files": entries, "run": ran, **facts}

    finished = run_stage(root, stage, body, execution)
    _check(source, finished.manifest, finished.url)
    return finished


def _tools(source: SourceConfig) -> dict[str, str]:
    """Return the versions of what decides what is written: character tables, the HTML parser, the rules for web pages.

    Raises: CorpusError when the source needs an optional one that is not installed.
    """
    versions = {name: importlib.metadata.version(name) for name in ("opencc", "selectolax")}
    if source.preset == "web":
        versions["web"] = str(web.VERSION)
    return {**versions, **variants.tool(source.variant_tables), "unicode": unicodedata.unidata_version}


READING_SETTINGS = (
    "name",
    "kind",
    "licence",
    "text_field",
    "encoding",
    "variant",
    "variant_tables",
    "list_items",
    "broken_sentences",
    "personal_data",
    "preset",
    "spam_phrases",
)
"""The settings of a source that decide what its documents are."""


def _named(source: SourceConfig, root: str, execution: Execution) -> Sequence[str]:
    """Return what a source reads: its `input`, the files of the embedded corpus, or a dump that is downloaded."""
    if source.kind == "demo":
        return demo.files(_demo_part(source))
    if source.input:
        return source.input
    if source.kind != "wiki":
        raise CorpusError(f"source {source.name!r} of kind {source.kind!r} has no input; name files, folders or globs")
    from pipeline.wiki.dumps import download

    downloaded = download.download(root, execution=execution)
    return [downloaded.file(entry["name"]) for entry in downloaded.files()]


def _side_input(source: SourceConfig, dumps: Sequence[inputs.InputFile], root: str, execution: Execution) -> Finished:
    """Return the stage with what pages of a wiki need from other pages, gathered in an earlier pass."""
    from pipeline.wiki.dumps import side_input

    return side_input.side_input(source, dumps, root, execution=execution)


def _with_room(side: Finished | None, execution: Execution, work: Callable[[], T]) -> T:
    """Return what `work` makes, without the text of dumps that is kept for it: removed when it is done, or the disk is full."""
    if side is None:
        return work()
    from pipeline.wiki.dumps import unpacked

    made = unpacked.with_room(side.url, execution.report, work)
    unpacked.remove(side.url)
    return made


def _demo_part(source: SourceConfig) -> str:
    if len(source.input) != 1:
        raise CorpusError(f"source {source.name!r}: kind 'demo' takes one input, the part: {' or '.join(demo.PARTS)}")
    return source.input[0]


def _check(source: SourceConfig, facts: Mapping[str, Any], folder: str) -> None:
    """Raise an error for a source without documents, or with too many unreadable records."""
    counts = facts["counts"]
    if counts["bad"] > source.max_bad_ratio * counts["read"]:
        fix = f"they are listed in {storage.join(folder, BAD_FILE)}: fix the input"
        raise CorpusError(too_many_bad(source, counts["bad"], counts["read"], facts["samples"]["bad"], fix))
    if counts["kept"] == 0:
        records = {**facts["skipped"], "without text": counts["empty"], "unreadable": counts["bad"]}
        details = "; ".join(
            f"{name}: {', '.join(f'{what} {number:,}' for what, number in numbers.items() if number) or 'none'}"
            for name, numbers in (("files", facts["input_files"]), ("records", records))
        )
        raise CorpusError(
            f"source {source.name!r}: no document in its input; check the files and the kind {source.kind!r} ({details})"
        )


NUMBERS = ("read", "bad", "empty", "kept", "characters", "repairs", "broken_sentences")
"""Numbers of the manifest's `counts`."""
COUNTED = ("skipped", "changed", "personal_data", "languages", "scripts", "templates_kept", "left_out", "conversions")
"""Tables of counts that go into the manifest unchanged."""


def _listed(skipped: Sequence[str]) -> dict[str, int]:
    """Return the rows for files about a corpus, which were not read."""
    more = len(skipped) - MAX_SKIPPED
    rows = {f"skipped: {name}": 1 for name in skipped[:MAX_SKIPPED]}
    return {**rows, "skipped: others": more} if more > 0 else rows


def _facts(counts: Counts, input_bytes: int, skipped: Sequence[str]) -> dict[str, Any]:
    """Return what the manifest records about the source."""
    numbers = {name: counts.get(name, 0) for name in NUMBERS}
    return {
        "counts": {**numbers, "bytes_in": input_bytes},
        "input_files": {**counts.get("files", {}), **_listed(skipped)},
        "bad": counts.get("reasons", {}),
        "characters_histogram": dict(sorted(counts.get("histogram", {}).items(), key=lambda item: int(item[0]))),
        "templates_lost": counting.most_common(counts.get("templates", {}), MAX_TEMPLATES),
        "templates_breaking": counting.most_common(counts.get("breaks", {}), MAX_TEMPLATES),
        "samples": counts.get("samples", {}),
        **{name: counts.get(name, {}) for name in COUNTED},
    }


@dataclass(frozen=True)
class WritePart:
    """Reduce: write one part, sorted by id.

    Raises: CorpusError when two of its records have the same id.
    """

    folder: str
    parts: int

    def __call__(self, part: int, table: pa.Table) -> steps.Reduced:
        if part == self.parts:
            return self._bad(table)
        table, counts = _latest(table)
        _refuse_equal_ids(table)
        name = part_name(part)
        with storage.open_write(storage.join(self.folder, name)) as file:
            # Small row groups: a reader that needs a few ids skips the rest.
            pq.write_table(table, file, compression="zstd", row_group_size=4_096)
        return steps.Reduced((FileEntry.of(self.folder, name, table.num_rows),), counts)

    def _bad(self, table: pa.Table) -> steps.Reduced:
        """Write the unreadable records."""
        with storage.open_write(storage.join(self.folder, BAD_FILE)) as file:
            for batch in table.sort_by("origin").to_batches(max_chunksize=10_000):
                file.write("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in batch.to_pylist()).encode())
        return steps.Reduced((FileEntry.of(self.folder, BAD_FILE, table.num_rows),), {})


def _latest(table: pa.Table) -> tuple[pa.Table, Counts]:
    """Sort documents by id; of pages that a dump contains twice, keep the latest revision, or the last of equal ones.

    Returns: the table, and counts that take back what was counted of earlier revisions.
    """
    if "revision" not in table.column_names or not table["revision"].to_numpy().any():
        return table.select(SCHEMA.names).sort_by("id").combine_chunks(), {}
    table = table.sort_by([("id", "ascending"), ("revision", "ascending")]).combine_chunks()
    ids, revisions = table["id"].to_numpy(), table["revision"].to_numpy()
    earlier = np.zeros(len(ids), bool)
    earlier[:-1] = (ids[1:] == ids[:-1]) & (revisions[:-1] > 0)
    table = table.select(SCHEMA.names)
    if not earlier.any():
        return table, {}
    from pipeline.documents.clean_part import count_documents

    kept, dropped = table.filter(~earlier), table.filter(earlier)
    counted: Counts = {}
    numbers = dropped["characters"].to_numpy()
    count_documents(counted, numbers, dropped["language"].to_pylist(), dropped["script"].to_pylist())
    return kept, {**_negative(counted), "skipped": {"earlier revision": len(numbers)}}


def _negative(counts: Counts) -> Counts:
    return {name: _negative(number) if isinstance(number, dict) else -number for name, number in counts.items()}


def _refuse_equal_ids(table: pa.Table) -> None:
    """Raise an error if two documents, sorted by id, have the same id: they would be trained on twice."""
    ids = table["id"].to_numpy()
    equal = np.flatnonzero(ids[1:] == ids[:-1])
    if len(equal):
        first, second = (table["origin"][int(equal[0]) + place].as_py() for place in (0, 1))
        raise CorpusError(
            f"source {table['source'][0].as_py()!r}: two records have the same id, {ids[equal[0]]:016x} "
            f"({first} and {second}); report this as a bug"
        )
