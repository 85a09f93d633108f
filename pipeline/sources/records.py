"""The result of reading: a record, one that could not be read, or one that is not a document by nature.

Record("news.jsonl#0", "外宾来访", "<p>国家主席在北京会见外宾。</p>", "http://n/1")
Bad("news.jsonl#412", "not UTF-8", '{"title": "北京大学')
Skipped("redirect")

A `Raw` record is one that costs something to make: if an earlier run has made a document of the same content, it is not made.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.sources.formats.detection import FileFormat

EXCERPT = 80
"""Bytes shown of a record that could not be read."""


@dataclass(frozen=True)
class Record:
    """A document as found in its source."""

    origin: str
    """Position: `file#byte` or `file#number`. The identity of the document, however its file was cut into tasks."""
    title: str
    text: str
    url: str = ""
    markup: bool = False
    """Whether the text is a web page: its tags are markup, whatever it talks about. In other texts cleaning looks for some."""
    converted: bool = False
    """Whether the text already is in the requested variant of Chinese: wiki pages are converted by rules of their own."""
    left_out: int = 0
    """Characters of paragraphs that the corpus itself marks as duplicates; they are not in the text."""
    revision: int = 0
    """When a wiki page was written, a number that grows with time: of pages that a dump contains twice, the latest is kept."""


@dataclass(frozen=True)
class Bad:
    """A record that could not be read."""

    origin: str
    reason: str
    excerpt: str


@dataclass(frozen=True)
class Skipped:
    """A record that is not a document by nature (a redirect, a page of another namespace); counted by reason."""

    reason: str


Needs = tuple[str, ...]
"""What a record was made of beside its own content, by name: `redirect Ld`, `group IT`."""


@dataclass(frozen=True)
class Made:
    """A record that has just been made, and what of other pages went into it."""

    record: Record | Bad | Skipped
    needs: Needs = ()


@dataclass(frozen=True)
class Raw:
    """A record before anything is done to it."""

    origin: str
    url: str
    revision: int
    digest: bytes
    """16 bytes that change with the content: with everything that decides its document but settings, and what it needs."""
    make: Callable[[dict[str, Any]], Made]
    """Makes the record, counting into a dict."""

    @staticmethod
    def of(record: Record) -> "Raw":
        """Return a record that cost nothing to make."""
        content = (record.title, record.text, record.markup, record.converted, record.left_out)
        return Raw(record.origin, record.url, record.revision, digest_of(content), lambda counts: Made(record))


def digest_of(content: Sequence[str | int]) -> bytes:
    """Return 16 bytes that change with any of some values."""
    return hashlib.blake2b(json.dumps(content, ensure_ascii=False).encode(errors="surrogatepass"), digest_size=16).digest()


class Asked(Mapping[str, str]):
    """A mapping that notes the keys that it is asked for, in order."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.keys_asked: dict[str, None] = {}

    def __getitem__(self, key: str) -> str:
        self.keys_asked[key] = None
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def excerpt(data: bytes) -> str:
    """Return the beginning of unreadable bytes, decoded as well as possible."""
    head = data[:EXCERPT]
    readable = head.decode(errors="replace")
    # In a Chinese corpus, bytes that are not UTF-8 are usually GBK. The cut may spoil the last character of either encoding.
    return head.decode("gb18030", errors="replace") if "\ufffd" in readable[:-1] else readable


@dataclass(frozen=True)
class ReadTask:
    """A range of one input file, or several small files read whole."""

    url: str
    file: str
    """The file's name in its source."""
    start: int
    end: int | None
    """The task reads records that start in bytes (Parquet: row groups) [start, end); None: to the end of the file."""
    number: int
    file_format: "FileFormat | None" = None
    """The file's format if `plan` detected it; otherwise the task detects it."""
    following: tuple[tuple[str, str], ...] = ()
    """URL and name of further files, read whole after this one."""

    @property
    def name(self) -> str:
        return f"{self.number:06d}-{self.start:x}-{self.end or 0:x}-{len(self.following)}"
