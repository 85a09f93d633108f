"""Plain text: documents separated by blank lines, one document a line, or one document a file.

    句子一。\\n句子二。\\n\\n句子三。\\n    two documents, identified by their offsets

A range contains the documents that start in it; with blank lines as separators, those whose last preceding blank line is in it.
"""

import re
from collections.abc import Iterator
from typing import IO

from pipeline.sources.formats import fields, front_matter
from pipeline.sources.formats.encodings import Encoding, is_blank
from pipeline.sources.formats.foreign import is_html
from pipeline.sources.formats.lines import MAX_RECORD_BYTES, Block, Range, numbered_lines
from pipeline.sources.records import Bad, Record

_HASHES = re.compile(r"#{1,6} ")
SENTENCE_ENDS = tuple("。！？；：，、….!?;:,”’）》」』")
_MAX_HEADLINE = 60


def lines(file: IO[bytes], part: Range, encoding: Encoding) -> Iterator[Record | Bad]:
    """Yield one document a line."""
    for position, line in numbered_lines(file, part.start):
        if not part.contains(position):
            return
        if not is_blank(line, encoding):
            yield Block(part.origin(position), line).record(encoding)


def documents(file: IO[bytes], part: Range, encoding: Encoding) -> Iterator[Record | Bad]:
    """Yield documents separated by blank lines. A document belongs to the range with the last blank line before it."""
    separator = 0 if part.start == 0 else -1
    chunk: Block | None = None
    for position, line in numbered_lines(file, part.start):
        if not is_blank(line, encoding):
            if chunk is not None:
                chunk.add(line)
            elif not part.contains(separator):
                return
            elif separator >= 0:
                chunk = Block(part.origin(position), line)
        else:
            if chunk is not None:
                yield chunk.record(encoding)
                chunk = None
            separator = position
            if not part.contains(separator):
                return
    if chunk is not None:
        yield chunk.record(encoding)


def document(file: IO[bytes], part: Range, encoding: Encoding) -> Iterator[Record | Bad]:
    """Yield the file as one document; a headline at its top becomes the title."""
    found = Block(part.origin(0), file.read(MAX_RECORD_BYTES + 1)).record(encoding)
    yield _titled(found) if isinstance(found, Record) else found


def _titled(record: Record) -> Record:
    if is_html(record.text):
        return Record(record.origin, "", record.text, markup=True)
    whole = record.text.lstrip("\ufeff\r\n")
    title, text = front_matter.parted(whole)
    if title:
        heading = _HASHES.match(text)
        return Record(record.origin, title, fields.without_title(text[heading.end() :] if heading else text, title))
    if text != whole:
        record = Record(record.origin, "", text)
    first, _, rest = record.text.lstrip().partition("\n")
    title = _HASHES.sub("", first).strip()
    return Record(record.origin, title, rest.lstrip("\r\n")) if rest.strip() and is_headline(title) else record


def is_headline(line: str) -> bool:
    """Return whether a line looks like a title: short, and not a sentence."""
    line = line.strip()
    return 1 < len(line) <= _MAX_HEADLINE and not line.endswith(SENTENCE_ENDS)
