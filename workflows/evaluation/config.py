"""`[evaluation]` of a recipe, and the files its tasks are read from."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import TaskError
from workflows.evaluation import tasks


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """`[evaluation]`: what the encoder is fine-tuned on, and how."""

    tasks: tuple[str, ...] = ("sentiment", "entities")
    """Names of tasks; their files are in one data folder."""
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
    max_length: int = 128
    """Longest input, in tokens. Longer reviews are cut off, longer sentences are tagged in windows."""
    baseline: bool = True
    """Whether to fine-tune and score a network with fresh weights as well."""

    def __post_init__(self) -> None:
        for name in ("seeds", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.max_length < 4:
            raise ValueError(f"max_length {self.max_length} is below 4: [CLS], two tokens and [SEP] must fit")
        if not self.tasks:
            raise ValueError(f"no tasks are given; choose from {', '.join(tasks.TASKS)}")
        if self.train_examples < 0 or self.test_examples < 0:
            raise ValueError(
                f"train_examples {self.train_examples} and test_examples {self.test_examples} must not be negative"
            )
        for name in self.tasks:
            try:
                tasks.find(name)
            except TaskError as error:
                raise ValueError(str(error)) from error

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Settings that all runs of this evaluation share."""
        return {name: value for name, value in asdict(self).items() if name not in ("tasks", "data", "seeds", "baseline")}

    def files(self) -> dict[str, str]:
        """Return the URLs of the tasks' files in `data`: {"ocnli/train": "data/ocnli/train.50k.json", ...}.

        Raises: TaskError for a missing file.
        """
        found = {name: tasks.locate(tasks.find(name), storage.absolute(self.data)) for name in self.tasks}
        return {f"{name}/{split}": url for name, splits in found.items() for split, url in splits.items()}

    def scored_files(self) -> tuple[str, ...]:
        """Return the files with texts of dev and test, which no encoder should have been trained on."""
        files = self.files()
        without_dev = {name for name in self.tasks if f"{name}/dev" not in files}
        held_out = (url for name, url in files.items() if not name.endswith("/train") or name.split("/")[0] in without_dev)
        return tuple(dict.fromkeys(held_out))


def data_digest(config: EvaluationConfig) -> str:
    """Return a digest of the tasks' files, by task, file name and content but not by folder."""
    content = {name: [storage.base_name(url), storage.sha256(url)] for name, url in config.files().items()}
    return hashlib.blake2b(storage.json_bytes(content), digest_size=16).hexdigest()
