r"""Tables: CSV (RFC 4180) and TSV, and which of their columns are text.

    id,title,content\r\n0,早市,"第一段。\n第二段。"     named columns: title and content are known fields
    体育\t球队今天再次取得了胜利。                      no names: the first column holds labels, the second is text
    12\t一句话。                                        sentences with numbers (Leipzig Corpora Collection)

What columns hold is seen in the first rows, and labels, numbers and addresses are never text. Where several columns could be
the text, the recipe must name them, by header or by number. A row is identified by its offset. Fields of TSV are not quoted
(IANA, text/tab-separated-values) unless those of the first rows are; only rows without quotes can be read in ranges.
"""

import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from pipeline.config import SourceConfig
from pipeline.errors import CorpusError
from pipeline.sources.formats import encodings, fields
from pipeline.sources.formats.encodings import Encoding
from pipeline.sources.formats.lines import MAX_RECORD_BYTES, TOO_LONG, Range, numbered_lines
from pipeline.sources.records import Bad, Record, Skipped, excerpt

DELIMITERS = ("\t", ",", ";", "|", "_!_")
"""`_!_`: toutiao-text-classification-dataset."""
_SAMPLE = 200
"""Rows that decide."""
_MIN_ROWS = 10
"""Rows of a table that is known by its quotes alone."""
_DECLARED = re.compile(r"sep=(.)\r?\n")
"""First line of a file that Excel writes."""
_MIN_REGULAR = {"\t": 0.9}
_MIN_REGULAR_ELSE = 0.95
"""Ratio of rows with the same number of fields: commas also occur in prose."""
_MIN_REGULAR_HEADED = 0.3
"""The same below a header with names of a known format: rows whose commas are not quoted are bad, and no prose."""
_MAX_NAME, _MAX_LABEL, _MAX_SHORT_LABEL = 40, 30, 8
"""Characters of a column's name, of a label that is repeated, and of any label."""
_NUMBER = re.compile(r"[-+]?\d[\d.,:/\-\sTZ]*%?")
_ADDRESS = re.compile(r"(?:https?|ftp)://\S+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_][\w.\-:]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][\w .\-/]*", re.ASCII)
_NULL = frozenset(("nan", "NaN", "NULL", "null", "None", "\\N", "<NA>"))
"""How tables write that there is no value."""

csv.field_size_limit(MAX_RECORD_BYTES)

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Table:
    """How a table is written, and where its text is."""

    delimiter: str
    quoted: bool
    names: tuple[str, ...]
    """Names of the columns: those of the header, else numbers from 1."""
    preamble: int
    """Lines before the first row: a header, `sep=,`."""
    text: tuple[int, ...]
    """Columns that hold text, where the names do not say so."""

    @property
    def kind(self) -> str:
        return "TSV" if self.delimiter == "\t" else "CSV"


def detect(text: str, complete: bool) -> Table | None:
    """Return how the table that starts with `text` is written; None for what is no table. `complete`: `text` is all of it."""
    declared = _DECLARED.match(text)
    body = text[declared.end() :] if declared else text
    first = body.partition("\n")[0]
    for delimiter in [declared[1]] if declared else DELIMITERS:
        if delimiter in first and (found := _detect(body, delimiter, complete, declared is not None)):
            return found
    return None


def all_fields(text: str, table: Table) -> Iterator[str]:
    """Yield the fields of all rows of a table in memory; a line that is not written as the others is a field."""
    if not table.quoted:
        for line in text.split("\n"):
            yield from line.rstrip("\r").split(table.delimiter)
        return
    try:
        yield from [field for row in csv.reader(io.StringIO(text, newline=""), delimiter=table.delimiter) for field in row]
    except csv.Error:
        yield from text.split("\n")


def _detect(text: str, delimiter: str, complete: bool, declared: bool) -> Table | None:
    quoted, rows = _sample(text, delimiter, complete)
    width, regular = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    enough = _MIN_REGULAR.get(delimiter, _MIN_REGULAR_ELSE)
    if _is_known_header(rows):
        width, regular, enough = len(rows[0]), sum(len(row) == len(rows[0]) for row in rows), _MIN_REGULAR_HEADED
    if width < 2 or (len(rows) < 2 and not fields.find_format(_header(rows, width))) or regular < enough * len(rows):
        return None
    names = _header(rows, width)
    body = [row for row in (rows[1:] if names else rows) if len(row) == width]
    kinds = [_kind([row[column] for row in body]) for column in range(width)]
    if delimiter == "\t":
        if not kinds[0]:  # lines that are indented
            return None
    elif not (names or declared or _is_regular(text, delimiter, kinds, body)):
        return None
    text_columns = tuple(
        column for column, kind in enumerate(kinds) if kind in ("text", "short") and not (names and _is_title(names[column]))
    )
    text_columns = tuple(column for column in text_columns if kinds[column] == "text") or text_columns
    if names and fields.find_format(names):
        text_columns = ()
    preamble = bool(names) + declared
    return Table(delimiter, quoted, names or tuple(str(column + 1) for column in range(width)), preamble, text_columns)


def _is_regular(text: str, delimiter: str, kinds: Sequence[str], rows: Rows) -> bool:
    """Return whether fields without a header are more than prose whose lines have as many commas, such as verses."""
    spaced = sum(cell.startswith(" ") for row in rows for cell in row[1:])
    if 2 * spaced >= len(rows) * (len(kinds) - 1):
        return False
    mark = re.escape(delimiter)
    if len(rows) >= _MIN_ROWS and re.search(rf'(?:\A|\n|{mark})"(?:[^"]|"")*"(?:{mark}|\r?\n|\Z)', text):
        return True
    typed = {"number", "address", "label"}.intersection(kinds)
    return bool(typed) and bool({"text", "short"}.intersection(kinds))


def _sample(text: str, delimiter: str, complete: bool) -> tuple[bool, list[list[str]]]:
    """Return whether fields are quoted, and the first rows."""
    is_tsv = delimiter == "\t"
    if len(delimiter) > 1 or (is_tsv and not re.search(r'(?:\A|\n|\t)"', text)):
        return False, _split(text, delimiter, complete)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=is_tsv):
            rows += [row] if any(row) else []
            if len(rows) == _SAMPLE:
                return True, rows
    except csv.Error:
        return not is_tsv, _split(text, delimiter, complete)
    return True, rows if complete else rows[:-1]


def _split(text: str, delimiter: str, complete: bool) -> list[list[str]]:
    lines = text.split("\n", 2 * _SAMPLE)
    if len(lines) > 2 * _SAMPLE or not complete:
        lines.pop()
    return [line.rstrip("\r").split(delimiter) for line in lines if line.strip()][:_SAMPLE]


def _header(rows: Rows, width: int) -> tuple[str, ...]:
    """Return the names of the columns if the first row has them, else nothing. A column of row numbers may lack its name."""
    first = [cell.strip().strip("\ufeff") for cell in rows[0]]
    names = tuple(name.lower() if name.lower() in fields.NAMES else name for name in (first[0] or "1", *first[1:]))
    if len(names) != width or len({*names}) < width or not all(0 < len(name) <= _MAX_NAME for name in names):
        return ()
    if any(map(_NUMBER.fullmatch, first)):
        return ()
    body = [row for row in rows[1:] if len(row) == width]
    known = fields.find_format(names) or any(map(_is_title, names))
    identifiers = all(map(_NAME.fullmatch, names[not first[0] :])) and not all("".join(row).isascii() for row in body)
    numbers = any(_kind([row[column] for row in body]) == "number" for column in range(width))
    return names if known or identifiers or numbers else ()


def _is_known_header(rows: Rows) -> bool:
    """Return whether the first row has names of a known format and other identifiers, so that no prose can follow."""
    if not rows or len(rows[0]) < 2 or not fields.find_format(names := _header(rows, len(rows[0]))):
        return False
    return all(name in fields.NAMES or _NAME.fullmatch(name) for name in names)


def _is_title(name: str) -> bool:
    return name in ("title", "标题", "url")


def _kind(cells: Sequence[str]) -> str:
    """Return what a column holds: number, address, label, short (a label or a short text), text, or nothing at all."""
    filled = [cell.strip() for cell in cells if cell.strip() and cell.strip() not in _NULL]
    if not filled:
        return ""
    if all(map(_NUMBER.fullmatch, filled)):
        return "number"
    if all(map(_ADDRESS.fullmatch, filled)):
        return "address"
    longest = max(map(len, filled))
    if all(map(_IDENTIFIER.fullmatch, filled)) or (longest <= _MAX_LABEL and 3 * len({*filled}) <= len(filled)):
        return "label"
    return "short" if longest <= _MAX_SHORT_LABEL else "text"


def rows(
    file: IO[bytes], part: Range, encoding: Encoding, url: str, source: SourceConfig, table: Table
) -> Iterator[Record | Bad | Skipped]:
    """Yield the rows that start in a range.

    Raises: CorpusError if the text is in none of the columns that the recipe names, or cannot be found.
    """
    columns = _columns(table, url, source)
    width, last = len(table.names), max(columns.values())
    for origin, data, row in _quoted(file, part, encoding, table) if table.quoted else _lines(file, part, encoding, table):
        if len(row) > width and (not any(row[width:]) or (last == width - 1 and not table.quoted)):
            while len(row) > width and not row[-1]:
                row.pop()
            row[width - 1 :] = [table.delimiter.join(row[width - 1 :])]
        if len(data) > MAX_RECORD_BYTES:
            yield Bad(origin, TOO_LONG, excerpt(data))
        elif not row:
            yield Bad(origin, f"not {encodings.NAMES[encoding]}", excerpt(data))
        elif len(row) != width:
            yield Bad(origin, f"a row of {len(row)} columns, not {width}", excerpt(data))
        else:
            cells = ((name, row[column].strip()) for name, column in columns.items())
            yield fields.record(origin, {name: None if cell in _NULL else cell for name, cell in cells}, source)


def _columns(table: Table, url: str, source: SourceConfig) -> Mapping[str, int]:
    """Return the columns to read by the names under which `fields.record` finds them."""
    numbers = {name: column for column, name in enumerate(table.names)}
    shown = ", ".join(f"{column + 1} {name}" if name != str(column + 1) else name for name, column in numbers.items())
    known = {name: column for name, column in numbers.items() if name in fields.NAMES}
    titles = {("title" if name == "标题" else name): column for name, column in known.items() if _is_title(name)}
    if source.text_field:
        named = {str(column + 1): column for column in numbers.values()} | numbers
        missing = [name for name in source.text_field if name not in named]
        if missing:
            raise CorpusError(f"{url}: no column {missing[0]}; name it with --text-field; the columns are {shown}")
        return titles | {name: named[name] for name in source.text_field}
    if fields.find_format(table.names):
        return known
    if len(table.text) == 1:
        return titles | {"text": table.text[0]}
    options = " ".join(f"--text-field {table.names[column]}" for column in table.text) or "--text-field 1"
    which = f"several of its columns may be the text ({options})" if table.text else f"none of its columns is text ({options})"
    raise CorpusError(f"{url}: a table, and {which}; name the right ones by header or number; the columns are {shown}")


def _lines(file: IO[bytes], part: Range, encoding: Encoding, table: Table) -> Iterator[tuple[str, bytes, list[str]]]:
    """Yield (origin, bytes, fields) of rows without quotes; no fields for bytes that cannot be decoded."""
    preamble = table.preamble if part.start == 0 else 0
    for position, line in numbered_lines(file, part.start):
        if not part.contains(position):
            return
        if encodings.is_blank(line, encoding):
            continue
        if preamble:
            preamble -= 1
            continue
        try:
            row = encodings.decode(line, encoding).rstrip("\r\n").split(table.delimiter)
        except UnicodeDecodeError:
            row = []
        yield part.origin(position), line, row


def _quoted(file: IO[bytes], part: Range, encoding: Encoding, table: Table) -> Iterator[tuple[str, bytes, list[str]]]:
    """Yield (origin, bytes, fields) of rows with quotes. A quote that is never closed costs the line that it is in."""
    preamble, source = table.preamble, numbered_lines(file, part.start)
    again: deque[tuple[int, bytes]] = deque()
    while (line := again.popleft() if again else next(source, None)) is not None:
        position, whole = line
        if encodings.is_blank(whole, encoding):
            continue
        more: list[tuple[int, bytes]] = []
        row, size = _parse(whole, encoding, table.delimiter), len(whole)
        while row is None and size <= MAX_RECORD_BYTES and (line := again.popleft() if again else next(source, None)):
            more.append(line)
            size += len(line[1])
            if line[1].count(b'"') % 2:
                row = _parse(b"".join([whole, *(data for _, data in more)]), encoding, table.delimiter)
        if more and row and len(row) == len(table.names):
            whole = b"".join([whole, *(data for _, data in more)])
        elif more:
            row = []
            again.extendleft(reversed(more))
        if preamble:
            preamble -= 1
            continue
        yield part.origin(position), whole, _checked(whole, encoding, row, table)


def _parse(data: bytes, encoding: Encoding, delimiter: str) -> list[str] | None:
    """Return the fields of a row; None if a quote is open at its end, nothing if it is not written as RFC 4180 says."""
    try:
        text = encodings.decode(data, encoding)
    except UnicodeDecodeError:
        text = data.decode(encoding, errors="replace")
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        return None if "unexpected end of data" in str(error) else []


def _checked(data: bytes, encoding: Encoding, row: list[str] | None, table: Table) -> list[str]:
    """Return the fields, split at the delimiters alone if quotes are used in another way; none if they cannot be decoded."""
    try:
        text = encodings.decode(data, encoding)
    except UnicodeDecodeError:
        return []
    return row or [_unquoted(cell) for cell in text.rstrip("\r\n").split(table.delimiter)]


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell
