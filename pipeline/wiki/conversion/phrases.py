"""Many phrases searched for at once, for rules that apply to a whole page: leftmost first, then longest.

phrases = Phrases({"電腦": "计算机", "電腦程式": "计算机程序"})
split("買電腦程式的人", [phrases])  ->  ["買", "的人"], ["计算机程序"]
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.arrays import CodePoints, Flags, code_points

_FEW = 40
"""Up to this many phrases are searched for one by one."""


class Match(NamedTuple):
    """A phrase found in a text; sorts so that the winner of each position comes first."""

    start: int
    length: int
    """Negative, so that longer phrases sort first."""
    layer: int
    """Negative, so that later layers sort first."""
    to: str


class Phrases:
    """A table of phrases that is used on many texts and may grow in between.

    With thousands of phrases, most start with a common character. So candidates are found by their first two characters, hashed
    into a table of 65,536 flags: one pass over the text, whatever the size of the table. Adding a phrase takes constant time.
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self.table: dict[str, str] = {}
        self._lengths: dict[str, list[int]] = {}
        self._single: list[str] = []
        """Phrases of one character."""
        self._unflagged: list[str] = []
        self._flags: Flags | None = None
        self.update(table)

    def update(self, table: Mapping[str, str]) -> None:
        """Add phrases; the replacement of an existing phrase is overwritten."""
        for phrase, to in table.items():
            if len(phrase) == 1 and phrase not in self.table:
                self._single.append(phrase)
            if phrase and phrase not in self.table:
                lengths = self._lengths.get(phrase[:2])
                if lengths is None:
                    self._lengths[phrase[:2]] = [len(phrase)]
                    self._unflagged.append(phrase[:2])
                elif len(phrase) not in lengths:
                    lengths.append(len(phrase))
                    lengths.sort(reverse=True)
            if phrase:
                self.table[phrase] = to

    def remove(self, phrases: Iterable[str]) -> None:
        """Remove those of the phrases that are in the table."""
        for phrase in phrases:
            self.table.pop(phrase, None)

    def find(self, text: str, layer: int = 0, without: Collection[str] = ()) -> Iterator[Match]:
        """Yield the phrases in a text, including overlapping ones; those in `without` are ignored."""
        table, lengths = self.table, self._lengths
        few = len(table) <= _FEW
        single = self._single if len(self._single) <= _FEW else set(text).intersection(self._single)
        for phrase in table if few else single:
            for start in _occurrences(text, phrase) if phrase in table and phrase not in without else ():
                yield Match(start, -len(phrase), -layer, table[phrase])
        for start in () if few else self._starts(text):
            for length in lengths.get(text[start : start + 2], ()):
                phrase = text[start : start + length]
                if phrase in table and phrase not in without:
                    yield Match(start, -length, -layer, table[phrase])
                    break

    def _starts(self, text: str) -> list[int]:
        """Return positions where a phrase of two or more characters starts, with a few per cent of false positives."""
        if self._flags is None:
            self._flags = np.zeros(1 << 16, dtype=bool)
        self._flags[_pairs("".join(pair for pair in self._unflagged if len(pair) == 2))[::2]] = True
        self._unflagged.clear()
        places: list[int] = self._flags[_pairs(text)].nonzero()[0].tolist()
        return places


def split(text: str, layers: Sequence[Phrases], without: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Return the text between phrases, and the replacements of the phrases: one more of the former.

    Of phrases that start at one position the longest wins; of the same phrase in several layers, the last layer. `without`
    applies to all layers but the last.
    """
    last = len(layers) - 1
    found: list[Match] = []
    for layer, phrases in enumerate(layers):
        found += phrases.find(text, layer, without if layer < last else ())
    found.sort()
    between, become, place = [], [], 0
    for start, length, _, to in found:
        if start >= place:
            between.append(text[place:start])
            become.append(to)
            place = start - length
    return [*between, text[place:]], become


def around(between: Sequence[str], become: Sequence[str], convert: Callable[[str], str], mark: str) -> str:
    """Convert the texts of `split` and join them with the replacements, which stay as they are.

    mark: a character that `convert` leaves alone; with it between the texts, one call converts them all.
    """
    whole = mark.join(between)
    alone = whole.count(mark) != len(become)
    converted = [convert(text) for text in between] if alone else convert(whole).split(mark)
    return "".join([part for pair in zip(converted, [*become, ""], strict=True) for part in pair])


def _occurrences(text: str, phrase: str) -> Iterator[int]:
    start = text.find(phrase)
    while start >= 0:
        yield start
        start = text.find(phrase, start + 1)


def _pairs(text: str) -> CodePoints:
    """Hash each pair of neighbouring characters to a number below 65,536: (len(text) - 1,) uint32."""
    codes = code_points(text)
    return (codes[:-1] * np.uint32(0x9E3779B1) + codes[1:] * np.uint32(0x85EBCA77)) >> np.uint32(16)
