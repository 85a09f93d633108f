"""The result of reading: a record, one that could not be read, or one that is not a document by nature.

Record("news.jsonl#0", "外宾来访", "<p>国家主席在北京会见外宾。</p>", "http://n/1", markup=True)
Bad("news.jsonl#412", "not UTF-8", '{"title": "北京大学')
Skipped("redirect")
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """Whether the text may contain HTML: tags or entities were found in a field where crawlers leave them."""
    converted: bool = False
    """Whether the text already is in the requested variant of Chinese: wiki pages are converted by rules of their own."""


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
