"""The text that a network was trained on: the tokens of its sources, found from the folders of its stages.

    found("runs/2026q1/export-9ba007822d21")[0]     OldText("old_news", "CC0", (tokens_news,), ...)

A network that had old text itself passes it on: text of `news` and of its `old_news` is one source again, `old_news`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import storage
from pipeline.config import SourceConfig
from pipeline.engine import stages
from pipeline.engine.stages import MANIFEST, Finished
from pipeline.errors import RecipeError
from workflows.registry import lineage

PREFIX = "old_"
"""Before the name of a source of old text."""
_TEXT = {"tokens": "", "replay": PREFIX}
"""Kinds of stages with text, and what their sources' names begin with if they are old."""


@dataclass(frozen=True)
class OldText:
    """A source of old text."""

    source: str
    """`old_news`"""
    licence: str
    tokens: tuple[Finished, ...]
    """The stages `tokens_news`, then `replay_old_news` of the run before; newest text first."""
    documents: tuple[Finished, ...]
    """The stages that say which document an id is, where they still are."""
    dedup: tuple[Finished, ...]

    @property
    def config(self) -> SourceConfig:
        """The source as a recipe would name it."""
        return SourceConfig(name=self.source, kind="text", licence=self.licence)


def found(url: str) -> tuple[OldText, ...]:
    """Return what a model, or the only model of an output folder, was trained on; empty if its text is not at hand.

    Raises: RecipeError for a folder with several models; StorageError, DamagedError.
    """
    model = _model(storage.absolute(url))
    if model is None:
        return ()
    chain = lineage.made_from(model)
    # In a folder of several runs the chain goes on to what `replay` copied: that is old text once, without what was left out.
    read = {stage.manifest["inputs"].get("tokens") for stage in chain if stage.kind == "shards"}
    by_source: dict[str, list[Finished]] = {}
    seen: set[tuple[str, str]] = set()
    for kind, prefix in _TEXT.items():
        for stage in chain:
            if stage.kind == kind and stage.digest in read and (stage.name, stage.digest) not in seen:
                seen.add((stage.name, stage.digest))
                by_source.setdefault(PREFIX + stage.source.removeprefix(prefix), []).append(stage)
    known, older = list(chain), lineage.before(chain)
    while older:
        known, older = [*known, *older], lineage.before(older)
    return tuple(_old_text(name, by_source[name], known) for name in sorted(by_source))


def _old_text(source: str, tokens: Sequence[Finished], known: Sequence[Finished]) -> OldText:
    """Return a source of old text. `known`: the stages of its model, and of the models before that are still there."""
    stages_once = {stage.url: stage for stage in known}.values()
    documents = tuple(one for one in stages_once if one.kind == "documents" and PREFIX + one.source == source)
    dedup = tuple(stage for stage in stages_once if stage.kind == "dedup")
    read = {stage.manifest["inputs"].get("documents") for stage in tokens}
    own = [stage for stage in documents if stage.digest in read]
    recorded = [str(stage.manifest["licence"]) for stage in (*own, *tokens) if "licence" in stage.manifest]
    return OldText(source, "; ".join(dict.fromkeys(recorded)) or "not recorded", tuple(tokens), documents, dedup)


def _model(url: str) -> Finished | None:
    """Return the stage `export` or `checkpoint` that a folder is, or the only `checkpoint` in it; None if there is neither."""
    if storage.exists(storage.join(url, MANIFEST)):
        stage = stages.load(url)
        return stage if stage.kind in ("export", "checkpoint") else None
    trained = {stage.digest: stage for stage in stages.load_all(url) if stage.kind == "checkpoint"}
    if len(trained) > 1:
        names = ", ".join(sorted(storage.base_name(stage.url) for stage in trained.values()))
        raise RecipeError(f"replay.data {url}: several models were trained there; name one of {names}")
    return next(iter(trained.values()), None)
