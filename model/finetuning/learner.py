"""What learns: networks with one encoder, their optimizer, and the schedule of the learning rate.

Training is as in the fine-tuning scripts of BERT and NEZHA: AdamW, linear warm-up over the first 10 % of the steps, then linear
decay to zero, gradients clipped to norm 1.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from model.finetuning.windows import Readable, padded
from model.optimization.lamb import parameter_groups
from model.precision import resolve
from pipeline.engine.startup import release_memory

RELEASE_BATCHES = 16
"""Predicted batches after which memory that they left in pieces goes back to the system."""
BACKWARD = 2
"""What a backward pass costs beside a forward pass, for the time left."""


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


class Learner:
    """Networks that share an encoder or have one each, and learn in turns."""

    def __init__(self, networks: Sequence[nn.Module], config: FinetuneConfig, steps: int) -> None:
        self.config = config
        self.networks = nn.ModuleList(networks).to("cuda" if torch.cuda.is_available() else "cpu")
        self.optimizer, self.schedule = optimizer_and_schedule(self.networks, config, steps)

    def step(self, network: int, loss: Callable[[Tensor, Any], tuple[Tensor, int]], rows: Sequence[Any]) -> tuple[Tensor, int]:
        """Learn a batch by one of the networks. Return its mean loss, and of how many labels."""
        self.networks.train()
        mean, count = loss(self.scores(network, rows), rows)
        self.optimizer.zero_grad()
        mean.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.networks.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        return mean.detach(), count

    @torch.no_grad()
    def predict(self, network: int, rows: Sequence[Any], done: Callable[[int], None]) -> Iterator[tuple[Sequence[Any], Tensor]]:
        """Yield batches of windows of similar length with their scores, the longest first.

        What a batch leaves free then has room for the next. The other way round, memory grows with the number of lengths.

        Args:
            done: called with the tokens of each batch.
        """
        by_length = sorted(rows, key=lambda window: len(window.ids))
        for number, begin in enumerate(reversed(range(0, len(by_length), self.config.batch_size)), start=1):
            self.networks.eval()
            batch = by_length[begin : begin + self.config.batch_size]
            yield batch, self.scores(network, batch)
            done(tokens(batch))
            if number % RELEASE_BATCHES == 0:
                release_memory()

    def scores(self, network: int, rows: Sequence[Readable]) -> Tensor:
        """Return float32 scores of C labels: (B, C) of windows, (B, L, C) of tokens."""
        return scores(self.networks[network], rows, self.config)

    def is_finite(self) -> bool:
        """Return whether all weights are numbers. After a loss that is none, they are none either."""
        return all(bool(weight.isfinite().all()) for weight in self.networks.parameters())

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of all weights, those of a shared encoder once."""
        return {name: value.detach().clone() for name, value in self._tensors()}

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Set all weights to what they were when `weights` returned them."""
        with torch.no_grad():
            for name, value in self._tensors():
                value.copy_(weights[name])

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        return chain(self.networks.named_parameters(), self.networks.named_buffers())


class Clock:
    """How much of the work is done: tokens, and those that are learned count three times."""

    def __init__(self, total: int, report: Callable[[int, int, str], None] | None) -> None:
        self.total = total
        self.what = ""
        self._done = 0
        self._report = report

    def tick(self, tokens: int) -> None:
        self._done += tokens
        if self._report:
            self._report(self._done, self.total, self.what)


def scores(model: nn.Module, rows: Sequence[Readable], config: FinetuneConfig) -> Tensor:
    """Return float32 scores of C labels: (B, C) of windows, (B, L, C) of tokens."""
    device = next(model.parameters()).device
    ids = torch.from_numpy(padded([row.ids for row in rows], 0)).to(device)
    real = torch.from_numpy(padded([np.ones(len(row.ids), np.int64) for row in rows], 0)).to(device).bool()
    segments = torch.from_numpy(padded([row.segments for row in rows], 0)).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=resolve(config.precision, device) == "bf16"):
        found = model(ids, real, segments)
    assert isinstance(found, Tensor)
    return found.float()


def tokens(rows: Sequence[Readable]) -> int:
    """Return how many tokens windows have."""
    return sum(len(row.ids) for row in rows)


def optimizer_and_schedule(
    model: nn.Module, config: FinetuneConfig, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """Return AdamW with weight decay, epsilon and schedule as in BERT's optimizer."""
    groups = parameter_groups(model, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, eps=1e-6, fused=True)
    warmup = max(1, round(config.warmup_ratio * steps))

    def factor(step: int) -> float:
        return (step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup)

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
