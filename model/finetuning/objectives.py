"""What a kind of task asks of the network: its head, how texts become windows, the loss, and predictions.

Classify(2)     [CLS] 房 间 很 干 净 [SEP]                one label:      1
                [CLS] 他 睡 了 [SEP] 他 没 睡 [SEP]         one label:      contradiction
Tag(7)          [CLS] 江 泽 民 说 [SEP]                   one label each: B-PER I-PER I-PER O
Read            spans of a passage: reading.py
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.finetuning.windows import IGNORED, Frame, Readable, Text, Window, padded, truncated, windows
from model.heads import Body, SequenceClassifier, TokenClassifier
from pipeline.arrays import Ints

Input = TypeVar("Input", contravariant=True)
"""A text of a task, as token ids."""
Row = TypeVar("Row", bound=Readable)
"""A window over it."""
Prediction = TypeVar("Prediction")
"""What is predicted for it."""


class Objective(Protocol[Input, Row, Prediction]):
    """What is learned and predicted."""

    def network(self, body: Body) -> nn.Module:
        """Return the encoder with a new head."""

    def windows(self, texts: Sequence[Input], frame: Frame) -> list[Row]:
        """Return what the network reads."""

    def to_learn(self, texts: Sequence[Input], frame: Frame) -> list[Row]:
        """Return the windows that there is something to learn from."""

    def loss(self, scores: Tensor, rows: Sequence[Row]) -> tuple[Tensor, int]:
        """Return the mean loss of a batch, and of how many labels."""

    def predictions(self, texts: Sequence[Input], batches: Iterable[tuple[Sequence[Row], Tensor]]) -> list[Prediction]:
        """Return what is predicted for each text, from the scores of all its windows in any order."""


@dataclass(frozen=True)
class _Labels:
    """One of some labels, for a text or for each of its items. Predictions: (1,) or (T,), -1 for an item without a token."""

    number: int
    """Number of labels."""

    def loss(self, scores: Tensor, rows: Sequence[Window]) -> tuple[Tensor, int]:
        labels = torch.from_numpy(padded([row.labels for row in rows], IGNORED)).flatten()
        loss = F.cross_entropy(scores.flatten(0, -2), labels.to(scores.device), ignore_index=IGNORED)
        return loss, int((labels != IGNORED).sum())

    def predictions(self, texts: Sequence[Text], batches: Iterable[tuple[Sequence[Window], Tensor]]) -> list[Ints]:
        predicted = [np.full(len(text.labels), -1, np.int64) for text in texts]
        for rows, scores in batches:
            likeliest = scores.argmax(-1).cpu().numpy()
            for row, labels in zip(rows, likeliest, strict=True):
                if likeliest.ndim == 1:
                    predicted[row.text][:] = labels
                else:
                    predicted[row.text][row.items] = labels[row.positions]
        return predicted


class Classify(_Labels):
    """One label per text, or per pair of texts."""

    def network(self, body: Body) -> nn.Module:
        return SequenceClassifier(body, self.number)

    def windows(self, texts: Sequence[Text], frame: Frame) -> list[Window]:
        return truncated(texts, frame)

    to_learn = windows


class Tag(_Labels):
    """One label for every item of a text."""

    def network(self, body: Body) -> nn.Module:
        return TokenClassifier(body, self.number)

    def windows(self, texts: Sequence[Text], frame: Frame) -> list[Window]:
        return windows(texts, frame)

    def to_learn(self, texts: Sequence[Text], frame: Frame) -> list[Window]:
        """All but those of control characters only."""
        return [window for window in windows(texts, frame) if (window.labels != IGNORED).any()]
