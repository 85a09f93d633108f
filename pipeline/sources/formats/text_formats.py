"""Text formats that the first characters of a file identify: a reader for each, and a table of them at the end.

    <doc id="13" url="https://..." title="数学">\\n数学\\n\\n数学是...\\n</doc> -> Record("f#0", "数学", "数学是...", "https://...")

A new format needs only a reader, an entry in TEXT_FORMATS and a row in docs/corpora.md: detection.py and documents/reading.py
look formats up in the table. docs/extending.md has an example.
"""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from pipeline.errors import CorpusError
from pipeline.sources.formats import encodings, fields
from pipeline.sources.formats.encodings import Encoding
from pipeline.sources.formats.lines import Block, Range, numbered_lines
from pipeline.sources.records import Bad, Record, excerpt

_ATTRIBUTE = re.compile(r'\b(title|url)="(.*?)"(?=\s+[a-z]+="|\s*>\s*$)')

Reader = Callable[[IO[bytes], Range, Encoding, str], Iterator[Record | Bad]]
"""Yields the records that start in a range of a file. Arguments: the file, decompressed; the range; its encoding; its URL."""


@dataclass(frozen=True)
class TextFormat:
    """A text format that a signature identifies."""

    name: str
    signature: re.Pattern[str]
    """Matches at the first character that is not white space."""
    read: Reader
    splittable: bool
    """Whether `read` can start at any byte. If not, it is given whole files only."""


def elements(file: IO[bytes], part: Range, encoding: Encoding, url: str) -> Iterator[Record | Bad]:
    """Yield the <doc> elements that start in a range. Text between them and elements without an end are bad records."""
    chunk: Block | None = None
    started = part.start == 0
    for position, line in numbered_lines(file, part.start):
        if line.startswith(b"<doc "):
            if chunk is not None:
                yield Bad(chunk.origin, "no </doc> at its end", excerpt(chunk.data))
            if not part.contains(position):
                return
            chunk, started = Block(part.origin(position), line), True
        elif chunk is not None and line.startswith(b"</doc>"):
            yield _element(chunk.record(encoding))
            chunk = None
        elif chunk is not None:
            chunk.add(line)
        elif started and not line.isspace() and line != encodings.BOM:
            yield Bad(part.origin(position), "outside <doc>", excerpt(line))
    if chunk is not None:
        raise CorpusError(f"{url}: cut short (no </doc> at its end); fetch it again")


def _element(found: Record | Bad) -> Record | Bad:
    """Return the record of an element from its text with the tag."""
    if isinstance(found, Bad):
        return found
    tag, _, text = found.text.partition("\n")
    attributes = dict(_ATTRIBUTE.findall(tag))
    title = html.unescape(attributes.get("title", ""))
    # wikiextractor escapes text as HTML: < is written &lt;
    text = fields.without_title(html.unescape(text).lstrip("\r\n"), title)
    return Record(found.origin, title, text, html.unescape(attributes.get("url", "")))


TEXT_FORMATS = {
    one.name: one
    for one in [
        TextFormat("<doc> files", re.compile(r"<doc\s[^>\n]*>"), elements, splittable=True),
    ]
}
"""By name. The first whose signature matches is the format of a file."""
