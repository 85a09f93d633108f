"""Reading: a byte range of an input file becomes records. Nothing is judged here, and nothing is lost without a word.

    text   documents parted by blank lines (the layout of BERT's data: a sentence a line); a file without any is one document,
           or, above 1 MiB, a document a line; JSON lines with a `text` field are recognised by their first byte
    news   JSON lines in the layout of news2016zh: `title`, `content` (or `text`), optional `desc`, `url`
    demo   the embedded corpus (pipeline/demo.py)

Files may be gz, bz2, xz or zst. A record that cannot be read is a `Bad`, counted and shown, and a few of them fail nothing.
"""

import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from pipeline import storage
from pipeline.errors import CorpusError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_LINE_DOCUMENTS_FROM = 1 << 20
_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
_JSON_ARRAY = re.compile(rb"\s*\[\s*[{\[\"]")
_LONE_SURROGATES = re.compile("[\ud800-\udfff]+")


@dataclass(frozen=True)
class Record:
    """A document as its source has it."""

    origin: str
    """Where it stands: `file#byte`; the identity of the document."""
    title: str
    text: str
    url: str = ""


@dataclass(frozen=True)
class Bad:
    """A record that could not be read."""

    origin: str
    reason: str
    excerpt: str


@dataclass(frozen=True)
class Skipped:
    """A record that is no document by its nature (a redirect, a page of another namespace); counted by reason."""

    reason: str


@dataclass(frozen=True)
class ReadTask:
    """A byte range of an input file: records that start in [start, end)."""

    url: str
    file: str
    """The file's name in its source."""
    start: int
    end: int | None
    """None: to the end; always so for compressed files, which cannot be entered in the middle."""
    number: int

    @property
    def name(self) -> str:
        return f"{self.number:06d}-{self.start:x}-{self.end or 0:x}"


def splittable(url: str) -> bool:
    """Whether ranges of the file can be read by themselves."""
    return not url.endswith(COMPRESSED)


def records(kind: str, task: ReadTask) -> Iterator[Record | Bad]:
    """The records of one task.

    Raises: CorpusError for a file that is truncated or in a form that is not text at all.
    """
    try:
        with storage.open_read(task.url, compression="infer") as file:
            head = _head(task)
            if kind == "news" or head.lstrip().startswith(b"{"):
                yield from _json_lines(file, task)
            elif _BLANK_LINE.search(head) or len(head) < _LINE_DOCUMENTS_FROM:
                yield from _paragraphs(file, task)
            else:
                yield from _lines(file, task)
    except (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        raise CorpusError(f"{task.url}: the compressed file is cut short or damaged ({error}); fetch it again") from error


def _head(task: ReadTask) -> bytes:
    """The first bytes of the file, whatever the range: all tasks of a file must see it alike."""
    mark = b"\xef\xbb\xbf"
    with storage.open_read(task.url, compression="infer") as file:
        head = file.read(_LINE_DOCUMENTS_FROM + len(mark)).removeprefix(mark)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CorpusError(f"{task.url}: UTF-16; convert it first: iconv -f utf-16 -t utf-8")
    if b"\0" in head[:4096]:
        raise CorpusError(f"{task.url}: not text (it holds zero bytes); check what the input names")
    if _JSON_ARRAY.match(head):
        raise CorpusError(f"{task.url}: one JSON array; write it as JSON lines first: jq -c '.[]'")
    return head


def _numbered_lines(file: IO[bytes], task: ReadTask) -> Iterator[tuple[int, bytes]]:
    """Lines with their offsets, from the first that starts at or after the start of the range, to the end of the file."""
    position = task.start
    if task.start:
        file.seek(task.start - 1)
        position += len(file.readline()) - 1
    for line in file:
        yield position, line
        position += len(line)


def _json_lines(file: IO[bytes], task: ReadTask) -> Iterator[Record | Bad]:
    for position, line in _numbered_lines(file, task):
        if task.end is not None and position >= task.end:
            return
        if line.strip():
            yield _json_record(line, f"{task.file}#{position}")


def _json_record(line: bytes, origin: str) -> Record | Bad:
    try:
        fields = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Bad(origin, "not UTF-8", line[:80].decode(errors="replace"))
    except (ValueError, RecursionError):
        return Bad(origin, "not JSON", line[:80].decode(errors="replace"))
    named = [fields.get(name) for name in ("content", "text")] if isinstance(fields, dict) else []
    texts = [text for text in named if isinstance(text, str)]
    if not texts:
        return Bad(origin, "no text or content field", line[:80].decode(errors="replace"))
    text = next(filter(None, texts), "")
    # JSON can say "\ud83d", half of an emoji cut in two, which no encoding can write.
    title, text, url = (
        _LONE_SURROGATES.sub("", part) for part in (str(fields.get("title") or ""), text, str(fields.get("url") or ""))
    )
    return Record(origin, title, text, url)


def _lines(file: IO[bytes], task: ReadTask) -> Iterator[Record | Bad]:
    for position, line in _numbered_lines(file, task):
        if task.end is not None and position >= task.end:
            return
        if line.strip():
            yield _text_record(line, f"{task.file}#{position}")


def _paragraphs(file: IO[bytes], task: ReadTask) -> Iterator[Record | Bad]:
    """Documents parted by blank lines. A document belongs to the range that holds the last blank line before it."""
    separator = 0 if task.start == 0 else -1
    lines: list[bytes] = []
    first = 0
    for position, line in _numbered_lines(file, task):
        if line.strip():
            if not lines:
                if task.end is not None and separator >= task.end:
                    return
                first = position
            if separator >= 0:
                lines.append(line)
        else:
            if lines:
                yield _text_record(b"".join(lines), f"{task.file}#{first}")
                lines = []
            separator = position
            if task.end is not None and separator >= task.end:
                return
    if lines:
        yield _text_record(b"".join(lines), f"{task.file}#{first}")


def _text_record(data: bytes, origin: str) -> Record | Bad:
    try:
        return Record(origin, "", data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Bad(origin, "not UTF-8", data[:80].decode("gb18030", errors="replace"))
