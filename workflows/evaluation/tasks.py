"""Evaluation tasks: their names, their files, and how these become train, dev and test.

    load(find("ocnli"), "data/tasks")
    ->  TaskData(labels=("contradiction", "entailment", "neutral"), train=..., note="dev: 10% of train.50k.json", ...)

Files may be compressed (`train.tsv.gz`) and at any fsspec URL. If a split is missing or has no labels, a fixed part of another
split takes its place (`Task.folds`). The part is chosen by a hash of the first text, so all pairs of one premise are on one
side.
"""

import difflib
import hashlib
from dataclasses import dataclass
from typing import Literal

from pipeline import storage
from pipeline.errors import TaskError
from workflows.evaluation.examples import Example, read_classified, read_pairs, read_tagged

Kind = Literal["classification", "pair", "tagging"]
Metric = Literal["accuracy", "entity_f1"]
Folds = Literal["", "dev of train", "train of dev"]
Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
ENDINGS = ("", ".gz", ".xz", ".bz2")
FOLDED_RATIO = 0.1
"""Fraction of a split that becomes dev when dev and train come from one file."""
_READERS = {"classification": read_classified, "pair": read_pairs, "tagging": read_tagged}


@dataclass(frozen=True)
class Task:
    """A task that a model can be fine-tuned on and scored by."""

    name: str
    kind: Kind
    files: str
    """Path inside the data folder, with `{split}` for train, dev and test."""
    about: str
    train: tuple[str, ...] = ()
    """Other paths of the training file; the first that exists is read."""
    folds: Folds = ""
    """`dev of train`: test has no labels, so dev is scored as test, and a tenth of train is dev.
    `train of dev`: if there is no training file, nine tenths of dev are train."""

    @property
    def metric(self) -> Metric:
        return "entity_f1" if self.kind == "tagging" else "accuracy"

    def paths(self, split: Split) -> tuple[str, ...]:
        """Return the paths that a split's file may have, uncompressed."""
        return (self.files.format(split=split), *(self.train if split == "train" else ()))


_OCNLI = tuple(f"ocnli/train.{size}.json" for size in ("50k", "30k", "10k", "3k"))
_NLI = "does the second sentence follow from the first, contradict it, or neither?"
TASKS = {
    task.name: task
    for task in (
        Task("sentiment", "classification", "sentiment/{split}.tsv", "reviews of the demo corpus, good or bad"),
        Task("entities", "tagging", "entities/{split}.txt", "people, places, organisations in the demo corpus's news"),
        Task("chnsenticorp", "classification", "chnsenticorp/{split}.tsv", "ChnSentiCorp: reviews, good or bad"),
        Task("peoples_daily_ner", "tagging", "peoples_daily_ner/example.{split}", "People's Daily: PER, LOC, ORG"),
        Task("lcqmc", "pair", "lcqmc/{split}.tsv", "LCQMC: do two questions ask the same?", folds="train of dev"),
        Task("xnli", "pair", "xnli/{split}.tsv", f"XNLI: {_NLI}", ("xnli/multinli.train.zh.tsv",), "train of dev"),
        Task("ocnli", "pair", "ocnli/{split}.json", f"OCNLI: {_NLI}", _OCNLI, "dev of train"),
    )
}
DEMO_TASKS = ("sentiment", "entities")
"""Tasks whose files the stage `tasks` writes from the demo corpus."""


@dataclass(frozen=True)
class TaskData:
    """The three splits of a task and its labels, sorted; their order is that of the network's outputs."""

    task: Task
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    note: str = ""
    """What replaces a missing split: "dev: 10% of train.10k.json"."""


def find(name: str) -> Task:
    """Return the task with this name.

    Raises: TaskError with the nearest name if there is none.
    """
    if name in TASKS:
        return TASKS[name]
    near = "".join(f"; did you mean {name}?" for name in difflib.get_close_matches(name, TASKS, 1))
    raise TaskError(f"no task {name!r}{near or ';'} There are {', '.join(TASKS)}")


def load(task: Task, data_url: str, *, limit_train: int = 0, limit_test: int = 0) -> TaskData:
    """Read the splits of a task from `data_url`.

    A limit above 0 keeps that many examples of train, or of dev and test each: those whose text has the smallest hash, in file
    order, so that a smaller limit selects a subset of a larger one.

    Raises: TaskError for files that are missing or malformed, and for a task with a single label.
    """
    found, note = _splits(task, data_url)
    labels = {label for examples in found.values() for example in examples for label in example.labels}
    if len(labels) < 2:
        raise TaskError(f"task {task.name} in {data_url}: the only label is {labels.pop()!r}, there is nothing to learn")
    return TaskData(
        task,
        tuple(sorted(labels)),
        train=_subsample(found["train"], limit_train),
        dev=_subsample(found["dev"], limit_test),
        test=_subsample(found["test"], limit_test),
        note=note,
    )


def locate(task: Task, data_url: str) -> dict[Split, str]:
    """Return the URL of each split's file, plain or compressed; without train or dev if one is taken from the other.

    Raises: TaskError for a missing file.
    """
    if task.folds == "dev of train":
        return {"train": _locate(task, data_url, "train"), "test": _locate(task, data_url, "dev")}
    if task.folds == "train of dev" and not _find_file(task, data_url, "train"):
        return {"dev": _locate(task, data_url, "dev"), "test": _locate(task, data_url, "test")}
    return {split: _locate(task, data_url, split) for split in SPLITS}


def _splits(task: Task, data_url: str) -> tuple[dict[Split, list[Example]], str]:
    """Return all examples of each split, and a note on the split that was taken from another."""
    urls = locate(task, data_url)
    found = {split: _READERS[task.kind](url) for split, url in urls.items()}
    replacements: tuple[tuple[Split, Split], ...] = (("train", "dev"), ("dev", "train"))
    for split, other in replacements:
        if split not in found:
            train, dev = _fold(found[other], urls[other])
            ratio = FOLDED_RATIO if split == "dev" else 1 - FOLDED_RATIO
            note = f"{split}: {ratio:.0%} of {storage.base_name(urls[other])}"
            return {"train": train, "dev": dev, "test": found["test"]}, note
    return found, ""


def _locate(task: Task, data_url: str, split: Split) -> str:
    if url := _find_file(task, data_url, split):
        return url
    names = ", ".join(name + ending for name in task.paths(split) for ending in ENDINGS)
    raise TaskError(f"task {task.name}: {data_url} has none of {names}; give the folder that contains {names.split('/')[0]}/")


def _find_file(task: Task, data_url: str, split: Split) -> str | None:
    """Return the URL of a split's file, plain or compressed, if it exists."""
    paths = (name + ending for name in task.paths(split) for ending in ENDINGS)
    return next((url for path in paths if storage.exists(url := storage.join(data_url, path))), None)


def _fold(examples: list[Example], url: str) -> tuple[list[Example], list[Example]]:
    """Split examples into train and dev. The side of an example depends on its first text alone."""
    is_dev = [_digest(example.items[0]) < FOLDED_RATIO * 256**8 for example in examples]
    parts = [[e for e, dev in zip(examples, is_dev, strict=True) if dev == wanted] for wanted in (False, True)]
    if not all(parts):
        raise TaskError(f"{url}: too few examples to set {FOLDED_RATIO:.0%} of them aside as dev")
    return parts[0], parts[1]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _subsample(examples: list[Example], limit: int) -> tuple[Example, ...]:
    if not 0 < limit < len(examples):
        return tuple(examples)
    digests = [_digest(example.text) for example in examples]
    chosen = sorted(range(len(examples)), key=lambda index: (digests[index], index))[:limit]
    return tuple(examples[index] for index in sorted(chosen))
