"""The encoding of a file: UTF-8 with or without a mark, UTF-16 by its mark, GB18030 (with GBK) where it is that and not UTF-8.

    b"\\xef\\xbb\\xbf{..."          utf-8
    b"\\xff\\xfe\\x2d\\x4e"         utf-16-le
    b"\\xd6\\xd0\\xce\\xc4\\n..."     gb18030: more lines of its first MiB are GB18030 than UTF-8

A GBK line among UTF-8 ones changes nothing for the others: it is the one record that cannot be read. Line ends are single bytes
in UTF-8 and GB18030, so such files are cut and split as bytes; UTF-16 is turned into UTF-8 as it is read.
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
"""Marks of files with zero bytes in them; that of UTF-32-LE begins with the first."""
NAMES = {"utf-8": "UTF-8", "gb18030": "GB18030", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
_FREQUENT = "的一是不在有人了中大，。"
"""Characters that are frequent in every Chinese text and the same in both scripts."""
_CHUNK = 1 << 18


def of(head: bytes, complete: bool, wanted: str, url: str) -> Encoding:
    """The encoding of a file that begins with `head` (`complete`: and ends with it); `wanted` is what the recipe says.

    Raises: CorpusError for UTF-8 that is said to be UTF-16, for UTF-32, and for Big5, most of whose bytes could be read as
        (senseless) GB18030.
    """
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # the first begins like the mark of UTF-16
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
    if _frequent(head, "big5") > _frequent(head, "gb18030"):
        raise CorpusError(f"{url}: Big5, as it seems; convert it first: iconv -f big5 -t utf-8 (or set encoding)")
    return "gb18030"


def _byte_order(data: bytes) -> Encoding:
    """Of UTF-16 without a mark: line breaks, spaces and Latin letters have a zero as their high byte."""
    return "utf-16-be" if data[::2].count(0) > data[1::2].count(0) else "utf-16-le"


def looks_like_utf16(head: bytes) -> bool:
    """Whether bytes with zeros among them are a text in UTF-16 without a mark."""
    text = head[: len(head) // 2 * 2].decode(_byte_order(head), errors="replace")
    return sum(map(text.count, (*_FREQUENT, "\n"))) > len(text) / 100 and "\ufffd" not in text[:-1]


def _decodes(data: bytes, encoding: str, complete: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data, complete)
    except UnicodeDecodeError:
        return False
    return True


def _frequent(data: bytes, encoding: str) -> int:
    text = data.decode(encoding, errors="ignore")
    return sum(map(text.count, _FREQUENT))


def as_utf8(file: IO[bytes], encoding: Encoding, url: str) -> IO[bytes]:
    """The file as a stream of UTF-8. What is not in the encoding stays invalid, so that it spoils its own record alone."""
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
        given, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)
