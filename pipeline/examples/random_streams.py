"""Random numbers by name: what is drawn for an example or a document depends on its number and the seed, on nothing else.

    stream (seed 12345, epoch 3, example 0xfedcba9876543210, purpose 0)      0.3442 0.1868 0.4095 ...
    numbers(12345, [3, 3], [0xfedcba9876543210, 5], [2, 1])                  0.3442 0.1868 | 0.0505

So any worker, at any place of a run, draws the same. Philox (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011)
is a counter-based generator: its key is (seed, number) and its counter starts at (0, 0, purpose, epoch), so no two streams ever
meet.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = (1 << 64) - 1

MASKS, PAIRS, SECOND_SEGMENTS, SPANS = range(4)
"""Purposes of streams: the mask of an example, the walk through a document, the B's of label 1, the spans of an example."""


def generator(seed: int, epoch: int, number: int, purpose: int = MASKS) -> np.random.Generator:
    """One stream, without end."""
    key = np.array([seed & WORD, number & WORD], dtype=np.uint64)
    counter = np.array([0, 0, purpose & WORD, epoch & WORD], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def numbers(
    seed: int, epochs: NDArray[Any], names: NDArray[Any], counts: NDArray[Any], purpose: int = MASKS
) -> NDArray[np.float64]:
    """(sum of counts,) the first `counts[i]` numbers, each in [0, 1), of every stream (seed, epochs[i], names[i], purpose).

    The same as `generator(seed, epochs[i], names[i], purpose).random(counts[i])`, joined. One generator is set back for every
    stream: to make a new one takes as long as thousands of numbers.
    """
    result = np.empty(int(counts.sum()))
    bits = np.random.Philox(key=0)
    random = np.random.Generator(bits).random
    counter, key = [0, 0, purpose, 0], [seed & WORD, 0]
    # Lists, not the arrays that stand there: a generator is set back from them in half the time.
    state: Any = {**bits.state, "state": {"counter": counter, "key": key}, "buffer": bits.state["buffer"].tolist()}
    start = 0
    streams: Iterable[tuple[int, int, int]] = zip(epochs.tolist(), names.tolist(), counts.tolist(), strict=True)
    for epoch, name, count in streams:
        counter[3], key[1] = epoch, name
        bits.state = state
        end = start + count
        random(out=result[start:end])
        start = end
    return result
