"""The chain: the steps of one recipe under one output folder, run in the order of their needs.

    chain = Chain(recipe, "runs/tiny")
    chain.run("report", Execution(workers=8))      runs what is missing, and returns the finished stage
    chain.plan()                                   {"tasks": "runs/tiny/tasks-5d0c...", ..., "report": "to do"}

The list of steps is in workflows/steps.py. The commands (workflows/cli/) and Dagster's assets (workflows/assets.py) are thin
layers over this class.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import Finished
from pipeline.errors import RecipeError
from workflows.recipe import Recipe
from workflows.steps import Inputs, Settings, Step, steps

DRY_RUN = Execution(dry_run=True)


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

        Raises: StorageError if there is none.
        """
        content = storage.read_json(cls.url(folder))
        return cls(content["recipe"], content["vocabulary"], content["shards"], content["tasks"])

    def write(self, folder: str) -> None:
        """Write the pointer, unless it is there already."""
        url = self.url(folder)
        if not storage.exists(url) or storage.read_json(url) != asdict(self):
            storage.write_json(url, asdict(self))


class Chain:
    """The steps of a recipe.

    Args:
        root: URL of the folder of all stages.
        sequence_lengths: lengths of the shards, for a recipe without phases.
    """

    def __init__(self, recipe: Recipe, root: str, *, sequence_lengths: tuple[int, ...] = ()) -> None:
        self.settings = Settings(recipe, storage.absolute(root), sequence_lengths)
        self._finished: dict[str, Finished] = {}

    @property
    def recipe(self) -> Recipe:
        return self.settings.recipe

    @property
    def root(self) -> str:
        return self.settings.root

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

        Raises: stages.NotFinished in a dry run; UserError as the stages raise it.
        """
        if name not in self._finished:
            step = self.steps[name]
            inputs = Inputs([self.run(needed, execution) for needed in step.needs])
            stage = step.run(self.settings, step, inputs, execution)
            assert stage.name == name, f"the step {name} ran the stage {stage.name}: Step and Stage differ in kind or source"
            self._finished[name] = stage
        return self._finished[name]

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
        folders = {name: storage.base_name(self.run(name, execution).url) for name in self.data_names()}
        shards = {f"{source}/{length}": folders[f"shards_{source}_{length}"] for source, length in self.settings.shard_sets}
        pointer = DataPointer(self.recipe.name, folders["vocabulary"], shards, folders.get("tasks"))
        pointer.write(self.root)
        return pointer

    def check(self) -> None:
        """Check the files that the recipe names, before hours are spent on the steps before they are read.

        Raises: UserError for inputs, lists, dictionaries, a segmenter or a vocabulary that are missing or invalid.
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
        if self.settings.needs_decontamination:
            inputs.expand(self.settings.decontamination.inputs)
        if recipe.evaluation.data:
            for name in recipe.evaluation.tasks:
                load(find(name), recipe.evaluation.data)
        if self.settings.corpora:
            text_settings(self.settings.corpus)
            if recipe.words.user_dictionary:
                Segmenter(recipe.words).word_starts("")
