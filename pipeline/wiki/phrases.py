"""Rules that hold for a whole page: many phrases found at once, the longest of those that begin first.

phrases = Phrases({"電腦": "计算机", "電腦程式": "计算机程序"})
split("買電腦程式的人", [phrases])  ->  ["買", "的人"], ["计算机程序"]
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Found(NamedTuple):
    """A phrase in a text; sorts so that the winner of each place comes first."""

    start: int
    length: int
    """Negative, so that longer phrases sort first."""
    layer: int
    to: str


class Phrases:
    """A table of phrases made ready once and used on many texts.

    For thousands of phrases: one pass for characters that begin one, then a look-up for each length that exists. A short table
    is searched phrase by phrase.
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        self.table = {phrase: to for phrase, to in table.items() if phrase}
        lengths: dict[str, set[int]] = {}
        for phrase in self.table:
            lengths.setdefault(phrase[0], set()).add(len(phrase))
        self._lengths = {first: sorted(each, reverse=True) for first, each in lengths.items()}
        self._first = re.compile(f"[{re.escape(''.join(sorted(lengths)))}]") if len(self.table) > _FEW else None

    def find(self, text: str, layer: int = 0, without: frozenset[str] = frozenset()) -> list[Found]:
        """The longest phrase at each place, overlapping ones too; `without` names phrases that do not count."""
        if self._first is None:
            return [
                found for phrase, to in self.table.items() if phrase not in without for found in _each(text, phrase, to, layer)
            ]
        result = []
        table, lengths = self.table, self._lengths
        for match in self._first.finditer(text):
            start = match.start()
            for length in lengths[match[0]]:
                phrase = text[start : start + length]
                if phrase in table and phrase not in without:
                    result.append(Found(start, -len(phrase), layer, table[phrase]))
                    break
        return result


def split(text: str, layers: Sequence[Phrases], without: frozenset[str] = frozenset()) -> tuple[list[str], list[str]]:
    """The text between phrases, and what the phrases become: one more of the first than of the second.

    Of phrases that begin at one place the longest wins, of the same phrase that of the later layer, which alone is not touched
    by `without`.
    """
    found: list[Found] = []
    last = len(layers) - 1
    for number, phrases in enumerate(layers):
        found += phrases.find(text, -number, without if number < last else frozenset())
    found.sort()
    between, become, place = [], [], 0
    for start, length, _, to in found:
        if start >= place:
            between.append(text[place:start])
            become.append(to)
            place = start - length
    return [*between, text[place:]], become


_FEW = 40


def _each(text: str, phrase: str, to: str, layer: int) -> list[Found]:
    found = []
    start = text.find(phrase)
    while start >= 0:
        found.append(Found(start, -len(phrase), layer, to))
        start = text.find(phrase, start + 1)
    return found
