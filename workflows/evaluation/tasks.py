"""A task's examples: which files its splits are, and what takes the place of a split that is missing or has no labels.

    load(find("ocnli"), "data/tasks")
    ->  TaskData(labels=("contradiction", "entailment", "neutral"), note="test: dev.json; dev: 10% of train.50k.json", ...)

Files may be compressed (`train.tsv.gz`) and at any fsspec URL. A part of a split is chosen by a hash of the first text, so all
pairs of one premise are on one side.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pipeline import storage
from pipeline.errors import TaskError
from pipeline.sources.formats.marks import ENDINGS
from workflows.evaluation.catalogue import C_MTEB, DEMO_TASKS, SIMILARITY, STS, TASKS
from workflows.evaluation.examples import Example, text_digest
from workflows.evaluation.formats.reading import check_labels, is_labelled, read_labelled, with_answers
from workflows.evaluation.kinds import KINDS, Kind
from workflows.evaluation.metrics import Metric
from workflows.evaluation.task import SPLITS, Split, Task

__all__ = ["DEMO_TASKS", "SPLITS", "TASKS", "Split", "Task", "TaskData", "expanded", "find", "load", "locate"]

FOLDED_RATIO = 0.1
"""Fraction of a split that becomes dev when dev and train come from one file."""


@dataclass(frozen=True)
class TaskData:
    """The three splits of a task."""

    task: Task
    labels: tuple[str, ...]
    """All labels; their order is that of the network's outputs. Empty for tasks without labels."""
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    note: str = ""
    """What replaces a split, and what is left out: "test: dev.json; dev: 10% of train.10k.json; left out: 50 labelled '-'"."""

    @property
    def kind(self) -> Kind:
        return KINDS[self.task.kind]

    def scores(self, examples: Sequence[Example], answers: Sequence[object]) -> dict[Metric, float]:
        """Return the metrics of the task, or the usual ones of its kind."""
        found = self.kind.scores(examples, answers)
        return {name: found[name] for name in self.task.metrics or self.kind.metrics}


def find(name: str, own: Mapping[str, Task] = {}) -> Task:
    """Return the task with this name, your own ones first.

    Raises: TaskError with the nearest name if there is none.
    """
    known = {**TASKS, **SIMILARITY, **own}
    if name in known:
        return known[name]
    if near := difflib.get_close_matches(name, known, 1):
        raise TaskError(f"no task {name!r}; did you mean {near[0]}? There are {', '.join(known)}")
    raise TaskError(f"no task {name!r}; there are {', '.join(known)}")


def load(task: Task, data_url: str, *, limit_train: int = 0, limit_test: int = 0) -> TaskData:
    """Read the splits of a task from `data_url`.

    A limit above 0 keeps about that many examples of train, or of dev and test each: those whose text has the smallest hash, in
    file order, so that a smaller limit selects a subset of a larger one. Candidates of one question stay together.

    Nothing is learned of a task of similarity, which has only what is scored.

    Raises: TaskError for files that are missing or malformed, for a label of dev or test that train has not, and for a single
        label.
    """
    files, note = _sources(task, data_url)
    found, left_out = {}, Counter[str]()
    for split, urls in files.items():
        found[split], counts = read_labelled(task, [url for url in urls if url not in _answers(task, urls)])
        left_out += counts
    kind = KINDS[task.kind]
    labels = task.labels if task.labels and task.kind not in ("tagging", "choice") else kind.labels(_training(found))
    if kind.labelled:
        for split, examples in found.items():
            check_labels(task, labels, examples, files[split])
        if len(labels) == 1:
            raise TaskError(f"{files['test'][0]}: the only label is {labels[0]!r}, there is nothing to learn")
    if (missing := [split for split in SPLITS if split not in found]) and task.kind != "similarity":
        other: Split = "dev" if "train" in missing else "train"
        found |= _fold(found[other], [one for one in ("dev", "test") if one in missing or other == one], files[other])
    dropped = [f"{count} {reason}" for reason, count in left_out.items()]
    return TaskData(
        task,
        labels,
        train=_subsample(found.get("train", []), limit_train, kind),
        dev=_subsample(found.get("dev", []), limit_test, kind),
        test=_subsample(found["test"], limit_test, kind),
        note="; ".join([*note, *([f"left out: {', '.join(dropped)}"] if dropped else [])]),
    )


def locate(task: Task, data_url: str) -> dict[Split, tuple[str, ...]]:
    """Return the URLs of the files that become each split; without train or dev if one is taken from the other.

    Raises: TaskError for a missing file.
    """
    return _sources(task, data_url)[0]


def expanded(names: Sequence[str], data_url: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of tasks, `sts` replaced by those of its tasks that have files in a folder, and those that have none.

    Raises: TaskError if none has.
    """
    wanted = [f"{STS}-{name}" for name in C_MTEB]
    there = [name for name in wanted if any(_found(SIMILARITY[name], data_url, split) for split in SPLITS)]
    if STS in names and not there:
        raise TaskError(f"{data_url} has files of none of {', '.join(wanted)}; give the folder that contains e.g. lcqmc/")
    found = [one for name in names for one in (there if name == STS else [name])]
    return tuple(dict.fromkeys(found)), [name for name in wanted if name not in there] if STS in names else []


def _sources(task: Task, data_url: str) -> tuple[dict[Split, tuple[str, ...]], list[str]]:
    """Return the files of each split, and notes on those that take the place of others."""
    if task.kind == "similarity":
        return _scored(task, data_url)
    there = {split: _found(task, data_url, split) for split in SPLITS}
    notes = []
    if there["test"] and there["dev"] and not is_labelled(task, there["test"][0]):
        there["test"] = ()
    if there["dev"] and not there["test"]:
        there["test"], there["dev"] = there["dev"], ()
        notes.append(f"test: {_names(there['test'])}")
    if not there["train"] and not (there["dev"] and there["test"]):
        _missing(task, data_url, "train")
    for split in SPLITS:
        if not there[split]:
            ratio = 1 - FOLDED_RATIO if split == "train" else FOLDED_RATIO
            notes.append(f"{split}: {ratio:.0%} of {_names(there['dev' if split == 'train' else 'train'])}")
    return {split: urls for split, urls in there.items() if urls}, notes


def _scored(task: Task, data_url: str) -> tuple[dict[Split, tuple[str, ...]], list[str]]:
    """Return the first files with labels of test, dev and train: what is scored of a task of similarity."""
    for split in ("test", "dev", "train"):
        urls = _found(task, data_url, split)
        if urls and is_labelled(task, urls[0]):
            return {"test": urls}, [f"test: {_names(urls)}"] if split != "test" else []
    return {"test": _missing(task, data_url, "test")}, []


def _found(task: Task, data_url: str, split: Split) -> tuple[str, ...]:
    """Return the files of a split; none if it need not be there. Raises: TaskError if it must."""
    for path in task.paths(split):
        if urls := _matching(path if "://" in path or path.startswith("/") else storage.join(data_url, path)):
            return tuple(one for url in urls for one in with_answers(task, url))
    return () if task.may_lack(split) else _missing(task, data_url, split)


def _matching(url: str) -> list[str]:
    """Return the files that a URL with `*` stands for, plain or compressed, in order of their names."""
    if not set("*?[") & set(storage.base_name(url)):
        return [found for ending in ENDINGS if storage.exists(found := url + ending)][:1]
    folder, pattern = storage.parent(url), storage.base_name(url)
    names = storage.list_names(folder)
    return [storage.join(folder, name) for name in names if any(fnmatchcase(name, pattern + ending) for ending in ENDINGS)]


def _missing(task: Task, data_url: str, split: Split) -> tuple[str, ...]:
    names = ", ".join(name + ending for name in task.paths(split) for ending in ENDINGS)
    if not names:
        raise TaskError(f"the task has no file of {split}; name one")
    raise TaskError(f"{data_url} has none of {names}; give the folder that contains {names.split('/')[0]}/")


def _answers(task: Task, urls: Sequence[str]) -> set[str]:
    """Return which of the files of a split are answers to others."""
    return {other for url in urls for other in with_answers(task, url)[1:]}


def _names(urls: Sequence[str]) -> str:
    return ", ".join(map(storage.base_name, urls))


def _training(found: Mapping[Split, list[Example]]) -> list[Example]:
    """Return the examples that training ones are among."""
    return found["train"] if "train" in found else found.get("dev", [])


def _fold(examples: list[Example], aside: Sequence[Split], urls: Sequence[str]) -> dict[Split, list[Example]]:
    """Set parts aside, the rest is train. The side of an example depends on its first text alone."""
    sides: dict[Split, list[Example]] = {"train": [], **{split: [] for split in aside}}
    for example in examples:
        number = int(int(text_digest(example.items[0]), 16) / (FOLDED_RATIO * 256**8))
        sides[aside[number] if number < len(aside) else "train"].append(example)
    if not all(sides.values()):
        names = " and as ".join(aside)
        raise TaskError(f"{', '.join(urls)}: too few examples to set {FOLDED_RATIO:.0%} of them aside as {names}")
    return sides


def _subsample(examples: list[Example], limit: int, kind: Kind) -> tuple[Example, ...]:
    if not 0 < limit < len(examples):
        return tuple(examples)
    groups = [kind.group(example) for example in examples]
    digests = {group: text_digest(group) for group in {*groups}}
    chosen = sorted(range(len(examples)), key=lambda index: (digests[groups[index]], index))
    end = limit
    while kind.whole_groups and end < len(chosen) and groups[chosen[end]] == groups[chosen[limit - 1]]:
        end += 1
    return tuple(examples[index] for index in sorted(chosen[:end]))
