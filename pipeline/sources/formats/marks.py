"""Marks in the texts of tasks, for those who score them and for those who look for them in documents. Imports nothing heavy.

放在_床_上的手机，现在[它]响了。          spans of CLUEWSC2020
可谓____。                           a blank of CHID, whose files have two layouts; both have an object a line:

{"content": ["可谓#idiom000381#。…", …], "candidates": ["百尺竿头", …]}    CLUE's, with the same candidates for all blanks
{"#idiom000381#": 4}                                                 its answers: dev_answer.json or .csv beside dev.json

{"content": "密切配合、#idiom#，巧于用兵、#idiom#。", "realCount": 2,     the first release, with candidates for each
 "candidates": [["同舟共济", "通力合作", …], ["有的放矢", …]], "groundTruth": ["通力合作", "有的放矢"]}
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from pipeline import storage
from pipeline.errors import TaskError
from pipeline.sources.formats import json_values

BLANK_CONTEXT = 56
"""Characters before a blank of CHID, and after it, that belong to its text. CLUE reads 64 tokens in all."""
SPAN_MARKS = ((1, "__"), (2, "[]"))
"""Marks around the spans of CLUEWSC2020 by their numbers: the noun, the pronoun."""
ENDINGS = ("", ".gz", ".xz", ".bz2")
"""What the names of compressed files of tasks end in."""
_SHOWN = 12
"""Characters of a text that a message shows."""
_BLANK = re.compile(r"#idiom\d*#")


class Blank(NamedTuple):
    """A blank of a text."""

    name: str
    """Its mark, "#idiom000381#"; where all have the same, "blank 2 of '密切配合、…'"."""
    shown: str
    """The text around it, with ____ in it and …… in the other blanks."""
    searched: str
    """The same with the answers that are known, and nothing in the other blanks: what a document would have."""
    candidates: tuple[str, ...]
    """Empty: the record is of another layout."""
    answer: int | None
    """Number of the right candidate, from 0; None: it is not said."""


class Passage(NamedTuple):
    """A text and its blanks."""

    text: str
    blanks: tuple[Blank, ...]


def with_marks(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Return a text with marks around spans, each from a place up to another: 床, (0, 1, "__") -> _床_."""
    for start, end, marks in sorted(spans, reverse=True):
        text = f"{text[:start]}{marks[0]}{text[start:end]}{marks[1]}{text[end:]}"
    return text


def answers_of(url: str, exists: Callable[[str], bool] = storage.exists) -> str | None:
    """Return the URL of the file with the answers to a file: dev.json -> dev_answer.json or .csv; None if there is none."""
    stem = storage.join(storage.parent(url), storage.base_name(url).partition(".")[0])
    names = (f"{stem}_answer{kind}{ending}" for kind in (".json", ".csv") for ending in (*ENDINGS, ".zst"))
    return next(filter(exists, names), None)


def read_answers(text: str, url: str) -> dict[str, int]:
    """Return the number of the right candidate for each blank in a file of answers: JSON, or two columns.

    Raises: TaskError for anything else; `url` names the file in it.
    """
    try:
        if text.lstrip().startswith("{"):
            items = [item for one in json_values.all_values(text) for item in one.items()]
        else:
            items = [_two(row) for row in csv.reader(io.StringIO(text)) if row]
        found = {str(blank): int(number) if str(number).strip().isdecimal() else -1 for blank, number in items}
    except (ValueError, AttributeError, RecursionError, csv.Error) as error:
        raise TaskError(f"{url}: no number for each blank, as JSON or in two columns ({error}); fetch it again") from error
    if wrong := [(blank, number) for blank, number in items if found[str(blank)] < 0]:
        raise TaskError(f"{url}: expected the number of a candidate for each blank, got {wrong[0][1]!r} for {wrong[0][0]!r}")
    if not found:
        raise TaskError(f"{url}: no answers in it; fetch it again")
    return found


def passages(record: Mapping[str, Any], answers: Mapping[str, int] | None, where: str) -> list[Passage]:
    """Return the texts of a record, if any of them has a blank; none for another record.

    Args:
        answers: those of `read_answers`; None = those in the record, if it has any.
        where: the file, and the place of the record in it, for errors.

    Raises: TaskError for a blank without an answer among others, and for an answer that is no candidate.
    """
    content, candidates, right = (record.get(name) for name in ("content", "candidates", "groundTruth"))
    texts = [content] if isinstance(content, str) else content if _are_texts(content) else []
    marks = [mark for text in texts for mark in _BLANK.findall(text)]
    if not marks:
        return []
    begins = repr(texts[0][:_SHOWN])
    names = [mark if mark != "#idiom#" else f"blank {number} of {begins}" for number, mark in enumerate(marks, start=1)]
    if isinstance(candidates, list) and candidates and all(map(_are_texts, candidates)):
        choices = _one_each(marks, candidates, "lists of candidates", f"{where}, {begins}")
    else:
        choices = [candidates if _are_texts(candidates) else []] * len(marks)
    numbers: list[int | None] = [None] * len(marks)
    if _are_texts(right):
        answered = zip(names, choices, _one_each(marks, right, "answers", f"{where}, {begins}"), strict=True)
        numbers = [_place(answer, of_blank, f"{where}, {name}") for name, of_blank, answer in answered]
    elif answers is not None:
        numbers = [_number(mark, of_blank, answers, f"{where}, {mark}") for mark, of_blank in zip(marks, choices, strict=True)]
    blanks = iter([*zip(names, choices, numbers, strict=True)])
    return [Passage(text, tuple(_around(text, blanks))) for text in texts]


def _two(row: list[str]) -> tuple[str, str]:
    if len(row) != 2:
        raise ValueError(f"{','.join(row)[:40]!r}")
    return row[0], row[1]


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _one_each(marks: Sequence[str], values: Sequence[Any], what: str, where: str) -> Sequence[Any]:
    if len(marks) != len(values):
        raise TaskError(f"{where}: expected as many {what} as blanks, got {len(values)} for {len(marks)}")
    return values


def _place(answer: str, candidates: Sequence[str], where: str) -> int:
    if answer not in candidates:
        raise TaskError(f"{where}: the answer {answer!r} is none of the {len(candidates)} candidates")
    return candidates.index(answer)


def _number(mark: str, candidates: Sequence[str], answers: Mapping[str, int], where: str) -> int:
    if mark not in answers:
        raise TaskError(f"{where}: no answer in the file of answers")
    if answers[mark] >= len(candidates):
        raise TaskError(f"{where}: the answer {answers[mark]} is none of the {len(candidates)} candidates, counted from 0")
    return answers[mark]


def _around(text: str, blanks: Iterator[tuple[str, Sequence[str], int | None]]) -> Iterator[Blank]:
    """Yield the blanks of a text; takes what is known of them from `blanks`, which goes on to those of the next text."""
    units: list[tuple[str, str]] = []
    """A character as it is shown, and what is searched for in its place."""
    found: list[tuple[int, str, Sequence[str], int | None]] = []
    at = 0
    for match in _BLANK.finditer(text):
        name, candidates, number = next(blanks)
        units += ((one, one) for one in text[at : match.start()])
        found.append((len(units), name, candidates, number))
        units += (("…", "" if number is None else candidates[number]), ("…", ""))
        at = match.end()
    units += ((one, one) for one in text[at:])
    for start, name, candidates, number in found:
        before, after = units[max(0, start - BLANK_CONTEXT) : start], units[start + 2 : start + 2 + BLANK_CONTEXT]
        shown, searched = ("".join(one[side] for one in (*before, ("____", units[start][1]), *after)) for side in (0, 1))
        yield Blank(name, shown, searched, tuple(candidates), number)
