"""Names of array types, and helpers on arrays of integers that several packages need. Imports numpy only."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of any type."""
Ints = NDArray[np.int64]
Ints32 = NDArray[np.int32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Strings = NDArray[np.str_]
Hashes = NDArray[np.uint64]
"""64-bit hashes, ids or keys."""
CodePoints = NDArray[np.uint32]
"""Unicode code points, one per character."""
TokenIds = NDArray[np.unsignedinteger[Any]]
"""uint16, or uint32 for vocabularies of more than 65,536 tokens."""

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio, made odd: the increment of splitmix64 and a multiplier for hashes."""


def mix(words: Hashes) -> Hashes:
    """Scramble 64-bit words so that every bit of the result depends on every bit of the word. Distinct words stay distinct.

    The finalizer of splitmix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014).

    >>> mix(np.array([0, 1, 2], np.uint64)).tolist()
    [0, 6238072747940578789, 15839785061582574730]
    """
    with np.errstate(over="ignore"):
        result = words >> np.uint64(30)
        result ^= words
        result *= np.uint64(0xBF58476D1CE4E5B9)
        result ^= result >> np.uint64(27)
        result *= np.uint64(0x94D049BB133111EB)
        result ^= result >> np.uint64(31)
    return result


def code_points(text: str) -> CodePoints:
    """Return the code points (characters,) of a text, lone surrogates included. The array is read-only.

    >>> code_points("a中").tolist()
    [97, 20013]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def from_code_points(points: CodePoints) -> str:
    """Return the text of some code points: the reverse of `code_points` for text without lone surrogates.

    >>> from_code_points(np.array([97, 20013], np.uint32))
    'a中'
    """
    return points.tobytes().decode("utf-32-le")


def runs_of_true(flags: Flags) -> Ints:
    """Return where each run of True starts and ends (exclusive): (runs, 2).

    >>> runs_of_true(np.array([False, True, True, False, True])).tolist()
    [[1, 3], [4, 5]]
    """
    return np.flatnonzero(np.diff(flags, prepend=False, append=False)).reshape(-1, 2)


def ranges(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> Ints:
    """Concatenate the ranges [start, start + length): starts (n,) and lengths (n,) give (sum of lengths,).

    >>> ranges(np.array([5, 9]), np.array([2, 3])).tolist()
    [5, 6, 9, 10, 11]
    """
    shifts = starts - np.cumsum(lengths) + lengths
    return np.repeat(shifts, lengths) + np.arange(int(lengths.sum()))


def slices(lengths: NDArray[np.integer], size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges [first, last) of rows whose lengths (rows,) add up to about `size`.

    Rows are cut after the one that reaches each multiple of `size`.

    >>> list(slices(np.array([3, 3, 3, 9, 1]), 5))
    [(0, 1), (1, 3), (3, 5)]
    """
    ends = np.cumsum(lengths)
    cuts = np.searchsorted(ends, np.arange(size, ends[-1] if len(ends) else 0, size))
    yield from itertools.pairwise(np.unique([0, *cuts.tolist(), len(lengths)]).tolist())


def starts_of_groups(values: Array) -> Flags:
    """Return a flag per value, True where it differs from the value before it: the first of each group of equal neighbours.

    >>> starts_of_groups(np.array([7, 7, 2, 2, 2, 7])).tolist()
    [True, False, True, False, False, True]
    """
    starts = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=starts[1:])
    return starts
