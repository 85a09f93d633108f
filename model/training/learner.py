"""One step of training: gradients of this worker's micro-batches, summed over all workers, become one update.

    losses      masked words: sum of cross entropies / masked tokens of the step; pairs: the same over rows with a pair label
    gradients   live in one flat tensor, behind them six sums that are to be reported: one all-reduce a step, no wrapper
    update      take the loss scale out, look whether all is finite and no spike, clip by global norm, then the optimizer

The counts that losses are divided by are exchanged before the backward passes, so that it does not matter how many workers
there are, or how many masked tokens each has. (2019 divided by each worker's own: `mlm_normalisation = "per_worker"`.)

The host waits for the device once a step: for the numbers that say whether there is to be an update. Sums are the same on all
workers, so all decide alike. LayerNorm, softmax and loss compute in float32, whatever the precision.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import TrainingConfig
from model.heads import PretrainingModel
from model.optimization.lamb import clip_by_global_norm
from model.optimization.loss_scale import LEAST
from model.training import workers
from model.training.batches import NO_LABEL, Batch
from model.training.order import key

MEASURED = 6
"""Sums that a batch is measured by: of masked words loss, number, right ones; of pairs the same."""


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def precision(setting: str, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp16`: what `auto` means on a device. Processors without instructions for bf16 emulate it, slowly.

    GPUs before Ampere (V100, T4) have matrix units for fp16 alone.
    """
    if setting != "auto":
        return setting
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def measure(network: PretrainingModel, batch: Batch, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Summed cross entropy of the masked words and of the pairs (0-d, float32), and the six sums (detached).

    `dtype`: that of matrix products; weights and what is sensitive to rounding stay in float32.
    """
    with torch.autocast(batch.input_ids.device.type, dtype, enabled=dtype != torch.float32):
        inputs = (batch.input_ids, batch.attention_mask, batch.token_type_ids, batch.mask_positions, batch.lengths)
        mlm_logits, pair_logits = network(*inputs)
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


Verdict = Literal["updated", "overflow", "not finite", "spike"]


@dataclass(frozen=True)
class Limits:
    """What is no spike."""

    loss: float = math.inf
    grad_norm: float = math.inf


@dataclass(frozen=True)
class Outcome:
    """What a step did, the same on all workers but for the seconds."""

    figures: dict[str, float | None]
    grad_norm: float
    """Before clipping, without the loss scale."""
    tokens: int
    """Tokens without padding, of all workers."""
    squares: int
    """Sum of the squares of the lengths of all sequences: what attention grows with."""
    masked: int
    verdict: Verdict
    """All but `updated` have changed nothing. `overflow`: a gradient was too big for fp16, with this loss scale."""
    stop: bool
    """Some worker was asked to stop."""
    compute_seconds: float = 0.0
    """Forward, backward, and the sum over workers."""
    optimizer_seconds: float = 0.0

    @property
    def updated(self) -> bool:
        return self.verdict == "updated"


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
        self.precision = precision(training.precision, self.device)
        self.dtype = DTYPES[self.precision]
        self.buffer = _flat_gradients(self.parameters)

    def step(
        self,
        number: int,
        batches: Iterable[Batch],
        learning_rate: float,
        stop: bool = False,
        limits: Limits | None = None,
        loss_scale: float = 1.0,
    ) -> Outcome:
        """Step `number` of the run, on this worker's micro-batches of it. Gradients are computed of `loss_scale` x loss."""
        started = time.perf_counter()
        batches = list(batches)
        counts = self._counts(batches, stop)
        words, pairs = counts[:2].clamp(min=1) / loss_scale
        if self.training.mlm_normalisation == "per_worker":
            # Huawei's run_pretraining.py, lines 308-311, averaged by Horovod
            own = (sum(batch.masked for batch in batches) + 1e-5) * workers.world()
            words = torch.full_like(words, own / loss_scale)
        self.buffer.zero_()
        self.network.train()
        for batch in batches:
            self._backward(number, batch, words, pairs)
        workers.all_reduce_sum(self.buffer)
        norm = clip_by_global_norm(self.parameters, self.max_grad_norm, loss_scale)
        told = torch.cat([self.buffer[-MEASURED:].double(), norm.double()[None], counts.double()]).tolist()
        computed = time.perf_counter()
        sums, (grad_norm, all_masked, _, tokens, squares, stops) = figures(told[:MEASURED]), told[MEASURED:]
        verdict = _verdict(sums["loss"], grad_norm, limits or Limits(), loss_scale)
        outcome = Outcome(sums, grad_norm, int(tokens), int(squares), int(all_masked), verdict, stops > 0)
        if outcome.updated:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
        # A GPU has only been told to: what it takes for the update is counted as computing of the next step.
        return replace(outcome, compute_seconds=computed - started, optimizer_seconds=time.perf_counter() - computed)

    def _counts(self, batches: Sequence[Batch], stop: bool) -> Tensor:
        """Of all workers: masked tokens, rows with a pair label, tokens, squares of lengths, how many were asked to stop."""
        names = ("masked", "pairs", "tokens", "squares")
        numbers = [sum(getattr(batch, name) for batch in batches) for name in names]
        return workers.all_reduce_sum(torch.tensor([*numbers, int(stop)], device=self.device))

    def _backward(self, number: int, batch: Batch, words: Tensor, pairs: Tensor) -> None:
        # Dropout depends on the step and the micro-batch alone: any number of workers draws the same, and nothing is saved.
        torch.manual_seed(key(self.seed, number, batch.number) >> 1)
        mlm, pair, sums = measure(self.network, batch, self.dtype)
        loss = mlm / words
        if batch.pairs:
            loss = loss + pair / pairs
        loss.backward()  # type: ignore[no-untyped-call]
        self.buffer[-MEASURED:] += sums


def _verdict(loss: float | None, grad_norm: float, limits: Limits, loss_scale: float) -> Verdict:
    if loss is None:
        return "not finite"
    if not math.isfinite(grad_norm):
        return "overflow" if loss_scale > LEAST else "not finite"
    return "spike" if loss > limits.loss or grad_norm > limits.grad_norm else "updated"


def _flat_gradients(parameters: Sequence[nn.Parameter]) -> Tensor:
    """One float32 tensor that holds all gradients, and six places more: autograd adds into the views it finds as `.grad`."""
    buffer = torch.zeros(sum(parameter.numel() for parameter in parameters) + MEASURED, device=parameters[0].device)
    start = 0
    for parameter in parameters:
        parameter.grad = buffer[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    return buffer
