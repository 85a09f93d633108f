"""jieba's hidden Markov model for words that its dictionary lacks, over all of a batch at once.

    characters   杭 研         常 在 矮          runs of characters that the dictionary left single
    states       B  E          S  S  S          each Begins a word, is in the Middle, Ends one or is a Single
    words        杭研          常|在|矮

The most probable row of states is found by Viterbi's algorithm, a step a character for all runs together. Parameters, order of
additions and ties are those of jieba/finalseg/__init__.py (viterbi); with parameters rounded to six digits after the point, one
word in forty million characters is another.
"""

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

FIRST, LAST = 0x4E00, 0x9FD5
"""The ideographs of jieba; later ones of Unicode's block are signs to it."""

_STATES = "BEMS"
_B, _E, _S = 0, 1, 3
# Two states may stand before each; where both are as probable, jieba takes the later letter: the second.
_EARLIER, _LATER = np.array([[_E, 3], [_B, 2], [_B, 2], [_E, 3]]).T
_IMPOSSIBLE = -3.14e100


class HiddenMarkovModel:
    """The parameters of the package jieba. Making one takes 0.1 s."""

    def __init__(self) -> None:
        from jieba.finalseg import emit_P, start_P, trans_P

        self._start = np.array([start_P[state] for state in _STATES])
        transitions = np.array([[trans_P[before].get(state, _IMPOSSIBLE) for state in _STATES] for before in _STATES])
        self._from_earlier = transitions[_EARLIER, range(4)]
        self._from_later = transitions[_LATER, range(4)]
        self._emission = np.full((LAST - FIRST + 1, 4), _IMPOSSIBLE)
        for number, state in enumerate(_STATES):
            for character, weight in emit_P[state].items():
                if FIRST <= ord(character) <= LAST:
                    self._emission[ord(character) - FIRST, number] = weight

    def mark(self, points: NDArray[np.uint32], firsts: Places, lengths: Places, starts: NDArray[np.bool_]) -> None:
        """Writes into `starts` where words begin in some runs of ideographs.

        Args:
            points: (characters,) code points of the text.
            firsts, lengths: (runs,) where each run begins, and its characters, at least one.
            starts: (characters,) changed in the runs alone.
        """
        if not len(firsts):
            return
        order = np.argsort(-lengths, kind="stable")
        firsts, lengths = firsts[order], lengths[order]
        longer = np.searchsorted(-lengths, -np.arange(lengths[0]), side="left")  # runs that have a character at each place
        weights = self._start + self._emission.take(points[firsts] - FIRST, axis=0)
        before = []
        for place, number in enumerate(longer[1:].tolist(), start=1):
            emission = self._emission.take(points.take(firsts[:number] + place) - FIRST, axis=0)
            earlier = weights[:number, _EARLIER] + self._from_earlier + emission
            later = weights[:number, _LATER] + self._from_later + emission
            take_later = later >= earlier
            weights[:number] = np.where(take_later, later, earlier)
            before.append(np.where(take_later, _LATER, _EARLIER).astype(np.int8))
        states = np.where(weights[:, _S] >= weights[:, _E], _S, _E)
        for place in range(len(before), -1, -1):
            here = states[: longer[place]]
            starts[firsts[: len(here)] + place] = (here == _B) | (here == _S)
            if place:
                here[:] = before[place - 1][np.arange(len(here)), here]
        starts[firsts] = True
