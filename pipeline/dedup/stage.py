"""The stage `dedup`: which documents of all sources are dropped, and why. It changes no text.

    dropped_news.parquet        id, reason, kept_id (the document kept in its place, if any), sorted by id
    paragraphs_news.parquet     id, ordinal, kept_id, characters: lines to remove from kept documents
    clusters_news.parquet       id, kept_id, cluster_size: documents that have duplicates, the kept ones included
    contaminated_news.parquet   id, file, runs, share, text: the evaluation texts in contaminated documents

Reasons, in this order: `withdrawn`; the name of a filter; `contaminated`; `withdrawn_copy` (a duplicate or near duplicate of a
withdrawn document); `duplicate` (a better document has the same normalised characters) and `near_duplicate`;
`duplicate_paragraphs`. A document is only dropped as a duplicate of one that is kept itself.

Of duplicates in several sources, the one from the source of the highest priority is kept; at equal priority, the one from the
source that the recipe names first; within a source the longest, then the one with the smallest id. The first two files of a
source depend only on it and on better sources: a source added after them leaves them unchanged, byte for byte.

Memory: about 180 bytes for each document that has a duplicate, and 24 for each paragraph to remove from one source: 0.7 GB if a
fifth of 20 million documents have duplicates, 3.6 GB if all have. On disk, temporary rows take 56 bytes for each of the 14
bands and the fingerprint, 840 per document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import storage
from pipeline.config import DecontaminationConfig, DedupConfig, FilterConfig, SourceConfig
from pipeline.dedup import clusters, paragraphs
from pipeline.dedup.clusters import Clusters
from pipeline.dedup.decisions import Decision, ReadRows, levels
from pipeline.dedup.dropping import Outcome, Writer, samples
from pipeline.documents.table import parts
from pipeline.engine import job, steps
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import WORK, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.facts import DocumentsFacts

STAGE_VERSION = 3


def dedup(
    sources: Sequence[SourceConfig],
    documents: Sequence[Finished],
    signatures: Sequence[Finished],
    contamination: Sequence[Finished],
    filters: Mapping[str, FilterConfig],
    config: DedupConfig,
    withdrawn: Sequence[int],
    root: str,
    *,
    decontamination: DecontaminationConfig | None = None,
    execution: Execution = SERIAL,
) -> Finished:
    """Decide which documents of all sources are dropped.

    Args:
        documents: the finished stage of each source, in the order of `sources`.
        signatures: the same; empty unless `signatures.needed`.
        contamination: the same; empty unless `decontamination.needed`.
        filters: by the name of the source.
        withdrawn: ids of documents that must not be used (see `decisions.read_withdrawn`).

    Raises: CorpusError if all documents of a source are dropped.
    """
    decision = Decision(
        names=tuple(source.name for source in sources),
        levels=levels(sources),
        signatures=tuple(done.url for done in signatures),
        contamination=tuple(done.url for done in contamination),
        filters=tuple(filters[source.name] for source in sources),
        dedup=config,
        decontamination=decontamination or DecontaminationConfig(),
        withdrawn=tuple(sorted(set(withdrawn))),
    )
    inputs = {done.name: done.digest for done in (*documents, *signatures, *contamination)}
    stage = Stage("dedup", STAGE_VERSION, decision.settings(), inputs)

    def body(folder: str) -> dict[str, Any]:
        found, counts = _find_duplicates(decision, documents, folder, execution)
        writer = Writer(decision, found, folder)
        if config.min_paragraph_characters:
            # Paragraphs are compared among kept documents only, so those must be known first.
            first = Writer(decision, found, storage.join(folder, f"{WORK}dropped"))
            for index, done in enumerate(documents):
                first.write(index, done)
            lines = _find_paragraphs(decision, documents, signatures, first.folder, execution)
            writer = Writer(decision, found, folder, lines)
        outcomes = [writer.write(index, done) for index, done in enumerate(documents)]
        facts = {source.name: _facts(out, done) for source, out, done in zip(sources, outcomes, documents, strict=True)}
        missing = len(decision.withdrawn) - sum(out.dropped.get("withdrawn", 0) for out in outcomes)
        return {
            "files": [entry for outcome in outcomes for entry in outcome.files],
            "counts": facts,
            "comparison": {"withdrawn_not_found": missing, **counts},
            "samples": [sample for outcome in outcomes for sample in samples(outcome, decision, documents)],
        }

    return run_stage(root, stage, body, execution)


def _find_duplicates(
    decision: Decision, documents: Sequence[Finished], folder: str, execution: Execution
) -> tuple[Clusters, Counts]:
    """Cluster the withdrawn documents and those that no decision has dropped yet."""
    dedup = decision.dedup
    if not (dedup.exact or dedup.near or decision.withdrawn):
        return clusters.connect([]), {}
    number = sum(DocumentsFacts.of(done).kept for done in documents)
    buckets = clusters.buckets(number, dedup.bands if dedup.near else 0)
    pairs = storage.join(folder, f"{WORK}pairs")
    work = steps.Job(
        name="dedup",
        folder=pairs,
        tasks=parts(documents),
        map=ReadRows(decision, buckets),
        reduce=clusters.FindPairs(pairs, dedup.similarity),
    )
    entries, counts = job.run(work, execution)
    return clusters.connect([storage.join(pairs, entry.name) for entry in entries]), counts


def _find_paragraphs(
    decision: Decision,
    documents: Sequence[Finished],
    signatures: Sequence[Finished],
    dropped: str,
    execution: Execution,
) -> tuple[str, ...]:
    """List the paragraphs that an earlier document has; return the URLs of the lists.

    Args:
        dropped: folder with a file of dropped documents for each source.
    """
    folder = f"{dropped}-paragraphs"
    files = tuple(storage.join(dropped, f"dropped_{name}.parquet") for name in decision.names)
    buckets = paragraphs.buckets(signatures)
    work = steps.Job(
        name="dedup: paragraphs",
        folder=folder,
        tasks=parts(documents),
        map=paragraphs.ReadParagraphs(decision.signatures, files, decision.levels, buckets),
        reduce=paragraphs.ListRepeats(folder),
    )
    entries, _ = job.run(work, execution)
    return tuple(storage.join(folder, entry.name) for entry in entries)


def _facts(outcome: Outcome, documents: Finished) -> dict[str, Any]:
    """Return the manifest's entry for one source.

    Raises: CorpusError if none of its documents is kept.
    """
    number = DocumentsFacts.of(documents).kept
    kept = number - sum(outcome.dropped.values())
    if not kept:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(outcome.dropped.items())) or "it is empty"
        name = documents.source
        raise CorpusError(f"source {name!r}: all {number:,} documents are dropped ({reasons}); check [filters] and the input")
    return {
        "documents": number,
        "kept": kept,
        "characters_kept": outcome.characters_kept,
        "dropped": outcome.dropped,
        "paragraphs": outcome.paragraphs,
        "paragraph_characters": outcome.paragraph_characters,
        "clusters": sum(outcome.cluster_sizes.values()),
        "cluster_sizes": outcome.cluster_sizes,
        "contaminated_by": outcome.contaminated_by,
    }
