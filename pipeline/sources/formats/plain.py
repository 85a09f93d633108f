"""Plain text: documents separated by blank lines, one document a line, one document a file, or <doc> elements.

    句子一。\\n句子二。\\n\\n句子三。\\n                                        two documents, identified by their offsets
    <doc id="13" url="https://..." title="数学">\\n数学\\n\\n数学是...\\n</doc>   a document with title and URL

A range contains the documents that start in it; with blank lines as separators, those whose last preceding blank line is in it.
"""

import html
import re
from collections.abc import Iterator
from typing import IO

from pipeline.errors import CorpusError
from pipeline.sources.formats import encodings, fields
from pipeline.sources.formats.detection import is_headline, is_html
from pipeline.sources.formats.encodings import Encoding
from pipeline.sources.formats.lines import (
    MAX_RECORD_BYTES,
    TOO_LONG,
    Range,
    numbered_lines,
)
from pipeline.sources.records import Bad, Record, excerpt

_HASHES = re.compile(r"#{1,6} ")
_ATTRIBUTE = re.compile(r'\b(title|url)="(.*?)"(?=\s+[a-z]+="|\s*>\s*$)')


def lines(file: IO[bytes], part: Range, encoding: Encoding) -> Iterator[Record | Bad]:
    """Yield one document a line."""
    for position, line in numbered_lines(file, part.start):
        if not part.contains(position):
            return
        if not line.isspace():
            yield _record(_Lines(part.origin(position), line), encoding)


def documents(file: IO[bytes], part: Range, encoding: Encoding) -> Iterator[Record | Bad]:
    """Yield documents separated by blank lines. A document belongs to the range with the last blank line before it."""
    separator = 0 if part.start == 0 else -1
    chunk: _Lines | None = None
    for position, line in numbered_lines(file, part.start):
        if not line.isspace():
            if chunk is not None:
                chunk.add(line)
            elif not part.contains(separator):
                return
            elif separator >= 0:
                chunk = _Lines(part.origin(position), line)
        else:
            if chunk is not None:
                yield _record(chunk, encoding)
                chunk = None
            separator = position
            if not part.contains(separator):
                return
    if chunk is not None:
        yield _record(chunk, encoding)


def document(file: IO[bytes], part: Range, encoding: Encoding) -> Iterator[Record | Bad]:
    """Yield the file as one document; a headline at its top becomes the title."""
    found = _record(_Lines(part.origin(0), file.read(MAX_RECORD_BYTES + 1)), encoding)
    yield _titled(found) if isinstance(found, Record) else found


def _titled(record: Record) -> Record:
    if is_html(record.text):
        return Record(record.origin, "", record.text, markup=True)
    first, _, rest = record.text.lstrip().partition("\n")
    title = _HASHES.sub("", first).strip()
    return Record(record.origin, title, rest.lstrip("\r\n")) if rest.strip() and is_headline(title) else record


def elements(file: IO[bytes], part: Range, encoding: Encoding, url: str) -> Iterator[Record | Bad]:
    """Yield the <doc> elements that start in a range. Text between them and elements without an end are bad records."""
    chunk: _Lines | None = None
    started = part.start == 0
    for position, line in numbered_lines(file, part.start):
        if line.startswith(b"<doc "):
            if chunk is not None:
                yield Bad(chunk.origin, "no </doc> at its end", excerpt(chunk.data))
            if not part.contains(position):
                return
            chunk, started = _Lines(part.origin(position), line), True
        elif chunk is not None and line.startswith(b"</doc>"):
            yield _element(chunk, encoding)
            chunk = None
        elif chunk is not None:
            chunk.add(line)
        elif started and not line.isspace() and line != encodings.BOM:
            yield Bad(part.origin(position), "outside <doc>", excerpt(line))
    if chunk is not None:
        raise CorpusError(f"{url}: cut short (no </doc> at its end); fetch it again")


def _element(chunk: "_Lines", encoding: Encoding) -> Record | Bad:
    found = _record(chunk, encoding)
    if isinstance(found, Bad):
        return found
    tag, _, text = found.text.partition("\n")
    attributes = dict(_ATTRIBUTE.findall(tag))
    title = html.unescape(attributes.get("title", ""))
    # wikiextractor escapes text as HTML: < is written &lt;
    text = fields.without_title(html.unescape(text).lstrip("\r\n"), title)
    return Record(found.origin, title, text, html.unescape(attributes.get("url", "")))


class _Lines:
    """The lines of a document, up to MAX_RECORD_BYTES."""

    def __init__(self, origin: str, line: bytes) -> None:
        self.origin = origin
        self._lines, self.size = [line], len(line)

    def add(self, line: bytes) -> None:
        self.size += len(line)
        if self.size <= MAX_RECORD_BYTES:
            self._lines.append(line)

    @property
    def data(self) -> bytes:
        return b"".join(self._lines)


def _record(chunk: _Lines, encoding: Encoding) -> Record | Bad:
    data = chunk.data
    if chunk.size > MAX_RECORD_BYTES:
        return Bad(chunk.origin, TOO_LONG, excerpt(data))
    try:
        return Record(chunk.origin, "", data.removeprefix(encodings.BOM).decode(encoding))
    except UnicodeDecodeError:
        return Bad(chunk.origin, f"not {encodings.NAMES[encoding]}", excerpt(data))
