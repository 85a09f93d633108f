"""Tags of characters, and entities by their places. All become one item a character with its BIO tag.

    海 O                科0<TAB>O            a file of lines (CoNLL): an item and its tag in any two columns, a blank line after
    厦 B-LOC            技1<TAB>B-ORG        each sentence
    {"text": "海钓厦门", "label": {"LOC": {"厦门": [[2, 3]]}}}          CLUENER: the last character
    {"text": "海钓厦门", "label": [[2, 4, "LOC"]]}                     doccano: the place after the last character
    {"text": "海钓厦门", "label": [{"start_idx": 2, "end_idx": 3, "type": "LOC", "entity": "厦门"}]}
    {"text": ["海", "钓", "厦", "门"], "label": ["O", "O", "B-LOC", "I-LOC"]}, also in one text with separators between

    B-LOC E-LOC S-PER (BIOES), B-LOC M-LOC E-LOC (BMES)   ->   B-LOC I-LOC B-PER

A tag that continues an entity without its beginning begins one, as in conlleval. An entity inside of another is left out: a
character has one tag.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.errors import TaskError
from workflows.evaluation.examples import Example, lines, read_text
from workflows.evaluation.formats.fields import Row, find, text_of
from workflows.evaluation.task import Task, fields

_TAG = re.compile(r"O|[BIMES]-\S+")
_KEYS = {
    "start": ("start", "start_idx", "start_offset", "begin", "start_index"),
    "end": ("end", "end_idx", "end_offset", "end_index"),
    "type": ("label", "type", "entity_type", "category"),
    "text": ("entity", "text", "word", "name", "mention"),
}
"""What the keys of an entity may be called."""


class Span(NamedTuple):
    """An entity: its first character and the place after its last."""

    start: int
    end: int
    type: str


def to_bio(tags: Sequence[str]) -> tuple[str, ...]:
    """Return BIO tags for BIO, BIOES or BMES tags."""
    found: list[str] = []
    previous, ended = "O", True
    for tag in tags:
        mark, _, name = tag.partition("-")
        if mark == "O":
            found.append("O")
        else:
            begins = mark in "BS" or ended or previous != name
            found.append(f"{'B' if begins else 'I'}-{name}")
        previous, ended = name or "O", mark in "OES"
    return tuple(found)


def read_conll(task: Task, url: str) -> Iterator[Example]:
    """Yield sentences of a file with an item and its tag per line.

    Raises: TaskError naming file and line.
    """
    items: list[str] = []
    tags: list[str] = []
    first = 1
    has_tags: bool | None = None
    for number, line in enumerate([*lines(read_text(url)), ""], start=1):
        if not line.strip():
            if items:
                yield _sentence(items, tags, f"line {first}", f"{url}, sentence of line {first}")
            items, tags, first = [], [], number + 1
            continue
        parts = columns(task, line)
        if has_tags is None and parts:
            has_tags = parts[1] is not None
        if parts is None or (parts[1] is not None) != has_tags:
            raise TaskError(f"{url}, line {number}: expected a character, a space and a BIO tag, got {line[:40]!r}")
        item, tag = parts
        if tag is not None:
            tags.append(_checked(task, tag, f"{url}, line {number}"))
        items.append(item[0] if task.first_character else item)


def columns(task: Task, line: str) -> tuple[str, str | None] | None:
    """Return the item and the tag of a line, None for a tag that is not there; None if it has no item.

    Without columns named, the item is all before the last one, and may itself be a space.
    """
    if not line.strip():
        return None
    if not task.text and task.label == "label":
        tag = line.rsplit(maxsplit=1)[-1]
        before = line[: len(line) - len(tag)]
        if not before and len(tag) == 1:
            return tag, None
        if not line.endswith(tag) or len(before) < 2 or before[-1] not in " \t":
            return None
        return before.rstrip(" \t") or before[0], tag
    cells = line.split("\t") if "\t" in line else line.split()
    item, tagged = (_cell(cells, fields(one)) for one in (task.text or 1, task.label if task.label != "label" else -1))
    return (item, tagged) if item else None


def _cell(cells: Sequence[str], wanted: Sequence[str | int]) -> str | None:
    for number in wanted:
        if isinstance(number, int):
            place = number - 1 if number > 0 else len(cells) + number
            if 0 <= place < len(cells):
                return cells[place]
    return None


def _checked(task: Task, tag: str, where: str) -> str:
    """Return a tag with its type as the task spells it. Raises: TaskError for what is no tag."""
    tag = tag.strip()
    if not _TAG.fullmatch(tag):
        raise TaskError(f"{where}: {tag!r} is not a BIO tag (O, B-PER, I-PER, ...)")
    mark, _, name = tag.partition("-")
    return f"{mark}-{task.aliases.get(name, name)}" if name else tag


def _sentence(items: Sequence[str], tags: Sequence[str], place: str, where: str) -> Example:
    if tags and len(tags) != len(items):
        raise TaskError(f"{where}: {len(items)} items, but {len(tags)} tags")
    return Example(tuple(items), to_bio(tags), place=place, has_label=bool(tags))


def tagged_row(task: Task, row: Row, url: str) -> Example:
    """Return the sentence of a row: a text with its entities, or items with their tags.

    Raises: TaskError naming file and line.
    """
    where = f"{url}, {row.place}"
    value, text = find(row, task.label), find(row, task.text or "text")
    if isinstance(value, Mapping) or (isinstance(value, list) and not all(isinstance(one, str) for one in value)):
        whole = text_of(row, task.text or "text", url)
        spans, nested = without_nested(list(_spans(task, value, whole, where)))
        return Example(tuple(whole), _spans_to_bio(spans, len(whole)), place=row.place, nested=nested)
    if value == [] and isinstance(text, str) and text.strip():
        return Example(tuple(text), ("O",) * len(text), place=row.place)
    items, tags = (_parts(one, task.separator) for one in (text, value))
    if not items:
        text_of(row, task.text or "text", url)
        raise TaskError(f"{where}: no characters")
    if isinstance(text, str) and isinstance(value, list) and len(value) == len(text):
        items = list(text)
    return _sentence(items, [_checked(task, tag, where) for tag in tags or []], row.place, where)


def _parts(value: Any, separator: str) -> list[str] | None:
    """Return a list, or the parts of a text between separators; None if there is neither."""
    if isinstance(value, list):
        return [str(one) for one in value]
    if isinstance(value, str) and value:
        return [one for one in value.split(separator or None) if one]
    return None


def _spans(task: Task, value: Any, text: str, where: str) -> Iterator[Span]:
    """Yield the entities of a text. Raises: TaskError for one that is not where it is said to be."""
    for start, end, name, mention in _entities(value, where):
        if not (isinstance(start, int) and isinstance(end, int) and isinstance(name, str) and name):
            raise TaskError(f"{where}: expected the first place, the end and the type of an entity, got {(start, end, name)}")
        ends = [end + (task.span_end == "last")] if task.span_end or mention is None else [end, end + 1]
        fitting = [one for one in ends if 0 <= start < one <= len(text) and mention in (None, text[start:one])]
        if not fitting:
            shown = f"{mention!r} is" if mention is not None else "an entity cannot be"
            raise TaskError(f"{where}: {shown} {'not ' if mention is not None else ''}at {start} to {end} of its text")
        yield Span(start, fitting[0], task.aliases.get(name, name))


def _entities(value: Any, where: str) -> Iterator[tuple[Any, Any, Any, str | None]]:
    """Yield first place, end, type and text (None if it is not given) of each entity."""
    if isinstance(value, Mapping):
        for name, mentions in value.items():
            if not isinstance(mentions, Mapping):
                raise TaskError(f"{where}: expected entities as in CLUENER, got {str(mentions)[:60]}")
            for mention, places in mentions.items():
                yield from ((one[0], one[1], name, mention) for one in _pairs(places, where))
        return
    for one in value:
        if isinstance(one, Mapping):
            flat = {**one, **inside} if isinstance(inside := one.get("entity_index"), Mapping) else one
            start, end, name, mention = (next((flat[key] for key in _KEYS[what] if key in flat), None) for what in _KEYS)
            yield start, end, name, mention if isinstance(mention, str) else None
        elif isinstance(one, list) and len(one) == 3:
            numbers = [part for part in one if isinstance(part, int)]
            names = [part for part in one if isinstance(part, str)]
            if len(numbers) != 2 or len(names) != 1:
                raise TaskError(f"{where}: expected [first place, end, type], got {str(one)[:60]}")
            yield numbers[0], numbers[1], names[0], None
        else:
            raise TaskError(f"{where}: expected an entity as [first place, end, type] or as an object, got {str(one)[:60]}")


def _pairs(places: Any, where: str) -> list[Any]:
    if not (isinstance(places, list) and all(isinstance(one, list) and len(one) == 2 for one in places)):
        raise TaskError(f"{where}: expected places as [[first, last], ...], got {str(places)[:60]}")
    return places


def without_nested(spans: Sequence[Span]) -> tuple[list[Span], int]:
    """Return the entities that are in no longer one, and how many are left out."""
    kept: list[Span] = []
    for span in sorted(set(spans), key=lambda one: (one.start - one.end, one.start)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept), len(set(spans)) - len(kept)


def _spans_to_bio(spans: Sequence[Span], length: int) -> tuple[str, ...]:
    tags = ["O"] * length
    for start, end, name in spans:
        tags[start:end] = [f"B-{name}", *[f"I-{name}"] * (end - start - 1)]
    return tuple(tags)
