"""Text formats that the first characters of a file identify: a reader for each, and a table of them at the end.

    <doc id="13" url="https://..." title="数学">\\n数学\\n\\n数学是...\\n</doc>              wikiextractor
    <doc>\\n<url>http://...</url>\\n<contenttitle>题</contenttitle>\\n<content>...   Sogou's news
    <doc id=0>\\n<summary>...</summary>\\n<short_text>...</short_text>\\n</doc>     LCSTS
    WARC/1.0\\r\\nWARC-Type: conversion\\r\\nWARC-Target-URI: http://...             WET: Common Crawl's text of web pages
    1\\n00:00:01,600 --> 00:00:04,200\\n你去哪儿？                                   subtitles and lyrics (subtitles.py)

A new format needs only a reader, an entry in TEXT_FORMATS and a row in docs/corpora.md: detection.py and documents/reading.py
look formats up in the table. docs/extending.md has an example.
"""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import IO

from pipeline.errors import CorpusError
from pipeline.sources.formats import fields, subtitles
from pipeline.sources.formats.encodings import TEXT_BEGINS, Encoding, is_blank
from pipeline.sources.formats.lines import MAX_RECORD_BYTES, TOO_LONG, Block, Range, numbered_lines
from pipeline.sources.records import EXCERPT, Bad, Record, Skipped, excerpt

_ATTRIBUTE = re.compile(r'\b(title|url)="(.*?)"(?=\s+[a-z]+="|\s*>\s*$)')
_START = re.compile(rb"<doc(?:\s|>\s*$)", re.IGNORECASE)
_END = re.compile(rb"</doc>", re.IGNORECASE)
_TAGS = re.compile(rb"(<doc(?:\s[^<>]*)?>|</doc>)", re.IGNORECASE)
_CHILD = re.compile(
    r"(?:^[ \t]*|(?<=>))<(url|contenttitle|doctitle|title|headline|summary|content|text|short_text)>(.*?)</\1>",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_CHILD_START = re.compile(r"^[ \t]*<([A-Za-z_]+)>", re.MULTILINE)
_FIRST_CHILD = re.compile(r"\s*<[a-z_]+>", re.IGNORECASE)
_TITLES, _TEXTS = ("contenttitle", "doctitle", "title", "headline", "summary"), ("content", "text", "short_text")
_SOGOU_BREAK = "\ue40c"
"""What Sogou's news have between paragraphs: a character for private use."""

Reader = Callable[[IO[bytes], Range, Encoding, str], Iterator[Record | Bad | Skipped]]
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
    for position, start, line in _with_tags_apart(numbered_lines(file, part.start)):
        if line[:4].lower() == b"<doc" and _START.match(line):
            if chunk is not None:
                yield Bad(chunk.origin, "no </doc> at its end", excerpt(chunk.data))
            if not part.contains(start):
                return
            chunk, started = Block(part.origin(position), line), True
        elif chunk is not None and line[:1] == b"<" and _END.match(line):
            yield _element(chunk.record(encoding))
            chunk = None
        elif chunk is not None:
            chunk.add(line)
        elif started and not is_blank(line, encoding):
            yield Bad(part.origin(position), "outside <doc>", excerpt(line))
    if chunk is not None:
        raise CorpusError(f"{url}: cut short (no </doc> at its end); fetch it again")


def _with_tags_apart(lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    """Yield (position, start of its line, line): lines as they are, but those that end elements after other text in pieces."""
    for start, line in lines:
        if b"</" not in line or line[:6].lower() == b"</doc>" or not _END.search(line):
            yield start, start, line
            continue
        position = start
        for piece in _TAGS.split(line):
            if piece:
                yield position, start, piece + b"\n" if _START.match(piece) else piece
            position += len(piece)


def _element(found: Record | Bad) -> Record | Bad:
    """Return the record of an element from its text with the tag."""
    if isinstance(found, Bad):
        return found
    tag, _, text = found.text.partition("\n")
    if _FIRST_CHILD.match(text) and "title=" not in tag:
        return _of_children(found, text)
    attributes = dict(_ATTRIBUTE.findall(tag))
    title = html.unescape(attributes.get("title", ""))
    # wikiextractor escapes text as HTML: < is written &lt;
    text = fields.without_title(html.unescape(text).lstrip("\r\n"), title)
    return Record(found.origin, title, text, html.unescape(attributes.get("url", "")))


def child_names(text: str) -> tuple[str, ...]:
    """Return the names of the elements in the first element of a text; none for the elements that wikiextractor writes."""
    tag, _, rest = text.lstrip(TEXT_BEGINS).partition("\n")
    if not _FIRST_CHILD.match(rest) or "title=" in tag:
        return ()
    return tuple(dict.fromkeys(_CHILD_START.findall(rest.partition("</doc>")[0])))


def _of_children(found: Record, text: str) -> Record | Bad:
    """Return the record of an element whose fields are elements of their own."""
    children: dict[str, str] = {}
    for name, content in _CHILD.findall(text):
        children.setdefault(name.lower(), content.strip())
    if not any(name in children for name in _TEXTS):
        return Bad(found.origin, fields.NO_TEXT, text[:EXCERPT])
    title, body = ("\n".join(filter(None, (children.get(name, "") for name in names))) for names in (_TITLES, _TEXTS))
    body = body.replace(_SOGOU_BREAK, "\n")
    return Record(found.origin, title.replace(_SOGOU_BREAK, " "), body, children.get("url", ""))


def wet_pages(file: IO[bytes], part: Range, encoding: Encoding, url: str) -> Iterator[Record | Bad | Skipped]:
    """Yield the pages of a WET file of Common Crawl; records that are not of type `conversion` are no text of pages.

    A WARC record is a header, a blank line, `Content-Length` bytes and two blank lines.
    """
    end = 0
    while line := file.readline(MAX_RECORD_BYTES):
        start, end = end, end + len(line)
        if line.isspace():
            continue
        header: dict[str, str] = {}
        while (line := file.readline(MAX_RECORD_BYTES)).strip():
            name, _, value = line.decode(errors="replace").partition(":")
            header[name.strip().lower()] = value.strip()
            end += len(line)
        end += len(line)
        size = header.get("content-length", "")
        length = int(size) if size.isdecimal() and len(size) < 20 else -1
        text = file.read(min(length, MAX_RECORD_BYTES)) if length >= 0 else b""
        rest = length - len(text)
        while rest > 0 and (more := file.read(min(rest, MAX_RECORD_BYTES))):
            rest -= len(more)
        if rest:
            raise CorpusError(f"{url}: damaged or cut short in the record at byte {start:,}; fetch it again")
        end += length
        if (kind := header.get("warc-type", "")) != "conversion":
            yield Skipped(f"WARC {kind or 'record'}")
        elif length > len(text):
            yield Bad(part.origin(start), TOO_LONG, excerpt(text))
        else:
            found = Block(part.origin(start), text).record(encoding)
            yield replace(found, url=header.get("warc-target-uri", "")) if isinstance(found, Record) else found


TEXT_FORMATS = {
    one.name: one
    for one in [
        TextFormat("<doc> files", re.compile(r"<doc(?:\s[^>\n]*)?>", re.IGNORECASE), elements, splittable=True),
        TextFormat("WET", re.compile(r"WARC/\d\.\d\s"), wet_pages, splittable=False),
        TextFormat("subtitles", subtitles.SUBTITLES, subtitles.subtitles, splittable=False),
        TextFormat("lyrics", subtitles.LYRICS, subtitles.lyrics, splittable=False),
    ]
}
"""By name. The first whose signature matches is the format of a file."""
