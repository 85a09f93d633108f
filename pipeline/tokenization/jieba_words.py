"""jieba's words, found for very many lines of text at once.

    他 来 到 网 易 杭 研 大 厦 A - 1 座        blocks of ideographs, letters, digits and + # & . _ % -
    他|来 到|网 易|杭|研|大 厦|A|-|1|座        the most probable row of dictionary words: 来到 beats 来 + 到
    他|来 到|网 易|杭 研|大 厦|A|-|1|座        then single characters are joined: ideographs by a hidden Markov model
                                          (hidden_markov.py), letters and digits by a rule

jieba does this word by word in Python. Here each step is done for all blocks together, in numpy: the same weights, added in the
same order, ties broken alike, so the result is jieba's to the last boundary (tests/test_words.py), some 30 times as fast.
Rules and parameters: jieba/__init__.py (calc, get_DAG, __cut_DAG) of version 0.42.1.
"""

import io
import itertools
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.tokenization.jieba_hmm import FIRST, LAST, HiddenMarkovModel
from pipeline.tokenization.trie import NONE, Nodes, Prefixes

Flags = NDArray[np.bool_]

_SIGN, _HAN, _LATIN, _MARK = range(4)
"""What jieba (re_han_default) makes of a character: it stands alone, or is part of a block as an ideograph, a letter or digit,
or one of + # & . _ % -."""
_LATIN_WORD = re.compile(r"[a-zA-Z0-9]+(?:\.\d+)?%?")
"""finalseg's re_skip: what is a word among Latin letters, digits and marks that the dictionary left single."""
_COMMON = 2
"""Characters of the words that every place is asked for; the few longer ones are kept in lists."""


class Dictionary:
    """jieba's default mode: its dictionary, with words added from user dictionaries, and its hidden Markov model.

    Loads in 1 s, in 4 s with user dictionaries, which jieba reads itself: a line is a word, and if wanted how often it occurs
    and its tag. Raises CorpusError if one is not UTF-8, StorageError if it cannot be read.
    """

    def __init__(self, user_dictionaries: Sequence[str] = ()) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jieba's sources hold old escapes, and it imports pkg_resources where there is one
            self._model = HiddenMarkovModel()
            words, total, self._force_split = _read(user_dictionaries) if user_dictionaries else _own()
        # math.log, not numpy's, which may differ from it in the last bit: jieba has the former.
        self._unknown = 0.0 - math.log(total)
        self._prefixes = Prefixes(list(words), np.array(list(map(math.log, words.values()))) - math.log(total))
        self._kinds = _kinds()

    def word_starts(self, text: str) -> Flags:
        """(characters,): True where a word begins. Fastest for many documents at once; a line break is always a boundary."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        kinds = self._kinds.take(points)
        starts: Flags = kinds == _SIGN
        if "\r\n" in text:  # one word to jieba
            starts[1:] &= (points[1:] != ord("\n")) | (points[:-1] != ord("\r"))
        blocks = _Blocks.of(_edges(kinds != _SIGN))
        if not len(blocks.places):
            return starts
        lengths, begins = self._most_probable(points, blocks)
        starts[blocks.places.take(np.flatnonzero(begins))] = True
        single = np.zeros(len(points), np.bool_)
        single[blocks.places.take(np.flatnonzero(begins & (lengths == 1)))] = True
        runs = _edges(single)
        self._join(text, points, kinds, runs[runs[:, 1] - runs[:, 0] > 1], starts)
        return starts

    def _most_probable(self, points: NDArray[np.uint32], blocks: "_Blocks") -> tuple[NDArray[np.int8], Flags]:
        """Of the characters in the order of `blocks`: how long the best word is that begins there, and whether one does.

        The best row of words from a character to the end of its block is the best word there with the best row behind it,
        so it is found from the ends of all blocks backwards.
        """
        common, rare = self._candidates(points.take(blocks.places), blocks)
        rows = np.empty(len(blocks.places))
        lengths = np.ones(len(blocks.places), np.int8)
        for step, (start, end) in enumerate(blocks.slices()):
            best = rows[start:end]
            best[:] = common[0][start:end]
            if step:
                best += rows[blocks.ahead(step, 1)]
            for length, weights in enumerate(common[1 : step + 1], start=2):
                row = weights[start:end]
                if step >= length:
                    row = row + rows[blocks.ahead(step, length)]
                np.putmask(lengths[start:end], row >= best, length)  # of equals jieba takes the longer word
                np.maximum(best, row, out=best)
            for length, words in rare.items():
                first, last = words.borders[step], words.borders[step + 1]
                if first == last:
                    continue
                here = words.places[first:last]
                row = words.weights[first:last]
                if step >= length:
                    row = row + rows.take(here - blocks.shift(step, length))
                longer = np.flatnonzero(row >= rows.take(here))
                here = here.take(longer)
                rows[here] = row.take(longer)
                lengths[here] = length
        return lengths, self._begins(lengths, blocks, rare)

    def _candidates(
        self, points: NDArray[np.uint32], blocks: "_Blocks"
    ) -> tuple[list[NDArray[np.float64]], dict[int, "_Rare"]]:
        """Weights of the words of 1, 2, ... characters that begin at each place, -inf where there is none; those of more than
        _COMMON characters, by their length, only where there are some."""
        nodes = self._prefixes.roots(points)
        weights = self._prefixes.weights
        common, rare = [weights.take(nodes)], {}
        is_longer = np.zeros(len(points), np.bool_)
        places: Nodes = np.arange(len(points))
        steps = blocks.steps
        # take and compress, here and below: they do the same as [] and in half the time.
        for length in range(2, min(self._prefixes.longest, len(blocks.borders) - 1) + 1):
            goes_on = np.flatnonzero(self._prefixes.inner.take(nodes) & (steps >= length - 1))
            places, nodes, steps = places.take(goes_on), nodes.take(goes_on), steps.take(goes_on)
            nodes = self._prefixes.children(nodes, points.take(places - blocks.shifts(length - 1).take(steps)))
            alive = np.flatnonzero(nodes)
            places, nodes, steps = places.take(alive), nodes.take(alive), steps.take(alive)
            found = weights.take(nodes)
            is_word = np.flatnonzero(found > -np.inf)
            is_longer[places.take(is_word)] = True
            if length <= _COMMON:
                dense = np.full(len(points), -np.inf)
                dense[places] = found
                common.append(dense)
            elif len(is_word):
                here = places.take(is_word)
                rare[length] = _Rare(here, found.take(is_word), np.searchsorted(here, blocks.borders))
        # A character that is no word is one all the same where no longer word begins.
        common[0][np.flatnonzero((common[0] == -np.inf) & ~is_longer)] = self._unknown
        return common, rare

    def _begins(self, lengths: NDArray[np.int8], blocks: "_Blocks", rare: dict[int, "_Rare"]) -> Flags:
        """From the beginnings of all blocks on: where the words of the best rows begin."""
        begins = np.zeros(len(lengths), np.bool_)
        begins[blocks.firsts] = True
        for step in range(len(blocks.borders) - 2, 0, -1):
            start, end = blocks.borders[step], blocks.borders[step + 1]
            here, long = begins[start:end], lengths[start:end]
            for length in range(1, min(_COMMON, step) + 1):
                begins[blocks.ahead(step, length)] |= here & (long == length)
            for length, words in rare.items():
                if length <= step and words.borders[step] < words.borders[step + 1]:
                    begins[start + np.flatnonzero(here & (long == length)) - blocks.shift(step, length)] = True
        return begins

    def _join(
        self, text: str, points: NDArray[np.uint32], kinds: NDArray[np.uint8], runs: NDArray[np.int64], starts: Flags
    ) -> None:
        """Joins single characters to words within `runs` (n, 2), as jieba's __cut_DAG does."""
        # A rare word of frequent characters, taken apart on purpose.
        runs = runs[~self._are_words(points, runs)]
        depth = np.zeros(len(kinds) + 1, np.int8)
        depth[runs[:, 0]] = 1
        depth[runs[:, 1]] = -1
        inside = np.cumsum(depth[:-1], dtype=np.int8).astype(np.bool_)

        han = _edges(inside & (kinds == _HAN))
        han = han[han[:, 1] - han[:, 0] > 1]
        self._model.mark(points, han[:, 0], han[:, 1] - han[:, 0], starts)
        for start, end in han.tolist() if self._force_split else ():
            self._split(text, start, end, starts)

        is_other = inside & (kinds != _HAN)
        others = _edges(is_other)
        starts[is_other] = False
        starts[others[:, 0]] = True
        for start, end in others[_count(kinds == _MARK, others) > 0].tolist():
            for word in _LATIN_WORD.finditer(text, start, end):
                starts[word.start()] = True
                if word.end() < end:
                    starts[word.end()] = True

    def _are_words(self, points: NDArray[np.uint32], runs: NDArray[np.int64]) -> Flags:
        """(runs,): which are a word of the dictionary."""
        result = np.zeros(len(runs), np.bool_)
        asked = np.arange(len(runs))
        nodes = self._prefixes.roots(points[runs[:, 0]])
        for length in range(2, self._prefixes.longest + 1):
            alive = (nodes != NONE) & (runs[asked, 1] - runs[asked, 0] >= length)
            asked, nodes = asked[alive], nodes[alive]
            nodes = self._prefixes.children(nodes, points[runs[asked, 0] + length - 1])
            ends = runs[asked, 1] - runs[asked, 0] == length
            result[asked[ends]] = self._prefixes.weights[nodes[ends]] > -np.inf
        return result

    def _split(self, text: str, start: int, end: int, starts: Flags) -> None:
        """Words that a user dictionary gives the frequency 0 are not made by the model either (jieba.finalseg.cut)."""
        edges = [*(start + np.flatnonzero(starts[start:end])).tolist(), end]
        for first, last in itertools.pairwise(edges):
            if text[first:last] in self._force_split:
                starts[first:last] = True


@dataclass(frozen=True, eq=False)
class _Rare:
    """The words of one length, in the order of their places."""

    places: Nodes
    weights: NDArray[np.float64]
    borders: Nodes
    """(steps + 1,) which of them belong to each step."""


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The characters of all blocks in another order: first the last ones of all blocks, then those before them, and so on,
    each time longest block first. What is done at one step is then done to numbers that lie side by side, and the characters
    behind them, at the steps before, lie side by side as well.

        今天 很好吃 的       的 吃 天 | 好 今 | 很      ranks: 很好吃 0, 今天 1, 的 2, so step 0 is 吃 天 的
    """

    places: Nodes
    """(characters of blocks,) where each stands in the text."""
    steps: Nodes
    """(characters of blocks,) how many characters stand between it and the end of its block."""
    borders: Nodes
    """(steps + 1,) where each step begins in the order."""
    firsts: Nodes
    """(blocks,) the first character of each block, in the order."""

    @staticmethod
    def of(edges: NDArray[np.int64]) -> "_Blocks":
        lengths = edges[:, 1] - edges[:, 0]
        by_length = np.argsort(-lengths, kind="stable")
        lengths, ends = lengths[by_length], edges[by_length, 1]
        longest = int(lengths[0]) if len(lengths) else 0
        counts = np.searchsorted(-lengths, -np.arange(longest), side="left")  # blocks that reach to each step
        borders = np.append(0, np.cumsum(counts))
        steps = np.repeat(np.arange(longest), counts)
        ranks = np.arange(borders[-1]) - np.repeat(borders[:-1], counts)
        return _Blocks(ends[ranks] - 1 - steps, steps, borders, borders[lengths - 1] + np.arange(len(lengths)))

    def slices(self) -> list[tuple[int, int]]:
        """Of the order, for each step."""
        return list(itertools.pairwise(self.borders.tolist()))

    def shift(self, step: int, distance: int) -> int:
        """How far before a character of a step the one stands that is `distance` characters behind it in the text."""
        return int(self.borders[step] - self.borders[step - distance])

    def shifts(self, distance: int) -> Nodes:
        """`shift` for each step; those below `distance` mean nothing."""
        shifted = self.borders[:-1].copy()
        shifted[distance:] -= self.borders[: len(shifted) - distance]
        return shifted

    def ahead(self, step: int, distance: int) -> slice:
        """The characters that are `distance` behind those of a step."""
        start = int(self.borders[step - distance])
        return slice(start, start + int(self.borders[step + 1] - self.borders[step]))


def _edges(flags: Flags) -> NDArray[np.int64]:
    """(runs, 2): where each run of True begins and ends."""
    return np.flatnonzero(np.diff(flags, prepend=False, append=False)).reshape(-1, 2)


def _count(flags: Flags, spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """(spans,): how many flags are True within each, given as (spans, 2)."""
    before = np.zeros(len(flags) + 1, np.int64)
    np.cumsum(flags, out=before[1:])
    return before[spans[:, 1]] - before[spans[:, 0]]


def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(0x110000, _SIGN, np.uint8)
    kinds[FIRST : LAST + 1] = _HAN
    for first, last in ("09", "AZ", "az"):
        kinds[ord(first) : ord(last) + 1] = _LATIN
    kinds[[ord(mark) for mark in "+#&._%-"]] = _MARK
    return kinds


def _own() -> tuple[dict[str, int], int, set[str]]:
    """jieba's own dictionary: words, the sum of their frequencies (B超 twice, as it stands in the file), nothing to split."""
    import jieba

    with jieba.get_dict_file() as file:
        fields = file.read().decode("utf-8").split()
    words, numbers = fields[0::3], list(map(int, fields[1::3]))
    return dict(zip(words, numbers, strict=True)), sum(numbers), set()


def _read(urls: Sequence[str]) -> tuple[dict[str, int], int, set[str]]:
    """All words with their frequencies, jieba's sum of these, and words of frequency 0."""
    import jieba
    from jieba import finalseg

    tokenizer = jieba.Tokenizer()
    # Not by initialize(): its cache has one fixed place in /tmp, which users and versions of jieba share.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    before, finalseg.Force_Split_Words = finalseg.Force_Split_Words, set()  # global in jieba
    try:
        for url in urls:
            file = io.BytesIO(storage.read_bytes(url))
            file.name = url
            tokenizer.load_userdict(file)
    except ValueError as error:
        raise CorpusError(f"{url}: a user dictionary must be UTF-8, a word and if wanted its count and tag a line") from error
    finally:
        force_split, finalseg.Force_Split_Words = finalseg.Force_Split_Words, before
    words = {word: number for word, number in tokenizer.FREQ.items() if number}
    return words, tokenizer.total, force_split
