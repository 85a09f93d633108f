"""What a file is, told by its first MiB, never by its name: layout, compression, encoding.

    {"title": ...}\\n{"title": ...}            JSON lines
    [{"completion": ...}, ...                  JSON values: one array, or values one after another, on any number of lines
    PAR1                                       Parquet
    <doc id="13" url="..." title="数学">       <doc> files, as wikiextractor writes them
    <mediawiki xmlns=...                       a MediaWiki dump
    句子。\\n句子。\\n\\n句子。\\n             documents: a sentence a line, a blank line between them (as BERT's data)
    标题\\n　　段落。\\n　　段落。             a document: Markdown; HTML; a title, then paragraphs; any short text
    句子。\\n句子。\\n ... no blank line       lines: a document each

A file of less than 1 MiB whose paragraphs are parted by blank lines could be many documents or one. It is one where it shows
that it is: a headline stands at its top, and its lines are paragraphs, not sentences of several documents.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal, cast

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.sources.formats import compression, encodings
from pipeline.sources.formats.compression import Compression
from pipeline.sources.formats.encodings import Encoding

Layout = Literal[
    "empty", "JSON lines", "JSON values", "Parquet", "<doc> files", "MediaWiki dump", "documents", "a document", "lines"
]
HEAD = 1 << 20
"""Bytes that decide what a file is."""

_BYTE_WISE: set[Layout] = {"JSON lines", "documents", "lines", "<doc> files"}
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1b"))
_TEXT_BEGINS = "\ufeff \t\r\n"
_JSON_LINE = re.compile(r"\s*\{\s*[\"}]")
_JSON_ARRAY = re.compile(r"\[\s*(?:\{\s*[\"}]|\"|\]\s*$)")
_DOC = re.compile(r"<doc\s[^>\n]*>")
_DUMP = re.compile(r"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<mediawiki\b", re.DOTALL)
_HTML_PAGE = re.compile(r"<!doctype html\b|<html\b", re.IGNORECASE)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_HEADING = re.compile(r"(?:\A|\n[ \t\r]*\n)#{1,6} \S")
_MARKDOWN_BEGINS = re.compile(r"#{1,6} \S|---[ \t]*\r?\n\w+:|[^\n]{1,99}\n={3,}\s*\n")
_SENTENCE_ENDS = tuple("。！？；：，、….!?;:,”’）》」』")
_LONGEST_HEADLINE = 60


@dataclass(frozen=True)
class FileFormat:
    """What a file is."""

    layout: Layout
    compression: Compression = ""
    encoding: Encoding = "utf-8"

    @property
    def splittable(self) -> bool:
        """Whether ranges of its bytes can be read by themselves."""
        return not self.compression and self.layout in _BYTE_WISE and self.encoding in ("utf-8", "gb18030")

    def __str__(self) -> str:
        """As reports tell it: `JSON lines, gz, GB18030`."""
        encoding = "" if self.encoding == "utf-8" else encodings.NAMES[self.encoding]
        return ", ".join(filter(None, (self.layout, self.compression, encoding)))


def form(url: str, encoding: str = "auto") -> FileFormat:
    """Recognise a file; `encoding` is what the recipe says of it.

    Raises: CorpusError for one that is neither text nor Parquet, or is damaged from its beginning.
    """
    with storage.open_read(url) as file:
        packed = compression.of(file.read(16))
        file.seek(0)
        head = _read(compression.unpacked(file, packed, url), HEAD + len(encodings.BOM))
    complete = len(head) < HEAD
    if head.startswith(b"PAR1"):
        if packed:
            raise CorpusError(f"{url}: Parquet inside {packed} cannot be read in chunks; unpack it first")
        return FileFormat("Parquet")
    if encoding != "utf-16" and not head.startswith(encodings.WIDE):
        _refuse_binary(head, url)
    encoded = encodings.of(head, complete, encoding, url)
    return FileFormat(layout(head.decode(encoded, errors="replace"), complete), packed, encoded)


def _refuse_binary(head: bytes, url: str) -> None:
    """Some control bytes stand in what crawlers write; binary files hold a tenth of them."""
    if head[257:262] == b"ustar":
        raise CorpusError(f"{url}: a tar archive; unpack it first: tar -xf {url}")
    if head.startswith(b"7z\xbc\xaf\x27\x1c"):
        raise CorpusError(f"{url}: a 7z archive; unpack it first: 7z x {url}")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if head.count(0) > len(head) / 200 or controls > len(head) / 20:
        if encodings.looks_like_utf16(head):
            raise CorpusError(f"{url}: UTF-16 without its mark, as it seems; say so: --encoding utf-16")
        raise CorpusError(f"{url}: not text (it holds zero or control bytes); check what the input names")


def _read(file: IO[bytes], size: int) -> bytes:
    """So many bytes, or all there are: a stream may give fewer at a time."""
    chunks = []
    while size and (chunk := file.read(size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


@contextlib.contextmanager
def opened(url: str, form: FileFormat) -> Iterator[IO[bytes]]:
    """The file from its beginning, unpacked; in UTF-8, or in GB18030 where ranges of its bytes are read."""
    with storage.open_read(url) as file:
        whole = compression.unpacked(file, form.compression, url)
        if not isinstance(whole, io.BufferedReader):  # fsspec's files read lines slowly, and of any length
            whole = cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, whole), HEAD))
        yield whole if _bytes_are_text(form) else encodings.as_utf8(whole, form.encoding, url)


def codec(form: FileFormat) -> Encoding:
    """The encoding of what `opened` gives."""
    return form.encoding if _bytes_are_text(form) else "utf-8"


def _bytes_are_text(form: FileFormat) -> bool:
    return form.encoding in ("utf-8", "gb18030") and form.layout != "JSON values"


def layout(head: str, complete: bool) -> Layout:
    """The layout of a text that begins with `head`; `complete`: and ends with it."""
    text = head.lstrip(_TEXT_BEGINS)
    if not text:
        return "empty" if complete else "documents"
    if _DUMP.match(text):
        return "MediaWiki dump"
    if _DOC.match(text):
        return "<doc> files"
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
    """Whether a JSON value on several lines begins the text."""
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[:end]


def _is_markdown(text: str) -> bool:
    """A heading or front matter at the top, or two headings after blank lines."""
    return _MARKDOWN_BEGINS.match(text) is not None or len(_HEADING.findall(text)) > 1


def _is_one_document(lines: list[str], text: str) -> bool:
    """A headline, and below it lines that are paragraphs: indented ones, or each with blank lines around it."""
    if not is_headline(lines[0]) or len(lines) < 3:
        return False
    body = lines[1:]
    if all(line.startswith("\u3000") for line in body):  # two ideographic spaces begin a paragraph of Chinese print
        return True
    blocks = len(_BLANK_LINE.findall(text.rstrip())) + 1
    ended = sum(line.rstrip().endswith(_SENTENCE_ENDS) for line in body)
    return blocks == len(lines) and 2 * ended > len(body)


def is_html(text: str) -> bool:
    """Whether a text is a page of the web."""
    return _HTML_PAGE.match(text.lstrip(_TEXT_BEGINS)) is not None


def is_headline(line: str) -> bool:
    """Whether a line reads like a title: short, and no sentence."""
    line = line.strip()
    return 1 < len(line) <= _LONGEST_HEADLINE and not line.endswith(_SENTENCE_ENDS)
