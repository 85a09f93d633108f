"""Multi-task fine-tuning: one encoder learns several tasks in turns, each with a head of its own.

    epoch 1    names  reviews  names  pairs  reviews  names  ...       a batch of one task each

`proportional`: all batches of all tasks, in random order, as MT-DNN does (arXiv 1901.11504, algorithm 1). `annealed`: as many,
but at first tasks have batches in proportion to their size, at the end nearly equally many: to size ** a, where a falls from 1
to 0.2 (Stickland and Murray 2019, arXiv 1902.02671). Large tasks then lose batches, and small ones have some twice.

The epoch with the best mean of the tasks' dev scores is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from model.finetuning.finetune import Progress, Splits, seed_heads, seeded
from model.finetuning.learner import BACKWARD, Clock, FinetuneConfig, Learner, tokens
from model.finetuning.objectives import Objective
from model.finetuning.start import Start
from model.finetuning.windows import shuffled
from pipeline.errors import CheckpointError

Mixing = Literal["proportional", "annealed"]
ANNEALING = 0.8
"""How much the exponent falls over all epochs."""


@dataclass(frozen=True)
class SharedTask:
    """A task of several."""

    name: str
    objective: Objective[Any, Any, Any]
    splits: Splits[Any]
    max_length: int
    """Maximum tokens per window."""
    score: Callable[[list[Any]], float]
    """Rates predictions for dev, higher is better."""


@dataclass(frozen=True)
class Together:
    """The result of multi-task fine-tuning. Lists are in the order of the tasks."""

    best_epoch: int
    """Counted from 1; the first of equal ones."""
    dev_scores: list[list[float]]
    """Dev scores of each task after each epoch."""
    losses: list[list[float]]
    """Mean training loss of each task in each epoch."""
    dev: list[list[Any]]
    """Predictions for dev by the best epoch."""
    test: list[list[Any]]
    """Predictions for test by the best epoch."""
    weights: Mapping[str, Tensor]
    """State dict of the shared encoder."""


def finetune_together(
    start: Start, tasks: Sequence[SharedTask], config: FinetuneConfig, mixing: Mixing, progress: Progress | None = None
) -> Together:
    """Learn several tasks. `config.max_length` is not used: each task has its own. Reproducible as `finetune` is.

    Raises: CheckpointError if a loss or a weight is no longer a number.
    """
    frames = [start.frame(task.max_length) for task in tasks]
    train, dev, test = (
        [windows(task, split, frame) for task, frame in zip(tasks, frames, strict=True)]
        for windows, split in ((_to_learn, "train"), (_to_read, "dev"), (_to_read, "test"))
    )
    epochs = [_mixed(train, config, mixing, epoch) for epoch in range(1, config.epochs + 1)]
    learned = sum(tokens([train[task][index] for index in batch]) for epoch in epochs for task, batch in epoch)
    clock = Clock((1 + BACKWARD) * learned + config.epochs * sum(map(tokens, dev)) + sum(map(tokens, test)), progress)
    with seeded(config.seed):
        body: Any = start.body()
        seed_heads(config.seed)
        learner = Learner([task.objective.network(body) for task in tasks], config, sum(map(len, epochs)))
        best: tuple[int, list[list[Any]], dict[str, Tensor]] | None = None
        scores: list[list[float]] = []
        losses: list[list[float]] = []
        for number, batches in enumerate(epochs, start=1):
            clock.what = f"epoch {number} of {config.epochs}{f', dev {np.mean(scores[-1]):.3f}' if scores else ''}"
            losses.append(_train_epoch(learner, tasks, train, batches, clock))
            if not np.isfinite(losses[-1]).all():
                raise CheckpointError(f"the loss of epoch {number} is not a number; use a smaller learning rate")
            if not learner.is_finite():  # no later loss would show what the last step did
                raise CheckpointError(f"weights are no longer numbers after epoch {number}; use a smaller learning rate")
            predicted = _predictions(learner, tasks, "dev", dev, clock)
            scores.append([task.score(found) for task, found in zip(tasks, predicted, strict=True)])
            if best is None or np.mean(scores[-1]) > np.mean(scores[best[0] - 1]):
                best = number, predicted, learner.weights()
        assert best is not None, "there is at least one epoch"
        learner.restore(best[2])
        clock.what = f"test, dev {np.mean(scores[best[0] - 1]):.3f}"
        tested = _predictions(learner, tasks, "test", test, clock)
    return Together(best[0], scores, losses, best[1], tested, {name: value.cpu() for name, value in body.state_dict().items()})


def _to_learn(task: SharedTask, split: str, frame: Any) -> list[Any]:
    return task.objective.to_learn(getattr(task.splits, split), frame)


def _to_read(task: SharedTask, split: str, frame: Any) -> list[Any]:
    return task.objective.windows(getattr(task.splits, split), frame)


def _mixed(train: Sequence[Sequence[Any]], config: FinetuneConfig, mixing: Mixing, epoch: int) -> list[tuple[int, list[int]]]:
    """Return the batches of an epoch in random order: the number of the task, and indices of its windows."""
    rng = np.random.default_rng([config.seed, epoch])
    numbers = shares([-(-len(rows) // config.batch_size) for rows in train], mixing, epoch, config.epochs)
    mixed: list[tuple[int, list[int]]] = []
    for task, (rows, number) in enumerate(zip(train, numbers, strict=True)):
        batches: list[list[int]] = []
        while len(batches) < number:
            batches += shuffled([len(row.ids) for row in rows], config.batch_size, rng)
        mixed += [(task, batch) for batch in batches[:number]]
    return [mixed[index] for index in rng.permutation(len(mixed))]


def shares(batches: Sequence[int], mixing: Mixing, epoch: int, epochs: int) -> list[int]:
    """Return how many batches each task has in an epoch; their sum is that of `batches`.

    batches: of all examples of each task
    epoch: counted from 1

    shares([300, 30], "annealed", 3, 3) -> [202, 128]
    """
    exponent = 1.0 if mixing == "proportional" else 1 - ANNEALING * (epoch - 1) / max(1, epochs - 1)
    wanted = np.array(batches, np.float64) ** exponent * (np.array(batches) > 0)
    exact = wanted / wanted.sum() * sum(batches)
    numbers = np.floor(exact + 1e-9).astype(int)
    for task in np.argsort(numbers - exact, kind="stable")[: sum(batches) - numbers.sum()]:  # largest remainders
        numbers[task] += 1
    return [int(number) for number in numbers]


def _train_epoch(
    learner: Learner,
    tasks: Sequence[SharedTask],
    train: Sequence[Sequence[Any]],
    batches: Sequence[tuple[int, list[int]]],
    clock: Clock,
) -> list[float]:
    """Learn batches in their order. Return the mean loss per label of each task."""
    totals, labels = [torch.zeros((), dtype=torch.float64) for _ in tasks], [0] * len(tasks)
    for task, batch in batches:
        rows = [train[task][index] for index in batch]
        loss, count = learner.step(task, tasks[task].objective.loss, rows)
        totals[task], labels[task] = totals[task] + loss.double() * count, labels[task] + count
        clock.tick((1 + BACKWARD) * tokens(rows))
    return [total.item() / max(1, count) for total, count in zip(totals, labels, strict=True)]


def _predictions(
    learner: Learner, tasks: Sequence[SharedTask], split: str, windows: Sequence[Sequence[Any]], clock: Clock
) -> list[list[Any]]:
    return [
        task.objective.predictions(getattr(task.splits, split), learner.predict(number, rows, clock.tick))
        for number, (task, rows) in enumerate(zip(tasks, windows, strict=True))
    ]
