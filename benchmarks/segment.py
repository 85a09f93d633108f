"""Speed of word segmentation, compared with jieba, and whether the words are the same.

    segment/jieba-identical    MB/s     baseline: jieba itself, cut(text) with its hidden Markov model

The text is the embedded corpus, cleaned. Both load their dictionaries beforehand and take turns; the median counts. The note
has the percentage of equal word boundaries, which must be 100 %.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import corpus
from benchmarks.measurement import Measurement
from pipeline.arrays import Flags

TURNS = 3
BATCH = 400
"""Documents segmented in one call, as in `prepare`."""


def measurements(megabytes: float) -> Iterator[Measurement]:
    """Measure speed on `megabytes` of text, or on all of the embedded corpus if that is less."""
    batches, size = _batches(megabytes)
    seconds: dict[str, list[float]] = {"ours": [], "jieba": []}
    ways: dict[str, Callable[[str], Flags]] = {"ours": _ours(), "jieba": _jieba()}
    found: dict[str, Flags] = {}
    for _ in range(TURNS):
        for name, starts_of in ways.items():
            started = time.perf_counter()
            starts = [starts_of(batch) for batch in batches]
            seconds[name].append(time.perf_counter() - started)
            found[name] = np.concatenate(starts)
    ours, theirs = (size / statistics.median(seconds[name]) for name in ("ours", "jieba"))
    same = int(np.count_nonzero(found["ours"] & found["jieba"])) / int(np.count_nonzero(found["ours"] | found["jieba"]))
    words = int(np.count_nonzero(found["jieba"]))
    note = f"baseline: jieba; {same:.6%} of the boundaries are the same, {words:,} words in {size:.1f} MB of news and reviews"
    yield Measurement(name="segment/jieba-identical", value=ours, unit="MB/s", baseline=theirs, note=note)


def _batches(megabytes: float) -> tuple[list[str], float]:
    texts = corpus.texts()
    sizes = np.cumsum([len(text.encode()) for text in texts]) / 1e6
    number = min(int(np.searchsorted(sizes, megabytes)) + 1, len(texts))
    return ["\n".join(texts[start : min(start + BATCH, number)]) for start in range(0, number, BATCH)], float(sizes[number - 1])


def _ours() -> Callable[[str], Flags]:
    from pipeline.tokenization.jieba_words import Dictionary

    return Dictionary().word_starts


def _jieba() -> Callable[[str], Flags]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
    tokenizer: Any = jieba.Tokenizer()
    # As in initialize(), but without its cache in /tmp, which may be from another version.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True

    def starts_of(text: str) -> Flags:
        starts = np.zeros(len(text), np.bool_)
        starts[np.cumsum([0, *map(len, tokenizer.cut(text))])[:-1]] = True
        return starts

    return starts_of
