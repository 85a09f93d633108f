"""Rules for signatures and contamination: one row per document, in the documents' order, with as many lines as it says.

    signatures(stage)     .../signatures_news-1b2d4e3f9a0c/part-00003.parquet: row 4: its id is not that of the document in ...
    contamination(stage)  .../contamination_news-77c1b2d4e3f9/part-00000.parquet: row 9: its share is not in (0, 1]

If the documents are in the same folder, their ids are compared, one part at a time.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Hashes
from pipeline.checks.findings import Findings, differences
from pipeline.dedup import decontamination
from pipeline.dedup.signatures import PARAGRAPHS, SignatureShape, paragraph_file, signature_schema
from pipeline.documents.table import read_part
from pipeline.engine import stages
from pipeline.engine.stages import Finished


def signatures(stage: Finished) -> list[str]:
    """Check a stage `signatures_<source>`."""
    shape = SignatureShape(**stage.manifest["settings"]["shape"])
    documents = _documents_of(stage)
    found: list[str] = []
    counts: Counter[str] = Counter(documents=0, letters=0, paragraphs=0)
    for entry in stage.files("part-"):
        findings = Findings(stage.file(entry["name"]))
        of_part = _ids(documents, entry["name"])
        ids, lines = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for batch in findings.parquet(signature_schema(shape), ["id", "letters", "paragraphs"]):
            ids.append(batch["id"].to_numpy())
            lines.append(batch["paragraphs"].to_numpy().astype(np.int64))
            findings.increasing(ids[-1])
            if of_part is not None:
                expected = np.zeros(len(batch), np.uint64)
                there = of_part[findings.row : findings.row + len(batch)]
                expected[: len(there)] = there
                findings.demand("its id is not that of the document in the same row", ids[-1] != expected)
            counts.update(documents=len(batch), letters=int(batch["letters"].to_numpy().sum(dtype=np.int64)))
        found += findings.done(entry)
        for one in stage.files(paragraph_file(entry["name"])):
            found += _paragraphs(stage, one, np.concatenate(ids), np.concatenate(lines))
            counts["paragraphs"] += one["rows"]
    return found or differences(stage, counts, stage.manifest["counts"])


def _paragraphs(stage: Finished, entry: dict[str, Any], ids: Hashes, numbers: NDArray[np.int64]) -> list[str]:
    """Check lines: document `ids[i]` has `numbers[i]` of them. Both arrays are (n,)."""
    findings = Findings(stage.file(entry["name"]))
    lines = [np.zeros(0, np.uint64)]
    for batch in findings.parquet(PARAGRAPHS, ["id", "ordinal", "characters"]):
        lines.append(batch["id"].to_numpy())
        findings.increasing(lines[-1], once=False, ordinals=batch["ordinal"].to_numpy())
        findings.demand("it has no characters", batch["characters"].to_numpy() == 0)
        findings.demand("its document has no signature", ~np.isin(lines[-1], ids))
    if not findings.lines():
        first, behind = (np.searchsorted(np.concatenate(lines), ids, side) for side in ("left", "right"))
        others = np.flatnonzero(behind - first != numbers)
        if len(others):
            findings.add(
                f"documents whose number of lines differs from the signature: {len(others):,}, the first {ids[others[0]]:016x}"
            )
    return findings.done(entry)


def contamination(stage: Finished) -> list[str]:
    """Check a stage `contamination_<source>`."""
    documents = _documents_of(stage)
    found: list[str] = []
    counts: Counter[str] = Counter(documents=0)
    for entry in stage.files("part-"):
        findings = Findings(stage.file(entry["name"]))
        of_part = _ids(documents, entry["name"])
        last = -1
        for batch in findings.parquet(decontamination.SCHEMA, ["id", "runs", "share"]):
            ids, share = batch["id"].to_numpy(), batch["share"].to_numpy()
            findings.increasing(ids, once=False)
            findings.demand("it has no matching n-grams", batch["runs"].to_numpy() == 0)
            findings.demand("its share is not in (0, 1]", ~((share > 0) & (share <= 1)))
            if of_part is not None:
                findings.demand("its id is that of no document in this part", ~np.isin(ids, of_part))
            if len(ids):
                counts["documents"] += len(np.unique(ids)) - (int(ids[0]) == last)
                last = int(ids[-1])
        found += findings.done(entry)
    return found or differences(stage, counts, stage.manifest["counts"])


def _documents_of(stage: Finished) -> Finished | None:
    """Return the documents that the stage was made from, if they are in the same folder."""
    return stages.input_of(stage, "documents", f"documents_{stage.source}")


def _ids(documents: Finished | None, part: str) -> Hashes | None:
    return read_part(documents, part, ["id"])["id"].to_numpy() if documents else None
