"""Rows of any type and from any slice are taken as Arrow takes them."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.engine.row_order import Rows

TABLE = pa.table(
    {
        "id": pa.array([7, 8, 9, 10], pa.uint64()),
        "label": pa.array([1, None, 0, None], pa.uint8()),
        "text": ["北京", "", "上海市", "天"],
        "ids": pa.array([[1, 2], [], [3, 4, 5], [65535]], pa.list_(pa.uint16())),
        "wide": pa.array([[1.5], [2.5, -1.0], [], [0.0]], pa.list_(pa.float64())),
        "starts": pa.array([[True, False], [], [True, True, False], [True]], pa.list_(pa.bool_())),
        "words": pa.array([["a"], [], ["b", "cd"], ["e"]], pa.list_(pa.string())),
    }
)
ORDERS = {"all": [2, 0, 3, 1], "some": [3, 3, 0], "none": []}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_rows_are_those_of_arrow(order: list[int]) -> None:
    places = np.array(order, np.int64)
    taken = pa.Table.from_batches([Rows(TABLE).take(places)])
    taken.validate(full=True)
    assert taken.equals(TABLE.take(pa.array(places)))


def test_rows_of_several_chunks_and_of_a_slice() -> None:
    several = pa.concat_tables([TABLE.slice(1, 2), TABLE.slice(0, 3), TABLE.slice(3)])
    places = np.array([5, 0, 3, 1, 4, 2])
    assert pa.Table.from_batches([Rows(several).take(places)]).equals(several.take(pa.array(places)))
    token = TABLE.slice(2)
    assert pa.Table.from_batches([Rows(token).take(np.array([1, 0]))]).equals(token.take(pa.array([1, 0])))


@pytest.mark.parametrize("lists", [[[1], None, [2]], [[1, None], [3], [2]]])
def test_lists_with_nulls_are_left_to_arrow(lists: list[list[int | None] | None]) -> None:
    table = pa.table({"ids": pa.array(lists, pa.list_(pa.int32()))})
    places = np.array([2, 0, 1])
    assert pa.Table.from_batches([Rows(table).take(places)]).equals(table.take(pa.array(places)))


def test_a_table_without_rows() -> None:
    assert Rows(TABLE.slice(0, 0)).take(np.empty(0, np.int64)).num_rows == 0
