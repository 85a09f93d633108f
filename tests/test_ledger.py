"""What a run was trained on: equal digests mean equal examples, and the check of a training folder finds every gap."""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.checkpoints import checkpoint, ledger, rows
from model.config import PhaseConfig
from model.samples import taken
from model.samples.batches import MaskedRows, steps
from model.samples.order import Order
from model.training.loop import train
from model.training.run import PretrainRun
from pipeline import storage
from pipeline.engine import stages
from tests import tiny
from tests.training_folders import listed
from workflows.inspection.inspect import verify

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("corpus"), lengths=(16, 24))


PHASES = (
    PhaseConfig(sequence_length=16, batch_size=16, steps=12, learning_rate=5e-3, ramp_batch_size=4, ramp_steps=8),
    PhaseConfig(sequence_length=24, batch_size=8, steps=12, learning_rate=5e-3),
)


def pretrain_run(corpus: tiny.Corpus, output: Path, **training: Any) -> PretrainRun:
    settings = {"checkpoint_every": 5, "keep_every": 5, "validate_every": 100, "log_every": 4, "log_examples": True}
    return tiny.pretrain_run(corpus, output, PHASES, **{**settings, **training})


@pytest.fixture(scope="module")
def whole(corpus: tiny.Corpus, tmp_path_factory: pytest.TempPathFactory) -> PretrainRun:
    """A run without a stop, around samples that are to be skipped."""
    run = pretrain_run(corpus, tmp_path_factory.mktemp("whole"), skipped_ranges=((0, 20, 32), (1, 8, 16)))
    train(run)
    return run


class Killed(Exception):
    pass


def killed_after(steps: int) -> Callable[[], bool]:
    """Asked once a step; raises at the given one, before it is done."""
    seen = []

    def asked() -> bool:
        seen.append(1)
        if len(seen) > steps:
            raise Killed
        return False

    return asked


def digests(output: str) -> dict[int, str]:
    return {row["step"]: row["examples"] for row in checkpoint.read_metrics(output) if row["kind"] == "train"}


def test_a_digest_is_that_of_step_and_examples_in_any_order_and_on_any_number_of_workers() -> None:
    ids = np.random.default_rng(1).integers(0, 2**64, 1_000, np.uint64)
    whole = taken.digest(7, ids)
    assert whole == taken.digest(7, ids[::-1]) != taken.digest(8, ids)
    assert whole != taken.digest(7, ids[1:]) and whole != taken.digest(7, np.append(ids[1:], ids[1]))
    parts = [taken.halves(taken.digest(7, ids[rank::300])) for rank in range(300)]
    high, low = (np.array([float(one) for one in halves]).sum() for halves in zip(*parts, strict=True))
    assert taken.total(high, low) == whole
    assert taken.add(["0" * 16, whole]) == f"{whole:016x}" and taken.add(["f" * 16, 1]) == "0" * 16


def test_workers_without_a_micro_batch_take_nothing_and_the_others_everything(corpus: tiny.Corpus) -> None:
    def seen(workers: int) -> tuple[set[int], int]:
        stage = stages.load(corpus.shards["news/24"])
        rows = MaskedRows([stage], "train", tiny.VOCAB, 1)
        order, ids, idle = Order({"news": 300}, {}, 1), set(), 0
        for rank in range(workers):
            (step,) = steps(rows, order, [(0, 16)], 160, rank, workers)
            ids |= {int(one) for batch in step.micro_batches for one in batch.example_ids}
            idle += not step.micro_batches
        return ids, idle

    (alone, none), (many, idle) = seen(1), seen(7)
    assert alone == many and len(alone) == 16 and none == 0 < idle


def test_a_run_that_was_killed_has_the_ledger_of_one_that_was_not(
    corpus: tiny.Corpus, whole: PretrainRun, tmp_path: Path
) -> None:
    run = replace(whole, output=str(tmp_path))
    for step in (3, 8, 9):
        with pytest.raises(Killed):
            train(run, should_stop=killed_after(step))
    train(run)
    assert len(checkpoint.attempts(run.output)) == 4
    assert listed(run.output) == listed(whole.output)
    assert digests(run.output) == digests(whole.output) and len(digests(whole.output)) == 6
    assert ledger.problems(run.output) == ledger.problems(whole.output) == []
    assert verify(whole.output) == (len(list(checkpoint.committed(whole.output))), [])


def test_the_ledger_is_what_order_and_batch_sizes_say(whole: PretrainRun) -> None:
    examples = listed(whole.output)
    assert [len(examples[step]) for step in range(1, 25)] == [4] * 3 + [8] * 3 + [12] * 2 + [16] * 4 + [8] * 12
    found = [row for row in checkpoint.read_metrics(whole.output) if row["kind"] == "samples"]
    assert [(row["phase"], row["after"], row["step"]) for row in found] == [
        *((0, 0, 5), (0, 5, 10), (0, 10, 12), (1, 12, 15), (1, 15, 20), (1, 20, 24))
    ]
    assert [row["skipped"] for row in found] == [[[20, 32]], [], [], [[8, 16]], [], []]
    (summed,) = {taken.add([taken.digest(step - 1, np.array(ids, np.uint64)) for step, ids in examples.items()])}
    assert found[-1]["examples"] == summed == digests(whole.output)[24]
    assert all(before["end"] == after["start"] for before, after in itertools.pairwise(found) if after["phase"] == 0)


def test_a_run_of_an_older_version_is_checked_from_where_it_has_rows(whole: PretrainRun, tmp_path: Path) -> None:
    run = copied(whole, tmp_path)
    change(run, 5, lambda row: None)
    assert ledger.problems(run) == []
    for step in (10, 12, 15, 20, 24):
        change(run, step, lambda row: None)
    assert ledger.problems(run) == []


@pytest.mark.parametrize(
    ("step", "changes", "problem"),
    [
        (10, None, "nothing says what steps 6 to 10 were trained on"),
        (10, {"start": 48}, "samples 40 to 48 of phase 1 are missing before steps 6 to 10"),
        (10, {"start": 36}, "samples 36 to 40 of phase 1 were taken again by steps 6 to 10"),
        (5, {"skipped": []}, "steps 1 to 5 took the samples 0 to 40 of phase 1; their batches end at 28"),
        (24, {"end": 88}, "steps 21 to 24 took the samples 72 to 88 of phase 2; their batches end at 104"),
        (24, {"examples": "0" * 16}, "checkpoint-00000024 was trained on other examples than the metrics say"),
    ],
)
def test_a_gap_an_overlap_and_a_contradiction_are_found(
    whole: PretrainRun, tmp_path: Path, step: int, changes: dict[str, Any] | None, problem: str
) -> None:
    output = copied(whole, tmp_path)
    change(output, step, lambda row: changes and {**row, **changes})
    problems = ledger.problems(output)
    assert problems[0] == f"{output}: {problem}"
    assert problems == [found for found in verify(output)[1] if "SHA-256" not in found]


def copied(run: PretrainRun, folder: Path) -> str:
    shutil.copytree(run.output, folder / "copy")
    return str(folder / "copy")


def change(output: str, step: int, how: Callable[[dict[str, Any]], Any]) -> None:
    """Change the row of the samples up to a step, or remove it."""
    (url,) = (f"{output}/{attempt}/metrics-{step:08d}.jsonl" for attempt in ["attempt-0001"])
    *found, end = [json.loads(line) for line in storage.read_bytes(url).splitlines()]
    changed = [how(row) if row["kind"] == "samples" else row for row in found]
    storage.write_bytes(url, rows.to_bytes([row for row in changed if row], end["from"], step))


@pytest.mark.slow
def test_five_workers_three_of_them_idle_have_the_ledger_and_the_losses_of_one(corpus: tiny.Corpus, tmp_path: Path) -> None:
    """More workers than a step has micro-batches, some or all of the time: said once, and the same is learned."""
    alone, many = (pretrain_run(corpus, tmp_path / name, micro_batch_tokens=160, log_every=1) for name in ("one", "five"))
    train(alone)
    storage.write_json(str(tmp_path / "run.json"), many.to_json())
    torchrun = [*("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=5", "-m", "model.training")]
    done = subprocess.run([sys.executable, *torchrun, str(tmp_path / "run.json")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert listed(many.output) == listed(alone.output)
    assert digests(many.output) == digests(alone.output)
    one, five = ([row["loss"] for row in checkpoint.read_metrics(run.output) if "mlm_loss" in row] for run in (alone, many))
    np.testing.assert_allclose(one, five, rtol=1e-3)
    assert (done.stdout + done.stderr).count("workers have no micro-batch in some steps") == 1
    assert ledger.problems(many.output) == []
