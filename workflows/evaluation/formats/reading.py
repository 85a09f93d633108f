"""A file of a task, whatever its format: its examples, and one line for what is wrong with it."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.errors import TaskError
from pipeline.sources.formats.marks import answers_of
from workflows.evaluation.examples import Example
from workflows.evaluation.formats.choices import read_c3, read_chid
from workflows.evaluation.formats.fields import format_of
from workflows.evaluation.formats.questions import read_questions
from workflows.evaluation.formats.rows import read_rows
from workflows.evaluation.formats.tags import read_conll
from workflows.evaluation.task import Task, fields


def read(task: Task, url: str) -> Iterator[Example]:
    """Yield the examples of a file as they are there. Raises: TaskError naming file and line."""
    readers = {"squad": read_questions, "c3": read_c3, "chid": read_chid, "conll": read_conll}
    return readers.get(format_of(task, url), read_rows)(task, url)


def with_answers(task: Task, url: str) -> tuple[str, ...]:
    """Return a file, and the one with its answers if these are in another."""
    answers = answers_of(url) if task.format == "chid" else None
    return (url, answers) if answers else (url,)


def is_labelled(task: Task, url: str) -> bool:
    """Return whether the first example of a file has a label; True for a file without any, whose reading says what is wrong."""
    first = next(read(task, url), None)
    return first is None or first.has_label


def read_labelled(task: Task, urls: Sequence[str]) -> tuple[list[Example], Counter[str]]:
    """Return the examples of a split, and what is left out of it: how many, by the reason.

    Raises: TaskError naming file and line; for a file without examples, and for an example without a label.
    """
    found: list[Example] = []
    left_out: Counter[str] = Counter()
    for url in urls:
        before = len(found), left_out.total()
        for example in read(task, url):
            if not example.has_label:
                raise TaskError(f"{url}, {example.place}: {_no_label(task)}")
            if example.labels and example.labels[0] in task.leave_out:
                left_out[f"labelled {example.labels[0]!r}"] += 1
                continue
            if example.nested:
                left_out["entities inside of others"] += example.nested
            found.append(example)
        if (len(found), left_out.total()) == before:
            raise TaskError(f"{url}: no examples in it; download or write it again")
    if not found:
        raise TaskError(f"{urls[0]}: no examples in it but those that are left out")
    return found, left_out


ANY_PAIRS = Task(
    kind="pair",
    files="{split}",
    text=("text_a", "premise", "sentence1"),
    second=("text_b", "hypo", "hypothesis", "sentence2"),
    label=("label", "gold_label"),
    aliases={"contradictory": "contradiction"},
    leave_out=("-",),
)
"""Pairs of texts in tables with a header, or in JSON, by the usual names."""


def read_pairs(url: str) -> list[Example]:
    """Return the labelled pairs of a file. Raises: TaskError naming file and line."""
    return read_labelled(ANY_PAIRS, [url])[0]


def _no_label(task: Task) -> str:
    if task.kind == "reading":
        return "a question without an answer; leave it out"
    names = " or ".join(map(str, fields(task.label)))
    return f"no label in {names}" if names and not task.format else "no label"


def check_labels(task: Task, labels: Sequence[str], examples: Sequence[Example], urls: Sequence[str]) -> None:
    """Check that the network has an output for each label. Raises: TaskError naming file and line."""
    known = set(labels)
    for example in examples:
        for label in example.labels:
            if label not in known:
                what = f"entities of type {label[2:]!r}" if task.kind == "tagging" else f"label {label!r}"
                shown = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
                where = "none of `labels`" if task.labels else "not in the training file"
                raise TaskError(f"{', '.join(urls)}, {example.place}: {what} is {where}: {shown}")
