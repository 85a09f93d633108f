"""What the peers train: a network of the size of ours on numbered samples, in plain torch; and their notes of each step."""

import functools
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.chaos.worker import FOLDER

BATCH, LENGTH, VOCABULARY = 96, 24, 64
"""Samples of a step over all workers, tokens of each."""
CHECKPOINT_EVERY = 20
SAMPLES = 1 << 20
"""So many that no run sees one twice unless it repeats it."""


class Numbers(Dataset[tuple[int, Tensor]]):
    """Sample k counts up from k, in steps of 1 to 3."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, (index + torch.arange(LENGTH) * (index % 3 + 1)) % VOCABULARY


class Network(nn.Module):
    """A transformer of four layers that predicts tokens from the others."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY + 1, 128)
        self.positions = nn.Embedding(LENGTH, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4)
        self.head = nn.Linear(128, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(tokens) + self.positions.weight))  # type: ignore[no-any-return]


def network() -> nn.Module:
    torch.manual_seed(1)
    return Network()


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    masked = tokens.clone()
    masked[:, ::7] = VOCABULARY
    return nn.functional.cross_entropy(model(masked)[:, ::7].reshape(-1, VOCABULARY), tokens[:, ::7].reshape(-1))


@functools.cache
def _notes(name: str) -> Any:
    return (Path(os.environ[FOLDER]) / f"{name}-{os.uname().nodename}-{os.getpid()}.jsonl").open("a", buffering=1)


def note(name: str, rank: int, attempt: int, step: int, loss: float, ids: list[int]) -> None:
    """Note a step that is done. `attempt`: another number for each start that may do a step again."""
    row = {"time": time.time(), "rank": rank, "attempt": attempt, "phase": 0, "step": step, "loss": loss, "ids": ids}
    print(json.dumps({**row, "start": BATCH * (step - 1), "end": BATCH * step}), file=_notes(name))
