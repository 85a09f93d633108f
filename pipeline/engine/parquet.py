"""Read the Parquet files of stages: whole, some columns, or the rows of a range.

`pyarrow.parquet.read_table` is avoided: it imports Arrow's datasets, which takes each worker 0.4 s.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.engine.integrity import open_finished

BATCH_ROWS = 256
"""Rows per batch when looking up single rows."""
_THREADS_FROM_ROWS = 4_096
"""Rows of a file from which threads decode it sooner than they start: below, they double the time."""


def read(url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file, or some of its columns in the given order.

    Raises: DamagedError for a finished file that is not what its manifest says; StorageError.
    """
    with open_finished(url) as file:
        source = pq.ParquetFile(file, pre_buffer=True)
        return _select(source.read(columns, use_threads=_in_threads(source)), columns)


def read_between(url: str, name: str, first: Any, last: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows whose column `name` is in [first, last] (Python values). Row groups outside the range are not read.

    Raises: DamagedError for a finished file that is not what its manifest says; StorageError.
    """
    with open_finished(url) as file:
        source = pq.ParquetFile(file, pre_buffer=True)
        place = source.schema_arrow.get_field_index(name)
        groups = [group for group in range(source.num_row_groups) if _may_contain(source, group, place, first, last)]
        wanted = None if columns is None else [*columns, *({name} - set(columns))]
        table = source.read_row_groups(groups, wanted, use_threads=_in_threads(source))
    low, high = (pa.scalar(value, table[name].type) for value in (first, last))
    inside = pc.and_(pc.greater_equal(table[name], low), pc.less_equal(table[name], high))
    return _select(table.filter(inside), columns)


def read_rows(url: str, name: str, values: Sequence[Any], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows whose column `name`, one of `columns`, has one of some values. Each value is in one row at most.

    Reads a few rows at a time and stops at the last match, so that a column of long texts is never in memory as a whole.

    Raises: DamagedError for a finished file that is not what its manifest says; StorageError.
    """
    missing = len(values)
    with open_finished(url) as file:
        source = pq.ParquetFile(file)
        place = source.schema_arrow.get_field_index(name)
        wanted = pa.array(values, source.schema_arrow.field(place).type)
        groups = [
            group
            for group in range(source.num_row_groups)
            if any(_may_contain(source, group, place, value, value) for value in values)
        ]
        threads = _in_threads(source)
        batches = source.iter_batches(BATCH_ROWS, row_groups=groups, columns=list(columns), use_threads=threads)
        while missing and (batch := next(batches, None)) is not None:
            found = batch.filter(pc.is_in(batch[name], wanted))
            missing -= len(found)
            yield from found.to_pylist()


def _in_threads(source: pq.ParquetFile) -> bool:
    """Return whether threads should decode a file."""
    return bool(source.metadata.num_rows >= _THREADS_FROM_ROWS)


def _may_contain(source: pq.ParquetFile, group: int, place: int, first: Any, last: Any) -> bool:
    """Return whether a row group may contain values of the range; without statistics it may."""
    numbers = source.metadata.row_group(group).column(place).statistics
    return numbers is None or not numbers.has_min_max or (numbers.min <= last and first <= numbers.max)


def _select(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    return table if columns is None else table.select(columns)
