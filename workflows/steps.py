"""The steps of a recipe: `steps` is the table of contents of a run, and everything else is derived from it.

    Step("tokens", _tokens, source="news", needs=("documents_news", "dedup", "vocabulary"))

A step calls one stage function with the finished stages that it needs. The order of the steps is the order of `nezha-pipe run`;
`run`, `prepare`, `plan` and Dagster's assets (workflows/chain.py, workflows/assets.py) follow from `needs`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pipeline.config import CorpusConfig, DecontaminationConfig, SourceConfig
from pipeline.engine.execution import Execution
from pipeline.engine.stages import Finished
from pipeline.errors import RecipeError
from workflows.recipe import Recipe, as_dict

if TYPE_CHECKING:
    from pipeline.config import VocabularyConfig
    from workflows.continued.old_text import OldText
    from workflows.continued.start import Model, Start


@dataclass(frozen=True)
class Inputs:
    """The finished stages that a step needs."""

    stages: Sequence[Finished]

    def all(self, kind: str) -> list[Finished]:
        """Return the stages of a kind, in the order of the sources."""
        return [stage for stage in self.stages if stage.kind == kind]

    def one(self, kind: str) -> Finished:
        """Return the only stage of a kind."""
        (stage,) = self.all(kind)
        return stage

    def get(self, kind: str) -> Finished | None:
        """Return the only stage of a kind; None if the recipe has none."""
        return next(iter(self.all(kind)), None)


@dataclass(frozen=True)
class Step:
    """A stage of a recipe that may not have run yet."""

    kind: str
    """Its row in workflows/kinds.py."""
    run: Callable[["Settings", "Step", Inputs, Execution], Finished]
    needs: tuple[str, ...] = ()
    """Names of earlier steps, whose stages `run` gets."""
    source: str = ""
    length: int = 0

    @property
    def name(self) -> str:
        """`shards_news_128`, as the stage's."""
        return "_".join(str(part) for part in (self.kind, self.source, self.length) if part)


def steps(settings: "Settings") -> list[Step]:
    """Return every step of a recipe; each needs only steps before it."""
    found: list[Step] = []

    def names(*kinds: str, source: str = "") -> tuple[str, ...]:
        """Return the names of earlier steps of these kinds: of one source, or of all."""
        return tuple(s.name for s in found if s.kind in kinds and source in ("", s.source))

    corpora = [source.name for source in settings.corpora]
    if settings.makes_tasks:
        found.append(Step("tasks", _tasks))
    for source in corpora:
        found.append(Step("documents", _documents, source=source))
    for source in corpora:
        documents = names("documents", source=source)
        if settings.needs_signatures:
            found.append(Step("signatures", _signatures, documents, source))
        if settings.needs_decontamination:
            found.append(Step("contamination", _contamination, documents, source))
    if corpora:
        found.append(Step("dedup", _dedup, names("documents", "signatures", "contamination")))
    found.append(Step("vocabulary", _vocabulary, names("documents", "dedup")))
    for source in dict.fromkeys(source for source, _ in settings.shard_sets if source in corpora):
        found.append(Step("tokens", _tokens, names("documents", source=source) + names("dedup", "vocabulary"), source))
    for source, length in settings.shard_sets:
        run = _shards if source in corpora else _imported_shards
        found.append(Step("shards", run, names("tokens", source=source) + names("vocabulary"), source, length))
    for old in settings.old_text:
        found.append(Step("replay", _replay, names("documents", "vocabulary"), old.source))
        for length in settings.corpus.sequence_lengths:
            found.append(Step("shards", _shards, names("replay", source=old.source) + names("vocabulary"), old.source, length))
    data = tuple(step.name for step in found)
    if settings.recipe.phase:
        found.append(Step("checkpoint", _checkpoint, names("shards", "vocabulary")))
        found.append(Step("export", _export, names("checkpoint", "documents", "shards")))
    if settings.is_scored:
        found.append(Step("scores", _scores, names("export", "tasks")))
    if settings.is_scored and settings.recipe.gate.promote_to:
        found.append(Step("promotion", _promotion, names("export", "scores")))
    found.append(Step("report", _report, tuple(step.name for step in found)))
    found.append(Step("data_report", _report, data))
    return found


@dataclass(frozen=True)
class Settings:
    """What the steps are made from: a recipe, the output folder, and what follows from the recipe."""

    recipe: Recipe
    root: str
    """URL of the folder of all stages."""
    sequence_lengths: tuple[int, ...] = ()
    """Lengths of shards, if not those of the recipe's phases."""
    pretraining_seed: int | None = None
    """Seed of pretraining, if not the recipe's, with which the data were made."""
    start_model: "Model | None" = None
    """The network that training starts from; None = fresh weights."""

    @cached_property
    def corpus(self) -> CorpusConfig:
        corpus = replace(self.recipe.corpus(), vocabulary=self.vocabulary)
        return replace(corpus, sequence_lengths=self.sequence_lengths) if self.sequence_lengths else corpus

    @cached_property
    def start(self) -> "Start | None":
        """What follows from the network that training starts from.

        Raises: RecipeError, CheckpointError when recipe and network do not fit together.
        """
        if self.start_model is None:
            return None
        from workflows.continued.start import describe

        return describe(self.recipe, self.start_model)

    @property
    def vocabulary(self) -> "VocabularyConfig":
        """The recipe's, or that of the network that training starts from."""
        return self.start.vocabulary if self.start else self.recipe.vocabulary

    @property
    def old_text(self) -> "Sequence[OldText]":
        """Sources of text that the network was trained on before."""
        return self.start.old if self.start and self.recipe.phase else ()

    def source(self, name: str) -> SourceConfig:
        sources = (*self.recipe.source, *(old.config for old in self.old_text))
        return next(source for source in sources if source.name == name)

    @property
    def corpora(self) -> list[SourceConfig]:
        """Sources of text. Sources of finished examples have shards only."""
        return [source for source in self.recipe.source if source.kind != "tfrecord"]

    @property
    def makes_tasks(self) -> bool:
        """Whether the network is scored on tasks of the embedded corpus: if the recipe reads it and names no others."""
        return not self.recipe.evaluation.data and any(source.kind == "demo" for source in self.recipe.source)

    @property
    def is_scored(self) -> bool:
        """Whether there is a network, and tasks to score it on."""
        return bool(self.recipe.phase) and (bool(self.recipe.evaluation.data) or self.makes_tasks)

    @property
    def needs_signatures(self) -> bool:
        from pipeline.dedup import signatures

        return signatures.needed(self.recipe.dedup)

    @property
    def needs_decontamination(self) -> bool:
        from pipeline.dedup import decontamination

        return decontamination.needed(self.decontamination)

    @cached_property
    def decontamination(self) -> DecontaminationConfig:
        """`[decontamination]`, with the files that the network is scored on among its inputs.

        Raises: TaskError for missing files of tasks.
        """
        config, evaluation = self.recipe.decontamination, self.recipe.evaluation
        if not (config.enabled and evaluation.data):
            return config
        return replace(config, inputs=tuple(dict.fromkeys((*config.inputs, *evaluation.scored_files()))))

    @cached_property
    def shard_sets(self) -> list[tuple[str, int]]:
        """(source, length) of all shards that some phase trains on; without phases, of all sources at all lengths."""
        if not self.recipe.phase:
            return [(source.name, length) for source in self.recipe.source for length in self.corpus.sequence_lengths]
        return list(dict.fromkeys((name, p.sequence_length) for p in self.recipe.phase for name in self.recipe.uses(p)))


# Each of the functions below runs one kind of step. They import their stage's module when they are called, so that the list of
# steps costs nothing.


def _tasks(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.documents.demo_tasks import tasks

    return tasks(settings.root, execution=execution)


def _documents(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.documents.stage import documents

    return documents(settings.source(step.source), settings.root, execution=execution)


def _signatures(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.dedup.signatures import signatures

    source, documents = settings.source(step.source), inputs.one("documents")
    return signatures(source, documents, settings.recipe.dedup, settings.root, execution=execution)


def _contamination(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.dedup.decontamination import contamination

    source, documents = settings.source(step.source), inputs.one("documents")
    return contamination(source, documents, settings.decontamination, settings.root, execution=execution)


def _dedup(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.cleaning.quality import filters_for
    from pipeline.dedup.decisions import read_withdrawn
    from pipeline.dedup.stage import dedup

    config = settings.recipe.dedup
    return dedup(
        settings.corpora,
        inputs.all("documents"),
        inputs.all("signatures"),
        inputs.all("contamination"),
        {source.name: filters_for(source, settings.recipe.filters) for source in settings.corpora},
        config,
        read_withdrawn(config.withdrawn) if config.withdrawn else (),
        settings.root,
        decontamination=settings.decontamination,
        seed=settings.recipe.seed,
        execution=execution,
    )


def _vocabulary(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.tokenization.vocabulary import vocabulary

    decisions = inputs.get("dedup")
    return vocabulary(inputs.all("documents"), decisions, settings.vocabulary, settings.root, execution=execution)


def _tokens(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.tokenization.stage import tokens

    source, documents = settings.source(step.source), inputs.one("documents")
    decisions, vocab = inputs.one("dedup"), inputs.one("vocabulary")
    return tokens(source, documents, decisions, vocab, settings.corpus, settings.root, execution=execution)


def _replay(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.dedup.decisions import read_withdrawn
    from pipeline.tokenization.encoder import text_settings
    from pipeline.tokenization.replay import gone_from, replay

    old = next(old for old in settings.old_text if old.source == step.source)
    withdrawn = read_withdrawn(settings.recipe.dedup.withdrawn) if settings.recipe.dedup.withdrawn else ()
    gone = gone_from(withdrawn, inputs.all("documents"), old.documents, old.dedup)
    units, vocab = text_settings(settings.corpus)["units"], inputs.one("vocabulary")
    return replay(old.source, old.tokens, vocab, units, old.licence, gone, settings.root, execution=execution)


def _shards(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from pipeline.examples.stage import shards

    source, vocab = settings.source(step.source), inputs.one("vocabulary")
    tokens = inputs.get("tokens") or inputs.one("replay")
    return shards(source, step.length, tokens, vocab, settings.corpus, settings.root, execution=execution)


def _imported_shards(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    """Import examples that another program made.

    Raises: RecipeError if they have another length.
    """
    from pipeline.sources.inputs import expand
    from pipeline.tfrecords.exchange import import_tfrecords

    source, corpus = settings.source(step.source), settings.corpus
    done = import_tfrecords(
        expand(source.input),
        source.name,
        inputs.one("vocabulary"),
        settings.root,
        seed=corpus.seed,
        validation_ratio=corpus.validation_ratio,
        licence=source.licence,
        execution=execution,
    )
    if (found := done.manifest["sequence_length"]) != step.length:
        raise RecipeError(f"source {source.name!r}: its examples have {found} tokens, but the recipe needs {step.length}")
    return done


def _checkpoint(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from workflows.pretraining import checkpoint

    seed = settings.pretraining_seed
    recipe = settings.recipe if seed is None else replace(settings.recipe, seed=seed)
    shards, vocab = inputs.all("shards"), inputs.one("vocabulary")
    return checkpoint(recipe, shards, vocab, settings.root, start=settings.start, execution=execution)


def _export(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from workflows.exporting import export, licences

    with_text = [source.name for source in settings.corpora] + [old.source for old in settings.old_text]
    imported = [stage for stage in inputs.all("shards") if stage.source not in with_text]
    found = licences([*inputs.all("documents"), *imported]) | {old.source: old.licence for old in settings.old_text}
    if settings.start:  # the text of the models before is in the weights too
        older = settings.start.licences.items()
        found |= {f"{source} (start)": licence for source, licence in older if licence not in found.values()}
    facts = {"name": settings.recipe.name, "licences": found}
    return export(inputs.one("checkpoint"), facts, settings.root, execution=execution)


def _scores(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from workflows.evaluation.stage import scores

    config, name = settings.recipe.evaluation, settings.recipe.name
    return scores(config, name, inputs.one("export"), inputs.get("tasks"), settings.root, execution=execution)


def _promotion(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from workflows.notifications.sending import Event, notify
    from workflows.registry.stage import promotion

    recipe = settings.recipe

    def tell(event: Literal["promoted", "refused"], message: str) -> None:
        notify(recipe.notify, Event(event, recipe.name, settings.root, message))

    return promotion(recipe.gate, inputs.one("export"), inputs.one("scores"), tell, settings.root, execution=execution)


def _report(settings: Settings, step: Step, inputs: Inputs, execution: Execution) -> Finished:
    from workflows.report.meeting.gathering import Asked
    from workflows.report.stage import report

    recipe = settings.recipe
    asked = Asked(registry=recipe.checks.registry or recipe.gate.promote_to, gate=recipe.gate, evaluation=recipe.evaluation)
    # Who is told changes nothing that is shown, and a webhook may be a secret.
    shown = {name: table for name, table in as_dict(recipe).items() if name != "notify"}
    return report(step.kind, recipe.name, shown, inputs.stages, settings.root, asked=asked, execution=execution)
