"""Phrases of a list (names, terms) as masking units, for the policy `entity`.

    phrases      北京大学 · 大学生 · 人工智能
    words        他|在|北 京|大 学 生|学|人 工|智 能|课
    joined       他|在|北 京 大 学|生|学|人 工 智 能|课        where phrases overlap, the first wins, then the longest

No phrase starts at most positions of a text. A table over hashes of two adjacent characters rules them out, all at once.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Flags, Ints, code_points
from pipeline.errors import CorpusError

_HASH_BITS = 20


class Phrases:
    """A list of phrases, thousands or hundreds of thousands. Phrases of one character join nothing and are skipped."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = {phrase for phrase in phrases if len(phrase) > 1}
        lengths: dict[str, set[int]] = {}
        for phrase in self._phrases:
            lengths.setdefault(phrase[:2], set()).add(len(phrase))
        self._lengths = {beginning: sorted(found, reverse=True) for beginning, found in lengths.items()}
        self._may_start = np.zeros(1 << _HASH_BITS, np.bool_)
        self._may_start[_pair_hashes("".join(self._lengths))[::2]] = True

    @classmethod
    def read(cls, url: str) -> "Phrases":
        """Read a UTF-8 file with one phrase per line.

        Raises: CorpusError for a file that is not UTF-8 or has no phrase; StorageError for one that cannot be read.
        """
        try:
            lines = storage.read_bytes(url).decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{url}: not UTF-8 at byte {error.start}; save the phrases as UTF-8, one per line") from error
        phrases = cls(line.strip() for line in lines)
        if not phrases._phrases:
            raise CorpusError(f"{url}: no phrase of two characters or more; write one phrase per line")
        return phrases

    def spans(self, text: str) -> Ints:
        """Return start and end of the phrases in a text, (found, 2): from the left, the longest at each start, no overlaps."""
        found: list[tuple[int, int]] = []
        end = 0
        for start in np.flatnonzero(self._may_start[_pair_hashes(text)]).tolist():
            if start < end:
                continue
            for length in self._lengths.get(text[start : start + 2], ()):
                if text[start : start + length] in self._phrases:
                    end = start + length
                    found.append((start, end))
                    break
        return np.array(found, np.int64).reshape(-1, 2)

    def join(self, text: str, word_starts: Flags) -> Flags:
        """Return `word_starts` (characters,) with every phrase in the text as one word. Words that a phrase cuts are split."""
        spans = self.spans(text)
        starts = word_starts.copy()
        inside = np.zeros(len(text) + 1, np.int8)
        inside[spans[:, 0]] += 1
        inside[spans[:, 1]] -= 1  # one phrase may start where another ends
        starts[np.cumsum(inside[:-1], dtype=np.int8).astype(np.bool_)] = False
        starts[spans[:, 0]] = True
        starts[spans[:, 1][spans[:, 1] < len(text)]] = True
        return starts


def _pair_hashes(text: str) -> NDArray[np.uint32]:
    """Return a hash of each character and the next, (characters - 1,)."""
    points = code_points(text)
    return (points[:-1] * np.uint32(0x9E3779B1) ^ points[1:] * np.uint32(0x85EBCA6B)) >> np.uint32(32 - _HASH_BITS)
