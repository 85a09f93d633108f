"""The chain: the steps of one recipe under one output folder, run in the order of their needs.

    chain = Chain(recipe, "runs/tiny")
    chain.run("report", Execution(workers=8))      runs what is missing, and returns the finished stage
    chain.plan()                                   {"tasks": "runs/tiny/tasks-5d0c...", ..., "report": "to do"}

The list of steps is in workflows/steps.py. The commands (workflows/cli/) and Dagster's assets (workflows/assets.py) are thin
layers over this class.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline import folders, storage
from pipeline.engine import stages
from pipeline.engine.execution import SERIAL, Execution, News
from pipeline.engine.stages import Finished
from pipeline.errors import (
    CheckpointError,
    ClusterError,
    NoSpaceError,
    RecipeError,
    StoppedEarly,
    StorageError,
    StoreAwayError,
    UserError,
    is_memory_full,
)
from workflows.checks.outcome import Outcome
from workflows.checks.table import ChecksFailed, outcomes, refuse
from workflows.recipe import Recipe
from workflows.steps import Inputs, Settings, Step, steps

if TYPE_CHECKING:
    from workflows.continued.start import Model

DRY_RUN = Execution(dry_run=True)

OnFinish = Callable[[str, Finished, float], None]
"""Called after each step with its name, its stage and the seconds it took."""

SHARED = (ClusterError, NoSpaceError, StoppedEarly, StoreAwayError)
"""Errors that say nothing about a source: the next one would meet them too."""


def ignore(name: str, stage: Finished, seconds: float) -> None:
    """Do nothing after a step."""


class SourcesFailed(UserError):
    """Several sources that failed, each for a reason of its own."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self._lines = lines

    @property
    def lines(self) -> list[str]:
        return [" ".join(line.split()) for line in self._lines]


@dataclass(frozen=True)
class DataPointer:
    """data.json in the output folder of `prepare`: the names of the folders that belong together, for `pretrain --data`."""

    recipe: str
    vocabulary: str
    shards: Mapping[str, str]
    """By `source/length`."""
    tasks: str | None

    @staticmethod
    def url(folder: str) -> str:
        return storage.join(folder, "data.json")

    @classmethod
    def read(cls, folder: str) -> "DataPointer":
        """Read the pointer of an output folder.

        Raises: StorageError if the folder is not one, or `prepare` has not finished in it.
        """
        if not storage.exists(cls.url(folder)):
            hints = {
                folders.MISSING: "run nezha-pipe prepare first",
                folders.OUTPUT: "prepare has not finished in it: run it again",
                folders.STAGE: f"give the folder above it: {storage.parent(storage.absolute(folder))}",
            }
            raise StorageError(folders.not_found(folder, "the output folder of a finished `nezha-pipe prepare`", hints))
        data = storage.read_bytes(cls.url(folder))
        try:
            content = json.loads(data)
            return cls(content["recipe"], content["vocabulary"], content["shards"], content["tasks"])
        except (KeyError, TypeError):
            raise StorageError(f"{cls.url(folder)}: not written by nezha-pipe; name another folder") from None
        except (ValueError, RecursionError):
            raise StorageError(f"{cls.url(folder)}: not valid JSON; run the same `prepare` or `run` again") from None

    def write(self, folder: str) -> None:
        """Write the pointer, unless it is there already; a damaged one is written again."""
        url, content = self.url(folder), storage.json_bytes(asdict(self))
        if not storage.exists(url) or storage.read_bytes(url) != content:
            storage.write_bytes(url, content)


class Chain:
    """The steps of a recipe.

    Args:
        root: URL of the folder of all stages.
        sequence_lengths: lengths of the shards, for a recipe without phases.
        pretraining_seed: seed of initial weights, order of examples and dropout; None = the recipe's, which decides the data.
        checked: whether a step has to pass the checks of workflows/checks/ before those after it run.
        start_model: the network that training starts from, if that is decided already.
    """

    def __init__(
        self,
        recipe: Recipe,
        root: str,
        *,
        sequence_lengths: tuple[int, ...] = (),
        pretraining_seed: int | None = None,
        checked: bool = False,
        start_model: "Model | None" = None,
    ) -> None:
        self._settings = Settings(recipe, storage.absolute(root), sequence_lengths, pretraining_seed, start_model)
        storage.refuse_file(self.root)
        self.checked = checked
        self._is_noted = False
        self.outcomes: dict[str, dict[str, Outcome]] = {}
        """What the checks of each step found, by the names of step and check."""
        self.failed: dict[str, Exception] = {}
        """What steps of one source have raised, by their names: the steps of other sources are still done."""
        self._stopped: BaseException | None = None
        """What ended the run at once."""
        self._inputs_are_there = False
        self._finished: dict[str, Finished] = {}

    @property
    def recipe(self) -> Recipe:
        return self._settings.recipe

    @property
    def root(self) -> str:
        return self._settings.root

    @cached_property
    def settings(self) -> Settings:
        """Recipe and output folder, and the network that training starts from, which is decided here.

        Raises: RecipeError when the recipe starts from a champion and there is none.
        """
        if not self.recipe.training.start_from or self._settings.start_model:
            return self._settings
        from workflows.continued.start import choose

        return replace(self._settings, start_model=choose(self.recipe, self.root, self._is_finished_from))

    def _is_finished_from(self, model: "Model") -> bool:
        """Return whether a run from this network has nothing to do."""
        if not storage.list_names(model.url):  # it was removed since
            return False
        made = self._settings
        lengths, seed = made.sequence_lengths, made.pretraining_seed
        chain = Chain(self.recipe, self.root, sequence_lengths=lengths, pretraining_seed=seed, start_model=model)
        try:
            self._is_noted = all(chain.find(name) for name in chain.names())
        except (RecipeError, CheckpointError):  # what it was trained on was removed since
            return False
        return self._is_noted

    def _note_start(self, ended: bool) -> None:
        """Write down which champion this run starts from, or that it came to its end; nothing for other starts."""
        if (model := self.settings.start_model) and (ended or not self._is_noted):
            from workflows.continued.start import remember

            remember(self.recipe, self.root, model, ended)
            self._is_noted = True

    @cached_property
    def steps(self) -> dict[str, Step]:
        """Every step by its name, in order."""
        return {step.name: step for step in steps(self.settings)}

    def names(self, goal: str = "report") -> list[str]:
        """Return the names of the steps that lead to `goal`, itself included, in order."""
        wanted = {goal}
        for step in reversed(self.steps.values()):
            if step.name in wanted:
                wanted.update(step.needs)
        return [name for name in self.steps if name in wanted]

    def data_names(self) -> list[str]:
        """Return the names of the steps of `prepare`, without its report."""
        return [name for name in self.names("data_report") if name != "data_report"]

    def run(self, name: str, execution: Execution = SERIAL) -> Finished:
        """Return a finished stage, after running it and what it needs, unless they are finished.

        A step that failed is not tried again: to run again is to make another chain.

        Raises: stages.NotFinished in a dry run; UserError as the stages raise it; ChecksFailed for a stage that does not pass.
        """
        if name not in self._finished:
            step = self.steps[name]
            if not execution.dry_run and (error := self._stopped or self.failed.get(name)):
                raise error
            inputs = Inputs([self.run(needed, execution) for needed in step.needs])
            try:
                self._finished[name] = self._stage(step, inputs, execution)
            except BaseException as error:
                if not execution.dry_run:
                    self._note(step, error, execution)
                raise
        return self._finished[name]

    def _stage(self, step: Step, inputs: Inputs, execution: Execution) -> Finished:
        if not execution.dry_run:
            self._note_start(ended=False)
            if self.checked:
                self.check()
        stage = step.run(self.settings, step, inputs, execution)
        assert stage.name == step.name, (
            f"the step {step.name} ran the stage {stage.name}: Step and Stage differ in kind or source"
        )
        if self.checked and not execution.dry_run:
            self.outcomes[step.name] = outcomes(self.settings, stage, inputs)
            try:
                refuse(stage, self.outcomes[step.name])
            except ChecksFailed:
                self._note_start(ended=True)
                raise
        if step.name == "report" and not execution.dry_run:
            self._note_start(ended=True)
        return stage

    def _note(self, step: Step, error: BaseException, execution: Execution) -> None:
        """Decide whether a failure ends the run, or only what needs this step."""
        alone = not step.source or len(self.recipe.source) == 1
        if alone or not isinstance(error, Exception) or isinstance(error, SHARED) or is_memory_full(error):
            self._stopped = error
        else:
            self.failed[step.name] = error
            what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            execution.report(0, 0, News(f"source {step.source} failed, the others go on: {' '.join(what.split())}"))

    def run_each(self, names: Sequence[str], execution: Execution = SERIAL, on_finish: OnFinish = ignore) -> None:
        """Run steps in order. When a step of one source fails, those that do not need it are still run.

        Raises: as `run` and `raise_failed`.
        """
        for name in names:
            if not self.failed.keys().isdisjoint(self.names(name)):
                continue
            started = time.monotonic()
            try:
                stage = self.run(name, execution)
            except Exception:
                if name not in self.failed:
                    raise
            else:
                on_finish(name, stage, time.monotonic() - started)
        self.raise_failed()

    def raise_failed(self) -> None:
        """Raise what steps have raised: as it was if it is one thing, or SourcesFailed with a line for each source."""
        if self._stopped is not None:
            raise self._stopped
        for error in self.failed.values():
            if len(self.failed) == 1 or not isinstance(error, UserError):
                raise error
        if self.failed:
            raise SourcesFailed(*(f"source {self.steps[name].source}: {error}" for name, error in self.failed.items()))

    def plan(self) -> dict[str, str]:
        """Return the folder of each finished step, and "to do" for the others."""
        return {name: done.url if (done := self.find(name)) else "to do" for name in self.names()}

    def find(self, name: str) -> Finished | None:
        """Return a stage if it is finished; run nothing."""
        if self.recipe.missing():  # without its inputs, a stage has no key
            return None
        try:
            return self.run(name, DRY_RUN)
        except stages.NotFinished:
            return None

    def prepare(self, execution: Execution = SERIAL) -> DataPointer:
        """Run all data steps and write the pointer to their folders."""
        names = self.data_names()
        self.run_each(names, execution)
        made = {name: storage.base_name(self.run(name, execution).url) for name in names}
        shards = {f"{source}/{length}": made[f"shards_{source}_{length}"] for source, length in self.settings.shard_sets}
        pointer = DataPointer(self.recipe.name, made["vocabulary"], shards, made.get("tasks"))
        pointer.write(self.root)
        return pointer

    def check(self) -> None:
        """Check the files that the recipe names, before hours are spent on the steps before they are read; once for a chain.

        Raises: UserError for inputs, lists, dictionaries, a segmenter or a vocabulary that are missing or invalid.
        """
        from pipeline.dedup.decisions import read_withdrawn
        from pipeline.sources import inputs
        from pipeline.tokenization.encoder import text_settings
        from pipeline.tokenization.vocab import Vocab
        from pipeline.tokenization.words import Segmenter
        from workflows.evaluation.tasks import load

        recipe = self.recipe
        if self._inputs_are_there:
            return
        if missing := recipe.missing():
            raise RecipeError(f"{recipe.name}: {missing}")
        for source in recipe.source:
            if source.input and source.kind != "demo":
                self._refuse_output_in(source.input)
                inputs.expand(source.input)
        if recipe.vocabulary.url:
            Vocab.from_bytes(storage.read_bytes(recipe.vocabulary.url), recipe.vocabulary.url)
        if self.settings.start:
            from workflows.continued.start import check

            check(recipe, self.settings.start)
        if recipe.dedup.withdrawn:
            read_withdrawn(recipe.dedup.withdrawn)
        if self.settings.needs_decontamination:
            inputs.expand(self.settings.decontamination.inputs)
        if recipe.evaluation.data:
            for name in recipe.evaluation.tasks:
                load(recipe.evaluation.find(name), recipe.evaluation.data)
        if self.settings.corpora:
            text_settings(self.settings.corpus)
            if recipe.words.user_dictionary:
                Segmenter(recipe.words).word_starts("")
        self._inputs_are_there = True

    def _refuse_output_in(self, inputs: Sequence[str]) -> None:
        """Refuse an input folder that contains the output folder: what is written would be read as input."""
        for url in inputs:
            if storage.is_local(url) and f"{self.root}/".startswith(f"{storage.absolute(url)}/"):
                raise RecipeError(f"{url}: the output folder {self.root} is in it and would be read as input; choose another")
