"""jieba's algorithm in numpy, for many lines of text at once. Skip this on a first reading: words.py is its only user.

    他 来 到 网 易 杭 研 大 厦 A - 1 座        blocks of ideographs, letters, digits and + # & . _ % -
    他|来 到|网 易|杭|研|大 厦|A|-|1|座        the most probable sequence of dictionary words: 来到 beats 来 + 到
    他|来 到|网 易|杭 研|大 厦|A|-|1|座        then single characters are joined: ideographs by a hidden Markov model
                                          (jieba_hmm.py), letters and digits by a rule

jieba does this word by word in Python. Here each step handles all blocks together, with the same weights added in the same
order and ties broken alike. The result is exactly jieba's (tests/test_words.py), about 30 times as fast. Rules and parameters:
jieba/__init__.py (calc, get_DAG, __cut_DAG) of version 0.42.1.
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
from pipeline.arrays import Bytes, CodePoints, Flags, Floats, Ints, code_points, runs_of_true
from pipeline.errors import CorpusError
from pipeline.tokenization.jieba_hmm import FIRST, LAST, HiddenMarkovModel
from pipeline.tokenization.trie import NONE, Trie

_SIGN, _HAN, _LATIN, _MARK = range(4)
"""Kinds of characters (jieba's re_han_default): a sign is a word of its own; ideographs, letters or digits, and the marks
+ # & . _ % - form blocks."""
_LATIN_WORD = re.compile(r"[a-zA-Z0-9]+(?:\.\d+)?%?")
"""A word among Latin letters, digits and marks that the dictionary left single (finalseg's re_skip)."""
_ENTRY = re.compile(r"(.+?)(?: [0-9]+)?(?: [a-z]+)?$")
"""A line of a user dictionary (jieba's re_userdict)."""
_FINDABLE = re.compile(rf"[{chr(FIRST)}-{chr(LAST)}a-zA-Z0-9+#&._%-]+|.")
"""A word that jieba may find: within a block, or a single sign."""
_COMMON = 2
"""Characters of the longest words that are stored per position; the few longer ones are stored in lists (`_Rare`)."""


class Dictionary:
    """jieba's default mode: its dictionary, with words added from user dictionaries, and its hidden Markov model.

    Loads in 1 s, or in 4 s with user dictionaries, which jieba itself reads: a word per line, optionally with its frequency and
    tag.

    Raises: CorpusError for a user dictionary that is not UTF-8; StorageError for one that cannot be read.
    """

    def __init__(self, user_dictionaries: Sequence[str] = ()) -> None:
        with warnings.catch_warnings():
            # jieba's sources have outdated escapes, and it imports pkg_resources if there is one.
            warnings.simplefilter("ignore")
            self._model = HiddenMarkovModel()
            words, total, self._force_split = _read(user_dictionaries) if user_dictionaries else _jieba_dictionary()
        # math.log as in jieba: numpy's may differ in the last bit.
        self._unknown = 0.0 - math.log(total)
        self._trie = Trie(list(words), np.array(list(map(math.log, words.values()))) - math.log(total))
        self._kinds = _kinds()

    def word_starts(self, text: str) -> Flags:
        """Return where words start, (characters,). Fastest for many documents at once; a line break is always a boundary."""
        points = code_points(text)
        kinds = self._kinds.take(points)
        starts: Flags = kinds == _SIGN
        if "\r\n" in text:  # one word to jieba
            starts[1:] &= (points[1:] != ord("\n")) | (points[:-1] != ord("\r"))
        blocks = _Blocks.of(runs_of_true(kinds != _SIGN))
        if not len(blocks.positions):
            return starts
        lengths, in_order = self._most_probable(points, blocks)
        starts[blocks.positions.take(np.flatnonzero(in_order))] = True
        # Runs of two and more characters that the dictionary left single.
        single = np.zeros(len(points), np.bool_)
        single[blocks.positions.take(np.flatnonzero(in_order & (lengths == 1)))] = True
        runs = runs_of_true(single)
        self._join(text, points, kinds, runs[runs[:, 1] - runs[:, 0] > 1], starts)
        return starts

    def _most_probable(self, points: CodePoints, blocks: "_Blocks") -> tuple[NDArray[np.int16], Flags]:
        """Find the most probable words, by dynamic programming from the ends of all blocks backwards.

        The best words from a character to the end of its block are the best word that starts there and the best words after it.

        Returns: in the order of `blocks`, the length of the best word from each character, and whether a word starts there.
        """
        common, rare = self._candidates(points.take(blocks.positions), blocks)
        scores = np.empty(len(blocks.positions))  # of the best words from each character to the end of its block
        lengths = np.ones(len(blocks.positions), np.int16)
        for step, (start, end) in enumerate(blocks.slices()):
            # Words of one character.
            best = scores[start:end]
            best[:] = common[0][start:end]
            if step:
                best += scores[blocks.after(step, 1)]
            # Words of 2 to _COMMON characters.
            for length, weights in enumerate(common[1 : step + 1], start=2):
                score = weights[start:end]
                if step >= length:
                    score = score + scores[blocks.after(step, length)]
                np.putmask(lengths[start:end], score >= best, length)  # on a tie jieba takes the longer word
                np.maximum(best, score, out=best)
            # Longer words, at the few positions that have some.
            for length, words in rare.items():
                first, last = words.bounds[step], words.bounds[step + 1]
                if first == last:
                    continue
                here = words.indices[first:last]
                score = words.weights[first:last]
                if step >= length:
                    score = score + scores.take(here - blocks.shift(step, length))
                better = np.flatnonzero(score >= scores.take(here))
                here = here.take(better)
                scores[here] = score.take(better)
                lengths[here] = length
        return lengths, self._starts(lengths, blocks, rare)

    def _candidates(self, points: CodePoints, blocks: "_Blocks") -> tuple[list[Floats], dict[int, "_Rare"]]:
        """Look up the dictionary words that start at each character.

        Args:
            points: (characters of blocks,) in the order of `blocks`.

        Returns: for words of 1 to _COMMON characters, an array of weights, -inf where there is no word; and longer words by
            length.
        """
        nodes = self._trie.roots(points)
        weights = self._trie.weights
        common, rare = [weights.take(nodes)], {}
        starts_longer = np.zeros(len(points), np.bool_)
        # The characters from which the trie has been walked `length` characters deep, and where they are.
        indices: Ints = np.arange(len(points))
        steps = blocks.steps
        # take and compress, here and below, do the same as [] in half the time.
        for length in range(2, min(self._trie.longest, len(blocks.bounds) - 1) + 1):
            # Walk on where the node has children and the block another character.
            continued = np.flatnonzero(self._trie.inner.take(nodes) & (steps >= length - 1))
            indices, nodes, steps = indices.take(continued), nodes.take(continued), steps.take(continued)
            nodes = self._trie.children(nodes, points.take(indices - blocks.shifts(length - 1).take(steps)))
            alive = np.flatnonzero(nodes)
            indices, nodes, steps = indices.take(alive), nodes.take(alive), steps.take(alive)
            # Note the words that end here.
            found = weights.take(nodes)
            is_word = np.flatnonzero(found > -np.inf)
            starts_longer[indices.take(is_word)] = True
            if length <= _COMMON:
                dense = np.full(len(points), -np.inf)
                dense[indices] = found
                common.append(dense)
            elif len(is_word):
                here = indices.take(is_word)
                rare[length] = _Rare(here, found.take(is_word), np.searchsorted(here, blocks.bounds))
        # A single character that is not in the dictionary counts as an unknown word, unless a longer word starts with it.
        common[0][np.flatnonzero((common[0] == -np.inf) & ~starts_longer)] = self._unknown
        return common, rare

    def _starts(self, lengths: NDArray[np.int16], blocks: "_Blocks", rare: dict[int, "_Rare"]) -> Flags:
        """Follow the best words from the start of every block; return where they start, in the order of `blocks`."""
        starts = np.zeros(len(lengths), np.bool_)
        starts[blocks.firsts] = True
        for step in range(len(blocks.bounds) - 2, 0, -1):
            start, end = blocks.bounds[step], blocks.bounds[step + 1]
            here, word_lengths = starts[start:end], lengths[start:end]
            for length in range(1, min(_COMMON, step) + 1):
                starts[blocks.after(step, length)] |= here & (word_lengths == length)
            for length, words in rare.items():
                if length <= step and words.bounds[step] < words.bounds[step + 1]:
                    starts[start + np.flatnonzero(here & (word_lengths == length)) - blocks.shift(step, length)] = True
        return starts

    def _join(self, text: str, points: CodePoints, kinds: Bytes, runs: Ints, starts: Flags) -> None:
        """Join single characters to words within `runs` (n, 2), as jieba's __cut_DAG does; changes `starts` (characters,)."""
        # A run that is in the dictionary was split on purpose: a rare word of frequent characters.
        runs = runs[~self._are_words(points, runs)]
        # (characters,) whether a character is in a run.
        depth = np.zeros(len(kinds) + 1, np.int8)
        depth[runs[:, 0]] = 1
        depth[runs[:, 1]] = -1
        inside = np.cumsum(depth[:-1], dtype=np.int8).astype(np.bool_)

        # Ideographs are joined by the hidden Markov model.
        han = runs_of_true(inside & (kinds == _HAN))
        han = han[han[:, 1] - han[:, 0] > 1]
        self._model.mark(points, han[:, 0], han[:, 1] - han[:, 0], starts)
        for start, end in han.tolist() if self._force_split else ():
            self._split(text, start, end, starts)

        # Letters, digits and marks are joined; where a run has marks, by a regular expression.
        is_other = inside & (kinds != _HAN)
        others = runs_of_true(is_other)
        starts[is_other] = False
        starts[others[:, 0]] = True
        for start, end in others[_count(kinds == _MARK, others) > 0].tolist():
            for word in _LATIN_WORD.finditer(text, start, end):
                starts[word.start()] = True
                if word.end() < end:
                    starts[word.end()] = True

    def _are_words(self, points: CodePoints, runs: Ints) -> Flags:
        """Return which runs (runs, 2) are words of the dictionary: (runs,)."""
        result = np.zeros(len(runs), np.bool_)
        walked = np.arange(len(runs))  # runs for which the trie has a node
        nodes = self._trie.roots(points[runs[:, 0]])
        for length in range(2, self._trie.longest + 1):
            alive = (nodes != NONE) & (runs[walked, 1] - runs[walked, 0] >= length)
            walked, nodes = walked[alive], nodes[alive]
            nodes = self._trie.children(nodes, points[runs[walked, 0] + length - 1])
            ends = runs[walked, 1] - runs[walked, 0] == length
            result[walked[ends]] = self._trie.weights[nodes[ends]] > -np.inf
        return result

    def _split(self, text: str, start: int, end: int, starts: Flags) -> None:
        """Split words that have the frequency 0 in a user dictionary, if the model has made them (jieba.finalseg.cut)."""
        edges = [*(start + np.flatnonzero(starts[start:end])).tolist(), end]
        for first, last in itertools.pairwise(edges):
            if text[first:last] in self._force_split:
                starts[first:last] = True


@dataclass(frozen=True, eq=False)
class _Rare:
    """The dictionary words of one length in a text, in the order of `_Blocks`."""

    indices: Ints
    """(words,) where each starts in the order."""
    weights: Floats
    """(words,)"""
    bounds: Ints
    """(steps + 1,) the words of step i are bounds[i] to bounds[i + 1]."""


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The characters of all blocks, reordered: first the last character of each block, then the one before it, and so on, each
    time longest block first. The characters of a step are then contiguous, and so are those that follow them in the text, which
    belong to earlier steps.

        今天 很好吃 的       吃 天 的 | 好 今 | 很      blocks by length: 很好吃, 今天, 的; step 0 has their last characters
    """

    positions: Ints
    """(characters of blocks,) where each is in the text."""
    steps: Ints
    """(characters of blocks,) characters between each one and the end of its block."""
    bounds: Ints
    """(steps + 1,) step i is bounds[i] to bounds[i + 1]."""
    firsts: Ints
    """(blocks,) where the first character of each block is in the order."""

    @staticmethod
    def of(spans: Ints) -> "_Blocks":
        """Reorder the characters of blocks, given by their start and end: (blocks, 2)."""
        lengths = spans[:, 1] - spans[:, 0]
        by_length = np.argsort(-lengths, kind="stable")
        lengths, ends = lengths[by_length], spans[by_length, 1]
        longest = int(lengths[0]) if len(lengths) else 0
        counts = np.searchsorted(-lengths, -np.arange(longest), side="left")  # blocks that have a character at each step
        bounds = np.append(0, np.cumsum(counts))
        steps = np.repeat(np.arange(longest), counts)
        ranks = np.arange(bounds[-1]) - np.repeat(bounds[:-1], counts)
        return _Blocks(ends[ranks] - 1 - steps, steps, bounds, bounds[lengths - 1] + np.arange(len(lengths)))

    def slices(self) -> list[tuple[int, int]]:
        """Return start and end of each step."""
        return list(itertools.pairwise(self.bounds.tolist()))

    def shift(self, step: int, distance: int) -> int:
        """Return how far back in the order the character is that comes `distance` characters later in the text."""
        return int(self.bounds[step] - self.bounds[step - distance])

    def shifts(self, distance: int) -> Ints:
        """Return `shift` for every step, (steps,); undefined for steps below `distance`."""
        shifted = self.bounds[:-1].copy()
        shifted[distance:] -= self.bounds[: len(shifted) - distance]
        return shifted

    def after(self, step: int, distance: int) -> slice:
        """Return the characters that come `distance` after those of a step in the text."""
        start = int(self.bounds[step - distance])
        return slice(start, start + int(self.bounds[step + 1] - self.bounds[step]))


def _count(flags: Flags, spans: Ints) -> Ints:
    """Return how many flags are True within each of the spans (spans, 2): (spans,)."""
    before = np.zeros(len(flags) + 1, np.int64)
    np.cumsum(flags, out=before[1:])
    return before[spans[:, 1]] - before[spans[:, 0]]


def _kinds() -> Bytes:
    """Return the kind of every code point, (0x110000,)."""
    kinds = np.full(0x110000, _SIGN, np.uint8)
    kinds[FIRST : LAST + 1] = _HAN
    for first, last in ("09", "AZ", "az"):
        kinds[ord(first) : ord(last) + 1] = _LATIN
    kinds[[ord(mark) for mark in "+#&._%-"]] = _MARK
    return kinds


def _jieba_dictionary() -> tuple[dict[str, int], int, set[str]]:
    """Read jieba's own dictionary: words, the sum of their frequencies (B超 counts twice, as in the file), nothing to split."""
    import jieba

    with jieba.get_dict_file() as file:
        fields = file.read().decode("utf-8").split()
    words, numbers = fields[0::3], list(map(int, fields[1::3]))
    return dict(zip(words, numbers, strict=True)), sum(numbers), set()


LONGEST_ENTRY = 1_000
"""Most bytes of a line of a user dictionary. jieba keeps every beginning of every word."""


def never_found(urls: Sequence[str]) -> list[str]:
    """Return the entries of user dictionaries that are in no text: jieba ends a word at each sign that they contain.

    A tab or second space is such a sign too: only single spaces separate a word, its count and its tag.
    """
    lines = [line.strip().lstrip("\ufeff") for url in urls for line in storage.read_bytes(url).decode().split("\n")]
    entries = [entry[1] for line in lines if (entry := _ENTRY.match(line))]
    return [word for word in entries if not _FINDABLE.fullmatch(word)]


def _read(urls: Sequence[str]) -> tuple[dict[str, int], int, set[str]]:
    """Read jieba's dictionary and user dictionaries: words with their frequencies, jieba's sum of these, words to split."""
    import jieba
    from jieba import finalseg

    tokenizer = jieba.Tokenizer()
    # Not with initialize(): users and versions of jieba would share its cache file in /tmp.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    before, finalseg.Force_Split_Words = finalseg.Force_Split_Words, set()  # global in jieba
    try:
        for url in urls:
            content = storage.read_bytes(url)
            if (longest := max(map(len, content.split(b"\n")))) > LONGEST_ENTRY:
                raise CorpusError(f"{url}: has a line of {longest:,} bytes; a user dictionary has a word per line")
            file = io.BytesIO(content)
            file.name = url
            tokenizer.load_userdict(file)
    except ValueError as error:
        raise CorpusError(f"{url}: a user dictionary must be UTF-8: a word per line, optionally its count and tag") from error
    finally:
        force_split, finalseg.Force_Split_Words = finalseg.Force_Split_Words, before
    words = {word: number for word, number in tokenizer.FREQ.items() if number}
    return words, tokenizer.total, force_split
