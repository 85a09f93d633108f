"""Any byte range of a bzip2 file, single-stream or multistream, without an index.

    bytes    0         4              251,733.25            498,120.5
             | BZh9    | block 0      | block 1             | ...  | end, checksum | BZh9 | block ...
    blocks("zhwiki.xml.bz2", 200_000)  ->  (251_733, 900 kB of XML), (498_120, 900 kB of XML), ...

A bzip2 file is a sequence of independently coded blocks of at most 900 kB. A block starts, at any bit, with a 48-bit magic
number (digits of pi) and contains a checksum of its text. So a range is entered at the first such number in it, and a block
that decodes proves that the number was its start. By chance the 48 bits occur elsewhere once in some 10,000 dumps of 3 GB: the
block that is cut there does not decode, and is tried again up to the next number.
Format: github.com/dsnet/compress, doc/bzip2-format.pdf.
"""

import bz2
import re
from collections.abc import Iterator

from pipeline import storage
from pipeline.errors import CorpusError

_BLOCK = 0x314159265359
_STREAM_END = 0x177245385090
_WINDOW = 1 << 20
"""Bytes read at once."""
_MAX_BLOCK_BYTES = 2 << 20
"""Upper limit of the size of a compressed block."""
_FOOTER = 64
"""Bytes from the end that contain the end of the last stream (10 bytes, padding) and any empty streams after it."""


def _marks_of(magic: int) -> tuple[re.Pattern[bytes], dict[bytes, int]]:
    """Return a pattern for the five whole bytes of a 48-bit number at each of eight bit positions, and the position of each."""
    inner = {(magic << (8 - shift)).to_bytes(7, "big")[1:6]: shift for shift in range(8)}
    return re.compile(b"|".join(map(re.escape, inner))), inner


_BLOCK_MARKS, _STREAM_END_MARKS = _marks_of(_BLOCK), _marks_of(_STREAM_END)


def blocks(url: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (byte it starts in, text) of each block that starts at byte `start` or later, to the end of the file.

    Raises: CorpusError for a file that is cut short or damaged.
    """
    size = storage.file_size(url)
    data, base = b"", start  # bytes from `base` on
    marks: list[int] = []  # starts of blocks in bits of the file, then the end of the file
    while base + len(data) < size:
        read = base + len(data)
        data += storage.read_range(url, read, min(read + _WINDOW, size))
        known = marks[-1] if marks else -1  # a number at the end of the last window is found again
        found = _find(data, _BLOCK_MARKS, _BLOCK, max(read - base - 6, 0))
        marks += [8 * base + bit for bit in found if 8 * base + bit > known]
        if base + len(data) == size:
            marks.append(8 * size)
        while len(marks) > 1:
            text = _decode(data, marks[0] - 8 * base, marks[1] - 8 * base, marks[1] == 8 * size)
            if text is None and marks[1] < min(8 * size, marks[0] + 8 * _MAX_BLOCK_BYTES):
                del marks[1]  # the 48 bits by chance, or damage: try up to the next number
                continue
            if text is None:
                raise CorpusError(
                    f"{url}: the compressed file is cut short or damaged after byte {marks[0] // 8:,}; fetch it again"
                )
            yield marks[0] // 8, text
            del marks[0]
        used = marks[0] // 8 - base if marks else 0
        data, base = data[used:], base + used
        if len(data) > _MAX_BLOCK_BYTES:
            raise CorpusError(
                f"{url}: damaged, no bzip2 block begins in the {_MAX_BLOCK_BYTES:,} bytes after byte {base:,}; fetch it again"
            )


def is_complete(url: str) -> bool:
    """Return whether the file ends like a bzip2 file: a cheap check of the last bytes, before hours of work."""
    size = storage.file_size(url)
    end = storage.read_range(url, max(size - _FOOTER, 0), size)
    return any(0 <= 8 * len(end) - (bit + 80) < 8 for bit in _find(end, _STREAM_END_MARKS, _STREAM_END))


def _find(data: bytes, marks: tuple[re.Pattern[bytes], dict[bytes, int]], magic: int, start: int = 0) -> list[int]:
    """Return the bit positions of the 48-bit number, from byte `start` on."""
    pattern, shifts = marks
    found = ((match.start() - 1) * 8 + shifts[match.group()] for match in pattern.finditer(data, start))
    return [bit for bit in found if bit >= 8 * start and _bits(data, bit, 48) == magic]


def _bits(data: bytes, start: int, number: int) -> int:
    """Return bits [start, start + number) as an integer."""
    end = start + number
    return int.from_bytes(data[start // 8 : -(-end // 8)], "big") >> (-end % 8) & ((1 << number) - 1)


def _decode(data: bytes, start: int, end: int, last: bool) -> bytes | None:
    """Decode the block in bits [start, end), which may include the end of a stream; None if it is not a whole block."""
    if last or data[end // 8 - 4 : end // 8 - 1] == b"BZh":
        first = max(end // 8 - _FOOTER, start // 8)
        ends = [8 * first + bit for bit in _find(data[first : end // 8], _STREAM_END_MARKS, _STREAM_END)]
        if last and not ends:
            return None
        end = ends[0] if ends else end
    length = end - start
    if length < 80:
        return None
    bits = _bits(data, start, length)
    checksum = bits >> (length - 80) & 0xFFFFFFFF  # the block's checksum is also that of a stream of this block alone
    stream = ((bits << 48 | _STREAM_END) << 32 | checksum) << (-length % 8)
    try:
        return bz2.decompress(b"BZh9" + stream.to_bytes(-(-(length + 80) // 8), "big"))
    except (OSError, ValueError):
        return None
