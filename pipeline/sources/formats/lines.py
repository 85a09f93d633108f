"""Lines of a byte range of a file, each with its offset. A line ends with \\n alone: U+2028 and the like stand in texts.

    "一\\n二\\n三\\n", range [1, 5)  ->  (4, "二\\n")      the range that a line starts in has it

So ranges can be read by themselves, and together they hold every line once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

LONGEST = 8 << 20
"""Bytes of the longest line, document or value that is read; longer ones are bad records, whatever memory there is.

Each worker may hold one, with some 40 bytes for each of its characters while it is measured."""
TOO_LONG = f"longer than {LONGEST >> 20} MiB"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Range:
    """Bytes [start, end) of a file; `end` None: to its end."""

    file: str
    """The file's name in its source."""
    start: int = 0
    end: int | None = None

    def holds(self, position: int) -> bool:
        """Whether what starts here belongs to the range, start aside."""
        return self.end is None or position < self.end

    def origin(self, position: int) -> str:
        """The identity of what starts at an offset."""
        return f"{self.file}#{position}"


def numbered_lines(file: IO[bytes], start: int) -> Iterator[tuple[int, bytes]]:
    """(offset, line with its end) from the first line that starts at or after `start`, to the end of the file.

    Of a line longer than LONGEST the first LONGEST + 1 bytes are given.
    """
    position = start
    if start:
        file.seek(start - 1)
        position = start - 1 + _rest_of_line(file)
    while line := file.readline(LONGEST + 1):
        yield position, line
        position += len(line)
        if len(line) > LONGEST and not line.endswith(b"\n"):
            position += _rest_of_line(file)


def too_long(text: str) -> bool:
    """Whether a text that is in memory already has more than LONGEST bytes in UTF-8."""
    return len(text) > LONGEST // 4 and len(text.encode("utf-8", "surrogatepass")) > LONGEST


def _rest_of_line(file: IO[bytes]) -> int:
    """Pass over what is left of a line; its length."""
    length = 0
    while chunk := file.readline(_CHUNK):
        length += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return length
