"""Spill files: how rows travel from the task that made them to the file that they belong to.

Each task writes one file, its rows sorted by bucket, and knows the byte range of every bucket. Whoever gathers a bucket reads
its ranges of all spill files. Beam carries the ranges, never the rows.

    task 0  -> spill: [bucket 0 | bucket 1 | bucket 2]        bucket 1 = range of spill 0 + range of spill 1
    task 1  -> spill: [bucket 0 | bucket 1 | bucket 2]
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.engine.row_order import Rows


@dataclass(frozen=True, order=True)
class SpillRange:
    """The rows of one bucket in one spill file."""

    url: str
    start: int
    end: int
    rows: int


def write_spill(url: str, table: pa.Table, buckets: npt.NDArray[np.integer]) -> dict[int, SpillRange]:
    """Write rows with their bucket numbers (one a row) as one file; the range of every bucket that has rows."""
    order = np.argsort(buckets, kind="stable")
    sorted_rows = Rows(table).take(order)
    numbers, starts = np.unique(buckets[order], return_index=True)
    ends = [*starts.tolist(), len(order)][1:]
    ranges = {}
    with storage.open_write(url) as file:
        position = 0
        for bucket, first, last in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
            with pa.BufferOutputStream() as sink:
                with pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_batch(sorted_rows.slice(first, last - first))
                data = sink.getvalue()
            file.write(data)
            ranges[bucket] = SpillRange(url, position, position + data.size, last - first)
            position += data.size
    return ranges


def read_spills(ranges: Iterable[SpillRange]) -> pa.Table:
    """All rows of some ranges as one table; the order of the ranges does not matter to callers, who sort by a key."""
    tables = [pa.ipc.open_stream(storage.read_range(r.url, r.start, r.end)).read_all() for r in sorted(ranges)]
    return pa.concat_tables(tables)
