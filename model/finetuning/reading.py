"""Reading: find the answer to a question in a passage, by its first and its last token.

    [CLS] 谁 睡 了 ? [SEP] 江 泽 民 睡 了 。 [SEP]       segments 0 0 0 0 0 0 1 1 1 1 1 1 1      answer: 江 to 民

A passage that is too long is read in windows that overlap. A window without the whole answer has [CLS] as its answer. Each
token may begin an answer only in the window where it has most context on both sides. Scores are log-probabilities of a window's
[CLS] and passage; those of a first and a last token are added, and the best spans of all windows are the answers. An answer may
be as long as its window.

Source: Huawei's run_squad.py, which is BERT's, but for its limit of 30 tokens: 6 % of CMRC's answers are longer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.finetuning.windows import Frame, padded, segments
from model.heads import Body, SpanReader
from pipeline.arrays import Flags, Ints, Ints32

Scores = NDArray[np.float32]

MAX_QUESTION = 64
"""Tokens of a question; longer ones are cut."""
STRIDE = 128
"""Tokens from window to window; less if windows are short, so that they overlap by half at least."""
BEST = 20
"""First and last tokens that are tried in each window, and answers that are kept."""
LEFT_OUT = -1e4
"""Added to scores of the question."""


@dataclass(frozen=True)
class Question:
    """A question and its passage, without special tokens."""

    tokens: Ints
    """(Q,) of the question."""
    passage: Ints
    """(P,) token ids."""
    offsets: Ints32
    """(P, 2) first character of each token of the passage, and the end; not used by the network."""
    answer: tuple[int, int] | None = None
    """First and last token of the answer in the passage; None: not known, so there is nothing to learn."""


@dataclass(frozen=True, slots=True)
class Span:
    """An answer: tokens of the passage."""

    first: int
    last: int
    score: float
    """Sum of two log-probabilities."""


@dataclass(frozen=True)
class Window:
    """A question with a part of its passage."""

    text: int
    """Index of the question in its split."""
    ids: Ints
    """(L,) token ids, with [CLS] and [SEP]."""
    passage: tuple[int, int]
    """Index in `ids` of the first token of the passage, and of the [SEP] after the last."""
    begin: int
    """Index of that first token in the whole passage."""
    owned: Flags
    """(K,) whether an answer may begin at each token of this part of the passage."""
    answer: tuple[int, int]
    """First and last token of the answer in `ids`; (0, 0): it is not in this window."""

    @property
    def segments(self) -> Ints:
        return segments(len(self.ids), self.passage[0])

    @property
    def candidates(self) -> Flags:
        """(L,) whether each token has a score: [CLS] and the passage."""
        candidates = np.zeros(len(self.ids), np.bool_)
        candidates[0] = True
        candidates[slice(*self.passage)] = True
        return candidates


class Read:
    """Predictions: the best spans of each question, best first, at least one unless the passage has no token."""

    def network(self, body: Body) -> nn.Module:
        return SpanReader(body)

    def windows(self, texts: Sequence[Question], frame: Frame) -> list[Window]:
        return [window for number, text in enumerate(texts) for window in _windows(number, text, frame)]

    def to_learn(self, texts: Sequence[Question], frame: Frame) -> list[Window]:
        """All windows of the questions whose answer is known."""
        return [window for window in self.windows(texts, frame) if texts[window.text].answer is not None]

    def loss(self, scores: Tensor, rows: Sequence[Window]) -> tuple[Tensor, int]:
        """The mean of the losses of the first and the last token."""
        answers = torch.tensor([row.answer for row in rows], device=scores.device)
        return F.cross_entropy(_allowed(scores, rows), answers), len(rows)

    def predictions(
        self, texts: Sequence[Question], batches: Iterable[tuple[Sequence[Window], Tensor]]
    ) -> list[tuple[Span, ...]]:
        found: list[tuple[Span, ...]] = [() for _ in texts]
        for rows, scores in batches:
            logs = _allowed(scores, rows).log_softmax(1).cpu().numpy()
            for row, log in zip(rows, logs, strict=True):
                begin, end = row.passage
                spans = _spans(log[begin:end, 0], log[begin:end, 1], row)
                found[row.text] = tuple(nlargest(BEST, (*found[row.text], *spans), key=lambda span: span.score))
        return found


def _allowed(scores: Tensor, rows: Sequence[Window]) -> Tensor:
    """Return scores (B, L, 2) in which the question and padding have no chance."""
    candidates = torch.from_numpy(padded([row.candidates.astype(np.int64) for row in rows], 0)).to(scores.device)
    return scores + LEFT_OUT * (1 - candidates)[:, :, None]


def _spans(firsts: Scores, lasts: Scores, window: Window) -> list[Span]:
    """Return the best spans of a window, from the scores (K,) of its tokens."""
    begins = np.flatnonzero(window.owned)
    begins = begins[np.argsort(-firsts[begins], kind="stable")[:BEST]]
    ends = np.argsort(-lasts, kind="stable")[:BEST]
    scores = firsts[begins][:, None] + lasts[ends][None, :]
    scores[begins[:, None] > ends[None, :]] = -np.inf
    best = np.argsort(-scores, axis=None, kind="stable")[:BEST]
    places = zip(*np.unravel_index(best, scores.shape), strict=True)
    return [
        Span(window.begin + int(begins[i]), window.begin + int(ends[j]), float(scores[i, j]))
        for i, j in places
        if np.isfinite(scores[i, j])
    ]


def _windows(number: int, question: Question, frame: Frame) -> list[Window]:
    tokens = question.tokens[: min(MAX_QUESTION, frame.room // 2)]
    room, length = frame.pair_room - len(tokens), len(question.passage)
    starts = _starts(length, room)
    ends = [min(start + room, length) for start in starts]
    # (windows, P): tokens on the side of each token that has fewer; the longer of equal windows wins. BERT's rule.
    places = np.arange(length)
    context = [
        np.where((places >= start) & (places < end), np.minimum(places - start, end - 1 - places) + 0.01 * (end - start), -1)
        for start, end in zip(starts, ends, strict=True)
    ]
    owner = np.argmax(context, axis=0)
    cut = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        ids, first = frame.pair(tokens, question.passage[start:end])
        answer = (0, 0)
        if question.answer is not None and start <= question.answer[0] and question.answer[1] < end:
            answer = (question.answer[0] - start + first, question.answer[1] - start + first)
        cut.append(Window(number, ids, (first, first + end - start), start, owner[start:end] == index, answer))
    return cut


def _starts(length: int, room: int) -> list[int]:
    """Return where windows begin, the last of which ends with the passage."""
    stride = max(1, min(STRIDE, room // 2))
    return list(range(0, max(length - room, 0) + stride, stride)) if length > room else [0]
