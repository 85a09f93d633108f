"""Fine-tuning a pretrained encoder: what is learned is an objective (objectives.py, reading.py).

    finetune(start, Classify(2), splits, config, score=accuracy).test     [array([1]), array([0]), ...]

How it learns is in learner.py. The epoch with the best dev score is kept, and predicts the test split once. An epoch that
diverges ends it: the best of those before is kept, or without one what diverged.

Texts are given as token ids, so this module needs no tokenizer.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from model.finetuning.learner import BACKWARD, Clock, FinetuneConfig, Learner, tokens
from model.finetuning.objectives import Objective, Prediction, Row
from model.finetuning.start import Start
from model.finetuning.windows import shuffled

Input = TypeVar("Input")
"""A text of a task, as token ids."""


@dataclass(frozen=True)
class Splits(Generic[Input]):
    """The texts of a task."""

    train: Sequence[Input]
    dev: Sequence[Input]
    """Texts that the best epoch is chosen by."""
    test: Sequence[Input]


@dataclass(frozen=True)
class Finetuned(Generic[Prediction]):
    """The result of fine-tuning."""

    best_epoch: int
    """Counted from 1; the first of equal ones."""
    dev_scores: list[float]
    """Dev score after each epoch, except one that diverged after others."""
    losses: list[float]
    """Mean training loss of each epoch."""
    dev: list[Prediction]
    """Predictions for each dev text, by the best epoch."""
    test: list[Prediction]
    """Predictions for each test text, by the best epoch."""
    diverged: int = 0
    """The epoch in which the loss or a weight was no longer a number; 0 = none."""


Progress = Callable[[int, int, str], None]
"""Called after each batch: how much of the work is done, how much there is, what is being done."""


def finetune(
    start: Start,
    objective: Objective[Input, Row, Prediction],
    splits: Splits[Input],
    config: FinetuneConfig,
    *,
    score: Callable[[list[Prediction]], float],
    progress: Progress | None = None,
) -> Finetuned[Prediction]:
    """Learn what the objective says.

    `score` rates predictions for dev, higher is better. The result is reproducible bit for bit with the same seed, machine and
    number of threads.
    """
    frame = start.frame(config.max_length)
    train = objective.to_learn(splits.train, frame)
    dev, test = objective.windows(splits.dev, frame), objective.windows(splits.test, frame)
    work = config.epochs * ((1 + BACKWARD) * tokens(train) + tokens(dev)) + tokens(test)
    clock = Clock(work, progress)
    with seeded(config.seed):
        body = start.body()
        seed_heads(config.seed)
        learner = Learner([objective.network(body)], config, config.epochs * -(-len(train) // config.batch_size))
        best: tuple[int, list[Prediction], dict[str, Tensor]] | None = None
        scores: list[float] = []
        losses: list[float] = []
        diverged = 0
        for epoch in range(1, config.epochs + 1):
            clock.what = f"epoch {epoch} of {config.epochs}{f', dev {scores[-1]:.3f}' if scores else ''}"
            losses.append(_train_epoch(learner, objective, train, epoch, clock))
            if not (math.isfinite(losses[-1]) and learner.is_finite()):
                diverged = epoch
                if best is not None:
                    break
            predicted = objective.predictions(splits.dev, learner.predict(0, dev, clock.tick))
            scores.append(score(predicted))
            if best is None or scores[-1] > scores[best[0] - 1]:
                best = epoch, predicted, learner.weights() if epoch < config.epochs else {}
            if diverged:
                break
        assert best is not None, "there is at least one epoch"
        if best[0] < config.epochs:
            learner.restore(best[2])
        clock.what = f"test, dev {scores[best[0] - 1]:.3f}"
        tested = objective.predictions(splits.test, learner.predict(0, test, clock.tick))
        return Finetuned(best[0], scores, losses, best[1], tested, diverged)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the context, and restore the caller's generator state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def seed_heads(seed: int) -> None:
    """Seed torch for heads and dropout: the same for any encoder, however many numbers it drew for its own weights."""
    torch.manual_seed(int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))


def _train_epoch(
    learner: Learner, objective: Objective[Input, Row, Prediction], train: Sequence[Row], epoch: int, clock: Clock
) -> float:
    """Train on all windows once. Return the mean loss per label."""
    total, labels = torch.zeros((), dtype=torch.float64), 0
    rng = np.random.default_rng([learner.config.seed, epoch])
    for batch in shuffled([len(window.ids) for window in train], learner.config.batch_size, rng):
        rows = [train[index] for index in batch]
        loss, count = learner.step(0, objective.loss, rows)
        total, labels = total + loss.double() * count, labels + count
        clock.tick((1 + BACKWARD) * tokens(rows))
    return total.item() / max(1, labels)
