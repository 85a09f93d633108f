"""Evaluation tasks: what they are called, where their files lie, how they are read.

    sentiment/train.tsv            entities/train.txt
        label  text_a                  海 O
        1      房间很干净，服务也好。     钓 O
        0      太吵了，一夜没睡。         厦 B-LOC
                                       门 I-LOC
                                       (blank line between sentences)

Either is an `Example`: tokens with a label each. A text to classify is one token, a sentence to tag one per character:

    Example(("房间很干净，服务也好。",), ("1",))         Example(("海", "钓", "厦", "门"), ("O", "O", "B-LOC", "I-LOC"))

Files may be compressed (`train.tsv.gz`) and lie behind any fsspec URL.
"""

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline import storage
from pipeline.errors import TaskError

Kind = Literal["classification", "tagging"]
Metric = Literal["accuracy", "entity_f1"]
SPLITS = ("train", "dev", "test")
HEADER = "label\ttext_a"
ENDINGS = ("", ".gz", ".xz", ".bz2")

# A token may itself be a space: only the last run of white space stands between token and tag.
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

    @property
    def metric(self) -> Metric:
        return "accuracy" if self.kind == "classification" else "entity_f1"


TASKS = {
    task.name: task
    for task in (
        Task("sentiment", "classification", "sentiment/{split}.tsv", "reviews of the demo corpus, good or bad"),
        Task("entities", "tagging", "entities/{split}.txt", "people, places, organisations in the demo corpus's news"),
        Task("chnsenticorp", "classification", "chnsenticorp/{split}.tsv", "ChnSentiCorp: reviews, good or bad"),
        Task("peoples_daily_ner", "tagging", "peoples_daily_ner/example.{split}", "People's Daily: PER, LOC, ORG"),
    )
}


@dataclass(frozen=True)
class Example:
    """Tokens with a label each; see the module for both kinds."""

    tokens: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass(frozen=True)
class TaskData:
    """A task's three splits, and the labels that occur in any of them, sorted: their order is the network's."""

    task: Task
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]


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
    read = read_classified if task.kind == "classification" else read_tagged
    found = {split: read(_locate(task, data_url, split)) for split in SPLITS}
    labels = {label for examples in found.values() for example in examples for label in example.labels}
    if len(labels) < 2:
        raise TaskError(f"task {task.name} in {data_url}: the only label is {labels.pop()!r}, nothing to tell apart")
    return TaskData(
        task,
        tuple(sorted(labels)),
        train=_subsample(found["train"], limit_train),
        dev=_subsample(found["dev"], limit_test),
        test=_subsample(found["test"], limit_test),
    )


def _locate(task: Task, data_url: str, split: str) -> str:
    """URL of a split's file, plain or compressed."""
    path = task.files.format(split=split)
    for ending in ENDINGS:
        if storage.exists(url := storage.join(data_url, path + ending)):
            return url
    names = ", ".join(path + ending for ending in ENDINGS)
    raise TaskError(f"task {task.name}: {data_url} has none of {names}; name the folder that holds {path.split('/')[0]}/")


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


def read_tagged(url: str) -> list[Example]:
    """Sentences of a file with a token and its BIO tag a line. An I- that follows no B- begins an entity, as in conlleval."""
    return _some(list(_sentences(url)), url)


def _sentences(url: str) -> Iterator[Example]:
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*_lines(url), ""], start=1):
        if match := _TAGGED.fullmatch(line):
            if not _TAG.fullmatch(match[2]):
                raise TaskError(f"{url}, line {number}: {match[2]!r} is not a BIO tag (O, B-PER, I-PER, ...)")
            tokens.append(match[1])
            tags.append(match[2])
        elif line.strip():
            raise TaskError(f"{url}, line {number}: want a character, a space and a BIO tag, have {line[:40]!r}")
        elif tokens:
            yield Example(tuple(tokens), tuple(tags))
            tokens, tags = [], []


def _some(examples: list[Example], url: str) -> list[Example]:
    if not examples:
        raise TaskError(f"{url}: no examples in it; fetch or write it again")
    return examples


def _subsample(examples: list[Example], limit: int) -> tuple[Example, ...]:
    if not 0 < limit < len(examples):
        return tuple(examples)
    digests = [hashlib.blake2b(example.text.encode(), digest_size=8).digest() for example in examples]
    chosen = sorted(range(len(examples)), key=lambda index: (digests[index], index))[:limit]
    return tuple(examples[index] for index in sorted(chosen))
