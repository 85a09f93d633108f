"""Speed of a training step of NEZHA-base: forward, backward, update, on a GPU if there is one, otherwise on the CPU.

    step/base/128     tokens/s      baseline: Hugging Face's NEZHA on the same rows (peer_step.py)
    step/base/512     tokens/s
    read/tokens/static    tokens/s of one process that reads rows of 128 tokens with their stored masks and makes batches
    read/tokens/dynamic   the same, with newly drawn masks

Tokens are counted without padding. The rows come from shards of the embedded news (or of `--data`), so their lengths are
realistic. Each side works as its users would. Ours: `model.training.trainer.Trainer` as called by the training loop, rows
sorted by length into micro-batches with a token budget, LAMB, deterministic. The peer: one batch padded to its longest row,
AdamW. Both use the precision that `auto` selects here and take turns; the median step counts. Reading and masking are measured
separately: they only need to be faster than a GPU trains.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.command import timed
from benchmarks.measurement import Measurement
from model.config import EncoderConfig, OptimizerConfig, TrainingConfig
from model.flops import sequence_flops
from model.heads import PretrainingModel
from model.optimization.optimizers import make
from model.samples import batches
from model.samples.batches import Batch, MaskedRows
from model.samples.order import Order
from model.training import workers
from model.training.metrics import peak_flops
from model.training.trainer import Trainer
from pipeline import storage
from pipeline.engine import stages
from pipeline.examples.shards import ShardSet
from pipeline.tokenization.vocab import Vocab

VOCABULARY = 21_128
"""Vocabulary size of the released models. One built from little text is smaller, and its MLM head unrealistically cheap."""
BATCH_ROWS = {"cpu": {128: 32, 512: 8}, "cuda": {128: 256, 512: 64}}
TIMED_STEPS = {"cpu": 3, "cuda": 10}
READ_ROWS = 2_048
"""Rows per step when only reading."""
READ_SECONDS = 5.0
SEED = 1


@dataclass(frozen=True)
class Steps:
    """The micro-batches of each step, for both sides."""

    micro_batches: list[list[Batch]]

    def tokens(self, step: int) -> int:
        return sum(batch.tokens for batch in self.micro_batches[step])


def measurements(data: str | None = None, python: str | None = None) -> Iterator[Measurement]:
    """Measure both lengths. `data`: an output folder of `nezha-pipe prepare` with shards of 128 and 512 tokens."""
    device = workers.device()
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
        if data is None:
            data = str(Path(folder) / "data")
            lengths = ("--sequence-length", "128", "--sequence-length", "512")
            timed("prepare", "--corpus", "demo", "--input", "news", *lengths, "--output", data)
        for length, batch_rows in BATCH_ROWS[device.type].items():
            count = 1 + TIMED_STEPS[device.type]  # the first one is a warm-up
            steps = read(data, length, batch_rows, count)
            for step, parts in enumerate(steps.micro_batches):
                np.savez(Path(folder) / f"step-{step}.npz", allow_pickle=False, **padded_together(parts))
            yield _row(length, steps, device, Path(folder), python)
        yield from _readings(data)


def opened(data: str, length: int) -> tuple[MaskedRows, Order]:
    """Open the training rows of all shards of one length."""
    pointer = storage.read_json(storage.join(data, "data.json"))
    urls = [url for name, url in pointer["shards"].items() if name.endswith(f"/{length}")]
    shards = {str(done.manifest["source"]): done for done in (stages.load(storage.join(data, url)) for url in urls)}
    vocabulary = storage.join(data, pointer["vocabulary"], "vocab.txt")
    order = Order({name: done.manifest["counts"]["train"]["rows"] for name, done in shards.items()}, {}, SEED)
    vocab = Vocab.from_bytes(storage.read_bytes(vocabulary), vocabulary)
    return MaskedRows([shards[name] for name in order.sources], "train", vocab, SEED), order


def read(data: str, length: int, batch_rows: int, count: int) -> Steps:
    """Read the first steps of training on shards of one length, split into micro-batches of half a full batch."""
    samples = [(start * batch_rows, (start + 1) * batch_rows) for start in range(count)]
    return Steps([list(step.micro_batches) for step in batches.steps(*opened(data, length), samples, batch_rows * length // 2)])


def _readings(data: str) -> Iterator[Measurement]:
    """Measure reading in one process and thread, with batches of 8,192 positions."""
    rows, order = opened(data, 128)
    for name in ("static", "dynamic"):
        if name == "dynamic":
            for one in rows.sets:
                one.row = _without_draws(one)  # type: ignore[method-assign, assignment]
        elif not all(source.manifest["masking"]["static_draws"] for source in (one.stage for one in rows.sets)):
            continue
        step = 0
        lengths: list[int] = []
        started = time.perf_counter()
        while (seconds := time.perf_counter() - started) < READ_SECONDS or not step:
            places = order.locate(np.arange(step * READ_ROWS, (step + 1) * READ_ROWS))
            lengths += [batch.tokens for batch in rows.worker_batches(places, 8_192, 0, 1)]
            step += 1
        tokens = sum(lengths)
        note = f"one process; {tokens / step / READ_ROWS:.0f} tokens per row; masking, padding and tensors included"
        yield Measurement(name=f"read/tokens/{name}", value=tokens / seconds, unit="tokens/s", note=note)


def _without_draws(shards: ShardSet) -> Callable[[int], Any]:
    """Return a reader of rows that omits their stored masks."""
    read = shards.row
    return lambda index: replace(read(index), draws=())


def padded_together(parts: Sequence[Batch]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the rows of several micro-batches as one batch, padded to the longest row, under Hugging Face's argument names."""
    longest = max(int(part.attention_mask.sum(1).max()) for part in parts)

    def together(name: str, padding: int) -> np.ndarray[Any, Any]:
        wide = [
            torch.nn.functional.pad(tensor, (0, max(0, longest - tensor.shape[1])), value=padding) for tensor in tensors[name]
        ]
        return torch.cat([tensor[:, :longest] for tensor in wide]).numpy()

    tensors = {
        "input_ids": [part.input_ids for part in parts],
        "attention_mask": [part.attention_mask.long() for part in parts],
        "token_type_ids": [part.token_type_ids for part in parts],
        "labels": [_labels(part) for part in parts],
    }
    arrays = {name: together(name, batches.NO_LABEL if name == "labels" else 0) for name in tensors}
    return {**arrays, "next_sentence_label": torch.cat([part.pair_labels for part in parts]).numpy()}


def _labels(part: Batch) -> torch.Tensor:
    """Return (B, L): the original token at masked positions, otherwise -100."""
    labels = torch.full_like(part.input_ids, batches.NO_LABEL)
    labels.view(-1)[part.mask_positions] = part.mask_labels
    return labels


def _row(length: int, steps: Steps, device: torch.device, folder: Path, python: str | None) -> Measurement:
    trainer = _trainer(device)
    ours, theirs, missing = [], [], ""
    with ExitStack() as stack:
        try:
            arguments = [
                "--vocab-size",
                str(VOCABULARY),
                "--device",
                device.type,
                *(["--bf16"] if trainer.precision == "bf16" else []),
            ]
            ask = stack.enter_context(peers.dialogue(peers.environment(python), "peer_step.py", str(folder), *arguments))
        except peers.PeerMissing as error:
            missing = str(error)
        for step, parts in enumerate(steps.micro_batches):
            ours.append(steps.tokens(step) / _seconds(trainer, step, parts))
            if not missing:
                try:
                    theirs.append(steps.tokens(step) / ask(str(step))["seconds"])
                except peers.PeerMissing as error:
                    missing = str(error)
    value = statistics.median(ours[1:])
    baseline = None if missing else statistics.median(theirs[1:])
    note = "; ".join([missing or "baseline: NEZHA of transformers 4.57.6", *_about(steps, trainer.precision, device, value)])
    return Measurement(name=f"step/base/{length}", value=value, unit="tokens/s", baseline=baseline, note=note)


def _trainer(device: torch.device) -> Trainer:
    torch.manual_seed(SEED)
    settings = OptimizerConfig()
    network = PretrainingModel(EncoderConfig(), VOCABULARY).to(device)
    return Trainer(network, make(network, settings), TrainingConfig(), settings.max_grad_norm, SEED)


def _seconds(trainer: Trainer, number: int, parts: Sequence[Batch]) -> float:
    """Return the seconds of one of our steps."""
    moved = [part.to(trainer.device) for part in parts]
    _wait(trainer.device)
    started = time.perf_counter()
    with workers.deterministic():
        outcome = trainer.step(number, moved, 1e-4)
    _wait(trainer.device)
    assert outcome.updated, "the loss is not finite"
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _about(steps: Steps, precision: str, device: torch.device, tokens_per_second: float) -> Iterator[str]:
    """Describe the steps, and the rate of arithmetic."""
    parts = [part for micro_batches in steps.micro_batches[1:] for part in micro_batches]
    tokens = sum(part.tokens for part in parts)
    ours = sum(part.input_ids.numel() for part in parts)
    theirs = sum(padded_together(micro_batches)["input_ids"].size for micro_batches in steps.micro_batches[1:])
    rows_per_step = sum(len(part.input_ids) for part in steps.micro_batches[0])
    yield f"{rows_per_step} rows per step, {precision}, {torch.get_num_threads()} threads"
    yield f"padding: ours {1 - tokens / ours:.0%}, the peer's {1 - tokens / theirs:.0%}"
    with_relative, without = flop(parts)
    rate = tokens_per_second / tokens / 1e9
    yield f"{with_relative * rate:,.0f} GFLOP/s of the model ({without * rate:,.0f} without the relative terms)"
    peak = peak_flops(torch.cuda.get_device_name()) if device.type == "cuda" else None
    if peak:
        yield f"MFU {with_relative * rate * 1e9 / peak:.1%} ({without * rate * 1e9 / peak:.1%})"


def flop(parts: Sequence[Batch]) -> tuple[float, float]:
    """Return the FLOPs of rows, forward and backward, with and without relative terms; padding is not counted."""
    config = EncoderConfig()
    lengths = [length for part in parts for length in part.lengths]
    mask_ratio = sum(part.masked for part in parts) / sum(lengths)
    with_relative, without = (
        sum(sequence_flops(config, length, VOCABULARY, mask_ratio, relative) for length in lengths)
        for relative in (True, False)
    )
    return with_relative, without
