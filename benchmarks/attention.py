"""Speed of one attention layer of NEZHA-base at length 512: projections, attention, output, LayerNorm; forward and backward.

    attention/module/512            tokens/s    baseline: Hugging Face's NEZHA, which builds the (L, L, H) table
    attention/module/512/vs-bert    tokens/s    baseline: BERT's layer with torch's scaled_dot_product_attention
    attention/auto/128/bfloat16     tokens/s    baseline: the fastest implementation that `auto` did not choose; also at other
                                                lengths and in float32. No projections; at least 1 if the choice was right

float32, no dropout, no padding; the released form, clipped at 64. All take turns, and the fastest time of each counts, since
other load on the machine can only slow a run down. The notes have the paper form and bfloat16, next to BERT in the same turns.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.measurement import Measurement
from model.attention.choice import SHORT, choose
from model.attention.packing import Packing
from model.attention.positions import Relative
from model.attention.self_attention import attend
from model.config import EncoderConfig
from model.encoder import Attention
from model.training import workers

LENGTH = 512
ROWS = {"cpu": 4, "cuda": 32}
TURNS = {"cpu": 5, "cuda": 30}
CHOICES = (32, SHORT, 2 * SHORT, LENGTH)
"""Lengths at which the choice of `auto` is compared with the others."""
CONFIG = EncoderConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


@dataclass
class Layer:
    """One of our layers and its input."""

    config: EncoderConfig
    device: torch.device
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.module = Attention(self.config).to(self.device)
        rows = ROWS[self.device.type]
        self.packing = Packing.full(rows, LENGTH, self.device)
        self.hidden = torch.randn(rows * LENGTH, self.config.hidden_size, device=self.device, requires_grad=True)

    def seconds(self) -> float:
        """Return the seconds of one forward and backward pass."""
        self.module.zero_grad()
        _wait(self.device)
        started = time.perf_counter()
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            out = self.module(self.hidden, self.packing)
        out.sum().backward()
        _wait(self.device)
        return time.perf_counter() - started


def measurements(python: str | None = None) -> Iterator[Measurement]:
    """Measure everything. `python`: one with the peers installed."""
    yield from _modules(python)
    for dtype in (torch.float32, torch.bfloat16):
        for length in CHOICES:
            yield _choice(length, dtype, workers.device())


def _choice(length: int, dtype: torch.dtype, device: torch.device) -> Measurement:
    """Measure the implementation that `auto` chooses, and the others that are supported."""
    clipped = length > CONFIG.max_relative_position + 1
    chosen = choose("auto", device, dtype, CONFIG, unclipped=not clipped, short=length <= SHORT)
    others = {"eager", "banded", *(() if clipped else ("sdpa",))} - {chosen}
    sequences = ROWS[device.type] * LENGTH // length
    shape = (sequences * length, CONFIG.num_attention_heads, CONFIG.head_size)
    torch.manual_seed(0)
    heads = [torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for _ in range(3)]
    packing = Packing.full(sequences, length, device)
    best: dict[str, float] = {}
    for _ in range(TURNS[device.type]):
        for name in (chosen, *sorted(others)):
            best[name] = min(best.get(name, float("inf")), _attend_seconds(heads, packing, name))
    tokens = sequences * length
    times = ", ".join(f"{name} {seconds * 1e3:,.1f} ms" for name, seconds in best.items())
    return Measurement(
        name=f"attention/auto/{length}/{str(dtype).removeprefix('torch.')}",
        value=tokens / best[chosen],
        unit="tokens/s",
        baseline=tokens / min(best[name] for name in others),
        note=f"auto: {chosen}; {torch.get_num_threads()} threads; fastest of {TURNS[device.type]}: {times}",
    )


def _attend_seconds(heads: list[Tensor], packing: Packing, implementation: str) -> float:
    """Return the seconds of one forward and backward pass. `heads`: q, k and v, (T, N, H) each."""
    _wait(packing.device)
    started = time.perf_counter()
    q, k, v = heads
    torch.autograd.backward(attend(q, k, v, packing, Relative(CONFIG), implementation=implementation).sum())
    _wait(packing.device)
    return time.perf_counter() - started


def _modules(python: str | None) -> Iterator[Measurement]:
    device = workers.device()
    absolute, paper = replace(CONFIG, positions="absolute"), replace(CONFIG, relative_positions="paper")
    layers = {"released": Layer(CONFIG, device), "paper": Layer(paper, device)}
    halves = {"released": Layer(CONFIG, device, torch.bfloat16), "absolute": Layer(absolute, device, torch.bfloat16)}
    best: dict[str, float] = {}
    missing = ""

    def record(name: str, seconds: float) -> None:
        best[name] = min(best.get(name, seconds), seconds)

    with ExitStack() as stack:
        arguments = ["--rows", str(ROWS[device.type]), "--length", str(LENGTH), "--device", device.type]
        try:
            ask = stack.enter_context(peers.dialogue(peers.environment(python), "peer_attention.py", *arguments))
        except peers.PeerMissing as error:
            missing = str(error)
        for _ in range(TURNS[device.type]):
            for name, layer in layers.items():
                record(name, layer.seconds())
            for name, layer in halves.items():
                record(f"{name} in bf16", layer.seconds())
            for name in () if missing else ("nezha", "bert"):
                try:
                    record(name, ask(name)["seconds"])
                except peers.PeerMissing as error:
                    missing = str(error)
    tokens = ROWS[device.type] * LENGTH
    ratios = [f"{name}: {best[name] * 1e3:,.0f} ms" for name in best]
    note = f"{torch.get_num_threads()} threads; fastest of {TURNS[device.type]}: {', '.join(ratios)}"
    for name, peer, what in (("", "nezha", "NEZHA of transformers 4.57.6"), ("/vs-bert", "bert", "BERT with SDPA")):
        baseline = None if missing else tokens / best[peer]
        about = missing or f"baseline: {what}; ratio in the paper form: {best[peer] / best['paper']:.2f}"
        value = tokens / best["released"]
        yield Measurement(
            name=f"attention/module/{LENGTH}{name}",
            value=value,
            unit="tokens/s",
            baseline=baseline,
            note=f"{about}; {note}",
        )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
