"""The format of a file, from its first MiB and never from its name: how records are laid out, compression, encoding.

    {"title": ...}\\n{"title": ...}            JSON lines
    [{"completion": ...}, ...                  JSON values: one array, or values one after another, on any number of lines
    {"title": ...}{"title": ...}               JSON values too
    {"total": 9, "data": [{"content": ...      JSON values as well: the items of the array
    PAR1                                       Parquet
    ff ff ff ff 78 00 00 00                    Arrow: what save_to_disk writes
    id,title,content\\n0,题,"正文..."\\n        CSV; with tabs, TSV (tables.py)
    <doc id="13" url="..." title="数学">       <doc> files: wikiextractor's and others
    WARC/1.0                                   WET: Common Crawl's text of pages
    WEBVTT, [Script Info], 1\\n00:00:01,600 -->   subtitles; with [ti:歌名] or [00:12.50], lyrics
    <mediawiki xmlns=...                       a MediaWiki dump
    句子。\\n句子。\\n\\n句子。\\n             documents: one sentence a line, a blank line between documents (BERT's format)
    标题\\n　　段落。\\n　　段落。             a document: Markdown; HTML; a title, then paragraphs; any short text
    句子。\\n句子。\\n ... no blank line       lines: one document each

A file under 1 MiB with blank lines between its paragraphs could be many documents or one. It counts as one document when the
first line is a headline and the other lines are paragraphs rather than sentences of several documents, or short posts.

What is none of these is refused by its name where it has one (foreign.py), so that no structured text passes for prose.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, cast

from pipeline import compression, storage
from pipeline.compression import Compression
from pipeline.errors import CorpusError
from pipeline.sources.formats import arrow, encodings, foreign, tables
from pipeline.sources.formats.encodings import TEXT_BEGINS, Encoding
from pipeline.sources.formats.json_values import raw_decode, wrapped_array
from pipeline.sources.formats.plain import SENTENCE_ENDS, is_headline
from pipeline.sources.formats.tables import Table
from pipeline.sources.formats.text_formats import TEXT_FORMATS, child_names

FORMATS = (
    "JSON lines",
    "JSON values",
    "Parquet",
    "Arrow",
    "CSV",
    "TSV",
    "MediaWiki dump",
    "documents",
    "a document",
    "lines",
    *TEXT_FORMATS,
)
HEAD = 1 << 20
"""Bytes at the start of a file that decide its format."""

_SPLITTABLE = {"JSON lines", "TSV", "documents", "lines", *(one.name for one in TEXT_FORMATS.values() if one.splittable)}
_JSON_LINE = re.compile(r"[\s\ufeff]*\{\s*[\"}]")
_JSON_ARRAY = re.compile(r"\[\s*(?:\{\s*[\"}]|\"|\]\s*$)")
_DUMP = re.compile(r"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<mediawiki\b", re.DOTALL)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_HEADING = re.compile(r"(?:\A|\n[^\S\n]*\n)#{1,6} \S")
_ANOTHER_VALUE = re.compile(r"[ \t,]*\{")
_END_OF_LINE = re.compile(r"[ \t,]*\r?\n")
_ELEMENTS = re.compile(r"\A[^\n]*\n<doc(?:\s[^>\n]*)?>\s*\n", re.IGNORECASE)
"""A first line that is no element, such as a comment, and the start of one."""
_PREAMBLE = 1_000
_MARKDOWN_BEGINS = re.compile(r"#{1,6} \S|(?:---|\+\+\+)[ \t]*\r?\n\w+[ \t]*[:=]|[^\n]{1,99}\n={3,}\s*\n")
_SHORT_POST, _MAX_SHORT_POSTS = 20, 0.1
"""Characters of a short paragraph that is a sentence, and the ratio of them among the paragraphs of one document."""
_MIN_HEADLINE = 4


@dataclass(frozen=True)
class FileFormat:
    """The format of a file."""

    kind: str
    """One of FORMATS, or `empty`."""
    compression: Compression = ""
    encoding: Encoding = "utf-8"
    table: Table | None = None
    """How the table is written, if it is one."""
    fields: tuple[str, ...] = field(default=(), compare=False)
    """Names of the fields of the first record, if it is JSON or an element."""

    @property
    def splittable(self) -> bool:
        """Whether byte ranges of the file can be read independently."""
        if self.compression or self.encoding not in ("utf-8", "gb18030"):
            return False
        return self.kind in _SPLITTABLE and not (self.table and self.table.quoted)

    def __str__(self) -> str:
        """The format as reports show it: `JSON lines, gz, GB18030`."""
        encoding = "" if self.encoding == "utf-8" else encodings.NAMES[self.encoding]
        return ", ".join(filter(None, (self.kind, self.compression, encoding)))


def detect_format(url: str, encoding: str = "auto") -> FileFormat:
    """Detect the format of a file; `encoding` is the recipe's setting.

    Raises: CorpusError for a file that is not read (foreign.py), or is damaged at its beginning.
    """
    with storage.open_read(url) as file:
        packed = compression.detect(file.read(16))
        file.seek(0)
        head = _read(compression.unpacked(file, packed, url), HEAD + len(encodings.BOM))
    complete = len(head) < HEAD
    if packed and (inside := compression.detect(head[:16])):
        raise CorpusError(f"{url}: packed twice ({inside} inside {packed}); unpack it once first")
    if head.startswith(b"PAR1"):
        if packed:
            raise CorpusError(f"{url}: Parquet inside {packed} cannot be read in chunks; unpack it first")
        return FileFormat("Parquet")
    if arrow.is_arrow(head):
        return FileFormat("Arrow", packed)
    if encoding != "utf-16" and not head.startswith(encodings.WIDE):
        foreign.refuse_binary(head, url)
    encoded = encodings.detect(head, complete, encoding, url)
    text = head.decode(encoded, errors="replace")
    foreign.refuse_text(text.lstrip(TEXT_BEGINS), url)
    kind, table = classify(text, complete)
    return FileFormat(kind, packed, encoded, table, _first_fields(text, kind))


def _read(file: IO[bytes], size: int) -> bytes:
    """Read `size` bytes, or all there are: a stream may return fewer at a time."""
    chunks = []
    while size and (chunk := file.read(size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


@contextlib.contextmanager
def open_unpacked(url: str, file_format: FileFormat) -> Iterator[IO[bytes]]:
    """Open the file, decompressed; text is UTF-8, or GB18030 when byte ranges are read."""
    with storage.open_read(url) as file:
        whole = compression.unpacked(file, file_format.compression, url)
        if not isinstance(whole, io.BufferedReader):  # fsspec's files read lines slowly, and without a length limit
            whole = cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, whole), HEAD))
        yield whole if _bytes_are_text(file_format) else encodings.as_utf8(whole, file_format.encoding, url)


def stream_encoding(file_format: FileFormat) -> Encoding:
    """Return the encoding of the stream that `open_unpacked` yields."""
    return file_format.encoding if _bytes_are_text(file_format) else "utf-8"


def _bytes_are_text(file_format: FileFormat) -> bool:
    return file_format.encoding in ("utf-8", "gb18030") and file_format.kind != "JSON values"


def classify(head: str, complete: bool) -> tuple[str, Table | None]:
    """Return the format of a text that starts with `head`, and its table if it is one; `complete`: `head` is the whole text."""
    text = head.lstrip(TEXT_BEGINS)
    if not text.strip():
        return "empty" if complete else "documents", None
    if name := _marked_format(text):
        return name, None
    if (not complete or not foreign.is_html(text)) and (table := tables.detect(head.lstrip("\ufeff\r\n"), complete)):
        return table.kind, table
    lines = [line for line in io.StringIO(text) if not line.isspace()]
    if complete and (foreign.is_html(text) or _is_markdown(text) or _is_one_document(lines, text)):
        return "a document", None
    if _BLANK_LINE.search(text):
        return "documents", None
    return "a document" if complete else "lines", None


def _marked_format(text: str) -> str:
    """Return the format that a signature or brackets identify; "" for tables and plain text."""
    if _DUMP.match(text):
        return "MediaWiki dump"
    for known in TEXT_FORMATS.values():
        if known.signature.match(text):
            return known.name
    if _JSON_ARRAY.match(text):
        return "JSON values"
    if "<doc" in text[:_PREAMBLE] and _ELEMENTS.search(text[:_PREAMBLE]) and "\n</doc>" in text:
        return "<doc> files"
    if "{" not in text:
        return ""
    if wrapped_array(text):
        return "JSON values"
    starts_with_json = _JSON_LINE.match(text) is not None
    if starts_with_json and _another_on_its_line(text):
        return "JSON values"
    lines = [line for line in io.StringIO(text) if not line.isspace()]
    if 2 * sum(_JSON_LINE.match(line) is not None for line in lines) > len(lines):
        return "JSON lines"
    if not starts_with_json or not (end := _end_of_value(text)):
        return ""
    if "\n" in text[:end]:
        return "JSON values"
    # A record alone on its line: what is between records, such as a crawler's log, is bad, and no prose.
    return "JSON lines" if _END_OF_LINE.match(text, end) else ""


def _another_on_its_line(text: str) -> bool:
    """Return whether the text starts with several JSON values on one line."""
    end = _end_of_value(text)
    return end > 0 and _ANOTHER_VALUE.match(text, end) is not None


def _end_of_value(text: str) -> int:
    """Return where the JSON value at the start of a text ends; 0 if it does not."""
    try:
        return raw_decode(text)[1]
    except (ValueError, RecursionError):
        return 0


def _first_fields(text: str, kind: str) -> tuple[str, ...]:
    """Return the names of the fields of the first record, if records have any."""
    if kind == "<doc> files":
        return child_names(text)
    if not kind.startswith("JSON"):
        return ()
    try:
        value, _ = raw_decode(text, max(text.find("{"), 0))
    except (ValueError, RecursionError):
        return ()
    return tuple(value) if isinstance(value, dict) else ()


def _is_markdown(text: str) -> bool:
    """Return whether the text has a heading or front matter at the top, or two headings after blank lines."""
    return _MARKDOWN_BEGINS.match(text) is not None or len(_HEADING.findall(text)) > 1


def _is_one_document(lines: list[str], text: str) -> bool:
    """Return whether a headline is followed by paragraphs: lines all indented, or all with blank lines around them."""
    if not is_headline(lines[0]) or len(lines) < 3:
        return False
    body = lines[1:]
    if all(line.startswith("\u3000") for line in body):  # Chinese print indents paragraphs by two ideographic spaces
        return True
    blocks = len(_BLANK_LINE.findall(text.rstrip())) + 1
    ended = [line for line in map(str.strip, body) if line.endswith(SENTENCE_ENDS)]
    if blocks != len(lines) or 2 * len(ended) <= len(body) or len(lines[0].strip()) < _MIN_HEADLINE:
        return False
    posts = sum(len(line) < _SHORT_POST and line[0] not in "“「『" for line in ended)  # what people say may be short
    return posts <= _MAX_SHORT_POSTS * len(body)
