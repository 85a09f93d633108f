"""Compressed files, recognised by their first bytes and decompressed as a stream: no file is ever held in memory as a whole.

detect(b"\\x1f\\x8b\\x08...") -> "gz"      detect(b'{"text": ...') -> ""      a name such as news.json.gz is ignored
"""

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from typing import IO, Any, Literal, cast

from pipeline.errors import CorpusError

Compression = Literal["", "gz", "bz2", "xz", "zst", "zip"]

_MAGIC: tuple[tuple[Compression, re.Pattern[bytes]], ...] = (
    ("gz", re.compile(rb"\x1f\x8b\x08")),
    # After the level comes a block or, in an empty file, the end of the stream.
    ("bz2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")),
    ("xz", re.compile(rb"\xfd7zXZ\0")),
    # pzstd starts with a skippable frame (RFC 8878, section 3.1.2).
    ("zst", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)),
    ("zip", re.compile(rb"PK\x03\x04")),
)
_BUFFER = 1 << 18


def detect(head: bytes) -> Compression:
    """Return the compression that the first bytes of a file indicate; "" for none."""
    return next((name for name, magic in _MAGIC if magic.match(head)), "")


def unpacked(file: IO[bytes], compression: Compression, url: str) -> IO[bytes]:
    """Wrap a compressed file so that reading it yields its content; `url` names it in errors.

    Raises: CorpusError, also while reading, for a file that is truncated or damaged.
    """
    if not compression:
        return file
    return cast(IO[bytes], io.BufferedReader(_Unpacked(file, compression, url), _BUFFER))


class _FailureRecorder:
    """The compressed file; records a failed read, so that a lost connection is not mistaken for a damaged file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.failed = file, False
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        try:
            return self.file.read(size)
        except Exception:
            self.failed = True
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Unpacked(io.RawIOBase):
    def __init__(self, file: IO[bytes], compression: Compression, url: str) -> None:
        self._packed, self._url = _FailureRecorder(file), url
        self._file: Any = None
        self._open = _OPENERS[compression]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            self._file = self._file or self._open(self._packed, self._url)
            data = self._file.read(len(buffer))
        except (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, RuntimeError, OSError) as error:
            if self._packed.failed:
                raise
            detail = " ".join(str(error).split())
            raise CorpusError(f"{self._url}: the compressed file is cut short or damaged ({detail}); fetch it again") from error
        buffer[: len(data)] = data
        return len(data)


def _zstd(file: Any, url: str) -> Any:
    """Use Arrow's reader: unlike others it detects a truncated file and reads consecutive frames."""
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")


def _zip(file: Any, url: str) -> Any:
    """Open the only file in an archive, the way news2016zh and others are distributed."""
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise CorpusError(f"{url}: a zip archive of {len(names):,} files; unpack it first: unzip {url}")
    return archive.open(names[0])


_OPENERS: dict[str, Any] = {
    "gz": lambda file, url: gzip.GzipFile(fileobj=file, mode="rb"),
    "bz2": lambda file, url: bz2.BZ2File(file),
    "xz": lambda file, url: lzma.LZMAFile(file),  # noqa: SIM115
    "zst": _zstd,
    "zip": _zip,
}
