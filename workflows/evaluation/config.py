"""`[evaluation]` of a recipe, and the files its tasks are read from."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pipeline import storage
from pipeline.errors import TaskError
from pipeline.validation import check_ranges
from workflows.evaluation import tasks
from workflows.evaluation.catalogue import SIMILARITY, STS
from workflows.evaluation.grid.settings import GridConfig, TaskSettings, preset
from workflows.evaluation.task import Task


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """`[evaluation]`: what the encoder is fine-tuned on, and how."""

    tasks: tuple[str, ...] = ("sentiment", "entities")
    """Names of tasks; their files are in one data folder."""
    task: Mapping[str, Task] = field(default_factory=dict, hash=False)
    """Tasks of your own, by name: tables `[evaluation.task.NAME]`."""
    data: str = ""
    """Folder with the files of the tasks, any fsspec URL. Empty: the tasks of the demo corpus, if the recipe reads it."""
    seeds: int = 3
    """Runs per task and model: seeds 0, 1, ... Scores differ between seeds, so one run says little."""
    train_examples: int = 0
    """Maximum number of training examples; 0 = all."""
    test_examples: int = 0
    """Maximum number of examples of dev and of test each; 0 = all."""
    epochs: int = 3
    """Passes over the training examples; the epoch with the best score on dev counts."""
    batch_size: int = 32
    """Examples per step."""
    learning_rate: float = 3e-5
    """Peak learning rate. Small networks need more: about 3e-4 for 2 layers."""
    max_length: int = 0
    """Longest input, in tokens; 0: 128, 384 for reading, 512 for choices. Longer reviews are cut off, longer sentences and
    passages are read in windows."""
    pooling: Literal["auto", "mean", "cls"] = "auto"
    """Vector of a text, for tasks of similarity: the mean over its tokens, or the vector of [CLS]; auto: the one that was
    tuned, otherwise the mean."""
    preset: str = ""
    """Published settings of each task, instead of those of this table: `nezha-2019` or `nezha-2019-large`. Tasks that it has
    none for keep those of this table."""
    settings: Mapping[str, TaskSettings] = field(default_factory=dict, hash=False)
    """Settings of single tasks, which count before the preset: tables `[evaluation.settings.TASK]`."""
    grid: GridConfig = field(default_factory=GridConfig)
    """Values to try, each with each: `grid = { learning_rate = [2e-5, 3e-5, 5e-5] }`. The best on dev counts, for each task."""
    baseline: bool = True
    """Whether to fine-tune and score a network with fresh weights as well."""

    def __post_init__(self) -> None:
        check_ranges(self, **dict.fromkeys(("seeds", "epochs", "batch_size"), (1, math.inf)), learning_rate=(0, math.inf))
        check_ranges(self, **dict.fromkeys(("train_examples", "test_examples"), (0, math.inf)))
        if self.max_length != 0 and self.max_length < 4:
            raise ValueError(f"max_length {self.max_length} is below 4: [CLS], two tokens and [SEP] must fit")
        if not self.tasks:
            raise ValueError(f"no tasks are given; choose from {', '.join(tasks.TASKS)}")
        for name in self.task:
            if name in (*tasks.TASKS, *SIMILARITY, STS):
                raise ValueError(f"task {name!r} comes with the program; give yours another name")
            if not re.fullmatch(r"[\w-]+", name):
                raise ValueError(f"task {name!r}: a name may have letters, digits, - and _ only, for it names files")
        for name in self.tasks:
            try:
                self.find(name)
            except TaskError as error:
                raise ValueError(str(error)) from error
        preset(self.preset)
        if others := [name for name in self.settings if name not in self.tasks]:
            raise ValueError(f"settings of {', '.join(others)}, but the tasks are {', '.join(self.tasks)}")

    def at(self, task: str, point: Mapping[str, Any]) -> "EvaluationConfig":
        """Return the settings of one task at a point of the grid: what the grid says, else the task, the preset, this table."""
        of_task = [settings[task].given for settings in (preset(self.preset), self.settings) if task in settings]
        changed = {name: value for settings in (*of_task, point) for name, value in settings.items()}
        return replace(self, **{"preset": "", "settings": {}, "grid": GridConfig(), **changed})

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Settings that decide the scores of a run, besides its task and its seed."""
        apart = ("tasks", "task", "data", "seeds", "baseline", "pooling", "preset", "settings", "grid")
        return {name: value for name, value in asdict(self).items() if name not in apart}

    def find(self, name: str) -> Task:
        """Return a task, one of your own or one that comes with the program. Raises: TaskError if there is none."""
        return tasks.find(name, self.task)

    def files(self) -> dict[str, str]:
        """Return the URLs of the tasks' files in `data`: {"ocnli/train": "data/ocnli/train.50k.json", ...}.

        A split of several files has them as "c3/dev", "c3/dev/2".

        Raises: TaskError for a missing file.
        """
        found = {name: tasks.locate(self.find(name), storage.absolute(self.data)) for name in self.tasks}
        return {
            f"{name}/{split}" + (f"/{number}" if number > 1 else ""): url
            for name, splits in found.items()
            for split, urls in splits.items()
            for number, url in enumerate(urls, start=1)
        }

    def scored_files(self) -> tuple[str, ...]:
        """Return the files with texts of dev and test, which no encoder should have been trained on."""
        files = self.files()
        without_dev = {name for name in self.tasks if f"{name}/dev" not in files}
        held_out = (url for name, url in files.items() if name.split("/")[1] != "train" or name.split("/")[0] in without_dev)
        return tuple(dict.fromkeys(held_out))


def data_digest(config: EvaluationConfig) -> str:
    """Return a digest of the tasks' files, by task, file name and content but not by folder."""
    content = {name: [storage.base_name(url), storage.sha256(url)] for name, url in config.files().items()}
    return hashlib.blake2b(storage.json_bytes(content), digest_size=16).hexdigest()
