"""Rows of tables and JSON become examples: texts, pairs, numbers, several labels, candidates, choices, questions.

{"text": "房间很干净", "label": 1}                                  Example(("房间很干净",), ("1",))
{"text": "房间小但干净", "label": ["卫生", "面积"]}                    Example(("房间小但干净",), ("卫生", "面积"))
{"sentence1": "…", "sentence2": "…", "score": 3.5}                 Example(("…", "…"), ("3.5",))
{"passage": "…", "question": "…", "options": ["对", "错"], "label": "B"}   Example(("…", "…", "对", "错"), ("1",))
{"target": {"span1_text": "床", "span1_index": 5, …}, "text": …}    CLUEWSC2020: the noun is marked _床_, the pronoun [它]
"""

import json
import math
from collections.abc import Iterator
from typing import Any

from pipeline.errors import TaskError
from pipeline.sources.formats.marks import SPAN_MARKS, with_marks
from workflows.evaluation.examples import Example
from workflows.evaluation.formats.fields import MISSING, Row, find, rows, text_of
from workflows.evaluation.formats.tags import tagged_row
from workflows.evaluation.task import Task, fields

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
RIGHT = {"1": "1", "0": "0", "true": "1", "false": "0", "1.0": "1", "0.0": "0"}
"""How files say that a candidate is right."""


def read_rows(task: Task, url: str) -> Iterator[Example]:
    """Yield the examples of a table or of JSON objects. Raises: TaskError naming file and line."""
    convert = {
        "tagging": tagged_row,
        "labels": _several,
        "regression": _measured,
        "similarity": _measured,
        "ranking": _candidate,
        "choice": _choice,
        "reading": _question,
    }.get(task.kind, _labelled)
    for row in rows(task, url):
        yield convert(task, row, url)


def label_text(value: Any) -> str:
    """Return a label as text: 1 -> "1", true -> "true"."""
    return json.dumps(value) if isinstance(value, bool) else str(value).strip()


def one_label(task: Task, row: Row, url: str) -> str | None:
    """Return the label of a row; None if it has none.

    Raises: TaskError for one that is no text, number or truth value.
    """
    value = find(row, task.label)
    if value is MISSING or value is None or value == "":
        return None
    if not isinstance(value, str | int | float):
        shown = " or ".join(map(str, fields(task.label)))
        raise TaskError(f"{url}, {row.place}: field {shown} must be a label, it is {str(value)[:60]}")
    return task.aliases.get(label_text(value), label_text(value))


def _example(items: tuple[str, ...], label: str | None, row: Row, name: str = "") -> Example:
    return Example(items, () if label is None else (label,), name, place=row.place, has_label=label is not None)


def _labelled(task: Task, row: Row, url: str) -> Example:
    text = _marked(row, url) if task.format == "wsc" else text_of(row, task.text, url)
    items = (text, text_of(row, task.second, url)) if task.second else (text,)
    return _example(items, one_label(task, row, url), row)


def _marked(row: Row, url: str) -> str:
    """Return a text of CLUEWSC2020 with marks around the noun and the pronoun: 放在_床_上…，现在[它]突然响了。"""
    text = row.value("text")
    spans = []
    for number, marks in SPAN_MARKS:
        span, at = row.value(f"target.span{number}_text"), row.value(f"target.span{number}_index")
        if not (isinstance(text, str) and isinstance(span, str) and isinstance(at, int) and span):
            raise TaskError(f"{url}, {row.place}: expected a text and a target with two spans, as in CLUEWSC2020")
        if text[at : at + len(span)] != span:
            raise TaskError(f"{url}, {row.place}: {span!r} is not at {at} of its text")
        spans.append((at, at + len(span), marks))
    return with_marks(str(text), spans)


def _several(task: Task, row: Row, url: str) -> Example:
    value = find(row, task.label)
    if isinstance(value, str):
        value = [one for one in value.split(task.separator or ",") if one.strip()]
    has_label = value is not MISSING and value is not None
    if has_label and not isinstance(value, list):
        raise TaskError(f"{url}, {row.place}: expected a list of labels, or labels separated by commas, got {str(value)[:60]}")
    labels = [label_text(one) for one in value] if isinstance(value, list) else []
    named = tuple(dict.fromkeys(task.aliases.get(one, one) for one in labels))
    return Example((text_of(row, task.text, url),), named, place=row.place, has_label=has_label)


def _measured(task: Task, row: Row, url: str) -> Example:
    items = (text_of(row, task.text, url), *([text_of(row, task.second, url)] if task.second else []))
    label = one_label(task, row, url)
    try:
        is_number = label is None or label in task.leave_out or math.isfinite(float(label))
    except ValueError:
        is_number = False
    if not is_number:
        raise TaskError(f"{url}, {row.place}: {label!r} is not a number")
    return _example(items, label, row)


def _candidate(task: Task, row: Row, url: str) -> Example:
    items = (text_of(row, task.text, url), text_of(row, task.second, url))
    group = find(row, task.group)
    label = one_label(task, row, url)
    if label is not None and label.lower() not in RIGHT:
        raise TaskError(f"{url}, {row.place}: {label!r} is neither 1, a right answer, nor 0")
    name = items[0] if group is MISSING else label_text(group)
    return _example(items, None if label is None else RIGHT[label.lower()], row, name)


def _choice(task: Task, row: Row, url: str) -> Example:
    found = [row.value(name) for name in fields(task.choices)]
    choices = found[0] if len(found) == 1 and isinstance(found[0], list) else [one for one in found if one not in (MISSING, "")]
    if len(choices) < 2 or not all(isinstance(one, str) and one.strip() for one in choices):
        shown = ", ".join(map(str, fields(task.choices)))
        raise TaskError(f"{url}, {row.place}: expected two or more choices in {shown}, got {str(choices)[:60]}")
    question = text_of(row, task.second, url) if task.second else ""
    label = one_label(task, row, url)
    answer = None if label is None else chosen(task, label, choices, f"{url}, {row.place}")
    return _example((text_of(row, task.text, url), question, *choices), answer, row)


def chosen(task: Task, label: str, choices: list[str], where: str) -> str:
    """Return the number of the right choice, which is given by its text, its name or its number.

    Raises: TaskError.
    """
    names = task.labels or (LETTERS if label in LETTERS else tuple(map(str, range(len(choices)))))
    if label in choices:
        return str(choices.index(label))
    if label not in names or names.index(label) >= len(choices):
        raise TaskError(f"{where}: {label!r} is none of the {len(choices)} choices")
    return str(names.index(label))


def place(passage: str, answer: str, said: int) -> int | None:
    """Return where an answer begins in a passage: nearest to where it is said to, None if it is not there."""
    starts, at = [], -1
    while (at := passage.find(answer, at + 1)) >= 0:
        starts.append(at)
    return min(starts, key=lambda start: abs(start - said), default=None)


def _question(task: Task, row: Row, url: str) -> Example:
    passage, question, value = text_of(row, task.text, url), text_of(row, task.second, url), find(row, task.label)
    answers = [value] if isinstance(value, str) and value else value if isinstance(value, list) else []
    if not all(isinstance(one, str) and one.strip() for one in answers):
        raise TaskError(f"{url}, {row.place}: expected an answer or a list of answers, got {str(value)[:60]}")
    start = place(passage, answers[0], 0) if answers else None
    name = row.place.rpartition(" ")[2]
    return Example((passage, question), tuple(answers), name, start, row.place, bool(answers))
