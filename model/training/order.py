"""The order of training: which row of which source is the k-th sample. A formula, so nothing is stored and any k can be asked.

    order = Order({"news": 40_000, "wiki": 1_000_000}, {"news": 0.25, "wiki": 0.75}, seed=1)
    order.locate(np.arange(4))    source [1 0 1 1]   epoch [0 0 0 0]   row [426440 17368 439998 582452]

1. `source(k)`: a pattern of 10,000 places in which every source has its share, evenly spread, repeats for ever. So the number
   of rows that a source has given before k is known too: its own counter.
2. In a source, epoch = counter // rows, and the place within the epoch goes through two permutations keyed (seed, epoch): one
   of blocks of 16,384 rows, then one of the rows inside a window of `window_blocks` of the permuted blocks. Reads thus stay in
   one window for a while, which keeps a cache small, and every row comes exactly once an epoch.

`torch.randperm` is not used: it needs memory for all rows, and it was biased above 1e8 of them (ModernBERT, pull request 110).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.errors import RecipeError

PATTERN = 10_000
"""Places of the pattern of sources: weights count in hundredths of a percent."""
BLOCK_ROWS = 16_384
WINDOW_BLOCKS = 8
"""131,072 rows, about 26 MB of 128-token sequences: far more than a batch, far less than the cache of an open shard set."""
ROUNDS = 6
"""Of the Feistel networks. Four are enough for a uniform permutation in theory (Luby and Rackoff, 1988)."""

Integers = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]
_U = np.uint64
_ODD = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def mix(words: _Words) -> _Words:
    """Scatter 64-bit words: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), which is a bijection."""
    words = (words ^ (words >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> _U(27))) * _U(0x94D049BB133111EB)
    result: _Words = words ^ (words >> _U(31))
    return result


def key(*numbers: int) -> int:
    """One 64-bit number from several; another for any change in any of them."""
    state = 0
    for number in numbers:
        state = int(mix(np.array([(state ^ (number & _MASK)) * _ODD + 1 & _MASK], _U))[0])
    return state


def permute(values: Integers, size: Integers, keys: _Words) -> Integers:
    """A permutation of 0..size-1 for each key, at `values`; the three broadcast (numpy's rules).

    The generalised Feistel network of Black and Rogaway (Ciphers with Arbitrary Finite Domains, 2002, section 5): numbers are
    pairs (left, right) in Z_a x Z_b with a * b just above `size`; what falls outside is sent through again.
    """
    values, size, keys = np.broadcast_arrays(values, size, keys)
    # A root that is one too large or small by rounding costs some walking, never correctness: b is taken to fit a.
    a = np.maximum(np.sqrt(size.astype(np.float64)).astype(np.int64), 1)
    b = -(-size // a)
    result = values.copy()
    walking = np.ones(result.shape, np.bool_)
    while walking.any():
        result[walking] = _feistel(result[walking], a[walking].astype(_U), b[walking].astype(_U), keys[walking])
        walking = result >= size
    return result


def _feistel(values: Integers, a: _Words, b: _Words, keys: _Words) -> Integers:
    left, right = np.divmod(values.astype(_U), b)
    for number in range(0, ROUNDS, 2):
        left = (left + mix(right ^ mix(keys + _U(number))) % a) % a
        right = (right + mix(left ^ mix(keys + _U(number + 1))) % b) % b
    return (left * b + right).astype(np.int64)


@lru_cache(maxsize=64)
def _blocks(rows: int, keyed: int) -> tuple[Integers, int]:
    """The blocks in the order of an epoch, and the place among them of the last block, which may be short."""
    count = -(-rows // BLOCK_ROWS)
    blocks = permute(np.arange(count), np.array(count), np.array([keyed], _U))
    return blocks, int(np.flatnonzero(blocks == count - 1)[0])


def shuffled(places: Integers, rows: int, seed: int, epoch: int, window_blocks: int = WINDOW_BLOCKS) -> Integers:
    """Rows of a source at `places` (each 0..rows-1) of one epoch. All places together give all rows, each once."""
    blocks, short = _blocks(rows, key(seed, epoch, 0))
    window = window_blocks * BLOCK_ROWS
    # Count as if the short block were full: what comes after it (its window first, itself later) moves up by what it lacks.
    lacking = len(blocks) * BLOCK_ROWS - rows
    short_window = short // window_blocks
    window_end = min((short_window + 1) * window, len(blocks) * BLOCK_ROWS) - lacking
    number, place = np.divmod(places + lacking * (places >= window_end), window)
    size = np.minimum(len(blocks) * BLOCK_ROWS - number * window, window) - lacking * (number == short_window)
    place = permute(place, size, mix(number.astype(_U) + _U(key(seed, epoch, 1))))
    short_end = (short % window_blocks + 1) * BLOCK_ROWS - lacking
    place = place + lacking * ((number == short_window) & (place >= short_end))
    block, offset = np.divmod(number * window + place, BLOCK_ROWS)
    result: Integers = blocks[block] * BLOCK_ROWS + offset
    return result


def shares(weights: Mapping[str, float]) -> dict[str, int]:
    """Places of the pattern for each source: largest remainders, and at least one for a source that has a weight."""
    total = sum(weights.values())
    exact = {name: weight / total * PATTERN for name, weight in weights.items()}
    result = {name: max(int(share), 1 if share else 0) for name, share in exact.items()}
    by_remainder = sorted(result, key=lambda name: (result[name] - exact[name], name))
    for name in by_remainder[: max(PATTERN - sum(result.values()), 0)]:
        result[name] += 1
    largest = max(result, key=lambda name: result[name])
    result[largest] -= sum(result.values()) - PATTERN
    return result


@dataclass(frozen=True)
class Located:
    """Where samples come from, one entry a sample."""

    source: Integers
    """Index into `Order.sources`."""
    epoch: Integers
    """How often the source has been through before this sample."""
    row: Integers


class Order:
    """The samples of a phase, numbered from 0 without end.

    `rows`: rows of each source; `weights`: its share of the samples (empty: by rows). One without weight does not take part.
    `RecipeError` when a weight names no source, or a source without rows.
    """

    def __init__(
        self, rows: Mapping[str, int], weights: Mapping[str, float], seed: int, window_blocks: int = WINDOW_BLOCKS
    ) -> None:
        for name, weight in weights.items():
            if weight and not rows.get(name):
                known = ", ".join(sorted(source for source in rows if rows[source])) or "none"
                raise RecipeError(f"weights name {name!r}, which has no rows to train on; sources with rows: {known}")
        part = {name: weight for name, weight in sorted((weights or rows).items()) if weight > 0}
        if not part:
            raise RecipeError("no source has a row to train on: loosen [filters] or give more input")
        self.sources = tuple(part)
        self.rows = tuple(rows[name] for name in self.sources)
        self.seed = seed
        self.window_blocks = window_blocks
        self.shares = np.array(list(shares(part).values()), np.int64)
        self.pattern = np.repeat(np.arange(len(self.sources)), self.shares)
        even = np.concatenate([(2 * np.arange(share) + 1) / (2 * share) for share in self.shares])
        self.pattern = self.pattern[np.lexsort((self.pattern, even))]
        self.before = np.empty(PATTERN, np.int64)
        for number in range(len(self.sources)):
            places = np.flatnonzero(self.pattern == number)
            self.before[places] = np.arange(len(places))

    def locate(self, k: Integers) -> Located:
        """Source, epoch and row of the samples `k`."""
        period, place = np.divmod(k, PATTERN)
        source = self.pattern[place]
        counter = period * self.shares[source] + self.before[place]
        epoch, row = np.empty_like(counter), np.empty_like(counter)
        for number, rows in enumerate(self.rows):
            here = np.flatnonzero(source == number)
            epoch[here], places = np.divmod(counter[here], rows)
            for one in np.unique(epoch[here]):
                now = epoch[here] == one
                row[here[now]] = shuffled(places[now], rows, self.seed, int(one), self.window_blocks)
        return Located(source, epoch, row)
