"""The first steps of the recipe `tiny` on made shards: the loss of each, and digests of the checkpoint that they end in.

Floating-point sums differ between processors, so the golden file says on which it was made. There every bit must agree; on
another processor the losses must be close.
"""

import hashlib
import platform
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.checkpoints import checkpoint
from model.training.loop import train
from model.training.run import PretrainRun
from pipeline import storage
from tests import tiny
from workflows import recipe

STEPS = 50


def training() -> dict[str, Any]:
    """The series, computed in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return {"machine": machine(), **_train(Path(folder))}
    finally:
        torch.set_num_threads(threads)


def machine() -> str:
    """What decides the last bits of a sum."""
    models = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return (
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {models[0] if models else platform.processor()}"
    )


def _cpuinfo() -> list[str]:
    place = Path("/proc/cpuinfo")
    return place.read_text().splitlines() if place.exists() else []


def _train(folder: Path) -> dict[str, Any]:
    """Two phases, as in the recipe: 40 steps, then ten of another length. Dropout is on, which the recipe leaves off."""
    corpus = tiny.prepare(folder, lengths=(64, 128))
    config = recipe.load("tiny").pretraining()
    first, second = config.phases
    config = replace(
        config,
        phases=(replace(first, steps=STEPS - 10, warmup_steps=5), replace(second, steps=10, warmup_steps=2)),
        encoder=replace(config.encoder, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1),
        training=replace(config.training, precision="fp32", log_every=1, validate_every=25, checkpoint_every=25),
    )
    output = str(folder / "run")
    result = train(PretrainRun(config=config, shards=corpus.shards, vocabulary=corpus.vocabulary, output=output))
    rows = checkpoint.read_metrics(output)
    return {
        "losses": [row["loss"] for row in rows if row["kind"] == "train"],
        "validation_losses": [row["loss"] for row in rows if row["kind"] == "validation"],
        "checkpoint": {
            name: hashlib.sha256(storage.read_bytes(storage.join(result.last_checkpoint, name))).hexdigest()
            for name in ("model.safetensors", "optimizer.safetensors")
        },
    }
