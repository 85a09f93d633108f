"""The encoding of a file: UTF-8, UTF-16 by its byte order mark, or GB18030 (which includes GBK) when UTF-8 does not fit.

    b"\\xef\\xbb\\xbf{..."          utf-8
    b"\\xff\\xfe\\x2d\\x4e"         utf-16-le
    b"\\xd6\\xd0\\xce\\xc4\\n..."     gb18030: more lines of its first MiB are valid GB18030 than valid UTF-8

A GBK line in a UTF-8 file does not affect the others: it is one bad record. Line ends are single bytes in UTF-8 and GB18030,
so such files are cut and split as bytes; UTF-16 is converted to UTF-8 while it is read.
"""

import codecs
import io
from typing import IO, Any, Literal, cast

from pipeline.errors import CorpusError

Encoding = Literal["utf-8", "gb18030", "utf-16-le", "utf-16-be"]

BOM = codecs.BOM_UTF8
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
        codecs.getincrementaldecoder(encoding)().decode(data, complete)
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
        wrong = "surrogateescape" if encoding == "gb18030" else "surrogatepass"
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
            self._ready = text.encode("utf-8", "surrogatepass")
        chunk, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)
