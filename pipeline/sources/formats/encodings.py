"""The encoding of a file: UTF-8, UTF-16 by its byte order mark, or GB18030 (which includes GBK) when UTF-8 does not fit.

    b"\\xef\\xbb\\xbf{..."          utf-8
    b"\\xff\\xfe\\x2d\\x4e"         utf-16-le
    b"\\xd6\\xd0\\xce\\xc4\\n..."     gb18030: more lines of its first MiB are valid GB18030 than valid UTF-8

A GBK line in a UTF-8 file does not affect the others: it is one bad record. Line ends are single bytes in UTF-8 and GB18030,
so such files are cut and split as bytes; UTF-16 is converted to UTF-8 while it is read.

GB18030 is what browsers decode it to (encoding.spec.whatwg.org, "gb18030 decoder"): Windows writes the euro sign as 0x80, and
characters that had no place in Unicode once, and which Python's decoder leaves in the private use area, have one since.
"""

import codecs
import io
import re
from typing import IO, Any, Literal, cast

from pipeline.errors import CorpusError

Encoding = Literal["utf-8", "gb18030", "utf-16-le", "utf-16-be"]

BOM = codecs.BOM_UTF8
TEXT_BEGINS = "\ufeff \t\r\n"
"""What may come before the first character of a text."""
_MARKS: tuple[tuple[bytes, Encoding], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
"""Byte order marks of encodings with zero bytes; that of UTF-32-LE starts with the first of these."""
NAMES = {"utf-8": "UTF-8", "gb18030": "GB18030", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
_FREQUENT = "的一是不在有人了中大，。"
"""Characters that are frequent in every Chinese text and the same in both scripts."""
_CHUNK = 1 << 18

_GB18030_2022 = str.maketrans(
    "\ue7c7\u1e3f\ue5e5\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
    "\u1e3f\ue7c7\u3000\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
)
"""Where the standard differs from Python: 0xA8BC is U+1E3F since 2005, 0xA3A0 is a space, GB18030-2022 moved 18 others."""
_MOVED = re.compile(f"[{''.join(map(chr, _GB18030_2022))}]")
_SPACES = "".join(map(chr, (0x85, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF)))
"""White space beyond ASCII, with the zero width space and the byte order mark: a line of nothing else looks blank."""
_BLANK = {
    encoding: re.compile(rb"(?:\s|%s)*\Z" % b"|".join(re.escape(space.encode(encoding)) for space in _SPACES))
    for encoding in ("utf-8", "gb18030")
}


_BLANK_BEGINS = {
    encoding: frozenset((*b"\t\n\v\f\r\x1c\x1d\x1e\x1f ", *(space.encode(encoding)[0] for space in _SPACES)))
    for encoding in _BLANK
}


def _read_euro(error: UnicodeError) -> tuple[str, int]:
    """Handle an error of Python's decoder: 0x80 is the euro sign, anything else is an error."""
    if isinstance(error, UnicodeDecodeError) and error.object[error.start] == 0x80:
        return "€", error.start + 1
    raise error


def _read_euro_or_escape(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return _read_euro(error)
    except UnicodeDecodeError:
        return codecs.lookup_error("surrogateescape")(error)


codecs.register_error("euro", _read_euro)
codecs.register_error("euro-surrogateescape", _read_euro_or_escape)


def decode(data: bytes, encoding: str) -> str:
    """Decode bytes; those that are marked as UTF-8 lose the mark, also in the middle of a file that was joined from several.

    Raises: UnicodeDecodeError
    """
    if encoding == "gb18030":
        return _as_2022(data.decode(encoding, "euro"))
    return data.removeprefix(BOM).decode(encoding)


def _as_2022(text: str) -> str:
    return text.translate(_GB18030_2022) if _MOVED.search(text) else text


def is_blank(line: bytes, encoding: Encoding) -> bool:
    """Return whether a line is white space of any kind: Chinese editors fill lines with ideographic spaces."""
    return line[0] in _BLANK_BEGINS[encoding] and _BLANK[encoding].match(line) is not None


def detect(head: bytes, complete: bool, wanted: str, url: str) -> Encoding:
    """Return the encoding of a file that starts with `head` (`complete`: is `head`); `wanted` is the recipe's setting.

    Raises: CorpusError for UTF-8 declared as UTF-16, for UTF-32, and for Big5, most of whose bytes would decode as GB18030
        without making sense.
    """
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # UTF-32-LE's mark starts with that of UTF-16-LE
        raise CorpusError(f"{url}: UTF-32; convert it first: iconv -f utf-32 -t utf-8")
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if wanted == "utf-16":
        if head and 0 not in head and _decodes(head, "utf-8", complete):
            raise CorpusError(f"{url}: UTF-8, not UTF-16; leave the encoding at auto")
        return marked if marked and marked != "utf-8" else _byte_order(head)
    if wanted != "auto":
        return cast(Encoding, wanted)
    if marked or _decodes(head, "utf-8", complete):
        return marked or "utf-8"
    lines = [line for line in head.split(b"\n") if not line.isascii()]
    utf8 = gb18030 = 0
    for line in lines:
        ended = complete or line is not lines[-1]
        if _decodes(line, "utf-8", ended):
            utf8 += 1
        elif _decodes(line, "gb18030", ended):
            gb18030 += 1
    if gb18030 <= utf8:
        return "utf-8"
    if _count_frequent(head, "big5") > _count_frequent(head, "gb18030"):
        raise CorpusError(f"{url}: apparently Big5; convert it first: iconv -f big5 -t utf-8 (or set encoding)")
    return "gb18030"


def _byte_order(data: bytes) -> Encoding:
    """Return the byte order of UTF-16 without a mark: line breaks, spaces and Latin letters have a zero as their high byte."""
    return "utf-16-be" if data[::2].count(0) > data[1::2].count(0) else "utf-16-le"


def looks_like_utf16(head: bytes) -> bool:
    """Return whether bytes with zeros among them look like UTF-16 text without a byte order mark."""
    text = head[: len(head) // 2 * 2].decode(_byte_order(head), errors="replace")
    return sum(map(text.count, (*_FREQUENT, "\n"))) > len(text) / 100 and "\ufffd" not in text[:-1]


def _decodes(data: bytes, encoding: str, complete: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)("euro" if encoding == "gb18030" else "strict").decode(data, complete)
    except UnicodeDecodeError:
        return False
    return True


def _count_frequent(data: bytes, encoding: str) -> int:
    text = data.decode(encoding, errors="ignore")
    return sum(map(text.count, _FREQUENT))


def as_utf8(file: IO[bytes], encoding: Encoding, url: str) -> IO[bytes]:
    """Return the file as a stream of UTF-8. Invalid bytes stay invalid, so that they only spoil their own record."""
    if encoding == "utf-8":
        return file
    return cast(IO[bytes], io.BufferedReader(_Utf8(file, encoding, url), _CHUNK))


class _Utf8(io.RawIOBase):
    def __init__(self, file: IO[bytes], encoding: Encoding, url: str) -> None:
        self._file, self._url = file, url
        wrong = "euro-surrogateescape" if encoding == "gb18030" else "surrogatepass"
        self._as_2022 = _as_2022 if encoding == "gb18030" else str
        self._decoder = codecs.getincrementaldecoder(encoding)(wrong)
        self._ready, self._ended = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            data = self._file.read(_CHUNK)
            self._ended = not data
            try:
                text = self._decoder.decode(data, self._ended)
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{self._url}: the file is cut short (half a character at its end); fetch it again"
                ) from error
            self._ready = self._as_2022(text).encode("utf-8", "surrogatepass")
        chunk, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)
