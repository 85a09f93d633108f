"""The chain: every stage of a run, each called with what stands before it.

    tasks, documents, signatures, overlaps (per source) -> duplicates -> vocabulary -> tokens (per source)
        -> shards (per source and length) -> checkpoint -> export -> scores -> report

Each method calls a stage function of the room that owns it. A stage that is finished under `root` returns at once, so asking
for the report asks for everything, and runs what is missing. Dagster's assets (workflows/assets.py) and the commands
(workflows/cli/) are thin skins over this class.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from pipeline import storage
from pipeline.config import DecontaminationConfig, SourceConfig
from pipeline.engine import processes, stages
from pipeline.engine.execution import Execution, Executor, Report, silent
from pipeline.engine.stages import Finished, Stage
from pipeline.errors import RecipeError
from workflows.recipe import Recipe, as_dict

if TYPE_CHECKING:
    from model.config import TrainingConfig
    from model.training.loop import PretrainRun, TrainResult

CHECKPOINT_VERSION = 1
EXPORT_VERSION = 2
SCORES_VERSION = 1
REPORT_VERSION = 2
COMPARISONS = ("signatures_", "contamination_")
"""Beginnings of the names of steps that compare documents, with one another and with evaluation texts."""

AVERAGED = "averaged"
"""Of a training folder: the mean of its newest checkpoints, where the recipe asks for one."""
DATA_POINTER = "data.json"
"""What `prepare` leaves in its output folder for `pretrain --data`: which folders belong together."""


P = ParamSpec("P")


def cached_stage(method: Callable[Concatenate["Chain", P], Finished]) -> Callable[Concatenate["Chain", P], Finished]:
    """A stage that was found or run once is not looked for again."""

    @wraps(method)
    def look_once(chain: "Chain", /, *args: P.args, **kwargs: P.kwargs) -> Finished:
        which = (method.__name__, *args)
        if which not in chain.seen:
            chain.seen[which] = method(chain, *args, **kwargs)
        return chain.seen[which]

    return look_once


class Chain:
    """The stages of one recipe under one root.

    Args:
        root: URL of the folder that all stage folders go into.
        workers: processes of a Beam stage.
        report: told how far each stage is: (done, total, what).
        sequence_lengths: of the shards, where no phase says them.
    """

    def __init__(
        self,
        recipe: Recipe,
        root: str,
        *,
        workers: int = 1,
        report: Report = silent,
        sequence_lengths: tuple[int, ...] = (),
    ) -> None:
        self.recipe = recipe
        self.root = storage.absolute(root)
        self.workers = workers
        self.executor: Executor | None = None
        self.dry_run = False
        self.report = report
        self.corpus = recipe.corpus()
        if sequence_lengths:
            self.corpus = replace(self.corpus, sequence_lengths=sequence_lengths)
        self.seen: dict[tuple[Any, ...], Finished] = {}

    @property
    def operational(self) -> dict[str, Any]:
        """Arguments of Beam stages that change nothing in what they write."""
        return {"execution": self.execution}

    @property
    def execution(self) -> Execution:
        return Execution(self.workers, self.report, self.executor, self.dry_run)

    def source(self, name: str) -> SourceConfig:
        """The source of a name."""
        return next(source for source in self.recipe.source if source.name == name)

    def corpora(self) -> list[SourceConfig]:
        """Sources of text; those of finished examples pass by all that is done to text."""
        return [source for source in self.recipe.source if source.kind != "tfrecord"]

    def makes_tasks(self) -> bool:
        """Whether tasks to score on come from the embedded corpus: where that is read, and no others are named."""
        return not self.recipe.evaluation.data and any(source.kind == "demo" for source in self.recipe.source)

    def is_scored(self) -> bool:
        """Whether there is a network, and something to score it on."""
        return bool(self.recipe.phase) and (bool(self.recipe.evaluation.data) or self.makes_tasks())

    @cached_property
    def decontamination(self) -> DecontaminationConfig:
        """What documents are compared with: the evaluation files that are named, and those that the network is scored on.

        Raises: TaskError for files of tasks that are missing.
        """
        asked, evaluation = self.recipe.decontamination, self.recipe.evaluation
        if not (asked.enabled and evaluation.data):
            return asked
        return replace(asked, inputs=tuple(dict.fromkeys((*asked.inputs, *evaluation.scored_files()))))

    def check(self) -> None:
        """Look at what the recipe names: what is missing is told before hours are spent on what comes first.

        Raises: UserError for inputs, lists, dictionaries, a segmenter or a vocabulary that are not there or cannot serve.
        """
        from pipeline.dedup.decisions import read_withdrawn
        from pipeline.sources import inputs
        from pipeline.tokenization.encoder import text_settings
        from pipeline.tokenization.vocab import Vocab
        from pipeline.tokenization.words import Segmenter
        from workflows.evaluation.tasks import find, load

        recipe = self.recipe
        if missing := recipe.missing():
            raise RecipeError(f"{recipe.name}: {missing}")
        for source in recipe.source:
            if source.input and source.kind != "demo":
                inputs.expand(source.input)
        if recipe.vocabulary.url:
            Vocab.from_bytes(storage.read_bytes(recipe.vocabulary.url), recipe.vocabulary.url)
        if recipe.training.start_from:
            inputs.expand([recipe.training.start_from])
        if recipe.dedup.withdrawn:
            read_withdrawn(recipe.dedup.withdrawn)
        if self._compares()[1]:
            inputs.expand(self.decontamination.inputs)
        if recipe.evaluation.data:
            for name in recipe.evaluation.tasks:
                load(find(name), recipe.evaluation.data)
        if self.corpora():
            text_settings(self.corpus)
            if recipe.words.user_dictionary:
                Segmenter(recipe.words).word_starts("")

    @cached_stage
    def tasks(self) -> Finished:
        """The embedded corpus' files to fine-tune and score on."""
        from pipeline.documents import demo_tasks

        return demo_tasks.tasks(self.root, **self.operational)

    @cached_stage
    def documents(self, name: str) -> Finished:
        """Cleaned documents of one source."""
        from pipeline.documents.stage import documents

        return documents(self.source(name), self.root, **self.operational)

    @cached_stage
    def signatures(self, name: str) -> Finished:
        """What copies of the documents of one source are found by."""
        from pipeline.dedup.signatures import signatures

        return signatures(self.source(name), self.documents(name), self.recipe.dedup, self.root, **self.operational)

    @cached_stage
    def overlaps(self, name: str) -> Finished:
        """What the documents of one source have in common with evaluation texts."""
        from pipeline.dedup.decontamination import contamination

        return contamination(self.source(name), self.documents(name), self.decontamination, self.root, **self.operational)

    @cached_stage
    def duplicates(self) -> Finished:
        """What is dropped, over all sources."""
        from pipeline.cleaning.quality import filters_for
        from pipeline.dedup.decisions import read_withdrawn
        from pipeline.dedup.stage import dedup

        recipe, sources = self.recipe, self.corpora()
        signs, compares = self._compares()
        return dedup(
            sources,
            self._documents(),
            [self.signatures(source.name) for source in sources if signs],
            [self.overlaps(source.name) for source in sources if compares],
            {source.name: filters_for(source, recipe.filters) for source in sources},
            recipe.dedup,
            read_withdrawn(recipe.dedup.withdrawn) if recipe.dedup.withdrawn else (),
            self.root,
            decontamination=self.decontamination,
            **self.operational,
        )

    def _compares(self) -> tuple[bool, bool]:
        """Whether documents are compared with one another by signatures, and with evaluation texts."""
        from pipeline.dedup import decontamination, signatures

        return signatures.needed(self.recipe.dedup), decontamination.needed(self.decontamination)

    @cached_stage
    def vocabulary(self) -> Finished:
        """The vocabulary, given or built."""
        from pipeline.tokenization.vocabulary import vocabulary

        decisions = self.duplicates() if self.corpora() else None
        return vocabulary(self._documents(), decisions, self.recipe.vocabulary, self.root, **self.operational)

    @cached_stage
    def tokens(self, name: str) -> Finished:
        """The kept documents of one source as tokens."""
        from pipeline.tokenization.stage import tokens

        return tokens(
            self.source(name),
            self.documents(name),
            self.duplicates(),
            self.vocabulary(),
            self.corpus,
            self.root,
            **self.operational,
        )

    @cached_stage
    def shards(self, name: str, length: int) -> Finished:
        """Training examples of one source at one length."""
        from pipeline.examples.stage import shards

        source = self.source(name)
        if source.kind == "tfrecord":
            return self._imported(source, length)
        return shards(source, length, self.tokens(name), self.vocabulary(), self.corpus, self.root, **self.operational)

    def _imported(self, source: SourceConfig, length: int) -> Finished:
        """Shards of examples that another program made."""
        from pipeline.sources.inputs import expand
        from pipeline.tfrecords.exchange import import_tfrecords

        done = import_tfrecords(
            expand(source.input),
            source.name,
            self.vocabulary(),
            self.root,
            seed=self.corpus.seed,
            validation_ratio=self.corpus.validation_ratio,
            licence=source.licence,
            **self.operational,
        )
        if (found := done.manifest["sequence_length"]) != length:
            raise RecipeError(f"source {source.name!r}: its examples are {found} tokens long, and {length} are asked for")
        return done

    def _documents(self) -> list[Finished]:
        return [self.documents(source.name) for source in self.corpora()]

    def shard_sets(self) -> list[tuple[str, int]]:
        """(source, length) of all shards that some phase trains on; without phases, of all sources at all lengths."""
        if not self.recipe.phase:
            return [(source.name, length) for source in self.recipe.source for length in self.corpus.sequence_lengths]
        return list(dict.fromkeys((name, p.sequence_length) for p in self.recipe.phase for name in self.recipe.uses(p)))

    def prepare(self) -> dict[str, Any]:
        """All of the data; the pointer that `pretrain --data` reads."""
        if self.makes_tasks():
            self.tasks()
        pointer = {
            "recipe": self.recipe.name,
            "vocabulary": storage.base_name(self.vocabulary().url),
            "shards": {
                f"{name}/{length}": storage.base_name(self.shards(name, length).url) for name, length in self.shard_sets()
            },
            "tasks": storage.base_name(self.tasks().url) if self.makes_tasks() else None,
        }
        place = storage.join(self.root, DATA_POINTER)
        if not self.is_prepared() or storage.read_json(place) != pointer:
            storage.write_json(place, pointer)
        return pointer

    def is_prepared(self) -> bool:
        """Whether `prepare` came to its end here before, be it with another recipe."""
        return storage.exists(storage.join(self.root, DATA_POINTER))

    @cached_stage
    def checkpoint(self) -> Finished:
        """The pretrained network: its best and its last checkpoint."""
        shards = {f"{name}/{length}": self.shards(name, length) for name, length in self.shard_sets()}
        inputs = {**{name: done.digest for name, done in shards.items()}, "vocabulary": self.vocabulary().digest}
        config = self.recipe.pretraining()
        if config.training.start_from:
            from pipeline.sources.inputs import digest, expand

            inputs["start_from"] = digest(expand([config.training.start_from]), self.root)
        settings = stages.plain(replace(config, training=_learning(config.training)))
        stage = Stage("checkpoint", CHECKPOINT_VERSION, settings, inputs)

        def body(folder: str) -> dict[str, Any]:
            from cluster.launch import pretrain

            run = pretrain_run(self.recipe, {name: done.url for name, done in shards.items()}, self.vocabulary().url, folder)
            result = pretrain(run, self.recipe.cluster, self.report)
            return checkpoint_facts(folder, result, config.training)

        return stages.run(self.root, stage, body, self.execution)

    @cached_stage
    def export(self) -> Finished:
        """The best checkpoint as a folder that transformers loads."""
        from workflows.exporting import export_checkpoint, licences

        checkpoint = self.checkpoint()
        imported = [self.shards(*which) for which in self.shard_sets() if self.source(which[0]) not in self.corpora()]
        facts = {"name": self.recipe.name, "licences": licences([*self._documents(), *imported])}
        stage = Stage("export", EXPORT_VERSION, facts, {"checkpoint": checkpoint.digest})
        best = checkpoint.file(checkpoint.manifest["best"])
        return stages.run(self.root, stage, lambda folder: export_checkpoint(best, folder, facts), self.execution)

    @cached_stage
    def scores(self) -> Finished:
        """The export fine-tuned and scored, beside the same network without pretraining."""
        from workflows.evaluation.config import data_digest
        from workflows.evaluation.run import evaluate, file_entries

        if not self.is_scored():
            raise RecipeError(
                "the recipe's sources bring no evaluation tasks; name the folder of some in it: [evaluation] data = URL"
            )
        export, config = self.export(), self.recipe.evaluation
        # Where the files lie changes no score.
        settings = {"evaluation": {name: value for name, value in stages.plain(config).items() if name != "data"}}
        if config.data:
            url, digest = storage.absolute(config.data), data_digest(config)
        else:
            url, digest = self.tasks().url, self.tasks().digest
        stage = Stage("scores", SCORES_VERSION, settings, {"export": export.digest, "tasks": digest})

        def body(folder: str) -> dict[str, Any]:
            scores = evaluate(
                export.url,
                url,
                config,
                folder,
                model_id=self.recipe.name,
                workers=self.workers,
                threads=1,
                report=self.report,
            )
            return {"files": file_entries(folder, scores), "n": len(scores)}

        return stages.run(self.root, stage, body, self.execution)

    @cached_stage
    def report_page(self) -> Finished:
        """The page that shows it all."""
        from model.checkpoints.checkpoint import read_metrics
        from workflows.evaluation.scores import read_scores

        trained, scored = bool(self.recipe.phase), self.is_scored()
        return self._page(
            "report",
            self.finished(),
            lambda: {
                "metrics": read_metrics(self.checkpoint().url) if trained else [],
                "scores": read_scores(self.scores().file("scores.jsonl")) if scored else [],
            },
            ("checkpoint", "export", "scores"),
        )

    @cached_stage
    def data_report(self) -> Finished:
        """The page on the data alone, which `prepare` leaves."""
        return self._page("data_report", self.finished(self.data_steps()), dict)

    def _page(
        self,
        name: str,
        inputs: Mapping[str, Finished],
        more: Callable[[], dict[str, Any]],
        timed: Sequence[str] = (),
    ) -> Finished:
        recipe = as_dict(self.recipe)
        stage = Stage(name, REPORT_VERSION, {"recipe": recipe}, {step: _told(done) for step, done in inputs.items()})

        def body(folder: str) -> dict[str, Any]:
            from workflows.report.figures import ReportInputs
            from workflows.report.page import write_report

            processes.pool.shutdown()
            content = ReportInputs(
                recipe_name=self.recipe.name,
                key=stage.key,
                recipe=recipe,
                documents=self._documents(),
                dedup=self.duplicates() if self.corpora() else None,
                vocabulary=self.vocabulary(),
                tokens=[done for step, done in inputs.items() if step.startswith("tokens_")],
                shards=[self.shards(*which) for which in self.shard_sets()],
                other_stages=[done for step, done in inputs.items() if step in timed or step.startswith(COMPARISONS)],
                **more(),
            )
            return {"files": write_report(content, folder)}

        return stages.run(self.root, stage, body, self.execution)

    def steps(self) -> dict[str, Callable[[], Finished]]:
        """Every stage of the recipe by a name, in order."""
        steps: dict[str, Callable[[], Finished]] = {"tasks": self.tasks} if self.makes_tasks() else {}
        sources = self.corpora()
        for source in sources:
            steps[f"documents_{source.name}"] = _call(self.documents, source.name)
        signs, compares = self._compares()
        for source in sources:
            if signs:
                steps[f"signatures_{source.name}"] = _call(self.signatures, source.name)
            if compares:
                steps[f"contamination_{source.name}"] = _call(self.overlaps, source.name)
        steps |= {"dedup": self.duplicates} if sources else {}
        steps["vocabulary"] = self.vocabulary
        for name in dict.fromkeys(name for name, _ in self.shard_sets()):
            if self.source(name) in sources:
                steps[f"tokens_{name}"] = _call(self.tokens, name)
        for name, length in self.shard_sets():
            steps[f"shards_{name}_{length}"] = _call(self.shards, name, length)
        if self.recipe.phase:
            steps |= {"checkpoint": self.checkpoint, "export": self.export}
            if self.is_scored():
                steps["scores"] = self.scores
        steps["report"] = self.report_page
        return steps

    def upstream(self, step: str) -> list[str]:
        """Names of the steps that a step directly stands on."""
        names = list(self.steps())
        documents = [f"documents_{source.name}" for source in self.corpora()]
        decided = ["dedup"] if documents else []
        shards = [name for name in names if name.startswith("shards_")]
        compared = [name for name in names if name.startswith(COMPARISONS)]
        table: Mapping[str, list[str]] = {
            "dedup": [*documents, *compared],
            "vocabulary": [*documents, *decided],
            "checkpoint": [*shards, "vocabulary"],
            "export": ["checkpoint"],
            "scores": ["export", *(["tasks"] if self.makes_tasks() else [])],
            "report": [name for name in names if name != "report"],
        }
        stage, _, source = step.partition("_")
        if stage in ("signatures", "contamination"):
            return [f"documents_{source}"]
        if stage == "tokens":
            return [f"documents_{source}", "dedup", "vocabulary"]
        if stage == "shards":
            tokens = f"tokens_{source.rpartition('_')[0]}"
            return [*([tokens] if tokens in names else []), "vocabulary"]
        return table.get(step, [])

    def data_steps(self) -> list[str]:
        """Names of the steps that `prepare` is made of."""
        return [name for name in self.steps() if name not in ("checkpoint", "export", "scores", "report")]

    def finished(self, names: Sequence[str] | None = None) -> dict[str, Finished]:
        """Some stages (default: all but the report), run if they have to be."""
        return {
            name: step() for name, step in self.steps().items() if (name in names if names is not None else name != "report")
        }

    def plan(self) -> dict[str, str]:
        """What a run would do: the folder of each finished step, "to do" for others."""
        if self.recipe.missing():  # what a stage is, its inputs decide
            return dict.fromkeys(self.steps(), "to do")
        result = {}
        for name, step in self.steps().items():
            self.dry_run = True
            try:
                result[name] = step().url
            except stages.NotFinished:
                result[name] = "to do"
            finally:
                self.dry_run = False
        return result


def _told(done: Finished) -> str:
    """Digest of a manifest: a page shows its counts, which may change where the files do not."""
    return storage.bytes_digest(storage.json_bytes(done.manifest))


def _call(method: Callable[..., Finished], *arguments: Any) -> Callable[[], Finished]:
    return lambda: method(*arguments)


def pretrain_run(recipe: Recipe, shards: Mapping[str, str], vocabulary_url: str, output: str) -> "PretrainRun":
    """The run of a recipe on prepared shards (URLs by `source/length`)."""
    from model.training.loop import PretrainRun
    from pipeline.tokenization.vocabulary import FILE

    return PretrainRun(config=recipe.pretraining(), shards=shards, vocabulary=storage.join(vocabulary_url, FILE), output=output)


def _learning(training: "TrainingConfig") -> "TrainingConfig":
    """Without what changes nothing that is learnt: equal ways to compute, how often a line is written, and, where none are
    averaged, a checkpoint."""
    averaged = training.average_checkpoints
    return replace(
        training,
        start_from="",  # the files there count, not where they lie
        attention="auto",
        compile="auto",
        activation_checkpointing=False,
        log_every=1,
        checkpoint_every=training.checkpoint_every if averaged > 1 else 1,
        keep_checkpoints=averaged,
    )


def checkpoint_facts(folder: str, result: "TrainResult", training: "TrainingConfig") -> dict[str, Any]:
    """The manifest of a finished pretraining: metrics, and the files of what is exported.

    That is the best checkpoint, without validation the last, or the mean of the newest ones, which is written here.
    """
    best = (result.best_checkpoint or result.last_checkpoint).removeprefix(folder).strip("/")
    averaged: list[str] = []
    if training.average_checkpoints > 1:
        from model.checkpoints import averaging

        mean = averaging.average(averaging.newest(folder, training.average_checkpoints, training.checkpoint_every))
        averaging.write(mean, storage.join(folder, AVERAGED))
        best, averaged = AVERAGED, mean.state["averaged"]
    names = [f"{best}/{name}" for name in storage.list_names(storage.join(folder, best))]
    for attempt in storage.list_names(folder):
        if attempt.startswith("attempt-"):
            metrics = (name for name in storage.list_names(storage.join(folder, attempt)) if name.startswith("metrics-"))
            names += [f"{attempt}/{name}" for name in metrics]
    return {
        "files": [stages.FileEntry.of(folder, name) for name in names],
        "best": best,
        **({"averaged": averaged} if averaged else {}),
        "steps": result.steps,
        "validation_loss": result.best_validation_loss,
    }
