"""JSON records: a line each, or values one after another (one array of any size, pretty-printed objects), read as a stream.

{"title": "北京", "content": "..."}          a line is a record, known by its offset; a bad one costs itself
[{"completion": "..."}, {"completion": ...   an item is a record, known by its number; after a bad one reading goes on with
                                             the next that begins like one
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from pipeline.config import SourceConfig
from pipeline.errors import CorpusError
from pipeline.sources.formats import encodings, fields
from pipeline.sources.formats.encodings import Encoding
from pipeline.sources.formats.lines import (
    LONGEST,
    TOO_LONG,
    Range,
    numbered_lines,
    too_long,
)
from pipeline.sources.records import (
    EXCERPT,
    Bad,
    Record,
    excerpt,
)

NOT_JSON = "not JSON"
CUT = "cut short: the file ends in it"
# Raw tabs and other control characters inside strings are against the rules, and frequent in what crawlers write.
_DECODER = json.JSONDecoder(strict=False)
_CHUNK = 1 << 20
_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")
_NEXT_RECORD = re.compile(r"\}\s*,?\s*(?=\{\s*\")")
_NEXT_IN_STRING = re.compile(r"\}\s*,?\s*(\{\s*\"\s*)\Z")
_NEXT_IN_OBJECT = re.compile(r",\s*\Z")
_BOUNDARY = 256
"""Characters of the longest boundary between two records, white space and all."""
_UNDECODED = re.compile("[\udc80-\udcff]")
_NEAR_THE_END = 16
"""Characters within which a word or an escape that is cut off is told from a wrong one."""


def lines(file: IO[bytes], part: Range, encoding: Encoding, source: SourceConfig) -> Iterator[Record | Bad]:
    """The records of JSON lines that begin in a range."""
    for position, line in numbered_lines(file, part.start):
        if not part.holds(position):
            return
        if not line.isspace():
            yield _line(line, part.origin(position), encoding, source)


def _line(line: bytes, origin: str, encoding: Encoding, source: SourceConfig) -> Record | Bad:
    if len(line) > LONGEST:
        return Bad(origin, TOO_LONG, excerpt(line))
    cut = line.lstrip().startswith(b"{") and not line.rstrip(b" \t\r").endswith((b"}", b"\n"))
    try:
        value = _DECODER.decode(line.removeprefix(encodings.BOM).decode(encoding))
    except UnicodeDecodeError:
        return Bad(origin, CUT if cut else f"not {encodings.NAMES[encoding]}", excerpt(line))
    except (ValueError, RecursionError):
        return Bad(origin, CUT if cut else NOT_JSON, line[:EXCERPT].decode(encoding, errors="replace"))
    return fields.record(origin, value, source)


def values(file: IO[bytes], part: Range, encoding: Encoding, url: str, source: SourceConfig) -> Iterator[Record | Bad]:
    """The records of one array, or of values one after another, in UTF-8; `encoding` is what it was before.

    Raises: CorpusError where the file ends before the array does.
    """
    stream = _Stream(file, f"not {encodings.NAMES[encoding]}")
    depth = number = 0
    while True:
        depth += stream.pass_between()
        if stream.at_end:
            break
        found = stream.next(part.origin(number))
        yield found if isinstance(found, Bad) else fields.record(part.origin(number), found, source)
        number += 1
    if depth:
        raise CorpusError(f"{url}: the JSON array is cut short; fetch it again")


class _Stream:
    """The text ahead in a file. Memory: a chunk, or the longest value."""

    def __init__(self, file: IO[bytes], undecodable: str) -> None:
        self._file, self._ended = file, False
        self._undecodable = undecodable
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._place = "", 0
        self._undecoded = False
        """Whether there ever was something that is not UTF-8; looking for it in every value would take time."""

    @property
    def at_end(self) -> bool:
        return self._ended and self._place == len(self._text)

    def _more(self) -> None:
        self._text, self._place = self._text[self._place :], 0
        data = self._file.read(max(_CHUNK, len(self._text)))
        self._ended = not data
        text = self._decoder.decode(data, self._ended)
        try:
            text.encode()
        except UnicodeEncodeError:
            self._undecoded = True
        self._text += text

    def pass_between(self) -> int:
        """Go to the next value or the end; how many more arrays are open than before."""
        opened = 0
        while True:
            between = _BETWEEN.match(self._text, self._place)
            assert between is not None
            opened += between[0].count("[") - between[0].count("]")
            self._place = between.end()
            if self._ended or self._place < len(self._text):
                return opened
            self._more()

    def next(self, origin: str) -> Any:
        """The value that begins here, or a Bad after which the place is where the next one seems to begin."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except RecursionError:
                return self._bad(origin, NOT_JSON, self._place)
            except json.JSONDecodeError as error:
                if not self._cut(error):
                    return self._bad(origin, NOT_JSON, error.pos)
                if len(self._text) - self._place > LONGEST:
                    return self._bad(origin, TOO_LONG, self._place)
                self._more()
            else:
                if end == len(self._text) and not self._ended and isinstance(value, int | float):
                    self._more()  # the number may go on
                    continue
                start, self._place = self._place, end
                if self._undecoded and _UNDECODED.search(self._text, start, end):
                    return Bad(origin, self._undecodable, self._excerpt(start))
                if too_long(self._text[start:end]):
                    return Bad(origin, TOO_LONG, self._excerpt(start))
                return value

    def _cut(self, error: json.JSONDecodeError) -> bool:
        """Whether the value may be whole when more of it is read."""
        near_the_end = error.pos > len(self._text) - _NEAR_THE_END
        return not self._ended and (near_the_end or error.msg.startswith("Unterminated string"))

    def _bad(self, origin: str, reason: str, fault: int) -> Bad:
        bad = Bad(origin, reason, self._excerpt(self._place))
        inside = self._next_inside(fault)
        if inside:
            self._place = inside
            return bad
        self._place = fault
        while (following := _NEXT_RECORD.search(self._text, self._place)) is None and not self._ended:
            self._place = max(self._place, len(self._text) - _CHUNK // 2)
            self._more()
        if following:
            self._place = following.end()
        else:  # what is left is the end of the array, or of the file
            last = self._text.rstrip()
            self._place = len(last) - 1 if last.endswith("]") else len(self._text)
        return bad

    def _next_inside(self, fault: int) -> int:
        """Where the next record begins before the fault; 0 if it does not.

        A string that is not closed goes on to the first quote of the next record: `"会见外宾。}, {"` and then `title`. After
        an object that is not closed, the next stands where a key should: `"会见外宾。", {`.
        """
        before = max(self._place + 1, fault - _BOUNDARY)
        window = self._text[before:fault]
        if swallowed := _NEXT_IN_STRING.search(window):
            return before + swallowed.start(1)
        return fault if self._text.startswith("{", fault) and _NEXT_IN_OBJECT.search(window) else 0

    def _excerpt(self, place: int) -> str:
        return excerpt(self._text[place : place + EXCERPT].encode("utf-8", "surrogateescape"))
