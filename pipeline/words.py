"""Words, and from them masking units: the pieces that are hidden together.

    text         北 京 大 学 的 i P h o n e s 很 好
    words        北京大学    的 iPhones       很 好       jieba
    pieces       北 京 大 学 的 iphone ##s    很 好       pieces.py
    unit starts  1  0  0  0  1  1      0      1  1

Words and pieces are matched by where they stand in the text, never by what they say: the same characters may be a word here and
part of one there, and a piece such as [UNK] says nothing.
"""

import warnings
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.dictionary import Dictionary

LONGEST_UNIT = 16
"""Pieces. Longer "words" are serial numbers and addresses; hidden whole, one would use up the budget of a sequence."""


class Segmenter:
    """jieba in its default mode, with the hidden Markov model for words that its dictionary lacks.

    The NEZHA paper names jieba (section 3.1), not the mode. The dictionary (0.8 s) is loaded at first use, once a process.
    """

    def word_starts(self, text: str) -> NDArray[np.bool_]:
        """(characters of the text,): True where a word begins."""
        starts = np.zeros(len(text), dtype=np.bool_)
        if text:
            ends = np.cumsum(np.fromiter(map(len, _dictionary().cut(text)), dtype=np.intp))
            assert ends[-1] == len(text), f"jieba gave {ends[-1]} of {len(text)} characters"
            starts[0] = True
            starts[ends[:-1]] = True
        return starts


@cache
def _dictionary() -> "Dictionary":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba's sources hold old escapes, and it imports pkg_resources where there is one
        from pipeline.dictionary import Dictionary
    return Dictionary()


def unit_starts(
    piece_starts: NDArray[np.integer], word_starts: NDArray[np.bool_], policy: Literal["word", "piece"] = "word"
) -> NDArray[np.bool_]:
    """(pieces,): True where a masking unit begins.

    Args:
        piece_starts: (pieces,) the character at which each piece begins, never falling.
        word_starts: (characters,) True where a word begins.
        policy: `word`: a piece begins a unit if a word begins after the start of the piece before it and not after its own, so
            a piece that spans several words is one unit. `piece`: every piece is a unit.
    """
    if policy == "piece" or not len(piece_starts):
        return np.ones(len(piece_starts), dtype=np.bool_)
    words_before = np.cumsum(word_starts)[piece_starts]
    begins = np.empty(len(piece_starts), dtype=np.bool_)
    begins[0] = True
    np.not_equal(words_before[1:], words_before[:-1], out=begins[1:])
    firsts = np.flatnonzero(begins)
    lengths = np.diff(firsts, append=len(begins))
    if lengths.max() > LONGEST_UNIT:
        place_in_unit = np.arange(len(begins)) - np.repeat(firsts, lengths)
        begins |= place_in_unit % LONGEST_UNIT == 0
    return begins
