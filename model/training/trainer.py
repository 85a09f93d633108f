"""One training step: the gradients of this worker's micro-batches, summed over all workers, become one update.

    losses      masked tokens: sum of cross entropies / masked tokens of the step; pairs: the same over rows with a pair label
    gradients   views into one flat tensor, followed by six sums to report; summed during the last backward pass (gradients.py)
    update      unscale, check for spikes and non-finite values, clip by global norm, then the optimizer

The counts that divide the losses are all-reduced before the backward passes, so the result does not depend on the number of
workers, nor on how many masked tokens each has. (The 2019 code divided by each worker's own: `mlm_normalisation =
"per_worker"`.)

The host waits for the device once a step: for the numbers that decide whether to update. They are sums over all workers, so
all decide alike. LayerNorm, softmax and loss are computed in float32 whatever the precision.
"""

import math
import time
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import TrainingConfig
from model.heads import PretrainingModel
from model.optimization.gradients import Gradients
from model.optimization.lamb import clip_by_global_norm
from model.optimization.loss_scale import MIN_SCALE
from model.optimization.spikes import Limits
from model.precision import DTYPES, resolve
from model.samples import taken
from model.samples.batches import NO_LABEL, Batch
from model.samples.order import key
from model.training import workers
from model.training.health import watchdog
from model.training.health.slow_workers import Timer
from model.training.outcome import Outcome, Verdict

MEASURED = 6
"""Number of sums measured on a batch: loss, count and correct predictions of masked tokens, then the same of pairs."""
COUNTED = 8
"""Number of sums counted on the batches of a step, before the tokens of each worker."""


def measure(network: PretrainingModel, batch: Batch, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Run the network on a batch: summed cross entropy of masked tokens (), and of pairs (), and six sums (6,), detached.

    All are float32. `dtype` is that of matrix products; weights and operations sensitive to rounding stay in float32.
    """
    with torch.autocast(batch.input_ids.device.type, dtype, enabled=dtype != torch.float32):
        inputs = (batch.input_ids, batch.attention_mask, batch.token_type_ids, batch.mask_positions, batch.lengths)
        mlm_logits, pair_logits = network(*inputs)  # (K, V), (B, 2)
    mlm = F.cross_entropy(mlm_logits, batch.mask_labels, reduction="sum")
    pair = F.cross_entropy(pair_logits, batch.pair_labels, reduction="sum", ignore_index=NO_LABEL)
    with torch.no_grad():
        mlm_correct = (mlm_logits.argmax(-1) == batch.mask_labels).sum()
        pair_correct = (pair_logits.argmax(-1) == batch.pair_labels).sum()
        counts = mlm.new_tensor([batch.masked, batch.pairs])
        sums = torch.stack([mlm.detach(), counts[0], mlm_correct.float(), pair.detach(), counts[1], pair_correct.float()])
    return mlm, pair, sums


def figures(sums: Sequence[float]) -> dict[str, float | None]:
    """Losses and accuracies from the six sums of `measure`; None where nothing was measured, or it was not finite."""
    mlm, masked, masked_correct, pair, pairs, pairs_correct = sums

    def mean(total: float, count: float) -> float | None:
        return total / count if count and math.isfinite(total) else None

    mlm_loss, pair_loss = mean(mlm, masked), mean(pair, pairs)
    measured = [loss for loss, count in ((mlm_loss, masked), (pair_loss, pairs)) if count]
    finite = [loss for loss in measured if loss is not None]
    return {
        "loss": sum(finite) if finite and len(finite) == len(measured) else None,
        "mlm_loss": mlm_loss,
        "pair_loss": pair_loss,
        "masked_accuracy": mean(masked_correct, masked),
        "pair_accuracy": mean(pairs_correct, pairs),
    }


def token_spread(shares: Sequence[float]) -> float:
    """The tokens of the worker that has most, in those of the mean: 1 is even; all wait for that worker."""
    return max(shares) * len(shares) / sum(shares) if sum(shares) else 1.0


class Trainer:
    """Network and optimizer, with the gradients of the parameters that this phase trains."""

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
        self.precision = resolve(training.precision, self.device)
        self.dtype = DTYPES[self.precision]
        pairs = [parameter for parameter in network.pair_parameters() if parameter.requires_grad]
        self.gradients = Gradients(self.parameters, pairs, MEASURED, training.reduce_precision)

    def step(
        self,
        number: int,
        batches: Iterable[Batch],
        learning_rate: float,
        stop_requested: bool = False,
        limits: Limits | None = None,
        loss_scale: float = 1.0,
    ) -> Outcome:
        """Make step `number` of the run on this worker's micro-batches of it; every worker calls this.

        `limits` define a spike (None: nothing is one). Gradients are those of `loss_scale` times the loss; it is divided out
        before clipping. `stop_requested` of any worker reaches all of them in the outcome.
        """
        started = time.perf_counter()
        # Count masked tokens and pairs over all workers: the losses are divided by these.
        batches = list(batches)
        counts = self._counts(number, batches, stop_requested)
        masked, pairs = self._divisors(batches, counts, loss_scale)
        # Accumulate gradients and measured sums; during the last backward pass, add up those of all workers.
        timer = Timer(self.device)
        self.gradients.zero()
        self.network.train()
        for batch in batches[:-1]:
            self._backward(number, batch, masked, pairs)
        with self.gradients.all_reduced():
            for batch in batches[-1:]:
                self._backward(number, batch, masked, pairs)
            own = timer.stop()
        norm = clip_by_global_norm(self.parameters, self.max_grad_norm, loss_scale)
        # Fetch all numbers in one copy: the only time that the host waits for the device.
        numbers = torch.cat([self.gradients.sums.double(), norm.double()[None], counts.double()]).tolist()
        computed = time.perf_counter()
        measured, (grad_norm, *counted) = figures(numbers[:MEASURED]), numbers[MEASURED:]
        (all_masked, _, tokens, squares, high, low, idle, stops), shares = counted[:COUNTED], counted[COUNTED:]
        # Update, unless the step is bad.
        verdict = _verdict(measured["loss"], grad_norm, limits or Limits(), loss_scale)
        if verdict is Verdict.UPDATED:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
        updated = time.perf_counter()  # a GPU may still be busy with the update: that time counts as compute of the next step
        return Outcome(
            figures=measured,
            grad_norm=grad_norm,
            tokens=int(tokens),
            squares=int(squares),
            masked=int(all_masked),
            verdict=verdict,
            stop_requested=stops > 0,
            learning_rate=learning_rate,
            examples=taken.total(high, low),
            idle_workers=int(idle),
            compute_seconds=computed - started,
            optimizer_seconds=updated - computed,
            own_seconds=own(),
            token_spread=token_spread(shares),
        )

    def _counts(self, number: int, batches: Sequence[Batch], stop_requested: bool) -> Tensor:
        """Sums over all workers, (8,): masked tokens, rows with a pair label, tokens, squared lengths, the halves of the digest
        of the examples, workers without a batch, requests to stop; and behind these the tokens of each worker."""
        names = ("masked", "pairs", "tokens", "squares")
        numbers = [sum(getattr(batch, name) for batch in batches) for name in names]
        numbers += taken.halves(sum(taken.digest(number, batch.example_ids) for batch in batches) % 2**64)
        shares = [0] * workers.world_size()
        shares[workers.rank()] = sum(batch.tokens for batch in batches)
        numbers += [int(not batches), int(stop_requested), *shares]
        return workers.all_reduce_sum(torch.tensor(numbers, device=self.device))

    def _divisors(self, batches: Sequence[Batch], counts: Tensor, loss_scale: float) -> tuple[Tensor, Tensor]:
        """What the summed losses of masked tokens () and pairs () are divided by; the loss scale is in them."""
        masked, pairs = counts[:2].clamp(min=1) / loss_scale
        if self.training.mlm_normalisation == "per_worker":
            # Huawei's run_pretraining.py, lines 308-311, averaged by Horovod
            own = (sum(batch.masked for batch in batches) + 1e-5) * workers.world_size()
            masked = torch.full_like(masked, own / loss_scale)
        return masked, pairs

    def _backward(self, number: int, batch: Batch, masked: Tensor, pairs: Tensor) -> None:
        """Add the gradients of a micro-batch, and its six sums, to those of this step."""
        # Dropout is keyed by step and micro-batch: any number of workers draws the same, and no generator state is saved.
        torch.manual_seed(key(self.seed, number, batch.number) >> 1)
        mlm, pair, sums = measure(self.network, batch, self.dtype)
        loss = mlm / masked
        if batch.pairs:
            loss = loss + pair / pairs
        self.gradients.sums += sums
        loss.backward()  # type: ignore[no-untyped-call]
        watchdog.progress()


def _verdict(loss: float | None, grad_norm: float, limits: Limits, loss_scale: float) -> Verdict:
    if loss is None:
        return Verdict.NOT_FINITE
    if not math.isfinite(grad_norm):
        return Verdict.OVERFLOW if loss_scale > MIN_SCALE else Verdict.NOT_FINITE
    return Verdict.SPIKE if loss > limits.loss or grad_norm > limits.grad_norm else Verdict.UPDATED
