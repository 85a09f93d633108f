"""Averaged checkpoints: the mean of the weights of several, often a little better than any of them, at no cost in training.

    newest("runs/tiny/checkpoint-3f9a", 3)      .../attempt-0002/checkpoint-00000300, ...-00000250, attempt-0001/...-00000200
    average(urls)                               one Checkpoint: each weight the mean of the three, summed in float32
    write(average(urls), "runs/mean")           a committed folder, for export, `inspect` and `verify` like any other
    with mean_of("runs/tiny/checkpoint-3f9a", 3) as url: ...                            the same, temporarily

Only weights are averaged. The result has no optimizer state, so training cannot resume from it.

Sources: arXiv 1803.05407 (stochastic weight averaging); arXiv 2412.13663, section 2.2.2, which averages checkpoints from the
decay of the learning rate.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from model.checkpoints import checkpoint, files
from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.listing import step_of
from pipeline import storage
from pipeline.errors import CheckpointError

Which = Literal["last", "best"]
"""The newest checkpoints, or those with the lowest validation loss."""


def newest(output: str, most: int, every: int = 1) -> list[str]:
    """URLs of at most `most` whole checkpoints of a training folder, newest first.

    Where an attempt repeated steps after a failure, its checkpoints count, not those of the attempt before. Except for the
    newest, only steps divisible by `every` count: a run that was stopped in between has the same average as one that was not.
    """
    found = _whole(output)
    return [url for url in found if url == found[0] or step_of(url) % every == 0][:most]


def best(output: str, most: int) -> list[str]:
    """URLs of at most `most` whole checkpoints with a validation loss, lowest first."""
    rows = (row for row in checkpoint.read_metrics(output) if row.get("kind") == "validation" and row.get("source") == "all")
    losses = {row["step"]: row["loss"] for row in rows if row["loss"] is not None}
    measured = [url for url in _whole(output) if step_of(url) in losses]
    return sorted(measured, key=lambda url: float(losses[step_of(url)]))[:most]


def choose(output: str, number: int, which: Which = "last") -> list[str]:
    """URLs of exactly `number` checkpoints of a training folder.

    Raises: `CheckpointError` when the folder has fewer.
    """
    found = newest(output, number) if which == "last" else best(output, number)
    if len(found) < number:
        kind = "whole" if which == "last" else "whole and validated"
        raise CheckpointError(
            f"{output}: {len(found)} {kind} checkpoints, {number} are to be averaged; average fewer, or train with a higher "
            "training.keep_checkpoints"
        )
    return found


def average(urls: Sequence[str]) -> Checkpoint:
    """A checkpoint with the mean of the weights, without optimizer state; everything else is that of the first.

    Sums are float32. Raises: `CheckpointError` for a damaged checkpoint, or when networks or vocabularies differ.
    """
    assert urls
    first = checkpoint.load(urls[0])
    sums = {name: weight.to(torch.float32, copy=True) for name, weight in first.model.items()}
    for url in urls[1:]:
        other = checkpoint.load(url)
        _check_same(first, other, urls[0], url)
        for name, weight in other.model.items():
            sums[name] += weight
    means = {name: (total / len(urls)).to(first.model[name].dtype) for name, total in sums.items()}
    state = {**first.state, "averaged": [f"{storage.base_name(storage.parent(url))}/{storage.base_name(url)}" for url in urls]}
    return Checkpoint(means, {}, state, first.config, first.vocabulary)


def write(averaged: Checkpoint, url: str) -> str:
    """Write a committed checkpoint folder, marker last; returns its URL."""
    entries = files.write(averaged, url)
    storage.write_json(storage.join(url, checkpoint.MARKER), files.marker(averaged.step, entries))
    return url


@contextlib.contextmanager
def mean_of(output: str, number: int, which: Which = "last") -> Iterator[str]:
    """URL of the average of `number` checkpoints of a training folder; it is removed after the block.

    Raises: `CheckpointError` when the folder has fewer.
    """
    with tempfile.TemporaryDirectory(prefix="nezha-pipe-mean-") as folder:
        yield write(average(choose(output, number, which)), storage.join(folder, "averaged"))


def _check_same(first: Checkpoint, other: Checkpoint, first_url: str, url: str) -> None:
    """Raise `CheckpointError` unless networks and vocabularies are the same."""
    if other.vocabulary != first.vocabulary:
        raise CheckpointError(f"{url} has another vocabulary than {first_url}: their weights have no mean")
    if other.config["encoder"] != first.config["encoder"] or _shapes(other.model) != _shapes(first.model):
        raise CheckpointError(f"{url} has another network than {first_url}: their weights have no mean")


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


def _whole(output: str) -> list[str]:
    """Checkpoints on the way to the newest one that are as they were written, newest first."""
    return [url for url in checkpoint.committed(output) if checkpoint.damage(url) is None]
