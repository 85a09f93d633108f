"""Integer helpers: the examples in their docstrings hold, and so do empty arrays."""

import doctest

import numpy as np

from pipeline import arrays


def test_the_examples_in_the_docstrings_hold() -> None:
    results = doctest.testmod(arrays)
    assert results.failed == 0 and results.attempted >= 6


def test_empty_arrays_are_fine() -> None:
    empty = np.empty(0, np.int64)
    assert arrays.runs_of_true(np.empty(0, np.bool_)).shape == (0, 2)
    assert arrays.ranges(empty, empty).shape == arrays.starts_of_groups(empty).shape == arrays.code_points("").shape == (0,)
    assert arrays.mix(np.empty(0, np.uint64)).shape == (0,)


def test_lone_surrogates_are_code_points() -> None:
    assert arrays.code_points("a\ud83d").tolist() == [97, 0xD83D]
