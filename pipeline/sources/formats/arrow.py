"""Arrow IPC files and streams, such as a dataset that Hugging Face datasets saved to disk: a record is a row.

    data-00000-of-00004.arrow    stream: schema, batches of 1,000 rows, end
    part.arrow, part.feather     file: the magic ARROW1, a stream, and an index that is not needed here

Both are read as a stream, so they may be compressed. A row is identified by its number.
"""

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from pipeline.config import SourceConfig
from pipeline.errors import CorpusError
from pipeline.sources.formats.lines import Range
from pipeline.sources.formats.parquet import table_rows, text_columns
from pipeline.sources.records import Bad, Record, Skipped

FILE_MAGIC = b"ARROW1\0\0"
_CONTINUATION = b"\xff\xff\xff\xff"
_END = b"\xff\xff\xff\xff\0\0\0\0"
_ROWS = 1_024
"""Rows that become Python objects together: a batch may be the whole file."""
_MAX_SCHEMA_BYTES = 1 << 24


def is_arrow(head: bytes) -> bool:
    """Return whether a file that starts with these bytes is an Arrow file or stream."""
    if head.startswith(FILE_MAGIC):
        return True
    length = int.from_bytes(head[4:8], "little")
    return head.startswith(_CONTINUATION) and 0 < length < _MAX_SCHEMA_BYTES and length % 8 == 0


def rows(file: IO[bytes], part: Range, url: str, source: SourceConfig) -> Iterator[Record | Bad | Skipped]:
    """Yield the records of a file.

    Raises: CorpusError for a file that is cut short or damaged, or has no text column.
    """
    stream = _Stream(file)
    try:
        reader = pa.ipc.open_stream(pa.PythonFile(stream, "r"))
        names = reader.schema.names
        wanted = [names.index(name) for name in text_columns(names, url, source)]
        number = 0
        for batch in reader:
            rows_of_text = batch.select(wanted)
            for first in range(0, batch.num_rows, _ROWS):
                yield from table_rows(rows_of_text.slice(first, _ROWS), part, number + first, source)
            number += batch.num_rows
    except (pa.ArrowException, OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file system, not of the file's content
        raise _damage_error(url, " ".join(str(error).split())) from error
    if not stream.last.endswith(_END):
        raise _damage_error(url, "it ends without an end mark")


def _damage_error(url: str, detail: str) -> CorpusError:
    return CorpusError(f"{url}: the Arrow file is cut short or damaged ({detail}); fetch it again")


class _Stream:
    """The stream inside a file. Arrow takes the end of a file for the end of the stream, so the last bytes are kept."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.last = file, b""
        head = file.read(len(FILE_MAGIC))
        self._ready = b"" if head == FILE_MAGIC else head

    def read(self, size: int = -1) -> bytes:
        data = self._ready[:size]
        self._ready = self._ready[size:]
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        self.last = (self.last + data)[-8:]
        return data

    def close(self) -> None:
        """Leave the file open: its owner closes it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
