"""Phrases of a list (names, terms) as masking units: the policy `entity`.

    phrases      北京大学 · 大学生 · 人工智能
    words        他|在|北 京|大 学 生|学|人 工|智 能|课
    phrases in   他|在|北 京 大 学|生|学|人 工 智 能|课        where they overlap: the first, and of these the longest

Most places of a text begin no phrase: a table over the hashes of two neighbouring characters rules them out, for all at once.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorpusError

_HASH_BITS = 20


class Phrases:
    """A list of phrases, thousands or hundreds of thousands. Those of one character join nothing and are passed over."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = {phrase for phrase in phrases if len(phrase) > 1}
        lengths: dict[str, set[int]] = {}
        for phrase in self._phrases:
            lengths.setdefault(phrase[:2], set()).add(len(phrase))
        self._lengths = {beginning: sorted(found, reverse=True) for beginning, found in lengths.items()}
        self._may_begin = np.zeros(1 << _HASH_BITS, np.bool_)
        self._may_begin[_hashes("".join(self._lengths))[::2]] = True

    @classmethod
    def read(cls, url: str) -> "Phrases":
        """A phrase a line, UTF-8. Raises CorpusError if it is not that, or has no phrase; StorageError if it cannot be read."""
        try:
            lines = storage.read_bytes(url).decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{url}: not UTF-8 at byte {error.start}; a list of phrases is UTF-8, a phrase a line") from error
        phrases = cls(line.strip() for line in lines)
        if not phrases._phrases:
            raise CorpusError(f"{url}: no phrase of two characters or more; write a phrase a line")
        return phrases

    def spans(self, text: str) -> NDArray[np.int64]:
        """(found, 2): where phrases begin and end in the text: from the left, at each place the longest, none within others."""
        found: list[tuple[int, int]] = []
        reached = 0
        for start in np.flatnonzero(self._may_begin[_hashes(text)]).tolist():
            if start < reached:
                continue
            for length in self._lengths.get(text[start : start + 2], ()):
                if text[start : start + length] in self._phrases:
                    reached = start + length
                    found.append((start, reached))
                    break
        return np.array(found, np.int64).reshape(-1, 2)

    def join(self, text: str, word_starts: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(characters,): `word_starts` with every phrase in the text as one word; a word that it cuts is parted."""
        spans = self.spans(text)
        starts = word_starts.copy()
        inside = np.zeros(len(text) + 1, np.int8)
        inside[spans[:, 0]] += 1
        inside[spans[:, 1]] -= 1  # one phrase may begin where another ends
        starts[np.cumsum(inside[:-1], dtype=np.int8).astype(np.bool_)] = False
        starts[spans[:, 0]] = True
        starts[spans[:, 1][spans[:, 1] < len(text)]] = True
        return starts


def _hashes(text: str) -> NDArray[np.uint32]:
    """(characters - 1,): of each character and the next."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return (points[:-1] * np.uint32(0x9E3779B1) ^ points[1:] * np.uint32(0x85EBCA6B)) >> np.uint32(32 - _HASH_BITS)
