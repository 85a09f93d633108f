"""Rows of tables and of JSON files, and the fields that a task names in them.

    text_a      text_b      label          {"sentence1": "他睡了。", "sentence2": "他没睡。", "label": "contradiction"}
    谁有高清的    高清图谁有    0              {"text": "它响了", "target": {"span1_text": "床"}}     target.span1_text

A table has a header if its first line has a name that the task gives; columns may also be numbers. Only CSV has quotes.
JSON values may be one a line, over several lines, or in one array.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.errors import TaskError
from workflows.evaluation.examples import lines, read_text
from workflows.evaluation.task import Field, FormatName, Task, fields

MISSING = object()
"""The value of a field that a row does not have."""
_DECODER = json.JSONDecoder(strict=False)
_SHOWN = 60
"""Characters of a row that a message shows."""


class Row(Protocol):
    """One row of a file."""

    @property
    def place(self) -> str:
        """Where it is: "line 7"."""

    @property
    def names(self) -> Sequence[str]:
        """The fields that it has, for messages."""

    def value(self, name: str | int) -> Any:
        """Return the value of a field; `MISSING` if there is none."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table."""

    place: str
    cells: Sequence[str]
    header: Mapping[str, int] = field(default_factory=dict)
    """Number of each column, from 0; empty without a header."""

    @property
    def names(self) -> Sequence[str]:
        return [*self.header] or [str(number) for number in range(1, len(self.cells) + 1)]

    def value(self, name: str | int) -> Any:
        if isinstance(name, str):
            return self.cells[self.header[name]] if name in self.header else MISSING
        place = name - 1 if name > 0 else len(self.cells) + name
        return self.cells[place] if 0 <= place < len(self.cells) else MISSING


@dataclass(frozen=True, slots=True)
class JsonRow:
    """An object of a JSON file."""

    place: str
    content: Mapping[str, Any]

    @property
    def names(self) -> Sequence[str]:
        return [*self.content]

    def value(self, name: str | int) -> Any:
        if name in self.content or not isinstance(name, str):
            return self.content.get(name, MISSING) if isinstance(name, str) else MISSING
        found: Any = self.content
        for part in name.split("."):
            found = found.get(part, MISSING) if isinstance(found, Mapping) else MISSING
        return found


def format_of(task: Task, url: str) -> FormatName:
    """Return the format of a file: as the task says, or by its name."""
    if task.format:
        return task.format
    name = url.rsplit("/", 1)[-1]
    for ending in (".gz", ".xz", ".bz2", ".zst"):
        name = name.removesuffix(ending)
    endings: dict[str, FormatName] = {"json": "json", "jsonl": "json", "ndjson": "json", "csv": "csv", "tsv": "tsv"}
    ending = name.rpartition(".")[2].lower()
    return endings.get(ending, "conll" if task.kind == "tagging" else "tsv")


def rows(task: Task, url: str) -> Iterator[Row]:
    """Yield the rows of a file. Raises: TaskError naming file and line."""
    name = format_of(task, url)
    text = read_text(url)
    found: Iterator[Row] = json_rows(text, url) if name in ("json", "wsc") else table_rows(task, text, url, name == "csv")
    yield from (row for row in found if all(row.value(field) in (MISSING, value) for field, value in task.only.items()))


def json_values(text: str, url: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of a JSON file with their places; those in an array one by one."""
    at, line = _next(text, 0), 1
    counted = 0
    while at < len(text):
        line += text.count("\n", counted, at)
        counted = at
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise TaskError(f"{url}, line {line}: not JSON; it begins {text[at : at + 40]!r}") from None
        if isinstance(value, list):
            yield from ((f"entry {number}", one) for number, one in enumerate(value, start=1))
        else:
            yield f"line {line}", value
        at = _next(text, end)


def _next(text: str, at: int) -> int:
    """Return where the next value begins."""
    while at < len(text) and text[at] in " \t\r\n,\ufeff":
        at += 1
    return at


def json_rows(text: str, url: str) -> Iterator[JsonRow]:
    """Yield the objects of a JSON file, also those that one object has under `data`."""
    for place, value in json_values(text, url):
        if isinstance(value, dict) and set(value) <= {"data", "version"} and isinstance(value.get("data"), list):
            inside = [(f"entry {number}", one) for number, one in enumerate(value["data"], start=1)]
        else:
            inside = [(place, value)]
        for where, one in inside:
            if not isinstance(one, dict):
                raise TaskError(f"{url}, {where}: expected a JSON object, got {str(one)[:_SHOWN]!r}")
            yield JsonRow(where, one)


def table_rows(task: Task, text: str, url: str, quoted: bool) -> Iterator[TableRow]:
    """Yield the rows of a table, without its header."""
    cells = _quoted(text, url, task.delimiter or ",") if quoted else _plain(text, task.delimiter or "\t")
    header: dict[str, int] = {}
    width = 0
    for number, row in cells:
        if not width:
            width, header = len(row), _header(task, row, url)
            if header:
                continue
        if len(row) != width:
            between = repr(task.delimiter) if task.delimiter else "commas" if quoted else "tabs"
            raise TaskError(f"{url}, line {number}: expected {width} fields separated by {between}, got {str(row)[:_SHOWN]}")
        yield TableRow(f"line {number}", row, header)


def _plain(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines(text), start=1):
        if line.strip():
            yield number, line.split(delimiter)


def _quoted(text: str, url: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(1 << 30)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    before = 0
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield before + 1, row
            before = reader.line_num
    except csv.Error as error:
        raise TaskError(f"{url}, line {before + 1}: not CSV: {error}") from None


def _header(task: Task, first: Sequence[str], url: str) -> dict[str, int]:
    """Return the columns that the first line of a table names; none if it is a row.

    Raises: TaskError if the columns that the task names are not there.
    """
    names = [cell.strip() for cell in first]
    wanted = [fields(value) for value in (task.text, task.second, task.choices, task.label, task.group)]
    is_header = any(isinstance(name, str) and name in names for one in wanted for name in one)
    for one in (fields(task.text), fields(task.second)):
        known = [name for name in one if isinstance(name, str)]
        there = [name for name in known if name in names]
        by_number = any(isinstance(name, int) for name in one)
        if len(there) > 1 or (known and not there and not by_number):
            raise TaskError(f"{url}: the first line must name {' or '.join(known)}, it is {str(names)[:_SHOWN]}")
    if is_header and len({*names}) < len(names):
        raise TaskError(f"{url}: the first line names a column twice: {str(names)[:_SHOWN]}")
    return {name: number for number, name in enumerate(names)} if is_header else {}


def find(row: Row, wanted: Field) -> Any:
    """Return the value of the first of some fields that a row has; `MISSING` if it has none."""
    for name in fields(wanted):
        if (value := row.value(name)) is not MISSING:
            return value
    return MISSING


def text_of(row: Row, wanted: Field, url: str) -> str:
    """Return a text: a string, or a list of strings with spaces between them.

    Raises: TaskError if there is none, or it is empty.
    """
    value = find(row, wanted)
    shown = " or ".join(map(str, fields(wanted)))
    if value is MISSING:
        raise TaskError(f"{url}, {row.place}: no field {shown}; there are {', '.join(row.names)[:200]}")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    if not isinstance(value, str):
        raise TaskError(f"{url}, {row.place}: field {shown} must be a text, it is {str(value)[:_SHOWN]}")
    if not value.strip():
        raise TaskError(f"{url}, {row.place}: field {shown} is empty")
    return value
