"""JSON records: one a line, or values one after another (an array of any size, pretty-printed objects), read as a stream.

{"title": "北京", "content": "..."}          a line is a record, identified by its offset; a bad line costs only itself
{"title": ...}{"title": ...}                several on a line are several records
[{"completion": "..."}, {"completion": ...   an item is a record, identified by its number; after a bad item, reading resumes
                                             at the next text that looks like the start of a record
{"total": 2, "data": [{"content": ...        so is an item of the array that an answer of a program or a database wraps
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from pipeline.config import SourceConfig
from pipeline.errors import CorpusError
from pipeline.sources.formats import encodings, fields
from pipeline.sources.formats.encodings import Encoding, is_blank
from pipeline.sources.formats.lines import MAX_RECORD_BYTES, TOO_LONG, Range, numbered_lines, too_long
from pipeline.sources.records import EXCERPT, Bad, Record, Skipped, excerpt

NOT_JSON = "not JSON"
CUT = "cut short: the file ends in it"
# Raw tabs and other control characters inside strings violate the standard, but crawlers often write them.
_DECODER = json.JSONDecoder(strict=False)
_DECODER_OF_LONG_NUMBERS = json.JSONDecoder(strict=False, parse_int=float)
"""Python refuses to convert more than 4,300 digits. No text is a number, so infinity will do."""
_CHUNK = 1 << 20
_SEPARATORS = re.compile(r"[\s,]*")
_ANOTHER = re.compile(r"[\s,]*(?:\{|\Z)")
_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")
_NEXT_RECORD = re.compile(r"\}\s*,?\s*(?=\{\s*\")")
_NEXT_IN_STRING = re.compile(r"\}\s*,?\s*(\{\s*\"\s*)\Z")
_NEXT_IN_OBJECT = re.compile(r",\s*\Z")
_BOUNDARY = 256
"""Characters of the longest boundary between two records, white space included."""
_WRAPPER = re.compile(
    r"\{(?:\s*\"[^\"\n]{1,60}\"\s*:\s*(?:\"[^\"\n]{0,200}\"|[-+.\deE]+|true|false|null|\{[^{}\[\]]{0,200}\})\s*,){0,20}"
    r"\s*\"(?:data|rows|records|items|results?|docs|documents|articles|list|hits|response)\"\s*:\s*(?=(?:\{|\[\s*\{)\s*\")"
)
"""An object up to the array of records in it; what is before that are facts about the array."""
_UNDECODED = re.compile("[\udc80-\udcff]")
_NEAR_THE_END = 16
"""Characters from the end of the buffer within which a truncated word or escape cannot be told from a wrong one."""


def lines(file: IO[bytes], part: Range, encoding: Encoding, source: SourceConfig) -> Iterator[Record | Bad | Skipped]:
    """Yield the records of JSON lines that start in a range."""
    for position, line in numbered_lines(file, part.start):
        if not part.contains(position):
            return
        if not is_blank(line, encoding):
            yield from _line(line, part, position, encoding, source)


def _line(
    line: bytes, part: Range, position: int, encoding: Encoding, source: SourceConfig
) -> Iterator[Record | Bad | Skipped]:
    if len(line) > MAX_RECORD_BYTES:
        yield Bad(part.origin(position), TOO_LONG, excerpt(line))
        return
    cut = line.lstrip().startswith(b"{") and not line.rstrip(b" \t\r").endswith((b"}", b"\n"))
    try:
        text = encodings.decode(line, encoding)
    except UnicodeDecodeError:
        yield Bad(part.origin(position), CUT if cut else f"not {encodings.NAMES[encoding]}", excerpt(line))
        return
    place, end = 0, len(text)
    while place < end:
        begin = _after_separators(text, place)
        found = part.origin(position + begin if place else position)  # characters: enough to tell records of a line apart
        try:
            value, place = raw_decode(text, begin)
            if not _ANOTHER.match(text, place):
                raise ValueError("something else follows the value")
        except (ValueError, RecursionError):
            yield Bad(found, CUT if cut else NOT_JSON, text[begin : begin + EXCERPT])
            return
        yield fields.record(found, value, source)
        place = _after_separators(text, place)


def _after_separators(text: str, place: int) -> int:
    between = _SEPARATORS.match(text, place)
    assert between is not None
    return between.end()


def raw_decode(text: str, place: int = 0) -> tuple[Any, int]:
    """Return the value at a place, which is no white space, and where it ends.

    Raises: JSONDecodeError, RecursionError
    """
    try:
        return _DECODER.raw_decode(text, place)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _DECODER_OF_LONG_NUMBERS.raw_decode(text, place)


def all_values(text: str) -> Iterator[Any]:
    """Yield the JSON values that a text consists of, with white space and commas between them.

    Raises: JSONDecodeError, RecursionError
    """
    place = _after_separators(text, 0)
    while place < len(text):
        value, place = raw_decode(text, place)
        yield value
        place = _after_separators(text, place)


def values(
    file: IO[bytes], part: Range, encoding: Encoding, url: str, source: SourceConfig
) -> Iterator[Record | Bad | Skipped]:
    """Yield the records of one array, or of consecutive values, in UTF-8; `encoding` is the file's original encoding.

    Raises: CorpusError when the file ends before the array does.
    """
    stream = _Stream(file, f"not {encodings.NAMES[encoding]}")
    wrapped = stream.skip_wrapper()
    depth = number = 0
    while True:
        depth += stream.skip_separators(once=wrapped)
        if stream.at_end or (wrapped and not depth):
            break
        found = stream.next(part.origin(number))
        yield found if isinstance(found, Bad) else fields.record(part.origin(number), found, source)
        number += 1
    if depth:
        raise CorpusError(f"{url}: the JSON array is cut short; fetch it again")
    while file.read(_CHUNK):  # what is behind a wrapped array is no record; the file may be damaged there
        pass


def wrapped_array(text: str) -> int:
    """Return where the array of records starts in an object that wraps it; 0 if a text does not start with such an object."""
    start = place = len(text) - len(text.lstrip("\ufeff \t\r\n"))
    while text.startswith("{", place) and (wrapper := _WRAPPER.match(text, place)):
        place = wrapper.end()
    if place == start or not text.startswith("[", place):
        return 0
    try:
        value, end = raw_decode(text, start)
    except (ValueError, RecursionError):
        return place  # longer than what is known of it
    return 0 if text[end:].strip() or fields.find_format(tuple(value)) else place


class _Stream:
    """The rest of a file as text. Memory: one chunk, or the longest value."""

    def __init__(self, file: IO[bytes], undecodable: str) -> None:
        self._file, self._ended = file, False
        self._undecodable = undecodable
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._place = "", 0
        self._wrapped = False
        self._undecoded = False
        """Whether any invalid UTF-8 was read so far; until then, values need not be searched for it."""

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

    def skip_wrapper(self) -> bool:
        """Go to the array of records in an object that wraps it; return whether there is one."""
        self._more()
        self._place = wrapped_array(self._text)
        self._wrapped = self._place > 0
        return self._wrapped

    def skip_separators(self, once: bool = False) -> int:
        """Skip to the next value or the end; return how many arrays were opened, minus those closed.

        once: stop where an array is closed.
        """
        opened = 0
        while True:
            between = _BETWEEN.match(self._text, self._place)
            assert between is not None
            opened += between[0].count("[") - between[0].count("]")
            self._place = between.end()
            if once and "]" in between[0]:
                return opened
            if self._ended or self._place < len(self._text):
                return opened
            self._more()

    def next(self, origin: str) -> Any:
        """Decode the value at the current position. A bad one yields a Bad and moves to where the next one seems to start."""
        while True:
            try:
                value, end = raw_decode(self._text, self._place)
            except RecursionError:
                return self._bad(origin, NOT_JSON, self._place)
            except json.JSONDecodeError as error:
                if not self._cut(error):
                    return self._bad(origin, NOT_JSON, error.pos)
                if len(self._text) - self._place > MAX_RECORD_BYTES:
                    return self._bad(origin, TOO_LONG, self._place)
                self._more()
            else:
                if end == len(self._text) and not self._ended and isinstance(value, int | float):
                    self._more()  # more digits may follow
                    continue
                start, self._place = self._place, end
                if self._undecoded and _UNDECODED.search(self._text, start, end):
                    return Bad(origin, self._undecodable, self._excerpt(start))
                if too_long(self._text[start:end]):
                    return Bad(origin, TOO_LONG, self._excerpt(start))
                return value

    def _cut(self, error: json.JSONDecodeError) -> bool:
        """Return whether the value could be complete once more text is read."""
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
        else:  # the rest is the end of the array, or of the file
            last = self._text.rstrip()
            self._place = last.rfind("]") if last.endswith("]}" if self._wrapped else "]") else len(self._text)
        return bad

    def _next_inside(self, fault: int) -> int:
        """Return where the next record starts before the fault; 0 if it does not.

        An unclosed string extends to the first quote of the next record: `"会见外宾。}, {"` and then `title`. After an unclosed
        object, the next record is where a key should be: `"会见外宾。", {`.
        """
        before = max(self._place + 1, fault - _BOUNDARY)
        window = self._text[before:fault]
        if swallowed := _NEXT_IN_STRING.search(window):
            return before + swallowed.start(1)
        return fault if self._text.startswith("{", fault) and _NEXT_IN_OBJECT.search(window) else 0

    def _excerpt(self, place: int) -> str:
        return excerpt(self._text[place : place + EXCERPT].encode("utf-8", "surrogateescape"))
