"""Lines of a byte range of a file, each with its offset; documents of several lines.

    "一\\n二\\n三\\n", range [1, 5)  ->  (4, "二\\n")      a line belongs to the range that it starts in

Only \\n ends a line: U+2028 and the like occur inside texts. Ranges can be read independently, and together they contain every
line once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from pipeline.sources.formats import encodings
from pipeline.sources.formats.encodings import Encoding
from pipeline.sources.records import Bad, Record, excerpt

MAX_RECORD_BYTES = 8 << 20
"""Bytes of the longest line, document or value that is read. Longer ones are bad records, however much memory there is.

Each worker may hold one of them, with some 40 bytes for each of its characters while it is measured."""
TOO_LONG = f"longer than {MAX_RECORD_BYTES >> 20} MiB"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Range:
    """Bytes [start, end) of a file; `end` None: to its end."""

    file: str
    """The file's name in its source."""
    start: int = 0
    end: int | None = None

    def contains(self, position: int) -> bool:
        """Return whether a record at this position, at or after `start`, belongs to the range."""
        return self.end is None or position < self.end

    def origin(self, position: int) -> str:
        """Return the identity of the record at an offset."""
        return f"{self.file}#{position}"


class Block:
    """The lines of one document, up to MAX_RECORD_BYTES."""

    def __init__(self, origin: str, line: bytes) -> None:
        self.origin = origin
        self._lines, self.size = [line], len(line)

    def add(self, line: bytes) -> None:
        """Add the next line."""
        self.size += len(line)
        if self.size <= MAX_RECORD_BYTES:
            self._lines.append(line)

    @property
    def data(self) -> bytes:
        return b"".join(self._lines)

    def record(self, encoding: Encoding) -> Record | Bad:
        """Return the lines as a record without a title; a bad one if they are too long or cannot be decoded."""
        data = self.data
        if self.size > MAX_RECORD_BYTES:
            return Bad(self.origin, TOO_LONG, excerpt(data))
        try:
            return Record(self.origin, "", encodings.decode(data, encoding))
        except UnicodeDecodeError:
            return Bad(self.origin, f"not {encodings.NAMES[encoding]}", excerpt(data))


def numbered_lines(file: IO[bytes], start: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line with its end) from the first line that starts at or after `start`, to the end of the file.

    Lines longer than MAX_RECORD_BYTES are cut to MAX_RECORD_BYTES + 1 bytes.
    """
    position = start
    if start:
        file.seek(start - 1)
        position = start - 1 + _rest_of_line(file)
    while line := file.readline(MAX_RECORD_BYTES + 1):
        yield position, line
        position += len(line)
        if len(line) > MAX_RECORD_BYTES and not line.endswith(b"\n"):
            position += _rest_of_line(file)


def too_long(text: str) -> bool:
    """Return whether a text in memory has more than MAX_RECORD_BYTES bytes in UTF-8."""
    return len(text) > MAX_RECORD_BYTES // 4 and len(text.encode("utf-8", "surrogatepass")) > MAX_RECORD_BYTES


def _rest_of_line(file: IO[bytes]) -> int:
    """Skip the rest of a line; return its length."""
    length = 0
    while chunk := file.readline(_CHUNK):
        length += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return length
