"""The parquet module reads the same rows as Arrow's datasets."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.engine import parquet
from pipeline.errors import StorageError

IDS = np.sort(np.random.default_rng(7).integers(0, 2**64, 1_000, np.uint64))
TABLE = pa.table(
    {
        "text": [f"第 {i} 行" for i in range(1_000)],
        "id": IDS,
        "label": pa.array([None if i % 7 else i for i in range(1_000)], pa.uint16()),
    }
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tables") / "part.parquet"
    pq.write_table(TABLE, path, row_group_size=64, compression="zstd")
    return str(path)


@pytest.mark.parametrize("columns", [None, ["id"], ["label", "text"]])
def test_columns_come_in_the_order_of_their_names(file: str, columns: list[str] | None) -> None:
    assert parquet.read(file, columns).equals(TABLE if columns is None else TABLE.select(columns))


RANGES = {
    "one": (IDS[500], IDS[500]),
    "across row groups": (IDS[60], IDS[70]),
    "beyond 2^63": (np.uint64(2**63), IDS[-1]),
    "all": (0, 2**64 - 1),
    "between two": (int(IDS[3]) + 1, int(IDS[4]) - 1),
    "before all": (0, int(IDS[0]) - 1),
}


@pytest.mark.parametrize("columns", [None, ["id"], ["label", "text"]])
@pytest.mark.parametrize("ends", RANGES.values(), ids=RANGES)
def test_a_range_holds_its_rows_and_no_others(file: str, ends: tuple[int, int], columns: list[str] | None) -> None:
    first, last = map(int, ends)
    inside = (pc.field("id") >= pa.scalar(first, pa.uint64())) & (pc.field("id") <= pa.scalar(last, pa.uint64()))
    found = parquet.read_between(file, "id", first, last, columns)
    assert found.equals(pq.read_table(file, columns=columns, filters=inside))


def test_other_row_groups_are_not_read(file: str, tmp_path: Path) -> None:
    """They are damaged here."""
    data = bytearray(Path(file).read_bytes())
    group = pq.ParquetFile(file).metadata.row_group(9).column(0)
    start = group.dictionary_page_offset or group.data_page_offset
    data[start : start + group.total_compressed_size] = bytes(group.total_compressed_size)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(data)
    with pytest.raises(StorageError):
        parquet.read(str(damaged))
    assert parquet.read_between(str(damaged), "id", int(IDS[0]), int(IDS[100])).equals(TABLE.slice(0, 101))


def test_without_statistics_all_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "part.parquet")
    pq.write_table(TABLE, path, row_group_size=64, write_statistics=False)
    assert parquet.read_between(path, "id", int(IDS[60]), int(IDS[70]), ["id"]).equals(TABLE.slice(60, 11).select(["id"]))


def test_a_file_that_is_missing_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"none\.parquet"):
        parquet.read(str(tmp_path / "none.parquet"))


@pytest.mark.parametrize("columns", [["id"], ["label", "id"], ["id", "text"]])
@pytest.mark.parametrize("places", [[], [500], [999, 0, 64, 63], list(range(1_000))], ids=len)
def test_rows_that_are_looked_for_come_once_in_the_order_of_the_file(file: str, places: list[int], columns: list[str]) -> None:
    wanted = [int(IDS[place]) for place in places]
    found = list(parquet.read_rows(file, "id", [*wanted, int(IDS[7]) + 1], columns))
    assert found == TABLE.select(columns).take(np.array(sorted(places), np.int64)).to_pylist()


def test_nothing_is_read_behind_the_last_row_that_is_looked_for(tmp_path: Path) -> None:
    """It is damaged here: one row group of many pages."""
    path = tmp_path / "part.parquet"
    table = pa.table({"id": np.arange(4_096, dtype=np.uint64), "text": [f"{i:0>500}" for i in range(4_096)]})
    pq.write_table(table, path, compression="none", use_dictionary=False, data_page_size=4_096, write_batch_size=8)
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    middle, end = (
        column.data_page_offset + column.total_compressed_size // 2,
        column.data_page_offset + column.total_compressed_size,
    )
    data[middle:end] = bytes(end - middle)
    path.write_bytes(data)
    assert [row["text"] for row in parquet.read_rows(str(path), "id", [3, 5], ["id", "text"])] == [
        "3".zfill(500),
        "5".zfill(500),
    ]
    with pytest.raises(StorageError, match="page header"):
        list(parquet.read_rows(str(path), "id", [4_000], ["id", "text"]))
