"""The format of a file, from its first MiB and never from its name: how records are laid out, compression, encoding.

    {"title": ...}\\n{"title": ...}            JSON lines
    [{"completion": ...}, ...                  JSON values: one array, or values one after another, on any number of lines
    PAR1                                       Parquet
    <doc id="13" url="..." title="数学">       <doc> files, written by wikiextractor
    <mediawiki xmlns=...                       a MediaWiki dump
    句子。\\n句子。\\n\\n句子。\\n             documents: one sentence a line, a blank line between documents (BERT's format)
    标题\\n　　段落。\\n　　段落。             a document: Markdown; HTML; a title, then paragraphs; any short text
    句子。\\n句子。\\n ... no blank line       lines: one document each

A file under 1 MiB with blank lines between its paragraphs could be many documents or one. It counts as one document when the
first line is a headline and the other lines are paragraphs rather than sentences of several documents.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.sources.formats import compression, encodings
from pipeline.sources.formats.compression import Compression
from pipeline.sources.formats.encodings import Encoding
from pipeline.sources.formats.text_formats import TEXT_FORMATS

FORMATS = ("JSON lines", "JSON values", "Parquet", "MediaWiki dump", "documents", "a document", "lines", *TEXT_FORMATS)
HEAD = 1 << 20
"""Bytes at the start of a file that decide its format."""

_SPLITTABLE = {"JSON lines", "documents", "lines", *(one.name for one in TEXT_FORMATS.values() if one.splittable)}
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1b"))
_TEXT_BEGINS = "\ufeff \t\r\n"
_JSON_LINE = re.compile(r"\s*\{\s*[\"}]")
_JSON_ARRAY = re.compile(r"\[\s*(?:\{\s*[\"}]|\"|\]\s*$)")
_DUMP = re.compile(r"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<mediawiki\b", re.DOTALL)
_HTML_PAGE = re.compile(r"<!doctype html\b|<html\b", re.IGNORECASE)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_HEADING = re.compile(r"(?:\A|\n[ \t\r]*\n)#{1,6} \S")
_MARKDOWN_BEGINS = re.compile(r"#{1,6} \S|---[ \t]*\r?\n\w+:|[^\n]{1,99}\n={3,}\s*\n")
_SENTENCE_ENDS = tuple("。！？；：，、….!?;:,”’）》」』")
_MAX_HEADLINE = 60


@dataclass(frozen=True)
class FileFormat:
    """The format of a file."""

    kind: str
    """One of FORMATS, or `empty`."""
    compression: Compression = ""
    encoding: Encoding = "utf-8"

    @property
    def splittable(self) -> bool:
        """Whether byte ranges of the file can be read independently."""
        return not self.compression and self.kind in _SPLITTABLE and self.encoding in ("utf-8", "gb18030")

    def __str__(self) -> str:
        """The format as reports show it: `JSON lines, gz, GB18030`."""
        encoding = "" if self.encoding == "utf-8" else encodings.NAMES[self.encoding]
        return ", ".join(filter(None, (self.kind, self.compression, encoding)))


def detect_format(url: str, encoding: str = "auto") -> FileFormat:
    """Detect the format of a file; `encoding` is the recipe's setting.

    Raises: CorpusError for a file that is neither text nor Parquet, or is damaged at its beginning.
    """
    with storage.open_read(url) as file:
        packed = compression.detect(file.read(16))
        file.seek(0)
        head = _read(compression.unpacked(file, packed, url), HEAD + len(encodings.BOM))
    complete = len(head) < HEAD
    if head.startswith(b"PAR1"):
        if packed:
            raise CorpusError(f"{url}: Parquet inside {packed} cannot be read in chunks; unpack it first")
        return FileFormat("Parquet")
    if encoding != "utf-16" and not head.startswith(encodings.WIDE):
        _refuse_binary(head, url)
    encoded = encodings.detect(head, complete, encoding, url)
    return FileFormat(format_name(head.decode(encoded, errors="replace"), complete), packed, encoded)


def _refuse_binary(head: bytes, url: str) -> None:
    """Raise an error for binary data. Crawlers write a few control bytes; in binary files they are about one byte in ten."""
    if head[257:262] == b"ustar":
        raise CorpusError(f"{url}: a tar archive; unpack it first: tar -xf {url}")
    if head.startswith(b"7z\xbc\xaf\x27\x1c"):
        raise CorpusError(f"{url}: a 7z archive; unpack it first: 7z x {url}")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if head.count(0) > len(head) / 200 or controls > len(head) / 20:
        if encodings.looks_like_utf16(head):
            raise CorpusError(f"{url}: apparently UTF-16 without a byte order mark; set --encoding utf-16")
        raise CorpusError(f"{url}: not text (it contains zero or control bytes); check the input")


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


def format_name(head: str, complete: bool) -> str:
    """Return the format of a text that starts with `head`; `complete`: `head` is the whole text."""
    text = head.lstrip(_TEXT_BEGINS)
    if not text:
        return "empty" if complete else "documents"
    if _DUMP.match(text):
        return "MediaWiki dump"
    for known in TEXT_FORMATS.values():
        if known.signature.match(text):
            return known.name
    if _JSON_ARRAY.match(text):
        return "JSON values"
    lines = [line for line in io.StringIO(text) if not line.isspace()]
    if 2 * sum(_JSON_LINE.match(line) is not None for line in lines) > len(lines):
        return "JSON lines"
    if _JSON_LINE.match(text) and _spans_lines(text):
        return "JSON values"
    if complete and (is_html(text) or _is_markdown(text) or _is_one_document(lines, text)):
        return "a document"
    if _BLANK_LINE.search(text):
        return "documents"
    return "a document" if complete else "lines"


def _spans_lines(text: str) -> bool:
    """Return whether the text starts with a JSON value that spans several lines."""
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[:end]


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
    ended = sum(line.rstrip().endswith(_SENTENCE_ENDS) for line in body)
    return blocks == len(lines) and 2 * ended > len(body)


def is_html(text: str) -> bool:
    """Return whether a text is a web page."""
    return _HTML_PAGE.match(text.lstrip(_TEXT_BEGINS)) is not None


def is_headline(line: str) -> bool:
    """Return whether a line looks like a title: short, and not a sentence."""
    line = line.strip()
    return 1 < len(line) <= _MAX_HEADLINE and not line.endswith(_SENTENCE_ENDS)
