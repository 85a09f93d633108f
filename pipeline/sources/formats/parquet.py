"""Parquet: a range is a range of row groups; a record is a row, identified by its number in the file.

    row groups [0, 2) of 1,000 rows each  ->  origins file#0 ... file#1999

Only the columns with text, title and URL are read, about a thousand rows at a time. Writers that do not say that their bytes
are text leave them as binary columns; these are read as UTF-8.
"""

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import SourceConfig
from pipeline.errors import CorpusError
from pipeline.sources.formats import fields
from pipeline.sources.formats.lines import TOO_LONG, Range, too_long
from pipeline.sources.records import EXCERPT, Bad, Record, Skipped

_ROWS = 1_024
_BUFFER = 1 << 20


def ranges(url: str, task_bytes: int) -> list[tuple[int, int]]:
    """Return ranges of whole row groups, each of about `task_bytes` uncompressed."""
    with storage.open_read(url) as file:
        metadata = _open(file, url).metadata
        sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    result, start, size = [], 0, 0
    for group, bytes_ in enumerate(sizes):
        size += bytes_
        if size >= task_bytes or group == len(sizes) - 1:
            result.append((start, group + 1))
            start, size = group + 1, 0
    return result or [(0, 0)]


def column_names(url: str) -> tuple[str, ...]:
    """Return the names of the columns of a file."""
    with storage.open_read(url) as file:
        return tuple(_open(file, url).schema_arrow.names)


def rows(file: IO[bytes], part: Range, url: str, source: SourceConfig) -> Iterator[Record | Bad | Skipped]:
    """Yield the records of a range of row groups.

    Raises: CorpusError for a damaged file, or one without a text column.
    """
    table = _open(file, url)
    columns = text_columns(table.schema_arrow.names, url, source)
    groups = range(part.start, table.num_row_groups if part.end is None else part.end)
    number = sum(table.metadata.row_group(group).num_rows for group in range(part.start))
    try:
        for batch in table.iter_batches(_ROWS, row_groups=list(groups), columns=columns):
            yield from table_rows(batch, part, number, source)
            number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _damage_error(url, error) from error


def table_rows(batch: Any, part: Range, first: int, source: SourceConfig) -> Iterator[Record | Bad | Skipped]:
    """Yield the records of a batch of rows, which are numbered from `first`."""
    for number, row in enumerate(_read(batch), first):
        origin = part.origin(number)
        found = Bad(origin, "not UTF-8", "") if row is None else fields.record(origin, row, source)
        if isinstance(found, Record) and too_long(found.text):
            found = Bad(origin, TOO_LONG, found.text[:EXCERPT])
        yield found


def _open(file: IO[bytes], url: str) -> Any:
    try:
        return pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _damage_error(url, error) from error


def _damage_error(url: str, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:
        return error  # of the file system, not of the file's content
    return CorpusError(f"{url}: the Parquet file is cut short or damaged ({' '.join(str(error).split())}); fetch it again")


def text_columns(names: list[str], url: str, source: SourceConfig) -> list[str]:
    """Return the columns to read.

    Raises: CorpusError if none of them holds text.
    """
    wanted = {*source.text_field, *(name.partition(".")[0] for name in source.text_field)}
    missing = [name for name in source.text_field if name not in names and name.partition(".")[0] not in names]
    text = source.text_field or any(all(name in names for name in known.required) for known in fields.KNOWN_FORMATS)
    if missing or not text:
        what = f"no column {missing[0]}" if missing else "no column known to hold text"
        raise CorpusError(f"{url}: {what}; name it with --text-field; the columns are {', '.join(names)}")
    return [name for name in names if name in (wanted | {"title", "url"} if wanted else fields.NAMES)]


def _read(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Yield rows as dictionaries; None for a row that is not UTF-8, which writers of Parquet do not check."""
    names = batch.schema.names
    try:
        columns = [_values(column) for column in batch.columns]
    except (ValueError, OverflowError):  # UnicodeDecodeError is one of them; so are dates beyond Python's
        for row in range(batch.num_rows):
            try:
                yield {name: _values(column.slice(row, 1))[0] for name, column in zip(names, batch.columns, strict=True)}
            except (ValueError, OverflowError):
                yield None
        return
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _values(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [*map(_decoded, values)] if "binary" in str(column.type) else values


def _decoded(value: Any) -> Any:
    """Return the value with text instead of bytes, inside lists and structs too."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [*map(_decoded, value)]
    return {name: _decoded(item) for name, item in value.items()} if isinstance(value, dict) else value
