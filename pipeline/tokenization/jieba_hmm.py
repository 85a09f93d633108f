"""jieba's hidden Markov model for words that its dictionary lacks, in numpy. Skip this on a first reading.

    characters   杭 研         常 在 矮          runs of characters that the dictionary left single
    states       B  E          S  S  S          each Begins a word, is in the Middle, Ends one, or is a Single
    words        杭研          常|在|矮

Viterbi's algorithm finds the most probable sequence of states, one step per character for all runs together. Parameters, order
of additions and ties are those of jieba/finalseg/__init__.py (viterbi). With parameters rounded to six decimals, one word in
forty million characters would differ.
"""

import numpy as np

from pipeline.arrays import CodePoints, Flags, Ints

FIRST, LAST = 0x4E00, 0x9FD5
"""The ideographs that jieba knows. It treats later ones of Unicode's block as signs."""

_STATES = "BEMS"
_B, _E, _S = 0, 1, 3
# Each state has two possible predecessors. Of equally probable ones jieba takes the later letter, the second.
_EARLIER, _LATER = np.array([[_E, 3], [_B, 2], [_B, 2], [_E, 3]]).T
_IMPOSSIBLE = -3.14e100


class HiddenMarkovModel:
    """The model with the parameters of the package jieba. It loads in 0.1 s."""

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

    def mark(self, points: CodePoints, firsts: Ints, lengths: Ints, starts: Flags) -> None:
        """Write into `starts` where words start in some runs of ideographs.

        Args:
            points: (characters,) code points of the text.
            firsts, lengths: (runs,) start and length of each run; no run is empty.
            starts: (characters,) changed within the runs only.
        """
        if not len(firsts):
            return
        # Longest run first, so that the runs which reach a step are the first `reaching[step]` rows of every array.
        order = np.argsort(-lengths, kind="stable")
        firsts, lengths = firsts[order], lengths[order]
        reaching = np.searchsorted(-lengths, -np.arange(lengths[0]), side="left")
        # (runs, 4) log probability of the best sequence that ends in each state.
        weights = self._start + self._emission.take(points[firsts] - FIRST, axis=0)
        predecessors = []  # for each step after the first: (runs, 4) the state before each state
        for step, number in enumerate(reaching[1:].tolist(), start=1):
            emission = self._emission.take(points.take(firsts[:number] + step) - FIRST, axis=0)
            earlier = weights[:number, _EARLIER] + self._from_earlier + emission
            later = weights[:number, _LATER] + self._from_later + emission
            take_later = later >= earlier
            weights[:number] = np.where(take_later, later, earlier)
            predecessors.append(np.where(take_later, _LATER, _EARLIER).astype(np.int8))
        # A run ends with a word: in S or E. From there, follow the predecessors back.
        states = np.where(weights[:, _S] >= weights[:, _E], _S, _E)
        for step in range(len(predecessors), -1, -1):
            here = states[: reaching[step]]
            starts[firsts[: len(here)] + step] = (here == _B) | (here == _S)
            if step:
                here[:] = predecessors[step - 1][np.arange(len(here)), here]
        starts[firsts] = True
