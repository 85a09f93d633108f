"""How training would scale, on paper: the tables of docs/scaling.md, from the inputs and formulas in this file.

    python -m benchmarks scaling

Nothing is measured here. `Machine` and the constants are the inputs; each names its source. Sizes come from the code: those of
networks, gradients and buckets are counted, not typed in.

    ring      2 (n - m) w + 2 (m - 1) b + 2 (n - 1) / n S / B          Patarasuk and Yuan 2009
    tree      2 (n / m - 1) w + 2 log2(m) b + 2 (n - 1) / n S / B      double binary trees; Sanders, Speck and Traeff 2009

for n GPUs in m machines, S bytes, latencies w within and b between machines, and B bytes per second through the slowest link:
the alpha-beta model (Thakur, Rabenseifner and Gropp 2005), latencies as NCCL counts them. Each bucket pays the latency anew.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from model.flops import FORWARD_AND_BACKWARD, sequence_flops
from model.optimization.gradients import fitting
from model.sizes import FLOAT32, parameters
from workflows.planning import GPUS, shard_bytes
from workflows.recipe import Recipe, load

VOCABULARY = 21_128
LENGTH = 128
MODELS = ("nezha-base-2019", "nezha-large-2019")
"""Recipes: sizes and batches of arXiv 1909.00204, section 4.1."""
GPU_COUNTS = (8, 80, 1_000)
GPUS_PER_MACHINE = 8
LARGE_BATCH = 65_536
"""Sequences of 128 tokens per step up to which LAMB is shown to train BERT as well (arXiv 1904.00962)."""
WITHIN, BETWEEN = 3.4e-6, 9.6e-6
"""Seconds of latency of a hop over NVLink, and over a network (NCCL, src/graph/tuning.cc: ring, "Simple")."""
MEMORY_BANDWIDTH = 3.35e12
"""Bytes per second of an H100's memory (NVIDIA's data sheet, SXM)."""
UPDATE_BYTES = 44 * FLOAT32
"""Memory traffic per weight of clipping and of `Lamb._update_together`: times that a tensor is read or written, counted."""
READ_RATE = {"stored masks": 6.0e6, "new masks": 3.3e6}
"""Tokens per second that one process reads: measured, `read/tokens` of `python -m benchmarks step`."""
GPU_HOURS_PER_FAILURE = 7.9 * 1_024
"""Failures that end a job of 1,024 GPUs come every 7.9 hours (arXiv 2410.21680); at n GPUs every 8,090 / n hours."""
SPOT_SECONDS = 1_800.0
"""A harder case: a failure every half hour."""
RECOVERY_SECONDS = 30.0
"""From a failure to the next new step: the limit that `python -m benchmarks resume` is held to."""
COPY_RATE = 50e9
"""Bytes per second from a GPU to its host: PCIe 5.0 x16 has 64 GB/s. Training waits for this copy only."""
STORE_RATE = 0.5e9
"""Bytes per second of one process that writes to an object store: several streams of 85 to 90 MB/s each (AWS, "Optimizing
Amazon S3 performance"). Training goes on meanwhile, but a checkpoint counts only when it is whole."""


Algorithm = Literal["ring", "tree"]


@dataclass(frozen=True)
class Network:
    """What joins GPUs: bytes per second of a machine, in each direction."""

    name: str
    within: float
    between: float

    def bandwidth(self, gpus: int) -> float:
        return self.within if gpus <= GPUS_PER_MACHINE else min(self.within, self.between)


NETWORKS = (
    Network("8 x 400 Gbit/s", 450e9, 400e9),  # DGX H100: NVLink 900 GB/s both ways together, eight ConnectX-7
    Network("100 Gbit/s", 450e9, 12.5e9),  # one such card per machine, as on 2019's and on cheap machines
)


@dataclass(frozen=True)
class Model:
    """A recipe's network and batch."""

    recipe: Recipe

    @property
    def name(self) -> str:
        return self.recipe.name.removesuffix("-2019")

    @property
    def weights(self) -> int:
        return parameters(self.recipe.encoder, VOCABULARY)

    @property
    def embeddings(self) -> int:
        """Weights whose gradients are final only when the backward pass ends."""
        return VOCABULARY * self.recipe.encoder.hidden_size

    @property
    def batch(self) -> int:
        return next(phase.batch_size for phase in self.recipe.phase if phase.sequence_length == LENGTH)

    @property
    def flops(self) -> float:
        """Operations of one sequence."""
        return sequence_flops(self.recipe.encoder, LENGTH, VOCABULARY, self.recipe.masking.masked_lm_prob)

    @property
    def checkpoint_bytes(self) -> int:
        """Weights and two moments."""
        return 3 * FLOAT32 * self.weights


@cache
def models() -> tuple[Model, ...]:
    return tuple(Model(load(name)) for name in MODELS)


def all_reduce(size: float, gpus: int, network: Network, algorithm: Algorithm, messages: int = 1) -> float:
    """Seconds of an all-reduce of `size` bytes, cut into so many messages."""
    machines = math.ceil(gpus / GPUS_PER_MACHINE)
    if algorithm == "ring":
        latency = 2 * (gpus - machines) * WITHIN + 2 * (machines - 1) * BETWEEN
    else:
        latency = 2 * (gpus / machines - 1) * WITHIN + 2 * math.log2(machines) * BETWEEN
    return messages * latency + 2 * (gpus - 1) / gpus * size / network.bandwidth(gpus)


@dataclass(frozen=True)
class Step:
    """A training step of a model, with its batch, on GPUs."""

    model: Model
    gpus: int
    network: Network
    batch: int
    gradient_bytes: int = FLOAT32
    """Of one gradient when it is sent: `reduce_precision`."""

    @property
    def computing(self) -> float:
        """Forward and backward passes at the MFU that `nezha-pipe plan` assumes, and the update."""
        h100 = GPUS["h100"]
        update = self.model.weights * UPDATE_BYTES / MEMORY_BANDWIDTH
        return self.batch / self.gpus * self.model.flops / (h100.teraflops * 1e12 * h100.mfu) + update

    @property
    def hiding(self) -> float:
        """Time of the backward pass of the last micro-batch, behind which buckets are sent."""
        h100 = GPUS["h100"]
        sequences = min(self.batch / self.gpus, self.model.recipe.training.micro_batch_tokens / LENGTH)
        backward = (FORWARD_AND_BACKWARD - 1) / FORWARD_AND_BACKWARD
        return backward * sequences * self.model.flops / (h100.teraflops * 1e12 * h100.mfu)

    def communicating(self, algorithm: Algorithm) -> float:
        """One all-reduce of all gradients."""
        return all_reduce(self.model.weights * self.gradient_bytes, self.gpus, self.network, algorithm)

    def blocking(self, algorithm: Algorithm) -> float:
        return self.computing + self.communicating(algorithm)

    def overlapped(self, algorithm: Algorithm) -> float:
        """A step with buckets: what is longer than the backward pass is waited for, and so are the word embeddings."""
        early = self.model.weights - self.model.embeddings
        buckets = math.ceil(early * FLOAT32 / fitting(self.gpus))
        hidden = all_reduce(early * self.gradient_bytes, self.gpus, self.network, algorithm, buckets)
        last = all_reduce(self.model.embeddings * self.gradient_bytes, self.gpus, self.network, algorithm)
        return self.computing + max(0.0, hidden - self.hiding) + last

    def efficiency(self, algorithm: Algorithm) -> float:
        """Fraction of the step, with overlap, in which the GPU computes."""
        return self.computing / self.overlapped(algorithm)


def young(stall: float, mttf: float) -> float:
    """Seconds of training between checkpoints that lose the least (Young 1974): sqrt(2 d M)."""
    return math.sqrt(2 * stall * mttf)


def daly(stall: float, mttf: float) -> float:
    """The same to a higher order (Daly 2006), for d < 2 M."""
    part = stall / (2 * mttf)
    return math.sqrt(2 * stall * mttf) * (1 + math.sqrt(part) / 3 + part / 9) - stall


def goodput(interval: float, stall: float, written: float, mttf: float) -> float:
    """Fraction of the time in which steps are made that last.

    Each interval stalls once; each failure costs the recovery, the time until the newest checkpoint was whole (`written`
    seconds after its step), and half an interval on average.
    """
    return 1 - stall / (interval + stall) - (RECOVERY_SECONDS + interval / 2 + written) / mttf


def tables() -> Iterator[tuple[str, str]]:
    """Yield title and Markdown of each table."""
    steps = ("", "GPUs", "network", "batch per GPU", "computing", "ring", "tree", "one all-reduce", "overlapped", "efficiency")
    checkpoints = ("", "GPUs", "mean time to failure", "stall", "until whole", "Young", "Daly", "goodput", "every 1,000 steps")
    data = ("", "GPUs", "tokens/s per GPU", "of one reading process", "from the store")
    yield "Sizes", _table(("", *(model.name for model in models())), _sizes())
    yield "A step", _table(steps, (row for model in models() for row in _steps(model, model.batch)))
    yield "A step of 65,536", _table(steps, (row for model in models() for row in _steps(model, LARGE_BATCH, (1_000,))))
    yield "Checkpoints", _table(checkpoints, (row for model in models() for row in _checkpoints(model)))
    yield "Data", _table(data, (row for model in models() for row in _data(model)))


def _sizes() -> Iterator[Sequence[str]]:
    def row(name: str, values: Iterator[str]) -> Sequence[str]:
        return (name, *values)

    yield row("weights", (f"{model.weights / 1e6:.1f} M" for model in models()))
    yield row("gradients, fp32", (f"{model.weights * FLOAT32 / 1e6:.0f} MB" for model in models()))
    yield row("of which word embeddings", (f"{model.embeddings / model.weights:.0%}" for model in models()))
    yield row("checkpoint", (f"{model.checkpoint_bytes / 1e9:.2f} GB" for model in models()))
    yield row("GFLOP per sequence of 128", (f"{model.flops / 1e9:.1f}" for model in models()))
    yield row("sequences per step", (f"{model.batch:,}" for model in models()))


def _steps(model: Model, batch: int, counts: Sequence[int] = GPU_COUNTS) -> Iterator[Sequence[str]]:
    for gpus in counts:
        for network in NETWORKS if gpus > GPUS_PER_MACHINE else NETWORKS[:1]:
            for gradient_bytes in (FLOAT32, 2) if network is NETWORKS[1] else (FLOAT32,):
                step = Step(model, gpus, network, batch, gradient_bytes)
                name = "NVLink" if gpus <= GPUS_PER_MACHINE else network.name + (", bf16" if gradient_bytes == 2 else "")
                yield (
                    model.name,
                    f"{gpus:,}",
                    name,
                    f"{batch / gpus:,.0f}",
                    _ms(step.computing),
                    _ms(step.communicating("ring")),
                    _ms(step.communicating("tree")),
                    _ms(step.blocking("tree")),
                    _ms(step.overlapped("tree")),
                    f"{step.efficiency('tree'):.0%}",
                )


def _checkpoints(model: Model) -> Iterator[Sequence[str]]:
    stall, written = model.checkpoint_bytes / COPY_RATE, model.checkpoint_bytes / STORE_RATE
    for gpus, mttf in [*((gpus, GPU_HOURS_PER_FAILURE / gpus * 3_600) for gpus in GPU_COUNTS), (80, SPOT_SECONDS)]:
        best = max(daly(stall, mttf), written)  # one is written at a time
        thousand = 1_000 * Step(model, gpus, NETWORKS[0], model.batch).overlapped("tree")
        yield (
            model.name,
            f"{gpus:,}",
            f"{mttf / 3_600:,.0f} h" if mttf > SPOT_SECONDS else "0.5 h",
            f"{stall:.3f} s",
            f"{written:.1f} s",
            f"{young(stall, mttf):.0f} s",
            f"{daly(stall, mttf):.0f} s",
            f"{goodput(best, stall, written, mttf):.2%}",
            f"{goodput(max(thousand, written), stall, written, mttf):.2%}",
        )


def _data(model: Model) -> Iterator[Sequence[str]]:
    for gpus in GPU_COUNTS:
        step = Step(model, gpus, NETWORKS[0], model.batch)
        rate = model.batch * LENGTH / step.overlapped("tree") / gpus
        stored = rate * gpus * shard_bytes(model.recipe, LENGTH) / model.recipe.pairs.dupe_factor
        yield model.name, f"{gpus:,}", f"{rate:,.0f}", f"{rate / READ_RATE['new masks']:.0%}", f"{stored / 1e6:,.0f} MB/s"


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.1f} ms"


def _table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show() -> None:
    """Print all tables."""
    for title, table in tables():
        print(f"{title}\n\n{table}\n")
