"""One step of training: gradients of this worker's micro-batches, summed over all workers, become one update.

    losses      masked words: sum of cross entropies / masked pieces of the step; pairs: the same over rows with a pair label
    gradients   live in one flat tensor, behind them six sums that are to be reported: one all-reduce a step, no wrapper
    update      clip by global norm, then LAMB; a step whose loss or gradient is not finite changes nothing

The counts that losses are divided by are exchanged before the backward passes, so that it does not matter how many workers
there are, or how many masked pieces each has. (2019 divided by each worker's own: `mlm_normalisation = "per_worker"`.)
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import workers
from model.batches import NO_LABEL, Batch
from model.config import TrainingConfig
from model.heads import PretrainingModel
from model.lamb import clip_by_global_norm
from model.order import key

MEASURED = 6
"""Sums that a batch is measured by: of masked words loss, number, right ones; of pairs the same."""


def precision(setting: str, device: torch.device) -> str:
    """`fp32` or `bf16`: what `auto` means on a device. Processors without instructions for bf16 only emulate it, slowly."""
    if setting != "auto":
        return setting
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def measure(network: PretrainingModel, batch: Batch, bf16: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Summed cross entropy of the masked words and of the pairs (0-d, float32), and the six sums (detached)."""
    with torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=bf16):
        mlm_logits, pair_logits = network(batch.input_ids, batch.attention_mask, batch.token_type_ids, batch.mask_positions)
    mlm = F.cross_entropy(mlm_logits, batch.mask_labels, reduction="sum")
    pair = F.cross_entropy(pair_logits, batch.pair_labels, reduction="sum", ignore_index=NO_LABEL)
    with torch.no_grad():
        mlm_right = (mlm_logits.argmax(-1) == batch.mask_labels).sum()
        pair_right = (pair_logits.argmax(-1) == batch.pair_labels).sum()
        counts = mlm.new_tensor([batch.masked, batch.pairs])
        sums = torch.stack([mlm.detach(), counts[0], mlm_right.float(), pair.detach(), counts[1], pair_right.float()])
    return mlm, pair, sums


def figures(sums: Sequence[float]) -> dict[str, float | None]:
    """What is reported of six sums; None where there was nothing to measure, or it was not finite."""
    mlm, masked, masked_right, pair, pairs, pairs_right = sums

    def mean(total: float, count: float) -> float | None:
        return total / count if count and math.isfinite(total) else None

    mlm_loss, pair_loss = mean(mlm, masked), mean(pair, pairs)
    known = [loss for loss, count in ((mlm_loss, masked), (pair_loss, pairs)) if count]
    finite = [loss for loss in known if loss is not None]
    return {
        "loss": sum(finite) if finite and len(finite) == len(known) else None,
        "mlm_loss": mlm_loss,
        "pair_loss": pair_loss,
        "masked_accuracy": mean(masked_right, masked),
        "pair_accuracy": mean(pairs_right, pairs),
    }


@dataclass(frozen=True)
class Outcome:
    """What a step did, the same on all workers."""

    figures: dict[str, float | None]
    grad_norm: float
    """Before clipping."""
    tokens: int
    """Pieces without padding, of all workers."""
    updated: bool
    """False: the loss or a gradient was not finite, nothing has changed."""
    stop: bool
    """Some worker was asked to stop."""


class Learner:
    """The network, its optimizer, and the flat gradients of those parameters that this phase trains."""

    def __init__(
        self,
        network: PretrainingModel,
        optimizer: torch.optim.Optimizer,
        training: TrainingConfig,
        max_grad_norm: float,
        seed: int,
    ) -> None:
        self.network, self.optimizer, self.training = network, optimizer, training
        self.max_grad_norm, self.seed = max_grad_norm, seed
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.device = self.parameters[0].device
        self.bf16 = precision(training.precision, self.device) == "bf16"
        self.buffer = _flat_gradients(self.parameters)

    def step(self, number: int, batches: Iterable[Batch], learning_rate: float, stop: bool = False) -> Outcome:
        """Step `number` of the run, on this worker's micro-batches of it."""
        batches = list(batches)
        own = [sum(batch.masked for batch in batches), sum(batch.pairs for batch in batches)]
        counts = torch.tensor([*own, sum(batch.tokens for batch in batches), int(stop)], device=self.device)
        masked, pairs, tokens, stops = workers.add_up(counts).tolist()
        if self.training.mlm_normalisation == "per_worker":
            masked = (own[0] + 1e-5) * workers.world()  # Huawei's run_pretraining.py, lines 308-311, averaged by Horovod
        self.buffer.zero_()
        self.network.train()
        for batch in batches:
            self._backward(number, batch, masked, pairs)
        workers.add_up(self.buffer)
        sums = figures(self.buffer[-MEASURED:].tolist())
        grad_norm = float(clip_by_global_norm(self.parameters, self.max_grad_norm))
        updated = math.isfinite(grad_norm) and sums["loss"] is not None
        if updated:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
        return Outcome(sums, grad_norm, tokens, updated, stops > 0)

    def _backward(self, number: int, batch: Batch, masked: float, pairs: int) -> None:
        # Dropout depends on the step and the micro-batch alone: any number of workers draws the same, and nothing is saved.
        torch.manual_seed(key(self.seed, number, batch.number) >> 1)
        mlm, pair, sums = measure(self.network, batch, self.bf16)
        loss = mlm / max(masked, 1e-5)
        if pairs:
            loss = loss + pair / pairs
        loss.backward()  # type: ignore[no-untyped-call]
        self.buffer[-MEASURED:] += sums


def _flat_gradients(parameters: Sequence[nn.Parameter]) -> Tensor:
    """One float32 tensor that holds all gradients, and six places more: autograd adds into the views it finds as `.grad`."""
    buffer = torch.zeros(sum(parameter.numel() for parameter in parameters) + MEASURED, device=parameters[0].device)
    start = 0
    for parameter in parameters:
        parameter.grad = buffer[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    return buffer
