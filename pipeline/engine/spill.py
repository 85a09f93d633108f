"""Spill files: how rows travel from the task that made them to the bucket they belong to.

A task writes one file (or some), its rows sorted by bucket, and returns the byte range of each bucket. The reduce step of a
bucket reads its ranges from all spill files. Beam carries the ranges, never the rows.

    task 0  -> spill: [bucket 0 | bucket 1 | bucket 2]        bucket 1 = range of spill 0 + range of spill 1
    task 1  -> spill: [bucket 0 | bucket 1 | bucket 2]

With each range goes a checksum of its bytes: a bit that flips on the disk meanwhile is an error, and no other document.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.engine.integrity import crc32c
from pipeline.engine.row_order import Rows
from pipeline.errors import DamagedError


@dataclass(frozen=True, order=True)
class SpillRange:
    """The rows of one bucket in one spill file."""

    url: str
    start: int
    """First byte."""
    end: int
    rows: int
    checksum: int
    """CRC-32C of the bytes."""


def write_spill(url: str, table: pa.Table, buckets: npt.NDArray[np.integer]) -> dict[int, SpillRange]:
    """Write rows sorted by bucket into one file and return the range of each bucket that has rows.

    Args:
        buckets: (rows,) the bucket of each row.
    """
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
            ranges[bucket] = SpillRange(url, position, position + data.size, last - first, crc32c(data))
            position += data.size
    return ranges


def read_spills(ranges: Iterable[SpillRange]) -> pa.Table:
    """Read all rows of some ranges into one table. Callers sort it by a key, so the order of the ranges does not matter.

    Raises: DamagedError when a range is not what was written.
    """
    return pa.concat_tables([pa.ipc.open_stream(_read(one)).read_all() for one in sorted(ranges)])


def _read(one: SpillRange) -> bytes:
    data = storage.read_range(one.url, one.start, one.end)
    if crc32c(data) != one.checksum:
        raise DamagedError(
            f"{one.url}: bytes {one.start:,} to {one.end:,} are not those that were written (the disk may be failing); "
            f"delete the folder {storage.parent(one.url)} and run the same `prepare` or `run` again"
        )
    return data
