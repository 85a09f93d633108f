"""One worker of the benchmark `overlap`: answers each line of input, the name of a kind of step, with a line of JSON.

    RANK=0 WORLD_SIZE=2 MASTER_ADDR=10.99.0.1 MASTER_PORT=29500 python -m benchmarks.overlap_worker
    backward             one backward pass alone                              {"seconds": 1.31, "cpu": 1.30}
    communicating        one all-reduce of all gradients alone
    computing            a step that sums no gradients
    blocking             one all-reduce of all gradients after the last backward pass, as ours was before
    overlapped           ours; `bf16`: with `reduce_precision = "bf16"`; `1 MB`: in buckets of that size
    computing twice      `computing` with two micro-batches; `overlapped twice`
    ddp                  torch's DistributedDataParallel, with the same network, clipping and optimizer
    agree                whether all workers have the same weights            {"equal": true}; not after `computing`

The network has the proportions of NEZHA-base at half its width and vocabulary, so that its gradients are a quarter.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from model.config import EncoderConfig, OptimizerConfig, TrainingConfig
from model.heads import PretrainingModel
from model.optimization.gradients import Gradients
from model.optimization.lamb import clip_by_global_norm
from model.optimization.optimizers import make
from model.samples.batches import Batch
from model.training import workers
from model.training.trainer import Trainer, measure

ENCODER = EncoderConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1_536)
VOCABULARY = 10_564
ROWS, LENGTH = 8, 128
"""A micro-batch."""
LEARNING_RATE = 1e-4
SETTINGS = OptimizerConfig()


class Blocking(Gradients):
    """Summed in one piece, after the last backward pass."""

    @contextlib.contextmanager
    def all_reduced(self) -> Iterator[None]:
        yield
        dist.all_reduce(self.tensor)


class Alone(Gradients):
    """Not summed."""

    @contextlib.contextmanager
    def all_reduced(self) -> Iterator[None]:
        yield


class Worker:
    """A network to train our way, and a copy of it under DistributedDataParallel."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.network = PretrainingModel(ENCODER, VOCABULARY)
        training = TrainingConfig()
        self.trainer = Trainer(self.network, make(self.network, SETTINGS), training, SETTINGS.max_grad_norm, 1)
        torch.manual_seed(1)
        self.ddp = DistributedDataParallel(PretrainingModel(ENCODER, VOCABULARY), gradient_as_bucket_view=True)
        self.ddp_optimizer = make(self.ddp.module, SETTINGS)
        self.batch = made_batch(workers.rank())
        self.number = 0

    def answer(self, kind: str) -> dict[str, float]:
        """Run one kind of step, begun by all workers at the same moment."""
        run: Callable[[], float | None] = {
            "backward": self.backward,
            "communicating": self.communicating,
            "ddp": self.ddp_step,
            "agree": self.agree,
        }.get(kind) or (lambda: self.step(kind))
        self.number += 1
        with workers.deterministic():
            dist.barrier()
            started, cpu = time.perf_counter(), time.process_time()
            result = run()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        if kind == "agree":
            return {"equal": bool(result)}
        return {"seconds": result or seconds, "cpu": cpu}

    def gradients(self, kind: str) -> Gradients:
        parameters, late = self.trainer.parameters, list(self.network.pair_parameters())
        if kind == "bf16":
            return Gradients(parameters, late, 6, "bf16")
        if kind.endswith(" MB"):
            return Gradients(parameters, late, 6, bucket_bytes=int(kind.removesuffix(" MB")) * 1_000_000)
        return {"overlapped": Gradients, "blocking": Blocking, "computing": Alone}[kind](parameters, late, 6)

    def step(self, kind: str) -> float:
        batches = [self.batch] * (2 if kind.endswith(" twice") else 1)
        self.trainer.gradients = self.gradients(kind.removesuffix(" twice"))
        started = time.perf_counter()
        outcome = self.trainer.step(self.number, batches, LEARNING_RATE)
        assert outcome.updated, "the loss is not finite"
        return time.perf_counter() - started

    def backward(self) -> float:
        self.trainer.gradients = self.gradients("computing")
        loss = self._loss(self.network)
        dist.barrier()
        started = time.perf_counter()
        loss.backward()  # type: ignore[no-untyped-call]
        return time.perf_counter() - started

    def communicating(self) -> None:
        dist.all_reduce(self.trainer.gradients.tensor)

    def ddp_step(self) -> None:
        """The same as `Trainer.step`, written for DistributedDataParallel."""
        self.trainer._counts(self.number, [self.batch], False)
        self.ddp.zero_grad(set_to_none=False)
        self._loss(self.ddp).backward()  # type: ignore[no-untyped-call]
        norm = clip_by_global_norm(self.ddp.parameters(), SETTINGS.max_grad_norm)
        assert norm.isfinite()
        for group in self.ddp_optimizer.param_groups:
            group["lr"] = LEARNING_RATE
        self.ddp_optimizer.step()

    def agree(self) -> bool:
        mine = torch.nn.utils.parameters_to_vector(self.network.parameters())
        theirs = mine.detach().clone()
        dist.broadcast(theirs, 0)
        equal = torch.tensor(float(torch.equal(mine, theirs)))
        return bool(workers.all_reduce_sum(equal) == workers.world_size())

    def _loss(self, network: torch.nn.Module) -> Tensor:
        torch.manual_seed(self.number)
        network.train()
        mlm, pair, _ = measure(network, self.batch, self.trainer.dtype)  # type: ignore[arg-type]
        return mlm / self.batch.masked + pair / self.batch.pairs


def made_batch(seed: int) -> Batch:
    """Rows of random tokens, one in seven masked."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (ROWS, LENGTH), generator=generator)
    positions = torch.arange(1, ROWS * LENGTH, 7)
    return Batch(
        number=0,
        input_ids=ids,
        attention_mask=torch.ones(ROWS, LENGTH, dtype=torch.bool),
        token_type_ids=torch.zeros_like(ids),
        mask_positions=positions,
        mask_labels=ids.view(-1)[positions],
        pair_labels=torch.arange(ROWS) % 2,
        example_ids=np.arange(ROWS, dtype=np.uint64),
        lengths=(LENGTH,) * ROWS,
        pairs=ROWS,
    )


def main() -> None:
    torch.set_num_threads(1)
    with workers.process_group():
        worker = Worker()
        print(json.dumps({"gradient_bytes": worker.trainer.gradients.tensor.nbytes}), flush=True)
        for line in sys.stdin:
            print(json.dumps(worker.answer(line.strip())), flush=True)


if __name__ == "__main__":
    main()
