"""The gradients of a step in one flat tensor, which is summed over the workers while the last backward pass still runs.

    gradients = Gradients(parameters, late=pair_head, sums=6, reduce_precision="fp32")
    gradients.zero()
    for batch in batches[:-1]: ...         backward passes: autograd adds into the views that it finds as `.grad`
    with gradients.all_reduced():
        batches[-1] ...                    a bucket is on its way as soon as its gradients are final
                                           from here on, everything is summed over all workers

A backward pass begins with the heads and ends with the embeddings, so buckets are filled from the end of the parameters:

    tensor      late | embeddings | layer 0 | layer 1 | ... | MLM head | measured sums
    buckets     last                                         second     first

Every worker starts all buckets in this order, whichever is ready first, as gloo and NCCL demand; a worker without a
micro-batch starts them at once. Order and cut follow from the network and the number of workers alone, so on the
same number the sums have the same bits in every run. The measured sums are always sent in float32.

torch's DistributedDataParallel is not used: its buckets follow the order in which gradients arrived in the first step, which a
resumed run does not repeat, and it has no step in which a worker has no micro-batch.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.precision import DTYPES

BUCKET_BYTES = 8_000_000
"""Gradients per bucket, in bytes of float32, unless one parameter is larger. From 1 to 25 MB there is no difference between two
hosts (`python -m benchmarks overlap`); a small one leaves less to wait for after the backward pass."""
BUCKET_BYTES_PER_WORKER = 100_000
"""The same for many workers: each bucket pays their latency, so on a thousand GPUs small ones take longer than a single
all-reduce after the backward pass (docs/scaling.md)."""
ALIGNMENT = 16
"""Each parameter's gradients begin at a multiple of so many elements: 64 bytes, a line of a cache."""


@dataclass(frozen=True)
class Bucket:
    """A slice of the flat tensor that is all-reduced at once."""

    gradients: Tensor
    parameters: frozenset[nn.Parameter]
    dtype: torch.dtype
    """The type that is sent."""


class Gradients:
    """Gradients of parameters, and sums to report, in one float32 tensor."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        late: Sequence[nn.Parameter] = (),
        sums: int = 0,
        reduce_precision: Literal["fp32", "bf16"] = "fp32",
        bucket_bytes: int | None = None,
    ) -> None:
        """`late`: parameters that some micro-batches leave without a gradient. They come last: no bucket waits for them.
        `bucket_bytes`: None = what suits the number of workers.
        """
        first = set(late)
        ordered = sorted(parameters, key=lambda parameter: parameter not in first)
        ends = [0]
        for parameter in ordered:
            ends.append(ends[-1] + -(-parameter.numel() // ALIGNMENT) * ALIGNMENT)
        self.tensor = torch.zeros(ends[-1] + sums, device=parameters[0].device)
        for parameter, start in zip(ordered, ends, strict=False):
            parameter.grad = self.tensor[start : start + parameter.numel()].view_as(parameter)
        self.sums = self.tensor[ends[-1] :]
        """Sums to report, to be added to before the backward pass of their micro-batch."""
        self.buckets = [Bucket(self.sums, frozenset(), torch.float32)]
        for low, high in _cut(ends, (bucket_bytes or fitting(_world_size())) // self.tensor.itemsize):
            bucket = (self.tensor[ends[low] : ends[high]], frozenset(ordered[low:high]), DTYPES[reduce_precision])
            self.buckets.append(Bucket(*bucket))

    def zero(self) -> None:
        """Forget the last step's."""
        self.tensor.zero_()

    @contextlib.contextmanager
    def all_reduced(self) -> Iterator[None]:
        """Sum everything over all workers; the last backward pass, if this worker has one, is the body of the `with`.

        Every worker must come here, once a step. If the body raises, the other workers fail as soon as this process ends.
        """
        if _world_size() == 1:
            yield
            return
        reduction = _Reduction(self.buckets)
        parameters = [parameter for bucket in self.buckets for parameter in bucket.parameters]
        # Called once in a backward pass, when all uses of a parameter are in (word embeddings have two).
        hooks = [
            parameter.register_post_accumulate_grad_hook(reduction.final)  # type: ignore[no-untyped-call]
            for parameter in parameters
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        reduction.finish()


class _Reduction:
    """The all-reduces of one step."""

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self.buckets = buckets
        self.missing = [set(bucket.parameters) for bucket in buckets]
        """Parameters of each bucket whose gradients are not final yet."""
        self.place = {parameter: number for number, bucket in enumerate(buckets) for parameter in bucket.parameters}
        self.sent: list[tuple[Tensor, dist.Work]] = []

    def final(self, parameter: nn.Parameter) -> None:
        """Start all buckets that are complete now and whose turn it is."""
        self.missing[self.place[parameter]].remove(parameter)
        while len(self.sent) < len(self.buckets) and not self.missing[len(self.sent)]:
            self._start()

    def finish(self) -> None:
        """Start the remaining buckets, and wait for all."""
        while len(self.sent) < len(self.buckets):
            self._start()
        for bucket, (tensor, work) in zip(self.buckets, self.sent, strict=True):
            work.wait()
            if tensor is not bucket.gradients:
                bucket.gradients.copy_(tensor)

    def _start(self) -> None:
        bucket = self.buckets[len(self.sent)]
        tensor = bucket.gradients.to(bucket.dtype)  # itself, if this is its type
        self.sent.append((tensor, dist.all_reduce(tensor, async_op=True)))


def fitting(world_size: int) -> int:
    """Return the bytes per bucket that suit a number of workers."""
    return max(BUCKET_BYTES, BUCKET_BYTES_PER_WORKER * world_size)


def _world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _cut(ends: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Yield the range of parameters of each bucket, the first to be sent first; `ends[i]` elements come before parameter i."""
    high = len(ends) - 1
    while high > 0:
        low = high - 1
        while low > 0 and ends[high] - ends[low - 1] <= limit:
            low -= 1
        yield low, high
        high = low
