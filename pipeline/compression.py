"""Compressed files, recognised by their first bytes and decompressed as a stream: no file is ever held in memory as a whole.

detect(b"\\x1f\\x8b\\x08...") -> "gz"      detect(b'{"text": ...') -> ""      a name such as news.json.gz is ignored

Files may have several streams one after another, with the padding that their format allows. Whatever else follows a stream is
damage: a reader that stopped there would lose the rest of the file without a word, as Python's BZ2File and LZMAFile do.
"""

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
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
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
"""How the names of compressed files usually end, for estimates of their size."""
_BUFFER = 1 << 18


def detect(head: bytes) -> Compression:
    """Return the compression that the first bytes of a file indicate; "" for none."""
    return next((name for name, magic in _MAGIC if magic.match(head)), "")


def path_for_commands(url: str) -> str:
    """Return how a command of the user's, such as one that unpacks a file, names it: a path, without `file://`."""
    return url.removeprefix("file://")


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
            if "too much memory" in detail:  # zstd's limit for a file that may come from anywhere; workers share their memory
                raise CorpusError(
                    f"{self._url}: packed by zstd with a window of more than 128 MiB (--long); "
                    f"unpack it first: zstd -d --long=31 {path_for_commands(self._url)}"
                ) from error
            raise CorpusError(f"{self._url}: the compressed file is cut short or damaged ({detail}); fetch it again") from error
        buffer[: len(data)] = data
        return len(data)


class _Streams:
    """Consecutive bz2 or xz streams; zero bytes between and after them only in multiples of `padding`."""

    def __init__(self, file: Any, decompressor: Callable[[], Any], padding: int = 0) -> None:
        self._file, self._decompressor, self._padding = file, decompressor, padding
        self._stream, self._rest = decompressor(), b""

    def read(self, size: int) -> bytes:
        data = b""
        while not data:
            if self._stream.eof:
                if not self._next_stream():
                    return b""
                packed, self._rest = self._rest, b""
            else:
                packed = self._file.read(_BUFFER) if self._stream.needs_input else b""
                if self._stream.needs_input and not packed:
                    raise EOFError("the file ends within a stream")
            data = self._stream.decompress(packed, size)
        return data

    def _next_stream(self) -> bool:
        """Start the next stream; return False at the end of the file."""
        rest, zeros = self._stream.unused_data, 0
        while rest := rest or self._file.read(_BUFFER):
            if not self._padding:
                break
            stripped = rest.lstrip(b"\0")
            zeros += len(rest) - len(stripped)
            if rest := stripped:
                break
        if zeros and zeros % self._padding:
            raise EOFError(f"{zeros:,} zero bytes after a stream")
        if rest:
            self._stream, self._rest = self._decompressor(), rest
        return bool(rest)


def _zstd(file: Any, url: str) -> Any:
    """Use Arrow's reader: unlike others it detects a truncated file and reads consecutive frames."""
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")


def _zip(file: Any, url: str) -> Any:
    """Open the only file in an archive, the way news2016zh and others are distributed."""
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise CorpusError(f"{url}: a zip archive of {len(names):,} files; unpack it first: unzip {path_for_commands(url)}")
    return archive.open(names[0])


_OPENERS: dict[str, Any] = {
    "gz": lambda file, url: gzip.GzipFile(fileobj=file, mode="rb"),
    "bz2": lambda file, url: _Streams(file, bz2.BZ2Decompressor),
    "xz": lambda file, url: _Streams(file, lzma.LZMADecompressor, padding=4),
    "zst": _zstd,
    "zip": _zip,
}
