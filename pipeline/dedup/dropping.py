"""The files of the stage `dedup`: one source after another, part after part, so that they are sorted by id.

Nothing of a part is held longer than its rows are written.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.dedup import decontamination, paragraphs
from pipeline.dedup.clusters import WITHDRAWN, Clusters
from pipeline.dedup.decisions import Decided, Decision
from pipeline.dedup.ngrams import Hashes, Numbers
from pipeline.documents.table import Part, part_file, parts
from pipeline.engine import counting, parquet
from pipeline.engine.counting import Counts
from pipeline.engine.stages import FileEntry, Finished

SAMPLES = 3
"""Samples shown of each reason and source."""

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
    """What became of the documents of one source."""

    source: int
    files: list[FileEntry] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    characters_kept: int = 0
    paragraphs: int = 0
    """Paragraphs that go out of documents that stay."""
    paragraph_characters: int = 0
    cluster_sizes: Counts = field(default_factory=dict)
    """Documents that stay for others, by how many there are of each, itself included."""
    contaminated_by: dict[str, int] = field(default_factory=dict)
    """Dropped documents by evaluation file; one may hold texts of several."""
    samples: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    """By reason: the first dropped documents, each with the level and the id of what it is a copy of (-1: of none)."""
    lines: list[tuple[int, int]] = field(default_factory=list)
    """The first paragraphs that go: id, ordinal."""
    leaks: dict[int, dict[str, str]] = field(default_factory=dict)
    """By the id of a contaminated sample: the evaluation file, and the beginning of its text that is there most of all."""


@dataclass(frozen=True)
class Writer:
    """Writes what was decided on, source by source."""

    decision: Decision
    copies: Clusters
    folder: str
    lines: tuple[str, ...] = ()
    """Files of paragraphs that go (see `paragraphs.gather`)."""

    def write(self, source: int, documents: Finished) -> Outcome:
        """The files of one source."""
        outcome = Outcome(source)
        gone = paragraphs.gather(self.lines, source)
        kinds = {kind: f"{kind}_{documents.manifest['source']}.parquet" for kind in _SCHEMAS}
        rows = dict.fromkeys(kinds, 0)
        with contextlib.ExitStack() as stack:
            writers = {kind: stack.enter_context(_writing(self.folder, file, _SCHEMAS[kind])) for kind, file in kinds.items()}
            for task in parts([documents]):
                for kind, table in self._part(replace(task, source=source), gone, outcome).items():
                    if len(table):
                        writers[kind].write_table(table)
                        rows[kind] += len(table)
        outcome.files = [FileEntry.of(self.folder, file, rows[kind]) for kind, file in kinds.items()]
        return outcome

    def _part(self, part: Part, gone: pa.Table, outcome: Outcome) -> dict[str, pa.Table]:
        decided = self.decision.on(part)
        members, places = self.copies.find(decided.ids)
        reasons, kept_ids = self._with_copies(decided, members, places)
        emptied, lines = self._without_paragraphs(part, decided, reasons, gone)
        reasons = np.where(emptied, "duplicate_paragraphs", reasons)
        outcome.paragraphs += len(lines)
        outcome.paragraph_characters += int(lines["characters"].to_numpy().sum())
        wanted = SAMPLES - len(outcome.lines)
        outcome.lines += zip(*(lines[name][:wanted].to_pylist() for name in ("id", "ordinal")), strict=True)
        found = {"clusters": self._clusters(places), "contaminated": decided.overlaps, "paragraphs": lines}
        out = np.flatnonzero(reasons != "")
        ids = pa.array(decided.ids[out])
        of = pa.array(kept_ids[out], mask=kept_ids[out] == decided.ids[out])
        found["dropped"] = pa.table([ids, pa.array(reasons[out].tolist(), pa.string()), of], schema=DROPPED)
        kept = decided.characters[reasons == ""].sum() - lines["characters"].to_numpy().sum(dtype=np.int64)
        outcome.characters_kept += int(kept)
        self._count(found, outcome)
        _count_clusters(found["clusters"], outcome)
        return found

    def _with_copies(self, decided: Decided, members: npt.NDArray[np.bool_], places: Numbers) -> tuple[Any, Hashes]:
        """Reasons that copies add, and the document that each is a copy of (its own id: of none)."""
        wanted = decided.reasons[members] == ""
        if not self._copies_go:
            wanted &= self.copies.kept_levels[places] == WITHDRAWN
        rows, places = np.flatnonzero(members)[wanted], places[wanted]
        reasons, kept_ids = decided.reasons.astype("<U24"), decided.ids.copy()
        reasons[rows], kept_ids[rows] = self.copies.reasons(places), self.copies.kept_ids[places]
        return reasons, kept_ids

    @property
    def _copies_go(self) -> bool:
        return self.decision.dedup.exact or self.decision.dedup.near

    def _clusters(self, places: Numbers) -> pa.Table:
        places = places[(self.copies.sizes[places] > 0) & self._copies_go]
        columns = [self.copies.ids[places], self.copies.kept_ids[places], self.copies.sizes[places]]
        return pa.table([pa.array(column) for column in columns], schema=CLUSTERS)

    def _without_paragraphs(
        self, part: Part, decided: Decided, reasons: npt.NDArray[np.str_], gone: pa.Table
    ) -> tuple[npt.NDArray[np.bool_], pa.Table]:
        """Documents of which too little is left, and the paragraphs that go out of the others."""
        if not len(gone) or not len(decided.ids):
            return np.zeros(len(decided.ids), np.bool_), gone.slice(0, 0)
        first = int(np.searchsorted(gone["id"].to_numpy(), decided.ids[0]))
        last = int(np.searchsorted(gone["id"].to_numpy(), decided.ids[-1], side="right"))
        lines = gone.slice(first, last - first)
        rows = np.searchsorted(decided.ids, lines["id"].to_numpy())
        numbers = np.bincount(rows, minlength=len(decided.ids))
        lost = np.bincount(rows, lines["characters"].to_numpy(), minlength=len(decided.ids))
        signatures = storage.join(self.decision.signatures[part.source], part.file)
        had = parquet.read(signatures, ["paragraphs"])["paragraphs"].to_numpy()
        least = max(self.decision.filters[part.source].min_characters, 1)
        emptied = (reasons == "") & (numbers > 0) & (numbers == had) & (decided.characters - lost < least)
        return emptied, lines.filter(pa.array(~emptied[rows]))

    def _count(self, found: dict[str, pa.Table], outcome: Outcome) -> None:
        dropped, contaminated = found["dropped"], found["contaminated"]
        for entry in pc.value_counts(dropped["reason"]).to_pylist():
            reason = entry["values"]
            outcome.dropped[reason] = outcome.dropped.get(reason, 0) + entry["counts"]
            some = outcome.samples.setdefault(reason, [])
            if len(some) < SAMPLES:
                rows = dropped.filter(pc.equal(dropped["reason"], reason)).slice(0, SAMPLES - len(some)).to_pylist()
                some += [(row["id"], *self._kept(row["kept_id"])) for row in rows]
                if reason == "contaminated":
                    outcome.leaks |= {row["id"]: _leak(contaminated, row["id"]) for row in rows}
        for entry in pc.value_counts(contaminated["file"]).to_pylist():
            name = entry["values"]
            outcome.contaminated_by[name] = outcome.contaminated_by.get(name, 0) + entry["counts"]

    def _kept(self, kept_id: int | None) -> tuple[int, int]:
        if kept_id is None:
            return -1, -1
        _, places = self.copies.find(np.array([kept_id], np.uint64))
        return int(self.copies.levels[places[0]]), kept_id


def _count_clusters(clusters: pa.Table, outcome: Outcome) -> None:
    keepers = clusters["cluster_size"].filter(pc.equal(clusters["id"], clusters["kept_id"])).to_numpy()
    for size, number in zip(*np.unique(keepers[keepers > 1], return_counts=True), strict=True):
        counting.count(outcome.cluster_sizes, str(size), number=int(number))


def _leak(contaminated: pa.Table, number: int) -> dict[str, str]:
    rows = contaminated.filter(pc.equal(contaminated["id"], pa.scalar(number, pa.uint64()))).to_pylist()
    most = max(rows, key=lambda row: float(row["share"]))
    return {"file": most["file"], "evaluation_text": most["text"]}


@contextlib.contextmanager
def _writing(folder: str, name: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    with (
        storage.open_write(storage.join(folder, name)) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        yield writer


def samples(outcome: Outcome, decision: Decision, documents: Sequence[Finished]) -> list[dict[str, str]]:
    """The beginning of a few dropped documents of each reason, and of what they are copies of; a few paragraphs that go."""
    own, of_level = outcome.source, decision.levels.index
    rows = [(reason, *row) for reason, some in sorted(outcome.samples.items()) for row in some]
    wanted = {(own, number) for _, number, _, _ in rows} | {(own, number) for number, _ in outcome.lines}
    wanted |= {(of_level(level), kept_id) for _, _, level, kept_id in rows if level > WITHDRAWN}
    texts = _texts(documents, wanted)
    found = []
    for reason, number, level, kept_id in rows:
        sample = {"source": decision.names[own], "reason": reason, "text": texts[own, number][:200]}
        if reason == "contaminated":
            sample |= outcome.leaks[number]
        if level > WITHDRAWN:
            sample["kept_text"] = texts[of_level(level), kept_id][:200]
        found.append(sample)
    for number, ordinal in outcome.lines:
        text = texts[own, number].split("\n")[ordinal][:200]
        found.append({"source": decision.names[own], "reason": "repeated_paragraph", "text": text})
    return found


def _texts(documents: Sequence[Finished], wanted: set[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Texts by source and id; each part is opened once."""
    by_part = defaultdict(list)
    for source, number in wanted:
        by_part[source, part_file(number, documents[source].manifest["parts"])].append(number)
    found: dict[tuple[int, int], str] = {}
    for (source, part), numbers in by_part.items():
        rows = parquet.read_rows(documents[source].file(part), "id", numbers, ["id", "text"])
        found |= {(source, row["id"]): row["text"] for row in rows}
    return found
