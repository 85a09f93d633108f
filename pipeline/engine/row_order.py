"""Take rows of a table in any order, lists included, as fast as bytes can be copied.

    rows        [北 京] [上 海 市] [天]       order 2 0
    taken       [天] [北 京]

Arrow copies a list value by value but a string in one go. Lists of numbers are therefore taken as strings of bytes: three times
as fast for the rows of shards.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class Rows:
    """The rows of one table. Lists with nulls, or of anything but numbers, are left to Arrow."""

    def __init__(self, table: pa.Table) -> None:
        self.schema = table.schema
        self._columns = [_as_bytes(_whole(column)) for column in table.columns]

    def take(self, order: npt.NDArray[np.integer[Any]]) -> pa.RecordBatch:
        """Return the rows with the indices `order`, in that order."""
        indices = pa.array(order)
        taken = [_as_type(column.take(indices), field.type) for column, field in zip(self._columns, self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(taken, schema=self.schema)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    column = column.combine_chunks()
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


def _width(kind: pa.DataType) -> int:
    """Return the bytes per value of a list of numbers; 0 for other types."""
    if not pa.types.is_list(kind) or not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        return 0
    return int(kind.value_type.bit_width) // 8


def _as_bytes(column: pa.Array) -> pa.Array:
    """Reinterpret lists of numbers as strings of bytes, without copying the values."""
    width = _width(column.type)
    if not width or column.null_count or column.values.null_count or column.values.offset:
        return column
    offsets = column.offsets.to_numpy().astype(np.int64) * width
    return pa.Array.from_buffers(pa.large_binary(), len(column), [None, pa.py_buffer(offsets), column.values.buffers()[1]])


def _as_type(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Reinterpret strings of bytes as lists of numbers."""
    if column.type == kind:
        return column
    _, ends, data = column.buffers()
    offsets = (np.frombuffer(ends, np.int64)[: len(column) + 1] // _width(kind)).astype(np.int32)
    values = pa.Array.from_buffers(kind.value_type, int(offsets[-1]), [None, data])
    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(offsets)], children=[values])
