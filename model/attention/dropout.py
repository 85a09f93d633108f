"""Dropout whose draws are cheap on a processor: there torch's own can take longer than a layer's products in bfloat16.

    drawn(seed, (2, 3), 0.1, cpu)    [[True, True, False], [True, True, True]]    True: kept

With one thread torch draws 7 ns an element, this less than 1. 16 random bits decide on an element, so the probability is a
multiple of 1 / 65,536 (0.1 becomes 0.100006) and what is kept is scaled by just that. A draw is a function of its seed, and the
seed comes from torch's generator: who seeds torch repeats everything, and a backward pass can draw again instead of storing.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

STEPS = 1 << 16
"""Of the probability: what 16 bits can tell apart."""


def new_seed() -> int:
    """From torch's generator of the processor, so that no GPU is waited for."""
    return int(torch.randint(1 << 62, ()))


def scale(probability: float) -> float:
    """What kept elements are multiplied by; 0 where nothing is kept."""
    dropped = round(probability * STEPS)
    return STEPS / (STEPS - dropped) if dropped < STEPS else 0.0


def drawn(seed: Sequence[int] | int, shape: tuple[int, ...], probability: float, device: torch.device) -> Tensor:
    """Which elements are kept: bool of `shape`, the same for the same arguments on the same kind of device."""
    dropped = round(probability * STEPS)
    words = np.random.SFC64(seed).random_raw(-(-prod(shape) // 4))
    bits = torch.from_numpy(words.view(np.int16)[: prod(shape)]).view(shape)
    kept = bits >= dropped - STEPS // 2 if dropped < STEPS else torch.zeros(shape, dtype=torch.bool)
    return kept if device.type == "cpu" else kept.to(device)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, faster on processors."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape; a GPU uses torch's own."""
        if not self.training or self.p == 0 or input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        dropped: Tensor = _Dropped.apply(input, self.p)  # type: ignore[no-untyped-call]
        return dropped


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        kept = drawn(new_seed(), tuple(x.shape), probability, x.device)
        ctx.save_for_backward(kept)
        ctx.scale = scale(probability)
        return (x * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (gradients[0] * kept).mul_(ctx.scale), None
