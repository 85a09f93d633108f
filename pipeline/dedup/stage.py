"""The stage `dedup`: which documents of all sources are dropped, and why. It changes no text.

    dropped_news.parquet        id, reason, kept_id (the document kept in its place, if any), sorted by id
    paragraphs_news.parquet     id, ordinal, kept_id, characters: lines to remove from kept documents
    clusters_news.parquet       id, kept_id, cluster_size: documents that have duplicates, the kept ones included
    contaminated_news.parquet   id, file, runs, share, text: the evaluation texts in contaminated documents

Reasons, in this order: `withdrawn`; the name of a filter; `contaminated`; `withdrawn_copy` (a duplicate or near duplicate of a
withdrawn document); `duplicate` (a better document has the same normalised characters); `near_duplicate`; `contained` (a longer
document has nearly all n-grams of a short one); `duplicate_paragraphs`. A document is only dropped as a duplicate of one that
is kept itself.

Of duplicates in several sources, the one from the source of the highest priority is kept; at equal priority, the one from the
source that the recipe names first; within a source the longest, then the one with the smallest id. The first two files of a
source depend only on it and on better sources: a source added after them leaves them unchanged, byte for byte.

Memory: about 190 bytes for each document that has a duplicate, or would have one at a looser threshold (see overview.py), and
24 for each paragraph to remove from one source: 0.8 GB if a fifth of 20 million documents have duplicates, 3.8 GB if all have.
On disk, temporary rows take 56 bytes for each of the 14 bands and the fingerprint, 840 per document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import storage
from pipeline.config import DecontaminationConfig, DedupConfig, FilterConfig, SourceConfig
from pipeline.dedup import clusters, overview, paragraphs, short_texts
from pipeline.dedup.clusters import Clusters
from pipeline.dedup.decisions import Decision, ReadRows, levels
from pipeline.dedup.dropping import Outcome, Writer, kept_overview, samples
from pipeline.dedup.short_pairs import Limits
from pipeline.dedup.short_texts import Anchors
from pipeline.documents.table import parts
from pipeline.engine import job, steps
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import WORK, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.facts import DocumentsFacts

STAGE_VERSION = 5


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
    seed: int = 0,
    execution: Execution = SERIAL,
) -> Finished:
    """Decide which documents of all sources are dropped.

    Args:
        documents: the finished stage of each source, in the order of `sources`.
        signatures: the same; empty unless `signatures.needed`.
        contamination: the same; empty unless `decontamination.needed`.
        filters: by the name of the source.
        withdrawn: ids of documents that must not be used (see `decisions.read_withdrawn`).
        seed: chooses the kept documents that the report shows.

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
    stage = Stage("dedup", STAGE_VERSION, {**decision.settings(), "seed": seed}, inputs)

    def body(folder: str) -> dict[str, Any]:
        found, counts = _find_duplicates(decision, documents, signatures, folder, execution)
        lines = _find_paragraphs(decision, found, documents, signatures, folder, execution)
        writer = Writer(decision, found, folder, lines, seed)
        outcomes = [writer.write(index, done) for index, done in enumerate(documents)]
        return _manifest(decision, documents, outcomes, counts)

    return run_stage(root, stage, body, execution)


def _find_duplicates(
    decision: Decision, documents: Sequence[Finished], signatures: Sequence[Finished], folder: str, execution: Execution
) -> tuple[Clusters, Counts]:
    """Cluster the withdrawn documents and those that no decision has dropped yet."""
    dedup = decision.dedup
    if not (dedup.exact or dedup.near or decision.withdrawn):
        return clusters.connect([]), {}
    number = sum(DocumentsFacts.of(done).kept for done in documents)
    buckets = clusters.buckets(number, dedup.bands if dedup.near else 0)
    pairs = storage.join(folder, f"{WORK}pairs")
    anchors = _anchors(dedup, signatures, storage.join(folder, f"{WORK}anchors"))
    now = Limits(dedup.ngram_size, dedup.similarity, dedup.containment, dedup.short_characters)
    limits = (now, *(overview.other_limits(now) if dedup.near else ()))
    work = steps.Job(
        name="dedup",
        folder=pairs,
        tasks=parts(documents),
        map=ReadRows(decision, buckets, anchors),
        reduce=clusters.FindPairs(pairs, limits, buckets),
    )
    entries, counts = job.run(work, execution)
    return clusters.connect([storage.join(pairs, entry.name) for entry in entries], len(limits)), counts


def _anchors(dedup: DedupConfig, signatures: Sequence[Finished], folder: str) -> Anchors | None:
    """Gather the anchors of all short documents; None if there are none, or they are not compared."""
    if not dedup.near or not dedup.short_characters:
        return None
    files = [done.file(entry["name"]) for done in signatures for entry in done.files("short-")]
    return short_texts.gather(files, storage.join(folder, "bits"))


def _find_paragraphs(
    decision: Decision,
    found: Clusters,
    documents: Sequence[Finished],
    signatures: Sequence[Finished],
    folder: str,
    execution: Execution,
) -> tuple[str, ...]:
    """List the paragraphs that an earlier document has; return the URLs of the lists, none if paragraphs are not compared.

    They are compared among kept documents only, so those must be known first.
    """
    if not decision.dedup.min_paragraph_characters:
        return ()
    first = Writer(decision, found, storage.join(folder, f"{WORK}dropped"))
    for index, done in enumerate(documents):
        first.write(index, done)
    folder = f"{first.folder}-paragraphs"
    files = tuple(storage.join(first.folder, f"dropped_{name}.parquet") for name in decision.names)
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


def _manifest(decision: Decision, documents: Sequence[Finished], outcomes: Sequence[Outcome], counts: Counts) -> dict[str, Any]:
    """Return the facts of the manifest. `counts`: of the comparison."""
    missing = len(decision.withdrawn) - sum(out.dropped.get("withdrawn", 0) for out in outcomes)
    facts = [_facts(outcome, done) for outcome, done in zip(outcomes, documents, strict=True)]
    overviews = [kept_overview(outcome, decision, documents) for outcome in outcomes]
    return {
        "files": [entry for outcome in outcomes for entry in outcome.files],
        "counts": dict(zip(decision.names, facts, strict=True)),
        "comparison": {"withdrawn_not_found": missing, **counts},
        "samples": [sample for outcome in outcomes for sample in samples(outcome, decision, documents)],
        "overview": dict(zip(decision.names, overviews, strict=True)),
    }


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
