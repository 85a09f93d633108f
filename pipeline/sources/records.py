"""What reading gives: a record, a record that could not be read, or one that is no document by its nature.

Record("news.jsonl#0", "外宾来访", "<p>国家主席在北京会见外宾。</p>", "http://n/1", markup=True)
Bad("news.jsonl#412", "not UTF-8", '{"title": "北京大学')
Skipped("redirect")
"""

from dataclasses import dataclass

from pipeline.sources.formats.detection import FileFormat

EXCERPT = 80
"""Bytes shown of a record that could not be read."""


@dataclass(frozen=True)
class Record:
    """A document as its source has it."""

    origin: str
    """Where it stands: `file#byte` or `file#number`; the identity of the document, whatever the tasks it was read by."""
    title: str
    text: str
    url: str = ""
    markup: bool = False
    """Whether the text may hold HTML: tags or entities were seen in a field where crawlers leave them."""
    converted: bool = False
    """Whether the text is in the wanted variant of Chinese already: pages of a wiki are converted by rules of their own."""


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


def excerpt(data: bytes) -> str:
    """The beginning of bytes that could not be read, as well as it can be shown."""
    head = data[:EXCERPT]
    readable = head.decode(errors="replace")
    # Bytes of no UTF-8 in a Chinese corpus are GBK more often than not; the cut at the end spoils a character of either.
    return head.decode("gb18030", errors="replace") if "\ufffd" in readable[:-1] else readable


@dataclass(frozen=True)
class ReadTask:
    """A range of one input file, or some small files, whole."""

    url: str
    file: str
    """The file's name in its source."""
    start: int
    end: int | None
    """Records that begin in bytes [start, end), or in row groups [start, end) of Parquet; None: to the end of the file."""
    number: int
    form: FileFormat | None = None
    """What the file is, where that was looked up; else it is when the task is read."""
    following: tuple[tuple[str, str], ...] = ()
    """URL and name of further files, read whole after this one."""

    @property
    def name(self) -> str:
        return f"{self.number:06d}-{self.start:x}-{self.end or 0:x}-{len(self.following)}"
