"""Evaluation tasks: what they are called, where their files lie, how they are read.

    sentiment/train.tsv            entities/train.txt
        label  text_a                  海 O
        1      房间很干净，服务也好。     钓 O
        0      太吵了，一夜没睡。         厦 B-LOC
                                       门 I-LOC
                                       (blank line between sentences)

    lcqmc/train.tsv                ocnli/train.10k.json, {"sentence1": "他睡了。", "sentence2": "他没睡。", "label": ...} a line
        text_a      text_b      label
        谁有高清的    高清图谁有    0

Each is an `Example`: items with a label each. A text to classify is one item, a pair of texts two, a sentence to tag one per
character; the first two have one label:

    Example(("房间很干净，服务也好。",), ("1",))         Example(("海", "钓", "厦", "门"), ("O", "O", "B-LOC", "I-LOC"))
    Example(("他睡了。", "他没睡。"), ("contradiction",))

Files may be compressed (`train.tsv.gz`) and lie behind any fsspec URL. Where a split has no labels, or is not there, a fixed
part of another one stands in (`Task.folds`); by a hash of the first text, so that all pairs of one premise fall on one side.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipeline import storage
from pipeline.errors import TaskError

Kind = Literal["classification", "pair", "tagging"]
Metric = Literal["accuracy", "entity_f1"]
Folds = Literal["", "dev of train", "train of dev"]
Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
HEADER = "label\ttext_a"
ENDINGS = ("", ".gz", ".xz", ".bz2")
FIRST, SECOND = ("text_a", "premise", "sentence1"), ("text_b", "hypo", "hypothesis", "sentence2")
"""What the two texts of a pair are called, in a header or in JSON."""
NO_MAJORITY = "-"
"""OCNLI's label of a pair on which the annotators did not agree."""
ALIASES = {"contradictory": "contradiction"}
"""XNLI's training set has another word for one of its labels."""
FOLDED_SHARE = 0.1

# A item may itself be a space: only the last run of white space stands between item and tag.
_TAGGED = re.compile(r"(.+?)[ \t]+(\S+)")
_TAG = re.compile(r"O|[BI]-\S+")


@dataclass(frozen=True)
class Task:
    """A task that every model can be fine-tuned on and scored by."""

    name: str
    kind: Kind
    files: str
    """Path inside the data folder, with `{split}` for train, dev and test."""
    about: str
    train: tuple[str, ...] = ()
    """Other names of the file for training: the first that is there counts."""
    folds: Folds = ""
    """`dev of train`: dev is what is scored, as test has no labels, and a tenth of train is chosen by. `train of dev`: without
    a file for training, nine tenths of dev are learned."""

    @property
    def metric(self) -> Metric:
        return "entity_f1" if self.kind == "tagging" else "accuracy"

    def names(self, split: Split) -> tuple[str, ...]:
        """Paths that a split's file may have, uncompressed."""
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
OF_DEMO = ("sentiment", "entities")
"""Tasks whose files the stage `tasks` writes."""


@dataclass(frozen=True)
class Example:
    """Items with their labels; see the module for the kinds."""

    items: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.items)


@dataclass(frozen=True)
class TaskData:
    """A task's three splits, and the labels that occur in any of them, sorted: their order is the network's."""

    task: Task
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    note: str = ""
    """What stands in for a split that is not there: "dev: 10% of train.10k.json"."""


def find(name: str) -> Task:
    """The task of that name; `TaskError` with the nearest name where there is none."""
    if name in TASKS:
        return TASKS[name]
    near = "".join(f"; did you mean {name}?" for name in difflib.get_close_matches(name, TASKS, 1))
    raise TaskError(f"no task {name!r}{near or ';'} There are {', '.join(TASKS)}")


def load(task: Task, data_url: str, *, limit_train: int = 0, limit_test: int = 0) -> TaskData:
    """Read a task's splits from `data_url`.

    A limit above 0 keeps so many examples of train, or of dev and test each: those whose text has the smallest hash, in
    their order in the file, so that a smaller limit takes a part of what a larger one takes. Raises `TaskError`.
    """
    found, note = _splits(task, data_url)
    labels = {label for examples in found.values() for example in examples for label in example.labels}
    if len(labels) < 2:
        raise TaskError(f"task {task.name} in {data_url}: the only label is {labels.pop()!r}, nothing to tell apart")
    return TaskData(
        task,
        tuple(sorted(labels)),
        train=_subsample(found["train"], limit_train),
        dev=_subsample(found["dev"], limit_test),
        test=_subsample(found["test"], limit_test),
        note=note,
    )


def _splits(task: Task, data_url: str) -> tuple[dict[Split, list[Example]], str]:
    """All examples of each split, and what stands in for one that has no file."""
    places = located(task, data_url)
    read = {"classification": read_classified, "pair": read_pairs, "tagging": read_tagged}[task.kind]
    found = {split: read(url) for split, url in places.items()}
    stand_ins: tuple[tuple[Split, Split], ...] = (("train", "dev"), ("dev", "train"))
    for split, other in stand_ins:
        if split not in found:
            learned, chosen = _folded(found[other], places[other])
            share = FOLDED_SHARE if split == "dev" else 1 - FOLDED_SHARE
            note = f"{split}: {share:.0%} of {storage.base_name(places[other])}"
            return {"train": learned, "dev": chosen, "test": found["test"]}, note
    return found, ""


def located(task: Task, data_url: str) -> dict[Split, str]:
    """URLs of a task's files, plain or compressed, by the split that they are read as. Train or dev may be part of the other.

    Raises: TaskError for a file that is missing.
    """
    if task.folds == "dev of train":
        return {"train": _locate(task, data_url, "train"), "test": _locate(task, data_url, "dev")}
    if task.folds == "train of dev" and not _find(task, data_url, "train"):
        return {"dev": _locate(task, data_url, "dev"), "test": _locate(task, data_url, "test")}
    return {split: _locate(task, data_url, split) for split in SPLITS}


def _locate(task: Task, data_url: str, split: Split) -> str:
    if url := _find(task, data_url, split):
        return url
    names = ", ".join(name + ending for name in task.names(split) for ending in ENDINGS)
    raise TaskError(f"task {task.name}: {data_url} has none of {names}; name the folder that holds {names.split('/')[0]}/")


def _find(task: Task, data_url: str, split: Split) -> str | None:
    """URL of a split's file, plain or compressed."""
    paths = (name + ending for name in task.names(split) for ending in ENDINGS)
    return next((url for path in paths if storage.exists(url := storage.join(data_url, path))), None)


def _lines(url: str) -> list[str]:
    """Lines of a UTF-8 file. Cut at line feeds only: U+2028 and the like stand inside reviews."""
    try:
        with storage.open_read(url, compression="infer") as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{url}: not UTF-8 at byte {error.start}; convert it, say with iconv -f GB18030") from error
    return [line.removesuffix("\r") for line in text.split("\n")]


def read_classified(url: str) -> list[Example]:
    """Examples of a `label<TAB>text_a` file with that header. No quoting: a `"` is a character of the text."""
    header, *rows = _lines(url)
    if header != HEADER:
        raise TaskError(f"{url}: the first line must be {HEADER!r}, it is {header[:40]!r}")
    examples = []
    for number, row in enumerate(rows, start=2):
        if not row.strip():
            continue
        label, *texts = row.split("\t")
        if not label or len(texts) != 1 or not texts[0].strip():
            raise TaskError(f"{url}, line {number}: want a label, one tab and a text, have {row[:40]!r}")
        examples.append(Example((texts[0],), (label,)))
    return _some(examples, url)


def read_pairs(url: str) -> list[Example]:
    """Pairs of texts with a label: JSON lines, or tab-separated columns named by the header. A label `-` is none: left out."""
    rows = _json_rows(url) if ".json" in storage.base_name(url) else _table_rows(url)
    examples = []
    for number, row in rows:
        first, second = (next((row[name] for name in names if name in row), None) for names in (FIRST, SECOND))
        label = row.get("label")
        if not (isinstance(first, str) and isinstance(second, str) and first.strip() and second.strip() and label):
            raise TaskError(f"{url}, line {number}: want two texts and a label, have {str(row)[:80]}")
        if label != NO_MAJORITY:
            examples.append(Example((first, second), (ALIASES.get(str(label), str(label)),)))
    return _some(examples, url)


def _json_rows(url: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a file of JSON lines, with the numbers of their lines."""
    for number, line in enumerate(_lines(url), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise TaskError(f"{url}, line {number}: want a JSON object with two texts and a label, have {line[:40]!r}")
            yield number, row


def _table_rows(url: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a tab-separated file by the names in its header, with the numbers of their lines. No quoting."""
    header, *rows = _lines(url)
    names = header.split("\t")
    if len(names) != len({*names}) or any(len({*names} & {*known}) != 1 for known in (FIRST, SECOND, ("label",))):
        wanted = "a label and two texts, as 'text_a\\ttext_b\\tlabel'"
        raise TaskError(f"{url}: the first line must name {wanted}, it is {header[:40]!r}")
    for number, line in enumerate(rows, start=2):
        if line.strip():
            if len(fields := line.split("\t")) != len(names):
                raise TaskError(f"{url}, line {number}: want {len(names)} fields with tabs between, have {line[:40]!r}")
            yield number, dict(zip(names, fields, strict=True))


def read_tagged(url: str) -> list[Example]:
    """Sentences of a file with a item and its BIO tag a line. An I- that follows no B- begins an entity, as in conlleval."""
    return _some(list(_sentences(url)), url)


def _sentences(url: str) -> Iterator[Example]:
    items: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*_lines(url), ""], start=1):
        if match := _TAGGED.fullmatch(line):
            if not _TAG.fullmatch(match[2]):
                raise TaskError(f"{url}, line {number}: {match[2]!r} is not a BIO tag (O, B-PER, I-PER, ...)")
            items.append(match[1])
            tags.append(match[2])
        elif line.strip():
            raise TaskError(f"{url}, line {number}: want a character, a space and a BIO tag, have {line[:40]!r}")
        elif items:
            yield Example(tuple(items), tuple(tags))
            items, tags = [], []


def _some(examples: list[Example], url: str) -> list[Example]:
    if not examples:
        raise TaskError(f"{url}: no examples in it; fetch or write it again")
    return examples


def _folded(examples: list[Example], url: str) -> tuple[list[Example], list[Example]]:
    """The larger part, to learn, and the smaller one, to choose by: the same whatever stands around an example."""
    chosen = [_digest(example.items[0]) < FOLDED_SHARE * 256**8 for example in examples]
    parts = [[e for e, small in zip(examples, chosen, strict=True) if small == wanted] for wanted in (False, True)]
    if not all(parts):
        raise TaskError(f"{url}: too few examples to choose {FOLDED_SHARE:.0%} of them by")
    return parts[0], parts[1]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _subsample(examples: list[Example], limit: int) -> tuple[Example, ...]:
    if not 0 < limit < len(examples):
        return tuple(examples)
    digests = [_digest(example.text) for example in examples]
    chosen = sorted(range(len(examples)), key=lambda index: (digests[index], index))[:limit]
    return tuple(examples[index] for index in sorted(chosen))
