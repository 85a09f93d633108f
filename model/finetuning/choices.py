"""What is learned: which of some choices is right.

    [CLS] 男：看电影吧。女：我喜欢喜剧片。 [SEP] 女的最喜欢哪种电影? [SEP] 恐怖片 [SEP]      0.1
    [CLS] 男：看电影吧。女：我喜欢喜剧片。 [SEP] 女的最喜欢哪种电影? [SEP] 喜剧片 [SEP]      2.3     the second, by softmax

The choices of a question are read as sequences of their own, and learned together. To the training loop they are one window,
with one sequence after another; segment ids 2k and 2k + 1 mark the two texts of sequence k, by which the network takes them
apart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.finetuning.values import Logits
from model.finetuning.windows import Frame, longest_first, segments
from model.heads import Body, SequenceClassifier
from pipeline.arrays import Ints

NO_CHOICE = -1e4
"""Score of a choice that a question does not have."""


@dataclass(frozen=True)
class Question:
    """A question with its choices, without special tokens."""

    passage: Ints
    """(P,) token ids."""
    question: Ints
    """(Q,) token ids; none if the passage asks."""
    choices: tuple[Ints, ...]
    """Token ids of each choice."""
    answer: int
    """Index of the right one."""


@dataclass(frozen=True)
class Window:
    """The sequences of a question, one after another."""

    text: int
    """Index of the question in its split."""
    ids: Ints
    """(L,) token ids, with [CLS] and [SEP]."""
    segments: Ints
    """(L,) 2k and 2k + 1 in the two texts of sequence k."""
    choices: int
    """How many there are."""
    answer: int


class ChoiceScorer(nn.Module):
    """One score for each choice of a question."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.scorer = SequenceClassifier(body, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return scores (B, C) of the choices; `NO_CHOICE` where a question has fewer. All arguments are (B, L)."""
        ids, real, types, owners, numbers = _apart(input_ids, attention_mask, token_type_ids)
        scores = self.scorer(ids, real, types)[:, 0]
        table: Tensor = scores.new_full((len(input_ids), int(numbers.max()) + 1), NO_CHOICE)
        return table.index_put((owners, numbers), scores)


def _apart(input_ids: Tensor, mask: Tensor, types: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the S sequences in rows (B, L): ids, mask and segments (S, K), row and number of each (S,)."""
    numbers = types // 2
    before = F.pad(numbers, (1, 0), value=-1)[:, :-1]
    begins = (mask & (numbers != before)).flatten()
    # Of each token: its sequence, and its place there.
    tokens = mask.flatten().nonzero()[:, 0]
    sequence = (begins.cumsum(0) - 1)[tokens]
    starts = begins.nonzero()[:, 0]
    places = tokens - starts[sequence]
    apart = [torch.zeros(len(starts), int(places.max()) + 1, dtype=x.dtype, device=x.device) for x in (input_ids, mask, types)]
    for target, source in zip(apart, (input_ids, mask, types % 2), strict=True):
        target[sequence, places] = source.flatten()[tokens]
    return apart[0], apart[1], apart[2], starts // input_ids.shape[1], numbers.flatten()[starts]


class Choose:
    """Predictions: (C,) a score for each choice, the highest for the likeliest."""

    def network(self, body: Body) -> nn.Module:
        return ChoiceScorer(body)

    def windows(self, texts: Sequence[Question], frame: Frame) -> list[Window]:
        return [_window(number, text, frame) for number, text in enumerate(texts)]

    to_learn = windows

    def loss(self, scores: Tensor, rows: Sequence[Window]) -> tuple[Tensor, int]:
        answers = torch.tensor([row.answer for row in rows], device=scores.device)
        return F.cross_entropy(scores, answers), len(rows)

    def predictions(self, texts: Sequence[Question], batches: Iterable[tuple[Sequence[Window], Tensor]]) -> list[Logits]:
        predicted = [np.zeros(len(text.choices), np.float32) for text in texts]
        for rows, scores in batches:
            for row, found in zip(rows, scores.cpu().numpy(), strict=True):
                predicted[row.text] = found[: row.choices]
        return predicted


def _window(number: int, text: Question, frame: Frame) -> Window:
    ids, types = [], []
    for index, choice in enumerate(text.choices):
        second = np.concatenate([text.question, [frame.sep], choice]) if len(text.question) else choice
        first, kept = longest_first(len(text.passage), len(second), frame.pair_room)
        one, second_start = frame.pair(text.passage[:first], second[len(second) - kept :])
        ids.append(one)
        types.append(2 * index + segments(len(one), second_start))
    return Window(number, np.concatenate(ids), np.concatenate(types), len(text.choices), text.answer)
