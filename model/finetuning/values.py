"""What is learned: numbers for texts or pairs, by their own scale or as yes and no.

Measure     [CLS] 三 个 人 下 棋 [SEP] 两 个 人 下 棋 [SEP]     a number: 2.0
Mark(4)     [CLS] 房 间 小 但 是 干 净 [SEP]                yes or no to each of 4 labels: 0 1 0 1
Mark(1)     [CLS] 谁 写 的 [SEP] 作 者 是 鲁 迅 [SEP]         how well the second text answers the first
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.finetuning.windows import Frame, Text, Window, truncated
from model.heads import Body, SequenceClassifier

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Measured(Text):
    """A text or a pair with a number; `labels` is not used."""

    value: float = 0.0
    mean: float = 0.0
    """Mean of the numbers of training."""
    deviation: float = 1.0
    """Their standard deviation: the network learns how many of these a number is above the mean."""


@dataclass(frozen=True)
class MeasuredWindow(Window):
    """What the network reads of it."""

    target: float = 0.0
    """The number as the network gives it."""


class Measure:
    """A number for each text: least squares."""

    def network(self, body: Body) -> nn.Module:
        return SequenceClassifier(body, 1)

    def windows(self, texts: Sequence[Measured], frame: Frame) -> list[MeasuredWindow]:
        cut = truncated(texts, frame)
        targets = [(text.value - text.mean) / text.deviation for text in texts]
        return [
            MeasuredWindow(one.text, one.ids, one.labels, one.items, one.positions, one.second_start, targets[one.text])
            for one in cut
        ]

    to_learn = windows

    def loss(self, scores: Tensor, rows: Sequence[MeasuredWindow]) -> tuple[Tensor, int]:
        targets = torch.tensor([row.target for row in rows], device=scores.device)
        return F.mse_loss(scores[:, 0], targets), len(rows)

    def predictions(self, texts: Sequence[Measured], batches: Iterable[tuple[Sequence[MeasuredWindow], Tensor]]) -> list[float]:
        predicted = [0.0] * len(texts)
        for rows, scores in batches:
            for row, score in zip(rows, scores[:, 0].tolist(), strict=True):
                predicted[row.text] = texts[row.text].mean + texts[row.text].deviation * score
        return predicted


@dataclass(frozen=True)
class Mark:
    """Yes or no to each label of a text: binary cross-entropy. Predictions: (labels,) logits, above 0 for yes."""

    number: int
    """Number of labels."""

    def network(self, body: Body) -> nn.Module:
        return SequenceClassifier(body, self.number)

    def windows(self, texts: Sequence[Text], frame: Frame) -> list[Window]:
        return truncated(texts, frame)

    to_learn = windows

    def loss(self, scores: Tensor, rows: Sequence[Window]) -> tuple[Tensor, int]:
        labels = torch.from_numpy(np.stack([row.labels for row in rows])).to(scores.device, scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, labels), labels.numel()

    def predictions(self, texts: Sequence[Text], batches: Iterable[tuple[Sequence[Window], Tensor]]) -> list[Logits]:
        predicted = [np.zeros(self.number, np.float32) for _ in texts]
        for rows, scores in batches:
            for row, logits in zip(rows, scores.cpu().numpy(), strict=True):
                predicted[row.text] = logits
        return predicted
