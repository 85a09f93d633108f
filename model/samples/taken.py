"""What a step takes: its range of samples, and a digest of the examples in it, by which two runs can be compared.

    batch sizes 16 16 16, skipped 16..32        takes 0..16, 32..48, 48..64
    digest(step 3, examples 7 and 9)            the sum of a hash for each (step, example), so the order does not count

Each worker sums over its own examples, all workers over all, and a run over its steps: whatever the number of workers, equal
digests mean that the same examples were trained on in the same steps.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from model.samples.order import key
from pipeline.arrays import Hashes, mix

_HALF = 32


def sample_ranges(start: int, batch_sizes: Iterable[int], skipped: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield (first sample, end) of each coming step from sample `start` on; none overlaps a skipped (first sample, end)."""
    ranges = sorted(skipped)
    for size in batch_sizes:
        for first, end in ranges:
            if start < end and first < start + size:
                start = end
        yield start, start + size
        start += size


def digest(step: int, example_ids: Hashes) -> int:
    """Return the digest of some examples of a step, in 64 bits."""
    return int(mix(example_ids + np.uint64(key(step))).sum(dtype=np.uint64))


def halves(whole: int) -> tuple[int, int]:
    """Split a digest into two numbers whose sums over all workers are exact in float64."""
    return whole >> _HALF, whole & (1 << _HALF) - 1


def total(high: float, low: float) -> int:
    """Put sums of halves together again, modulo 2^64."""
    return (int(high) << _HALF) + int(low) & (1 << 2 * _HALF) - 1


def add(digests: Sequence[str | int]) -> str:
    """Return the sum of digests, modulo 2^64, as 16 hexadecimal digits; strings are such sums."""
    return f"{sum(int(one, 16) if isinstance(one, str) else one for one in digests) & (1 << 2 * _HALF) - 1:016x}"
