"""What checkpoints cost while training goes on: the same training with a slow store and with a local disk.

    resume/checkpoint-stall    s for 20 steps, with 60 MB for a store of 5 MB/s at their end; baseline: for a local disk

An upload takes longer than the steps between two checkpoints. Both sides take turns, and the median of the turns counts; the
wait for the last upload, after the last step, does not.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from benchmarks.measurement import Measurement
from model.config import EncoderConfig
from model.sizes import parameters
from model.training.loop import train
from model.training.run import PretrainRun
from pipeline import storage
from tests import tiny

ENCODER = EncoderConfig(hidden_size=256, num_hidden_layers=6, num_attention_heads=4, intermediate_size=1024)
"""4.9 million weights: with two moments each, 60 MB."""
BYTES_PER_SECOND = 5_000_000
EVERY = 20
"""Steps between checkpoints."""
STEPS = 61
TURNS = 3


class SlowStore(MemoryFileSystem):  # type: ignore[misc]
    """An object store in memory behind a slow line."""

    protocol = "slow"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        left = storage.file_size(lpath)
        while left > 0:
            time.sleep(min(left, BYTES_PER_SECOND // 10) / BYTES_PER_SECOND)
            left -= BYTES_PER_SECOND // 10
        super().put_file(lpath, rpath, **options)


def measurements() -> Iterator[Measurement]:
    """Measure what checkpoints cost."""
    fsspec.register_implementation("slow", SlowStore, clobber=True)
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder:
        corpus = tiny.prepare(Path(folder) / "corpus", rows=1_000)
        run = tiny.pretrain_run(corpus, "", checkpoint_every=EVERY, validate_every=10_000)
        phase = replace(run.config.phases[0], steps=STEPS)
        run = replace(run, config=replace(run.config, encoder=ENCODER, phases=(phase,)))
        slow, local = [], []
        for turn in range(TURNS):
            slow.append(seconds(replace(run, output=f"slow://{turn}/run")))
            local.append(seconds(replace(run, output=f"{folder}/{turn}")))
            SlowStore.store.clear()
    size = 3 * 4 * parameters(ENCODER, len(tiny.VOCAB))  # weights and two moments, in float32
    note = f"{size / 1e6:.0f} MB every {EVERY} steps at 5 MB/s; {TURNS} turns of {STEPS} steps each; baseline: a local disk"
    yield Measurement(
        name="resume/checkpoint-stall", value=statistics.median(slow), unit="s", baseline=statistics.median(local), note=note
    )


def seconds(run: PretrainRun) -> float:
    """Return the seconds of 20 steps of a run, with its checkpoints."""
    begins: list[float] = []

    def note_time() -> bool:
        begins.append(time.perf_counter())
        return False

    train(run, should_stop=note_time)
    return (begins[-1] - begins[0]) / (len(begins) - 1) * EVERY
