"""Rules for `dedup`: every dropped document exists, and the document it duplicates is kept.

    problems(stage)     runs/tiny/dedup-77c1b2d4e3f9/dropped_news.parquet: row 4: its kept_id is dropped itself

Memory: 9 bytes per dropped document, and the ids of all documents of one source at a time.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.arrays import Bytes, Hashes
from pipeline.checks.findings import Findings, differences
from pipeline.dedup import decontamination, paragraphs
from pipeline.dedup.dropping import CLUSTERS, DROPPED, DUPLICATES, REASONS
from pipeline.documents import table
from pipeline.engine import stages
from pipeline.engine.stages import Finished

_NUMBERS = {reason: number for number, reason in enumerate(REASONS, start=1)}


@dataclass(frozen=True)
class Dropped:
    """Dropped documents of some sources, sorted by id."""

    ids: Hashes
    reasons: Bytes
    """(n,) by `_NUMBERS`; 0 = unknown."""

    def reasons_of(self, ids: Hashes) -> Bytes:
        """Return why each document is dropped; 0 = it is not."""
        if not len(self.ids):
            return np.zeros(len(ids), np.uint8)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[places] == ids, self.reasons[places], np.uint8(0))


def problems(stage: Finished) -> list[str]:
    """Check a stage `dedup`."""
    found: list[str] = []
    counts: dict[str, Counter[str]] = {}
    dropped: dict[str, Dropped] = {}
    for source in stage.manifest["counts"]:
        counts[source] = Counter(paragraphs=0, paragraph_characters=0, clusters=0)
        dropped[source], lines = _dropped(stage, source, counts[source])
        found += lines
    ids, reasons = (np.concatenate([getattr(one, name) for one in dropped.values()]) for name in ("ids", "reasons"))
    order = np.argsort(ids, kind="stable")
    everywhere = Dropped(ids[order], reasons[order])
    for source, out in dropped.items():
        for check in (_kept_ids, _paragraphs, _clusters, _contaminated):
            found += check(stage, source, out, everywhere, counts[source])
        recorded = stage.manifest["counts"][source]
        of_reason = {reason: number for reason, number in counts[source].items() if reason in REASONS}
        counted = {name: number for name, number in counts[source].items() if name not in REASONS}
        counted["kept"] = recorded["documents"] - len(out.ids)
        found += differences(stage, {**counted, "dropped": of_reason}, recorded, prefix=f"{source}: ")
    return found


def _dropped(stage: Finished, source: str, counts: Counter[str]) -> tuple[Dropped, list[str]]:
    """Read the dropped documents of a source, and check each by itself."""
    entry = _entry(stage, "dropped", source)
    findings, known = Findings(stage.file(entry["name"])), _document_ids(stage, source)
    ids, reasons = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint8)]
    for batch in findings.parquet(DROPPED, ["id", "reason"]):
        some, named = batch["id"].to_numpy(), batch["reason"].to_pylist()
        findings.increasing(some)
        numbers = np.array([_NUMBERS.get(reason, 0) for reason in named], np.uint8)
        findings.demand("its reason is unknown", numbers == 0)
        if known is not None:
            findings.demand("there is no such document", ~np.isin(some, known))
        counts.update(named)
        ids.append(some)
        reasons.append(numbers)
    return Dropped(np.concatenate(ids), np.concatenate(reasons)), findings.done(entry)


def _document_ids(stage: Finished, source: str) -> Hashes | None:
    """Return the ids of all documents of a source, if they are in the same folder."""
    read = stages.input_of(stage, f"documents_{source}", f"documents_{source}")
    if read is None:
        return None
    columns = [table.read_part(read, entry["name"], ["id"])["id"].to_numpy() for entry in read.files("part-")]
    return np.concatenate([np.zeros(0, np.uint64), *columns])


def _kept_ids(stage: Finished, source: str, out: Dropped, everywhere: Dropped, counts: Counter[str]) -> list[str]:
    """Check that duplicates name the document they duplicate, and that this one is kept, was withdrawn, or has only duplicate
    paragraphs."""
    entry = _entry(stage, "dropped", source)
    findings = Findings(stage.file(entry["name"]))
    for batch in findings.parquet(DROPPED, ["id", "reason", "kept_id"]):
        reasons = np.array([_NUMBERS.get(reason, 0) for reason in batch["reason"].to_pylist()], np.uint8)
        duplicate = np.isin(reasons, [_NUMBERS[reason] for reason in DUPLICATES])
        findings.demand(
            "it is a duplicate without kept_id, or has one and is no duplicate",
            batch["kept_id"].is_valid().to_numpy(False) != duplicate,
        )
        kept = everywhere.reasons_of(batch["kept_id"].fill_null(0).to_numpy())
        withdrawn = reasons == _NUMBERS["withdrawn_copy"]
        gone = np.where(withdrawn, kept != _NUMBERS["withdrawn"], (kept != 0) & (kept != _NUMBERS["duplicate_paragraphs"]))
        findings.demand("its kept_id is dropped itself", duplicate & ~withdrawn & gone)
        findings.demand("its kept_id is not withdrawn", duplicate & withdrawn & gone)
    return findings.lines()


def _paragraphs(stage: Finished, source: str, out: Dropped, everywhere: Dropped, counts: Counter[str]) -> list[str]:
    entry = _entry(stage, "paragraphs", source)
    findings = Findings(stage.file(entry["name"]))
    for batch in findings.parquet(paragraphs.SCHEMA, paragraphs.SCHEMA.names):
        ids = batch["id"].to_numpy()
        findings.increasing(ids, once=False, ordinals=batch["ordinal"].to_numpy())
        findings.demand("its document is dropped", out.reasons_of(ids) != 0)
        findings.demand("the document of kept_id is dropped", everywhere.reasons_of(batch["kept_id"].to_numpy()) != 0)
        counts.update(paragraphs=len(ids), paragraph_characters=int(batch["characters"].to_numpy().sum(dtype=np.int64)))
    return findings.done(entry)


def _clusters(stage: Finished, source: str, out: Dropped, everywhere: Dropped, counts: Counter[str]) -> list[str]:
    entry = _entry(stage, "clusters", source)
    findings = Findings(stage.file(entry["name"]))
    for batch in findings.parquet(CLUSTERS, CLUSTERS.names):
        ids, kept, sizes = (batch[name].to_numpy() for name in CLUSTERS.names)
        findings.increasing(ids)
        duplicates = [_NUMBERS[reason] for reason in DUPLICATES]
        findings.demand(
            "it is not dropped as a duplicate, although another document is kept for it",
            (ids != kept) & ~np.isin(out.reasons_of(ids), duplicates),
        )
        findings.demand(
            "it is dropped as a duplicate, although it is kept for others",
            (ids == kept) & np.isin(out.reasons_of(ids), duplicates),
        )
        findings.demand("its cluster_size is below 2", (ids != kept) & (sizes < 2))
        counts.update(clusters=int(np.count_nonzero((ids == kept) & (sizes > 1))))
    return findings.done(entry)


def _contaminated(stage: Finished, source: str, out: Dropped, everywhere: Dropped, counts: Counter[str]) -> list[str]:
    entry, recorded = _entry(stage, "contaminated", source), stage.manifest["counts"][source]
    by_file: Counter[str] = Counter()
    findings = Findings(stage.file(entry["name"]))
    for batch in findings.parquet(decontamination.SCHEMA, ["id", "file", "share"]):
        ids, share = batch["id"].to_numpy(), batch["share"].to_numpy()
        by_file.update(batch["file"].to_pylist())
        findings.increasing(ids, once=False)
        findings.demand("it is not dropped as contaminated", out.reasons_of(ids) != _NUMBERS["contaminated"])
        findings.demand("its share is not between 0 and 1", ~((share > 0) & (share <= 1)))
    return findings.done(entry) + differences(stage, {"contaminated_by": dict(by_file)}, recorded, prefix=f"{source}: ")


def _entry(stage: Finished, kind: str, source: str) -> dict[str, Any]:
    (entry,) = stage.files(f"{kind}_{source}.parquet")
    return entry
