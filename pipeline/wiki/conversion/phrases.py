"""Rules that hold for a whole page: many phrases found at once, the longest of those that begin first.

phrases = Phrases({"電腦": "计算机", "電腦程式": "计算机程序"})
split("買電腦程式的人", [phrases])  ->  ["買", "的人"], ["计算机程序"]
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FEW = 40
"""So many phrases are searched one by one."""


class Match(NamedTuple):
    """A phrase in a text; sorts so that the winner of each place comes first."""

    start: int
    length: int
    """Negative, so that longer phrases sort first."""
    layer: int
    """Negative, so that later layers sort first."""
    to: str


class Phrases:
    """A table of phrases that is used on many texts and may grow between them.

    Of thousands of phrases most begin with a common character, so places are found by their first two, hashed into a table of
    65,536 flags: one look at the text whatever the size of the table. Adding a phrase costs no more than the phrase.
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self.table: dict[str, str] = {}
        self._lengths: dict[str, list[int]] = {}
        self._unflagged: list[str] = []
        self._flags: NDArray[np.bool_] | None = None
        self.update(table)

    def update(self, table: Mapping[str, str]) -> None:
        """Add phrases; what is there already gets the new text."""
        for phrase, to in table.items():
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
        """Take phrases away that are there."""
        for phrase in phrases:
            self.table.pop(phrase, None)

    def find(self, text: str, layer: int = 0, without: Collection[str] = ()) -> Iterator[Match]:
        """Phrases in the text, overlapping ones too; `without` names phrases that do not count."""
        table, lengths = self.table, self._lengths
        few = len(table) <= _FEW
        for phrase in table if few else table.keys() & set(text):
            for start in _occurrences(text, phrase) if phrase not in without else ():
                yield Match(start, -len(phrase), -layer, table[phrase])
        for start in () if few else self._starts(text):
            for length in lengths.get(text[start : start + 2], ()):
                phrase = text[start : start + length]
                if phrase in table and phrase not in without:
                    yield Match(start, -length, -layer, table[phrase])
                    break

    def _starts(self, text: str) -> list[int]:
        """Places where a phrase of two characters or more begins, and a few in a hundred where none does."""
        if self._flags is None:
            self._flags = np.zeros(1 << 16, dtype=bool)
        self._flags[_pairs("".join(pair for pair in self._unflagged if len(pair) == 2))[::2]] = True
        self._unflagged.clear()
        places: list[int] = self._flags[_pairs(text)].nonzero()[0].tolist()
        return places


def split(text: str, layers: Sequence[Phrases], without: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """The text between phrases, and what the phrases become: one more of the first than of the second.

    Of phrases that begin at one place the longest wins, of the same phrase that of the later layer. The last layer alone is
    not touched by `without`.
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


def _occurrences(text: str, phrase: str) -> Iterator[int]:
    start = text.find(phrase)
    while start >= 0:
        yield start
        start = text.find(phrase, start + 1)


def _pairs(text: str) -> NDArray[np.uint32]:
    """A number below 65,536 for each two neighbours."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return (codes[:-1] * np.uint32(0x9E3779B1) + codes[1:] * np.uint32(0x85EBCA77)) >> np.uint32(16)
