"""Random numbers that depend only on the seed and the id of an example or document.

    stream (seed 12345, epoch 3, example 0xfedcba9876543210, purpose 0)      0.3442 0.1868 0.4095 ...
    numbers(12345, [3, 3], [0xfedcba9876543210, 5], [2, 1])                  0.3442 0.1868 | 0.0505

So every worker, at any time of a run, draws the same. Philox (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011)
is a counter-based generator. Its key is (seed, id) and its counter starts at (0, 0, purpose, epoch), so streams never overlap.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.arrays import Array, Floats

WORD = (1 << 64) - 1

MASKS, PAIRS, SECOND_SEGMENTS, SPANS = range(4)
"""Purposes of streams: masks of an example, the walk through a document, its B's of label 1, spans of an example."""


def generator(seed: int, epoch: int, number: int, purpose: int = MASKS) -> np.random.Generator:
    """Return an endless stream."""
    key = np.array([seed & WORD, number & WORD], dtype=np.uint64)
    counter = np.array([0, 0, purpose & WORD, epoch & WORD], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def numbers(seed: int, epochs: Array, names: Array, counts: Array, purpose: int = MASKS) -> Floats:
    """Return the first `counts[i]` numbers in [0, 1) of each stream (seed, epochs[i], names[i], purpose), concatenated.

    The same as `generator(seed, epochs[i], names[i], purpose).random(counts[i])` for each i. A single generator is reset for
    every stream, because creating one takes as long as thousands of numbers.

    Args:
        epochs, names, counts: (streams,)
    """
    result = np.empty(int(counts.sum()))
    bits = np.random.Philox(key=0)
    random = np.random.Generator(bits).random
    counter, key = [0, 0, purpose, 0], [seed & WORD, 0]
    # Lists instead of the arrays in `bits.state`, which halves the time to reset the generator.
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
