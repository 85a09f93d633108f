"""The kinds of stages, and what commands and pages know about each.

    kind_of(stage)                       the row of `shards` for the stage shards_news_128-1b2d4e3f9a0c
    summary(stage)                       "1,024 examples, 65,536 tokens"
    kind_of(stage).function("verify")    pipeline.checks.invariants.shards

Functions are named as "module:function" and imported when they are called, so that importing this table costs nothing. Only
`name` is required: without the others a stage is summed up by its files, previewed by their names and verified by checksums.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.engine.stages import Finished
from pipeline.facts import DedupFacts, DocumentsFacts, ShardsFacts, TokensFacts, VocabularyFacts


@dataclass(frozen=True)
class Kind:
    """A row of the table."""

    name: str
    """As in `Stage.kind`: the stage's name without source and length."""
    text: Literal["", "documents", "kept"] = ""
    """The text it processes, for the report's figures on speed: that of all documents, or of the kept ones."""
    summary: Callable[[Finished], str] | None = None
    """One line for the progress display."""
    preview: str = ""
    """`(stage, rows, draw) -> Iterator[str]`: lines that show some rows, for `inspect`."""
    verify: str = ""
    """`(stage) -> list[str]`: problems of the files' content, for `verify`."""
    modules: tuple[str, ...] = ()
    """With `verify`: the modules whose `STAGE_VERSION` this program writes."""
    trace: str = ""
    """`(stage, document id, sources) -> Iterator[Fact]`: what it records of a document, for `inspect --document`."""

    def function(self, field: Literal["preview", "verify", "trace"]) -> Callable[..., Any] | None:
        """Import one of the functions; None if this kind has none."""
        module, _, name = getattr(self, field).partition(":")
        return getattr(importlib.import_module(module), name) if module else None

    def writes(self, version: int) -> bool:
        """Return whether this program writes stages of this version; it knows the content of no others."""
        return version in [importlib.import_module(module).STAGE_VERSION for module in self.modules]


def _documents(stage: Finished) -> str:
    facts = DocumentsFacts.of(stage)
    skipped = f", {facts.skipped:,} skipped" if facts.skipped else ""
    bad = f", {facts.bad:,} unreadable" if facts.bad else ""
    return f"{facts.kept:,} of {facts.read:,} records{skipped}{bad}, {facts.characters:,} characters"


def _dedup(stage: Finished) -> str:
    facts = DedupFacts.of(stage)
    return f"{sum(facts.kept.values()):,} kept of {sum(facts.documents.values()):,} documents"


def _vocabulary(stage: Finished) -> str:
    return f"{VocabularyFacts.of(stage).size:,} tokens"


def _tokens(stage: Finished) -> str:
    facts = TokensFacts.of(stage)
    return f"{facts.tokens:,} tokens, {facts.units:,} words, {facts.sentences:,} sentences"


def _replay(stage: Finished) -> str:
    counts = stage.manifest["counts"]
    gone = f", {counts['withdrawn']:,} withdrawn" if counts["withdrawn"] else ""
    return f"{counts['documents']:,} old documents{gone}, {counts['tokens']:,} tokens"


def _shards(stage: Finished) -> str:
    facts = ShardsFacts.of(stage)
    return f"{facts.rows['train']:,} examples, {facts.tokens['train']:,} tokens"


def _checkpoint(stage: Finished) -> str:
    steps, loss = stage.manifest["steps"], stage.manifest["validation_loss"]
    return f"{steps:,} steps" + (f", best validation loss {loss:.3f}" if loss is not None else "")


def _promotion(stage: Finished) -> str:
    return str(stage.manifest["message"])


_CHECKS, _PREVIEWS, _TRACES = "pipeline.checks", "workflows.inspection.previews", "pipeline.checks.provenance"

DATA_KINDS = (
    Kind("tasks"),
    Kind(
        "wiki_side_input",
        preview=f"{_PREVIEWS}:wiki_side_input",
        verify=f"{_CHECKS}.invariants:wiki_side_input",
        modules=("pipeline.wiki.dumps.side_input",),
    ),
    Kind(
        "documents",
        text="documents",
        summary=_documents,
        preview=f"{_PREVIEWS}:documents",
        verify=f"{_CHECKS}.invariants:documents",
        modules=("pipeline.documents.stage",),
        trace=f"{_TRACES}:documents",
    ),
    Kind(
        "signatures",
        text="documents",
        preview=f"{_PREVIEWS}:signatures",
        verify=f"{_CHECKS}.dedup_invariants:signatures",
        modules=("pipeline.dedup.signatures",),
    ),
    Kind("evaluation", preview=f"{_PREVIEWS}:evaluation"),
    Kind(
        "contamination",
        text="documents",
        preview=f"{_PREVIEWS}:contamination",
        verify=f"{_CHECKS}.dedup_invariants:contamination",
        modules=("pipeline.dedup.decontamination",),
        trace=f"{_TRACES}:contamination",
    ),
    Kind(
        "dedup",
        text="documents",
        summary=_dedup,
        preview=f"{_PREVIEWS}:dedup",
        verify=f"{_CHECKS}.decision_invariants:problems",
        modules=("pipeline.dedup.stage",),
        trace=f"{_TRACES}:dedup",
    ),
    Kind(
        "vocabulary",
        summary=_vocabulary,
        preview=f"{_PREVIEWS}:vocabulary",
        verify=f"{_CHECKS}.invariants:vocabulary",
        modules=("pipeline.tokenization.vocabulary",),
    ),
    Kind(
        "tokens",
        text="kept",
        summary=_tokens,
        preview=f"{_PREVIEWS}:tokens",
        verify=f"{_CHECKS}.invariants:tokens",
        modules=("pipeline.tokenization.stage",),
    ),
    Kind(
        "replay",
        summary=_replay,
        preview=f"{_PREVIEWS}:tokens",
        verify=f"{_CHECKS}.invariants:tokens",
        modules=("pipeline.tokenization.replay",),
    ),
    Kind(
        "shards",
        text="kept",
        summary=_shards,
        preview=f"{_PREVIEWS}:shards",
        verify=f"{_CHECKS}.invariants:shards",
        modules=("pipeline.examples.stage", "pipeline.tfrecords.exchange"),
        trace=f"{_TRACES}:shards",
    ),
    Kind("data_report"),
)
"""Kinds of data stages, in the order of the data. docs/architecture.md has a row for each."""

MODEL_KINDS = (
    Kind("checkpoint", summary=_checkpoint),
    Kind("export"),
    Kind("scores"),
    Kind("promotion", summary=_promotion),
    Kind("report"),
)

KINDS = {kind.name: kind for kind in (*DATA_KINDS, *MODEL_KINDS)}


def kind_of(stage: Finished) -> Kind:
    """Return the row of a stage's kind; for one that is not in the table, a row without functions."""
    return KINDS.get(stage.kind, Kind(stage.kind))


def summary(stage: Finished) -> str:
    """Describe a finished stage in one line."""
    if describe := kind_of(stage).summary:
        return describe(stage)
    files = stage.manifest["files"]
    size = sum(entry["bytes"] for entry in files)
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {size / 1e6:,.1f} MB"


_WORDS_NAMED = 10


def warning(stage: Finished) -> str:
    """Return what a user should check in a finished stage, new or old; "" if nothing."""
    if stage.kind == "dedup" and (missing := DedupFacts.of(stage).withdrawn_not_found):
        return f"withdrawn ids not found: {missing:,}; the documents they mean may be in use; check them with `inspect`"
    if stage.kind == "tokens" and (words := TokensFacts.of(stage).words_never_found):
        named = ", ".join(map(repr, words[:_WORDS_NAMED])) + (", ..." if len(words) > _WORDS_NAMED else "")
        return (
            f"entries of user dictionaries that no text can have: {named}; jieba ends words at such signs; "
            "write only a word and, after single spaces, its count and tag"
        )
    return ""
