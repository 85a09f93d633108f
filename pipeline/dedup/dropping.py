"""Write the files of the stage `dedup`: source after source, part after part, so that they are sorted by id.

Only one part is in memory at a time.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.arrays import Flags, Hashes, Ints, Strings
from pipeline.cleaning import quality
from pipeline.dedup import decontamination, paragraphs
from pipeline.dedup.clusters import WITHDRAWN, Clusters
from pipeline.dedup.decisions import Decided, Decision
from pipeline.dedup.overview import Overview, duplicates_at
from pipeline.documents.table import Part, part_file, parts
from pipeline.engine import counting, parquet
from pipeline.engine.counting import Counts
from pipeline.engine.stages import FileEntry, Finished

SAMPLES = 3
"""Samples per reason and source."""
PREVIEW = 200
"""Characters shown of a dropped document."""
KEPT_PREVIEW = 500
"""Characters shown of a kept document."""

DUPLICATES = ("withdrawn_copy", "duplicate", "near_duplicate", "contained")
"""Reasons with a `kept_id`."""
REASONS = ("withdrawn", *(rule.name for rule in quality.RULES), "contaminated", *DUPLICATES, "duplicate_paragraphs")
"""Every reason to drop a document, in order of precedence."""

DROPPED = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("kept_id", pa.uint64()),
    ]
)
CLUSTERS = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("kept_id", pa.uint64(), nullable=False),
        pa.field("cluster_size", pa.uint32(), nullable=False),
    ]
)
_SCHEMAS = {
    "dropped": DROPPED,
    "clusters": CLUSTERS,
    "contaminated": decontamination.SCHEMA,
    "paragraphs": paragraphs.SCHEMA,
}


@dataclass
class Outcome:
    """What `dedup` did to the documents of one source."""

    source: int
    files: list[FileEntry] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    characters_kept: int = 0
    paragraphs: int = 0
    """Paragraphs removed from kept documents."""
    paragraph_characters: int = 0
    cluster_sizes: Counts = field(default_factory=dict)
    """Clusters by their size, the kept document included."""
    contaminated_by: dict[str, int] = field(default_factory=dict)
    """Dropped documents by evaluation file. A document may match several files."""
    samples: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    """By reason, the first dropped documents: id, and the level and id of the document that it is equal to, similar to or
    contained in, or -1 and -1. That one may be dropped too, in favour of a third."""
    lines: list[tuple[int, int]] = field(default_factory=list)
    """The first removed paragraphs: id, ordinal."""
    leaks: dict[int, dict[str, str]] = field(default_factory=dict)
    """By the id of a contaminated sample: the evaluation file, and the start of the text in it that matches best."""
    overview: Overview | None = None
    removed: pa.Table | None = None
    """The paragraphs to remove from the samples of kept documents."""


@dataclass(frozen=True)
class Writer:
    """Writes the decisions, source by source."""

    decision: Decision
    duplicates: Clusters
    folder: str
    lines: tuple[str, ...] = ()
    """URLs of the lists of paragraphs to remove (see `paragraphs.gather`)."""
    seed: int | None = None
    """Seed of the samples of kept documents; None = no overview of them is made."""

    def write(self, source: int, documents: Finished) -> Outcome:
        """Write the files of one source, given by its number."""
        outcome = Outcome(source, overview=None if self.seed is None else Overview(self.seed))
        removed = paragraphs.gather(self.lines, source)
        kinds = {kind: f"{kind}_{documents.source}.parquet" for kind in _SCHEMAS}
        rows = dict.fromkeys(kinds, 0)
        with contextlib.ExitStack() as stack:
            writers = {kind: stack.enter_context(_writing(self.folder, file, _SCHEMAS[kind])) for kind, file in kinds.items()}
            for task in parts([documents]):
                for kind, table in self._part(replace(task, source=source), removed, outcome).items():
                    if len(table):
                        writers[kind].write_table(table)
                        rows[kind] += len(table)
        outcome.files = [FileEntry.of(self.folder, file, rows[kind]) for kind, file in kinds.items()]
        if outcome.overview:
            chosen = pa.array([number for _, number in outcome.overview.samples], pa.uint64())
            outcome.removed = removed.filter(pc.is_in(removed["id"], chosen))
            outcome.overview.thresholds |= duplicates_at(self.duplicates.dropped_of(self.decision.levels[source]))
        return outcome

    def _part(self, part: Part, removed: pa.Table, outcome: Outcome) -> dict[str, pa.Table]:
        """Return the rows of a part for each kind of file, and add to `outcome`. `removed`: paragraphs to remove."""
        decided = self.decision.on(part)
        is_member, members = self.duplicates.find(decided.ids)
        reasons, kept_ids = self._drop_duplicates(decided, is_member, members)
        emptied, lines = self._remove_paragraphs(part, decided, reasons, removed)
        reasons = np.where(emptied, "duplicate_paragraphs", reasons)
        outcome.paragraphs += len(lines)
        outcome.paragraph_characters += int(lines["characters"].to_numpy().sum())
        missing = SAMPLES - len(outcome.lines)
        outcome.lines += zip(*(lines[name][:missing].to_pylist() for name in ("id", "ordinal")), strict=True)
        tables = {"clusters": self._clusters(members), "contaminated": decided.contamination, "paragraphs": lines}
        dropped = np.flatnonzero(reasons != "")
        ids = pa.array(decided.ids[dropped])
        kept = pa.array(kept_ids[dropped], mask=kept_ids[dropped] == decided.ids[dropped])
        tables["dropped"] = pa.table([ids, pa.array(reasons[dropped].tolist(), pa.string()), kept], schema=DROPPED)
        characters = decided.characters[reasons == ""].sum() - lines["characters"].to_numpy().sum(dtype=np.int64)
        outcome.characters_kept += int(characters)
        if outcome.overview:
            stage = self.decision.signatures[part.source] if self.decision.signatures else ""
            outcome.overview.add(part, stage, decided, reasons == "")
            below = lines["characters"].to_numpy() < 2 * self.decision.dedup.min_paragraph_characters
            outcome.overview.removed_lines_below_twice += int(np.count_nonzero(below))
            outcome.overview.add_thresholds(decided, self.decision.filters[part.source], self.decision.decontamination)
        self._count(tables, outcome)
        _count_clusters(tables["clusters"], outcome)
        return tables

    def _drop_duplicates(self, decided: Decided, is_member: Flags, members: Ints) -> tuple[Strings, Hashes]:
        """Return the reasons with duplicates included, and the document kept in place of each, both (documents,).

        A document that is not a duplicate has its own id.

        Args:
            is_member: (documents,) whether each is in a cluster.
            members: for those, their index in `self.duplicates`.
        """
        undecided = decided.reasons[is_member] == ""
        if not self._drops_duplicates:
            undecided &= self.duplicates.kept_levels[members] == WITHDRAWN
        rows, members = np.flatnonzero(is_member)[undecided], members[undecided]
        found = self.duplicates.reasons(members)
        # An array of strings cuts what is longer than its first strings: give it the width of both.
        reasons = decided.reasons.astype(np.result_type(decided.reasons, found))
        kept_ids = decided.ids.copy()
        reasons[rows], kept_ids[rows] = found, self.duplicates.kept_ids[members]
        return reasons, kept_ids

    @property
    def _drops_duplicates(self) -> bool:
        """False if the recipe only asks for duplicates of withdrawn documents."""
        return self.decision.dedup.exact or self.decision.dedup.near

    def _clusters(self, members: Ints) -> pa.Table:
        found = self.duplicates
        members = members[(found.sizes[members] > 1) & self._drops_duplicates]
        columns = [found.ids[members], found.kept_ids[members], found.sizes[members]]
        return pa.table([pa.array(column) for column in columns], schema=CLUSTERS)

    def _remove_paragraphs(self, part: Part, decided: Decided, reasons: Strings, removed: pa.Table) -> tuple[Flags, pa.Table]:
        """Return (documents,) which ones become too short without their paragraphs, and the lines to remove from others."""
        if not len(removed) or not len(decided.ids):
            return np.zeros(len(decided.ids), np.bool_), removed.slice(0, 0)
        # The lines of this part, and the document of each.
        first = int(np.searchsorted(removed["id"].to_numpy(), decided.ids[0]))
        last = int(np.searchsorted(removed["id"].to_numpy(), decided.ids[-1], side="right"))
        lines = removed.slice(first, last - first)
        rows = np.searchsorted(decided.ids, lines["id"].to_numpy())
        # Per document: removed lines, their characters, and long lines in total.
        numbers = np.bincount(rows, minlength=len(decided.ids))
        lost = np.bincount(rows, lines["characters"].to_numpy(), minlength=len(decided.ids))
        signatures = storage.join(self.decision.signatures[part.source], part.file)
        totals = parquet.read(signatures, ["paragraphs"])["paragraphs"].to_numpy()
        min_characters = max(self.decision.filters[part.source].min_characters, 1)
        too_short = decided.characters - lost < min_characters
        emptied = (reasons == "") & (numbers > 0) & (numbers == totals) & too_short
        return emptied, lines.filter(pa.array(~emptied[rows]))

    def _count(self, tables: dict[str, pa.Table], outcome: Outcome) -> None:
        """Add the dropped documents of a part to the counts and samples of `outcome`."""
        dropped, contaminated = tables["dropped"], tables["contaminated"]
        for entry in pc.value_counts(dropped["reason"]).to_pylist():
            reason = entry["values"]
            outcome.dropped[reason] = outcome.dropped.get(reason, 0) + entry["counts"]
            some = outcome.samples.setdefault(reason, [])
            if len(some) < SAMPLES:
                rows = dropped.filter(pc.equal(dropped["reason"], reason)).slice(0, SAMPLES - len(some)).to_pylist()
                some += [(row["id"], *self._twin(row["id"], row["kept_id"])) for row in rows]
                if reason == "contaminated":
                    outcome.leaks |= {row["id"]: _leak(contaminated, row["id"]) for row in rows}
        for entry in pc.value_counts(contaminated["file"]).to_pylist():
            name = entry["values"]
            outcome.contaminated_by[name] = outcome.contaminated_by.get(name, 0) + entry["counts"]

    def _twin(self, document_id: int, kept_id: int | None) -> tuple[int, int]:
        """Return level and id of the document that a dropped one is a duplicate of, -1 and -1 without a `kept_id`."""
        if kept_id is None:
            return -1, -1
        found = self.duplicates
        _, members = found.find(np.array([document_id], np.uint64))
        twin = found.twins[members[0]]
        return int(found.levels[twin]), int(found.ids[twin])


def _count_clusters(clusters: pa.Table, outcome: Outcome) -> None:
    # Each cluster is counted once, by the row of its kept document.
    sizes = clusters["cluster_size"].filter(pc.equal(clusters["id"], clusters["kept_id"])).to_numpy()
    for size, number in zip(*np.unique(sizes[sizes > 1], return_counts=True), strict=True):
        counting.count(outcome.cluster_sizes, str(size), number=int(number))


def _leak(contaminated: pa.Table, document_id: int) -> dict[str, str]:
    """Return the evaluation file and text that a document matches best."""
    rows = contaminated.filter(pc.equal(contaminated["id"], pa.scalar(document_id, pa.uint64()))).to_pylist()
    best = max(rows, key=lambda row: float(row["share"]))
    return {"file": best["file"], "evaluation_text": best["text"]}


@contextlib.contextmanager
def _writing(folder: str, name: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    with (
        storage.open_write(storage.join(folder, name)) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        yield writer


def samples(outcome: Outcome, decision: Decision, documents: Sequence[Finished]) -> list[dict[str, str]]:
    """Return previews for the report: a few dropped documents per reason, each with its twin, and removed paragraphs."""
    own, of_level = outcome.source, decision.levels.index
    rows = [(reason, *row) for reason, some in sorted(outcome.samples.items()) for row in some]
    # Read all texts at once, by source and id.
    wanted = {(own, document_id) for _, document_id, _, _ in rows} | {(own, document_id) for document_id, _ in outcome.lines}
    wanted |= {(of_level(level), twin) for _, _, level, twin in rows if level > WITHDRAWN}
    texts = _texts(documents, wanted)
    junk = {(own, document_id) for reason, document_id, _, _ in rows if reason == "junk"}
    signs = {document_id: found for (_, document_id), found in _texts(documents, junk, "junk_signs").items()}
    result = []
    for reason, document_id, level, twin in rows:
        text = texts[own, document_id]
        sample = {"source": decision.names[own], "reason": reason, "text": text[:PREVIEW]}
        if reason == "junk":
            sample["signs"] = signs[document_id]
        if reason == "contaminated":
            sample |= outcome.leaks[document_id]
        if level > WITHDRAWN:
            sample["twin_text"] = _around(texts[of_level(level), twin], text)
        result.append(sample)
    for document_id, ordinal in outcome.lines:
        text = texts[own, document_id].split("\n")[ordinal][:PREVIEW]
        result.append({"source": decision.names[own], "reason": "repeated_paragraph", "text": text})
    return result


def _around(text: str, inside: str) -> str:
    """Return PREVIEW characters of a text, from where the middle of another one is in it, or else from its start."""
    start, place = len(inside) // 2, -1
    if len(text) > PREVIEW:
        place = text.find(inside[start : start + 6]) - start
    return text[max(0, place) : max(0, place) + PREVIEW]


def kept_overview(outcome: Outcome, decision: Decision, documents: Sequence[Finished]) -> dict[str, Any]:
    """Return what the manifest says about the kept documents of a source (see overview.py)."""
    assert outcome.overview
    own, ids = outcome.source, [number for _, number in outcome.overview.samples]
    lines = outcome.overview.shown_lines()
    texts = _texts(documents, {(own, number) for number in ids} | {(own, number) for number, _, _ in lines})
    order = sorted(ids)
    whole = pa.chunked_array([pa.array([texts[own, number] for number in order], pa.string())])
    kept = dict(zip(order, paragraphs.without(whole, np.array(order, np.uint64), outcome.removed).to_pylist(), strict=True))
    return {
        "samples": [
            {"id": f"{number:016x}", "text": kept[number][:KEPT_PREVIEW], "characters": len(kept[number])} for number in ids
        ],
        "lines": [{"text": texts[own, number].split("\n")[ordinal], "documents": times} for number, ordinal, times in lines],
        **outcome.overview.facts(),
    }


def _texts(documents: Sequence[Finished], wanted: set[tuple[int, int]], column: str = "text") -> dict[tuple[int, int], str]:
    """Read texts, or another column, by source and id, opening each part once."""
    by_part = defaultdict(list)
    for source, document_id in wanted:
        by_part[source, part_file(document_id, documents[source].manifest["parts"])].append(document_id)
    texts: dict[tuple[int, int], str] = {}
    for (source, part), ids in by_part.items():
        rows = parquet.read_rows(documents[source].file(part), "id", ids, ["id", column])
        texts |= {(source, row["id"]): row[column] for row in rows}
    return texts
