"""The stage `dedup`: which documents are dropped, over all sources, and why. No text is touched.

    dropped_news.parquet        id, reason, kept_id (of a copy: of which document), sorted by id
    paragraphs_news.parquet     id, ordinal, kept_id, characters: lines that go out of documents that stay
    clusters_news.parquet       id, kept_id, cluster_size: documents that have copies, those that stay among them
    contaminated_news.parquet   id, file, runs, share, text: which evaluation texts the contaminated ones hold

Reasons, in this order: `withdrawn`; what the filters say; `contaminated`; `withdrawn_copy` (the same as a withdrawn document,
or nearly); `duplicate` (a better document has the same letters) and `near_duplicate`; `duplicate_paragraphs`. What is dropped
by itself stands for nothing: a copy is only ever dropped for a document that stays.

Of copies in several sources the one of the highest priority stays; of equal priority, that of the source which the recipe names
first; in one source the longest, then the smallest id. The first two files of a source depend on it and on better sources
alone: a source added behind them leaves them byte for byte as they were.

Memory: about 180 bytes for each document that has a copy, and 24 for each paragraph of one source that goes: 0.7 GB when a
fifth of 20 million documents have copies, 3.6 GB when all have. On disk, rows take 56 bytes for each of 14 bands and the
fingerprint (840 a document) while they are compared.
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
    """Decide over the documents of all sources (`documents[i]` is the finished stage of `sources[i]`).

    Args:
        signatures: of each source; empty where `signatures.needed` says so.
        contamination: of each source; empty where `decontamination.needed` says so.
        filters: by the name of the source.
        withdrawn: ids of documents that must not be used (`decisions.read_withdrawn`).

    Raises: CorpusError when nothing is left of a source.
    """
    decision = Decision(
        names=tuple(source.name for source in sources),
        levels=levels(sources),
        signatures=tuple(done.url for done in signatures),
        overlaps=tuple(done.url for done in contamination),
        filters=tuple(filters[source.name] for source in sources),
        dedup=config,
        decontamination=decontamination or DecontaminationConfig(),
        withdrawn=tuple(sorted(set(withdrawn))),
    )
    inputs = {done.name: done.digest for done in (*documents, *signatures, *contamination)}
    stage = Stage("dedup", STAGE_VERSION, decision.settings(), inputs)

    def body(folder: str) -> dict[str, Any]:
        found, counts = _find_copies(decision, documents, folder, execution)
        writer = Writer(decision, found, folder)
        if config.min_paragraph_characters:
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


def _find_copies(
    decision: Decision, documents: Sequence[Finished], folder: str, execution: Execution
) -> tuple[Clusters, Counts]:
    """Clusters of the documents that are not dropped by themselves, and of the withdrawn ones."""
    dedup = decision.dedup
    if not (dedup.exact or dedup.near or decision.withdrawn):
        return clusters.connect([]), {}
    number = sum(done.manifest["counts"]["kept"] for done in documents)
    buckets = clusters.buckets(number, dedup.bands if dedup.near else 0)
    pairs = storage.join(folder, f"{WORK}copies")
    work = steps.Job(
        name="dedup",
        folder=pairs,
        tasks=parts(documents),
        map=ReadRows(decision, buckets),
        reduce=clusters.PairUp(pairs, dedup.similarity),
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
    """Files of the paragraphs that stood in a document before."""
    folder = f"{dropped}-paragraphs"
    files = tuple(storage.join(dropped, f"dropped_{name}.parquet") for name in decision.names)
    buckets = paragraphs.buckets(signatures)
    work = steps.Job(
        name="dedup: paragraphs",
        folder=folder,
        tasks=parts(documents),
        map=paragraphs.ReadParagraphs(decision.signatures, files, decision.levels, buckets),
        reduce=paragraphs.FirstOfEach(folder),
    )
    entries, _ = job.run(work, execution)
    return tuple(storage.join(folder, entry.name) for entry in entries)


def _facts(outcome: Outcome, documents: Finished) -> dict[str, Any]:
    """What the manifest says of one source."""
    number = documents.manifest["counts"]["kept"]
    kept = number - sum(outcome.dropped.values())
    if not kept:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(outcome.dropped.items())) or "it is empty"
        name = documents.manifest["source"]
        raise CorpusError(f"source {name!r}: no document is left of {number:,} ({reasons}); look at [filters] and the input")
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
