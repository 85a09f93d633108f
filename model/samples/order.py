"""The order of samples: which row of which source is the k-th. A formula, so any k can be looked up and nothing is stored.

    order = Order({"news": 40_000, "wiki": 1_000_000}, {"news": 0.25, "wiki": 0.75}, seed=1)
    order.locate(np.arange(4))    source [1 0 1 1]   epoch [0 0 0 0]   row [426440 17368 439998 582452]

1. Source of k: a pattern of 10,000 places repeats forever. In it every source has places in proportion to its weight, evenly
   spread. This also tells how many rows a source has given before k: its counter.
2. Row within a source: epoch = counter // rows, and the place within the epoch goes through two permutations keyed by (seed,
   epoch): one of blocks of 16,384 rows, then one of the rows in a window of `window_blocks` permuted blocks. Reads stay in one
   window for a while, which keeps a cache small, and every row comes exactly once an epoch.

`torch.randperm` is not used: it needs memory for all rows, and it was biased above 1e8 of them (ModernBERT, pull request 110).

A first reader may skip everything above `Order`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.arrays import GOLDEN_RATIO, Hashes, Ints, mix
from pipeline.errors import RecipeError

PATTERN = 10_000
"""Places in the pattern of sources: weights are resolved to a hundredth of a percent."""
BLOCK_ROWS = 16_384
"""Rows in a block."""
WINDOW_BLOCKS = 8
"""Blocks in a window: 131,072 rows, about 26 MB at 128 tokens. Far more than a batch, far less than a shard set caches."""
ROUNDS = 6
"""Rounds of the Feistel networks. Four are enough for a uniform permutation in theory (Luby and Rackoff, 1988)."""

_U = np.uint64
_MASK = (1 << 64) - 1


def key(*numbers: int) -> int:
    """Hash several numbers into one of 64 bits; the order counts."""
    state = 0
    for number in numbers:
        state = int(mix(np.array([(state ^ (number & _MASK)) * int(GOLDEN_RATIO) + 1 & _MASK], _U))[0])
    return state


def permute(values: Ints, size: Ints, keys: Hashes) -> Ints:
    """Look up `values` in a pseudorandom permutation of 0..size-1, one for each key; the three arguments broadcast.

    The generalised Feistel network of Black and Rogaway (Ciphers with Arbitrary Finite Domains, 2002, section 5): numbers are
    pairs (left, right) in Z_a x Z_b with a * b just above `size`; results outside 0..size-1 are permuted again.
    """
    values, size, keys = np.broadcast_arrays(values, size, keys)
    # Factor the domain. A root off by one through rounding costs more walking, never correctness: b is chosen to fit a.
    a = np.maximum(np.sqrt(size.astype(np.float64)).astype(np.int64), 1)
    b = -(-size // a)
    # Walk the cycles: permute again whatever is still outside.
    result = values.copy()
    walking = np.ones(result.shape, np.bool_)
    while walking.any():
        result[walking] = _feistel(result[walking], a[walking].astype(_U), b[walking].astype(_U), keys[walking])
        walking = result >= size
    return result


def _feistel(values: Ints, a: Hashes, b: Hashes, keys: Hashes) -> Ints:
    """A keyed permutation of 0..a*b-1, elementwise; all arguments (n,)."""
    left, right = np.divmod(values.astype(_U), b)
    for number in range(0, ROUNDS, 2):
        left = (left + mix(right ^ mix(keys + _U(number))) % a) % a
        right = (right + mix(left ^ mix(keys + _U(number + 1))) % b) % b
    return (left * b + right).astype(np.int64)


@lru_cache(maxsize=64)
def _blocks(rows: int, keyed: int) -> tuple[Ints, int]:
    """The blocks of a source in the order of an epoch, (count,), and the place in it of the last one, which may be short."""
    count = -(-rows // BLOCK_ROWS)
    blocks = permute(np.arange(count), np.array(count), np.array([keyed], _U))
    return blocks, int(np.flatnonzero(blocks == count - 1)[0])


def shuffled(places: Ints, rows: int, seed: int, epoch: int, window_blocks: int = WINDOW_BLOCKS) -> Ints:
    """The rows of a source at some places of one epoch.

    `places`: (n,) in 0..rows-1. Returns (n,) in 0..rows-1; all places together give every row once.
    """
    blocks, short = _blocks(rows, key(seed, epoch, 0))
    window = window_blocks * BLOCK_ROWS
    # Number places as if the short block were full: those after its window move up by the rows that it lacks.
    lacking = len(blocks) * BLOCK_ROWS - rows
    short_window = short // window_blocks
    window_end = min((short_window + 1) * window, len(blocks) * BLOCK_ROWS) - lacking
    # Window, and place in the window; permute the places within each window.
    number, place = np.divmod(places + lacking * (places >= window_end), window)
    size = np.minimum(len(blocks) * BLOCK_ROWS - number * window, window) - lacking * (number == short_window)
    place = permute(place, size, mix(number.astype(_U) + _U(key(seed, epoch, 1))))
    # Within its window, places after the short block move up too. Then look up the block.
    short_end = (short % window_blocks + 1) * BLOCK_ROWS - lacking
    place = place + lacking * ((number == short_window) & (place >= short_end))
    block, offset = np.divmod(number * window + place, BLOCK_ROWS)
    result: Ints = blocks[block] * BLOCK_ROWS + offset
    return result


def window_rows(
    place: int, rows: int, seed: int, epoch: int, count: int, window_blocks: int = WINDOW_BLOCKS
) -> list[list[tuple[int, int]]]:
    """The rows of the window that a place of an epoch is in, and of those after it, as ranges (first row, end).

    Windows after the last one of an epoch are the first ones of the next.
    """
    result: list[list[tuple[int, int]]] = []
    number = -1
    while len(result) < count:
        blocks, short = _blocks(rows, key(seed, epoch, 0))
        if number < 0:
            lacking = len(blocks) * BLOCK_ROWS - rows
            window_end = min((short // window_blocks + 1) * window_blocks, len(blocks)) * BLOCK_ROWS - lacking
            number = (place + lacking * (place >= window_end)) // (window_blocks * BLOCK_ROWS)
        for start in range(number * window_blocks, len(blocks), window_blocks):
            window = blocks[start : start + window_blocks].tolist()
            result.append([(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, rows)) for block in window])
        epoch, number = epoch + 1, 0
    return result[:count]


def pattern_counts(weights: Mapping[str, float]) -> dict[str, int]:
    """Places in the pattern for each source, by largest remainders; a source with a weight has at least one.

    They sum up to `PATTERN`; the largest source gives or takes the difference.
    """
    total = sum(weights.values())
    exact = {name: weight / total * PATTERN for name, weight in weights.items()}
    result = {name: max(int(places), 1 if places else 0) for name, places in exact.items()}
    by_remainder = sorted(result, key=lambda name: (result[name] - exact[name], name))
    for name in by_remainder[: max(PATTERN - sum(result.values()), 0)]:
        result[name] += 1
    largest = max(result, key=lambda name: result[name])
    result[largest] -= sum(result.values()) - PATTERN
    return result


@dataclass(frozen=True)
class Located:
    """Where n samples come from; each field is (n,)."""

    source: Ints
    """Indices into `Order.sources`."""
    epoch: Ints
    """Full passes over the source before this sample."""
    row: Ints
    """Indices into the rows of the source."""


class Order:
    """The samples of a phase, numbered from 0 without end.

    `rows`: number of rows of each source. `weights`: its ratio of the samples (empty: by rows); a source without a weight is
    not used.

    Raises: `RecipeError` when a weight names no source, or one without rows, or when no source has rows.
    """

    def __init__(
        self, rows: Mapping[str, int], weights: Mapping[str, float], seed: int, window_blocks: int = WINDOW_BLOCKS
    ) -> None:
        for name, weight in weights.items():
            if weight and not rows.get(name):
                known = ", ".join(sorted(source for source in rows if rows[source])) or "none"
                raise RecipeError(f"weights name {name!r}, which has no rows to train on; sources with rows: {known}")
        used = {name: weight for name, weight in sorted((weights or rows).items()) if weight > 0}
        if not used:
            raise RecipeError("no source has a row to train on: loosen [filters] or give more input")
        self.sources = tuple(used)
        self.rows = tuple(rows[name] for name in self.sources)
        self.seed = seed
        self.window_blocks = window_blocks
        # The pattern: the i-th of n places of a source is put at (i + 1/2) / n of the way.
        self.counts = np.array(list(pattern_counts(used).values()), np.int64)
        self.pattern = np.repeat(np.arange(len(self.sources)), self.counts)
        even = np.concatenate([(2 * np.arange(count) + 1) / (2 * count) for count in self.counts])
        self.pattern = self.pattern[np.lexsort((self.pattern, even))]
        # For each place of the pattern, how often its source came before.
        self.before = np.empty(PATTERN, np.int64)
        for number in range(len(self.sources)):
            places = np.flatnonzero(self.pattern == number)
            self.before[places] = np.arange(len(places))

    def locate(self, k: Ints) -> Located:
        """Source, epoch and row of samples `k`, (n,) int64."""
        period, place = np.divmod(k, PATTERN)
        source = self.pattern[place]
        counter = period * self.counts[source] + self.before[place]
        epoch, row = np.empty_like(counter), np.empty_like(counter)
        for number, rows in enumerate(self.rows):
            here = np.flatnonzero(source == number)
            epoch[here], places = np.divmod(counter[here], rows)
            for passes in np.unique(epoch[here]):
                now = epoch[here] == passes
                row[here[now]] = shuffled(places[now], rows, self.seed, int(passes), self.window_blocks)
        return Located(source, epoch, row)

    def windows(self, k: int, count: int = 2) -> list[list[list[tuple[int, int]]]]:
        """For each source, the rows of the window that is read at sample `k` and of those after it (see `window_rows`)."""
        period, place = divmod(k, PATTERN)
        result = []
        for number, rows in enumerate(self.rows):
            counter = period * int(self.counts[number]) + int(np.count_nonzero(self.pattern[:place] == number))
            epoch, start = divmod(counter, rows)
            result.append(window_rows(start, rows, self.seed, epoch, count, self.window_blocks))
        return result
