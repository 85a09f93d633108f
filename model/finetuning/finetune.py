"""Fine-tuning a pretrained encoder to classify texts or pairs of texts, or to tag their characters.

    classify        [CLS] 房 间 很 干 净 [SEP]               one label:      1
    classify pairs  [CLS] 他 睡 了 [SEP] 他 没 睡 [SEP]        one label:      contradiction
    tag             [CLS] 江 泽 民 说 [SEP]                  one label each: B-PER I-PER I-PER O

Training is as in the fine-tuning scripts of BERT and NEZHA: AdamW, linear warm-up over the first 10 % of the steps, then linear
decay to zero, gradients clipped to norm 1. The epoch with the best dev score is kept, and predicts the test split once.

Texts are given as token ids (`model.finetuning.windows.Text`), so this module needs no tokenizer.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import EncoderConfig
from model.finetuning.windows import (
    IGNORED,
    Frame,
    Text,
    Window,
    padded,
    shuffled,
    truncated,
    windows,
)
from model.heads import SequenceClassifier, TokenClassifier
from model.optimization.lamb import parameter_groups
from model.training.trainer import precision
from pipeline.arrays import Ints


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Settings of fine-tuning. The defaults are the usual ones for BERT-like encoders."""

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 3e-5
    """Peak learning rate."""
    max_length: int = 128
    """Maximum tokens per window, [CLS] and [SEP] included."""
    warmup_ratio: float = 0.1
    """Fraction of all steps in which the learning rate rises from 0."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0
    """Seed of the new weights, the order of the texts and dropout."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """As in pretraining: `auto` = bf16 if the device has fast bf16 arithmetic, otherwise fp32."""


@dataclass(frozen=True)
class Start:
    """The encoder that fine-tuning starts from."""

    config: EncoderConfig
    vocab_size: int
    cls: int
    """Id of [CLS]."""
    sep: int
    """Id of [SEP]."""
    weights: Mapping[str, Tensor] | None = None
    """State dict of the encoder alone; None = random weights from the run's seed."""


class Splits(NamedTuple):
    """The texts of a task."""

    train: Sequence[Text]
    dev: Sequence[Text]
    """Texts that the best epoch is chosen by."""
    test: Sequence[Text]


@dataclass(frozen=True)
class Finetuned:
    """The result of fine-tuning. Predictions are labels as in `Text.labels`, -1 for an item without a token."""

    best_epoch: int
    """Counted from 1; the first of equal ones."""
    dev_scores: list[float]
    """Dev score after each epoch."""
    losses: list[float]
    """Mean training loss of each epoch."""
    dev: list[Ints]
    """Predictions for each dev text, (1,) or (T,), by the best epoch."""
    test: list[Ints]
    """Predictions for each test text, (1,) or (T,), by the best epoch."""


Score = Callable[[list[Ints]], float]
Progress = Callable[[int, float], None]


def finetune_classifier(
    start: Start,
    num_labels: int,
    splits: Splits,
    config: FinetuneConfig,
    *,
    score: Score,
    progress: Progress | None = None,
) -> Finetuned:
    """Learn to predict one label per text, or per pair of texts.

    `score` rates predictions for dev, higher is better; `progress(epoch, score)` is called after each epoch. The result is
    reproducible bit for bit with the same seed, machine and number of threads.
    """
    with _seeded(config.seed):
        model = SequenceClassifier(start.config, start.vocab_size, num_labels)
        return _finetune(model, start, splits, truncated, config, score, progress)


def finetune_tagger(
    start: Start,
    num_labels: int,
    splits: Splits,
    config: FinetuneConfig,
    *,
    score: Score,
    progress: Progress | None = None,
) -> Finetuned:
    """Learn to predict a label for every item; otherwise like `finetune_classifier`."""
    with _seeded(config.seed):
        model = TokenClassifier(start.config, start.vocab_size, num_labels)
        return _finetune(model, start, splits, windows, config, score, progress)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the context, and restore the caller's generator state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _finetune(
    model: nn.Module,
    start: Start,
    splits: Splits,
    cut: Callable[[Sequence[Text], Frame], list[Window]],
    config: FinetuneConfig,
    score: Score,
    progress: Progress | None,
) -> Finetuned:
    if start.weights is not None:
        model.get_submodule("nezha").load_state_dict(dict(start.weights))
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    train, dev, test = (cut(texts, Frame(start.cls, start.sep, config.max_length)) for texts in splits)
    optimizer, schedule = _optimizer(model, config, steps=config.epochs * -(-len(train) // config.batch_size))
    scores: list[float] = []
    losses: list[float] = []
    for epoch in range(1, config.epochs + 1):
        losses.append(_train_epoch(model, train, optimizer, schedule, config, epoch))
        predicted = _predict(model, dev, splits.dev, config)
        scores.append(score(predicted))
        if scores[-1] > max(scores[:-1], default=-1.0):
            best_epoch, best_predicted = epoch, predicted
            best_state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        if progress:
            progress(epoch, scores[-1])
    model.load_state_dict(best_state)
    return Finetuned(best_epoch, scores, losses, best_predicted, _predict(model, test, splits.test, config))


def _optimizer(
    model: nn.Module, config: FinetuneConfig, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """Return AdamW with weight decay, epsilon and schedule as in BERT's optimizer."""
    optimizer = torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.learning_rate, eps=1e-6)
    warmup = max(1, round(config.warmup_ratio * steps))

    def factor(step: int) -> float:
        return (step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup)

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _train_epoch(
    model: nn.Module,
    train: Sequence[Window],
    optimizer: torch.optim.AdamW,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    config: FinetuneConfig,
    epoch: int,
) -> float:
    """Train on all texts once. Return the mean loss per label."""
    model.train()
    total, labelled = 0.0, 0
    rng = np.random.default_rng([config.seed, epoch])
    for batch in shuffled([len(window.ids) for window in train], config.batch_size, rng):
        rows = [train[index] for index in batch]
        labels = torch.from_numpy(padded([row.labels for row in rows], IGNORED)).flatten()
        if not (count := int((labels != IGNORED).sum())):  # sentences of control characters only
            continue
        logits = _logits(model, rows, config)
        loss = F.cross_entropy(logits.flatten(0, -2), labels.to(logits.device), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        schedule.step()
        total, labelled = total + loss.item() * count, labelled + count
    return total / max(1, labelled)


@torch.no_grad()
def _predict(model: nn.Module, split: Sequence[Window], texts: Sequence[Text], config: FinetuneConfig) -> list[Ints]:
    """Return the most likely label of each text (1,), or of each of its items (T,)."""
    model.eval()
    predicted = [np.full(len(text.labels), -1, np.int64) for text in texts]
    by_length = sorted(range(len(split)), key=lambda index: len(split[index].ids))
    for begin in range(0, len(by_length), config.batch_size):
        rows = [split[index] for index in by_length[begin : begin + config.batch_size]]
        likeliest = _logits(model, rows, config).argmax(-1).cpu().numpy()
        for row, labels in zip(rows, likeliest, strict=True):
            if likeliest.ndim == 1:
                predicted[row.text][:] = labels
            else:
                predicted[row.text][row.items] = labels[row.positions]
    return predicted


def _logits(model: nn.Module, rows: Sequence[Window], config: FinetuneConfig) -> Tensor:
    """Return float32 scores of C labels: (B, C) to classify, (B, L, C) to tag."""
    device = next(model.parameters()).device
    ids = torch.from_numpy(padded([row.ids for row in rows], 0)).to(device)
    real = torch.from_numpy(padded([np.ones(len(row.ids), np.int64) for row in rows], 0)).to(device).bool()
    segments = torch.from_numpy(padded([row.segments for row in rows], 0)).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision(config.precision, device) == "bf16"):
        logits = model(ids, real, segments)
    assert isinstance(logits, Tensor)
    return logits.float()
