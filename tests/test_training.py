"""The loop: bit for bit the same after any stop, the same to 1e-3 on any number of workers, and it learns."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoints import checkpoint
from model.config import EncoderConfig, OptimizerConfig, PhaseConfig
from model.heads import PretrainingModel
from model.samples import batches
from model.samples.order import key
from model.training import __main__ as entry
from model.training import loop, setup, trainer, workers
from model.training.loop import train
from model.training.metrics import MACHINE_DEPENDENT
from model.training.run import Inputs, PretrainRun
from model.training.stopping import SIGTERM_CODE
from model.training.tracking import accounts
from pipeline import storage
from pipeline.errors import CheckpointError, ClusterError, CorpusError, RecipeError
from tests import tiny
from tests.slow_processes import wait_for
from tests.training_folders import newest_of

ROOT = Path(__file__).parent.parent


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("corpus"), lengths=(16, 24))


def phase(**changes: Any) -> PhaseConfig:
    settings = {"sequence_length": 24, "batch_size": 16, "steps": 100, "learning_rate": 5e-3, "warmup_steps": 10}
    return PhaseConfig(**{**settings, **changes})


def content(url: str) -> dict[str, bytes]:
    """All of a checkpoint but where it lies: weights, moments, position, recipe."""
    files = {name: storage.read_bytes(storage.join(url, name)) for name in ("model.safetensors", "optimizer.safetensors")}
    state = {**storage.read_json(storage.join(url, "state.json")), "best": None}
    return {**files, "state": storage.json_bytes(state)}


def metrics(output: Path | str) -> list[dict[str, Any]]:
    """Rows without what depends on the clock (also whether a worker was slow), or on where checkpoints are (samples' rows)."""
    rows = [row for row in checkpoint.read_metrics(str(output)) if row["kind"] not in ("samples", "slow")]
    return [{k: v for k, v in row.items() if k not in MACHINE_DEPENDENT} for row in rows]


class Killed(BaseException):
    """As SIGKILL would end it: nothing of ours catches it."""


def killed_at(step: int) -> Callable[[], bool]:
    """A `should_stop` that ends the process in its call number `step` + 1, so within step `step`."""
    calls = iter(range(step + 1))

    def ask() -> bool:
        if next(calls) == step:
            raise Killed
        return False

    return ask


@pytest.fixture(scope="module")
def whole(corpus: tiny.Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[PretrainRun, loop.TrainResult]:
    """100 steps without a stop, and with everything that a stop must not disturb: static draws, dropout, two epochs."""
    run = tiny.pretrain_run(corpus, tmp_path_factory.mktemp("whole"), (phase(),), checkpoint_every=50, validate_every=25)
    return run, train(run)


def test_a_run_leaves_what_its_folder_promises(whole: tuple[PretrainRun, loop.TrainResult]) -> None:
    run, result = whole
    assert (result.step, result.steps, result.attempt, result.finished) == (100, 100, 1, True)
    assert result.last_checkpoint == f"{run.output}/attempt-0001/checkpoint-00000100"
    assert sorted(os.listdir(run.output)) == ["attempt-0001", "best.json", "config.json", "live", "progress.json"]
    progress = storage.read_json(f"{run.output}/progress.json")
    assert (progress["step"], progress["steps"], progress["phase"], progress["attempt"]) == (100, 100, 0, 1)
    files = ["checkpoint.json", "config.json", "model.safetensors", "optimizer.safetensors", "state.json", "vocab.txt"]
    assert sorted(os.listdir(result.last_checkpoint)) == files
    rows = checkpoint.read_metrics(run.output)
    trained = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in trained] == list(range(1, 101))
    names = {"kind", "step", "phase", "loss", "mlm_loss", "pair_loss", "masked_accuracy"}
    names |= {"learning_rate", "grad_norm", "loss_scale", "skipped_samples", "examples", "trust_ratios", *MACHINE_DEPENDENT}
    assert all(row.keys() == names for row in trained)
    assert trained[0]["trust_ratios"].keys() == {
        "embeddings",
        "encoder.0",
        "encoder.1",
        "pooler",
        "predictions",
        "seq_relationship",
    }
    assert all(0 <= low <= high <= 10 for low, high in trained[50]["trust_ratios"].values())
    assert all(row["tokens_per_second"] > 0 for row in trained)
    parts = ["data_seconds", "compute_seconds", "optimizer_seconds"]  # which of them is longest, the machine decides
    assert all(row[part] > 0 for row in trained for part in parts[1:])
    assert sum(row[part] for row in trained for part in parts) <= trained[-1]["seconds"]
    assert trained[0]["memory_bytes"] > 50e6 and (torch.cuda.is_available() or trained[0]["mfu"] is None)
    assert trained[0]["learning_rate"] == 0 and trained[10]["learning_rate"] == 5e-3
    assert trained[0]["loss"] == pytest.approx(np.log(len(tiny.VOCAB)) + np.log(2), rel=0.02)
    validated = [row for row in rows if row["kind"] == "validation"]
    assert [(r["step"], r["source"]) for r in validated] == [
        (step, source) for step in (25, 50, 75, 100) for source in ("news", "reviews", "all")
    ]
    best = min((row["loss"], row["step"]) for row in validated if row["source"] == "all")
    pointer = storage.read_json(f"{run.output}/best.json")
    assert (pointer["validation_loss"], pointer["step"]) == best == (result.best_validation_loss, pointer["step"])
    assert f"{run.output}/{pointer['checkpoint']}" == result.best_checkpoint


def test_50_and_50_steps_are_100_bit_for_bit(
    corpus: tiny.Corpus, whole: tuple[PretrainRun, loop.TrainResult], tmp_path: Path
) -> None:
    run = replace(whole[0], output=str(tmp_path))
    calls = iter(range(1_000))
    half = train(run, should_stop=lambda: next(calls) == 49)
    assert (half.step, half.finished) == (50, False)
    rest = train(run)
    assert (rest.step, rest.attempt) == (100, 2)
    assert content(rest.last_checkpoint) == content(whole[1].last_checkpoint)
    assert metrics(tmp_path) == metrics(whole[0].output)
    assert rest.best_validation_loss == whole[1].best_validation_loss


def test_killed_between_two_commits_it_ends_bit_for_bit_the_same(
    whole: tuple[PretrainRun, loop.TrainResult], tmp_path: Path
) -> None:
    run = replace(whole[0], output=str(tmp_path))
    for step in (30, 60 - 25, 7):  # each counted from where the attempt began
        with pytest.raises(Killed):
            train(run, should_stop=killed_at(step))
    result = train(run)
    assert result.attempt == 4
    assert content(result.last_checkpoint) == content(whole[1].last_checkpoint)
    assert metrics(tmp_path) == metrics(whole[0].output)


def test_a_truncated_newest_checkpoint_costs_the_steps_since_the_one_before(
    whole: tuple[PretrainRun, loop.TrainResult], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = replace(whole[0], output=str(tmp_path))
    with pytest.raises(Killed):
        train(run, should_stop=killed_at(80))
    weights = Path(newest_of(run.output) or "", "model.safetensors")
    assert "checkpoint-00000075" in str(weights)
    weights.write_bytes(weights.read_bytes()[:-10])
    caplog.clear()
    result = train(run)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "checkpoint-00000075: model.safetensors has" in warnings[0]
    assert storage.read_json(f"{run.output}/attempt-0002/attempt.json")["step"] == 50
    assert content(result.last_checkpoint) == content(whole[1].last_checkpoint)
    assert metrics(tmp_path) == metrics(whole[0].output)


def test_a_finished_run_is_not_run_again(whole: tuple[PretrainRun, loop.TrainResult]) -> None:
    before = sorted(os.listdir(whole[0].output))
    assert train(whole[0], should_stop=lambda: pytest.fail("a step was computed")) == whole[1]
    assert sorted(os.listdir(whole[0].output)) == before


def test_the_seed_alone_decides_the_first_weights(corpus: tiny.Corpus, tmp_path: Path) -> None:
    def start(name: str, seed: int) -> bytes:
        torch.rand(len(name))  # whatever happened before
        run = tiny.pretrain_run(corpus, tmp_path / name, (phase(steps=1, warmup_steps=1),), seed=seed)  # rate 0
        return content(train(run).last_checkpoint)["model.safetensors"]

    assert start("a", 3) == start("other", 3) != start("b", 4)


def test_training_starts_from_the_weights_of_another(
    whole: tuple[PretrainRun, loop.TrainResult], corpus: tiny.Corpus, tmp_path: Path
) -> None:
    there = whole[1].last_checkpoint
    phases = (phase(steps=1, warmup_steps=1),)  # rate 0
    result = train(tiny.pretrain_run(corpus, tmp_path, phases, start_from=there))
    assert content(result.last_checkpoint)["model.safetensors"] == content(there)["model.safetensors"]


def test_weights_of_another_network_do_not_start_a_training(
    whole: tuple[PretrainRun, loop.TrainResult], corpus: tiny.Corpus, tmp_path: Path
) -> None:
    run = tiny.pretrain_run(corpus, tmp_path, start_from=whole[1].last_checkpoint)
    wider = replace(run.config.encoder, intermediate_size=2 * run.config.encoder.intermediate_size)
    with pytest.raises(CheckpointError, match="intermediate_size is"):
        train(replace(run, config=replace(run.config, encoder=wider)))


def test_a_changed_recipe_is_refused_with_the_difference(
    corpus: tiny.Corpus, whole: tuple[PretrainRun, loop.TrainResult], tmp_path: Path
) -> None:
    run = whole[0]
    config = replace(run.config, phases=(phase(learning_rate=0.25, weights={"news": 1.0}),), seed=9)
    with pytest.raises(CheckpointError) as refused:
        train(replace(run, config=config))
    assert "phases[0].learning_rate: 0.005 here, 0.25 in the recipe" in str(refused.value)
    assert "phases[0].weights.news: absent here, 1.0 in the recipe" in str(refused.value)
    assert "seed: 3 here, 9 in the recipe" in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(CheckpointError, match=r"shards\.news/24"):
        train(replace(run, shards={**run.shards, "news/24": tiny.prepare(tmp_path, rows=50).shards["news/24"]}))


def test_a_folder_in_which_nothing_was_trained_takes_any_recipe(corpus: tiny.Corpus, tmp_path: Path) -> None:
    run = tiny.pretrain_run(corpus, tmp_path, (phase(steps=10),))
    with pytest.raises(Killed):
        train(run, should_stop=killed_at(3))
    assert train(replace(run, config=replace(run.config, seed=5))).finished
    assert storage.read_json(f"{tmp_path}/config.json")["seed"] == 5


def test_what_fits_a_run_to_a_machine_may_change(whole: tuple[PretrainRun, loop.TrainResult], tmp_path: Path) -> None:
    """Longer, logged less, in other micro-batches: 100 steps more from the folder of the first 100."""
    run = whole[0]
    settings = replace(run.config.training, micro_batch_tokens=400, log_every=50, validate_every=60, keep_checkpoints=1)
    config = replace(run.config, phases=(phase(steps=130),), training=settings)
    shutil.copytree(run.output, tmp_path / "copy")
    result = train(replace(run, config=config, output=str(tmp_path / "copy")))
    assert (result.step, result.attempt) == (130, 2)
    assert storage.read_json(str(tmp_path / "copy" / "config.json"))["phases"][0]["steps"] == 130


def test_an_older_attempt_stops_before_it_writes(corpus: tiny.Corpus, tmp_path: Path) -> None:
    """A worker thought dead wakes up after its successor has begun: it ends, and the successor's work is untouched."""
    run = tiny.pretrain_run(corpus, tmp_path, (phase(steps=20),), validate_every=100, checkpoint_every=5)
    calls = iter(range(100))

    def overtaken() -> bool:
        if next(calls) == 7:
            wait_for(lambda: any(checkpoint.committed(str(tmp_path))), every=0.01)  # it is written while training goes on
            checkpoint.Attempt.begin(str(tmp_path), 5)
        return False

    with pytest.raises(CheckpointError, match="attempt-0002 has taken over, attempt-0001 stops here"):
        train(run, should_stop=overtaken)
    # Where its time went is written about every second, so that it may be there.
    assert sorted({*os.listdir(tmp_path / "attempt-0001")} - {accounts.FILE}) == [
        "attempt.json",
        "checkpoint-00000005",
        "metrics-00000005.jsonl",
    ]


def altered(change: Callable[[int, torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `change(first sample of the step, loss)` replace the loss of masked words, in the gradient and in what is told."""
    measure, steps = trainer.measure, batches.steps
    now = [0]

    def reading(*arguments: Any) -> Iterator[Any]:
        with contextlib.closing(steps(*arguments)) as reader:
            for step in reader:
                now[0] = step.start
                yield step

    def wrong(network: Any, batch: Any, dtype: Any) -> Any:
        mlm, pair, sums = measure(network, batch, dtype)
        if network.training:
            mlm, sums[0] = change(now[0], mlm), change(now[0], sums[0])
        return mlm, pair, sums

    monkeypatch.setattr(batches, "steps", reading)
    monkeypatch.setattr(trainer, "measure", wrong)


def poisoned(bad: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss NaN of the steps that begin with these samples."""
    altered(lambda sample, loss: loss * (float("nan") if sample in bad else 1.0), monkeypatch)


def state_of(url: str) -> dict[str, Any]:
    state: dict[str, Any] = storage.read_json(f"{url}/state.json")
    return state


def test_a_loss_that_is_not_finite_makes_no_update_and_other_samples_take_their_place(
    corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poisoned({80, 96, 192}, monkeypatch)
    run = tiny.pretrain_run(corpus, tmp_path, (phase(steps=20),))
    result = train(run)
    state = state_of(result.last_checkpoint)
    assert state["skipped_ranges"] == [[0, 80, 112], [0, 192, 208]]
    assert (state["step"], state["consumed_samples"], state["streak"]) == (20, 320 + 48, 10)
    skipped = [row for row in metrics(tmp_path) if row["kind"] == "skipped"]
    assert [(row["step"], row["samples"], row["reason"], row["loss"]) for row in skipped] == [
        (5, [80, 96], "not finite", None),
        (5, [96, 112], "not finite", None),
        (10, [192, 208], "not finite", None),
    ]
    trained = [row for row in metrics(tmp_path) if row["kind"] == "train"]
    assert [row["step"] for row in trained] == list(range(1, 21))
    assert [row["skipped_samples"] for row in trained[4:12]] == [0, 32, 32, 32, 32, 32, 48, 48]
    assert "samples 96 to 112 of phase 1 are skipped (2 bad in a row)" in caplog.text
    loaded = checkpoint.load(result.last_checkpoint)
    assert all(tensor.isfinite().all() for tensor in loaded.model.values())
    assert int(loaded.optimizer["step/0"]) == 20


def weights(url: str) -> dict[str, bytes]:
    return {name: storage.read_bytes(f"{url}/{name}") for name in ("model.safetensors", "optimizer.safetensors")}


def repeated(run: PretrainRun, result: loop.TrainResult, output: Path) -> loop.TrainResult:
    """Another run, that is told from the start what the first has passed by."""
    ranges = tuple(tuple(part) for part in state_of(result.last_checkpoint)["skipped_ranges"])
    settings = replace(run.config.training, skipped_ranges=ranges)
    return train(replace(run, config=replace(run.config, training=settings), output=str(output)))


def spiking(spikes: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    altered(lambda sample, loss: loss * (3.0 if sample in spikes else 1.0), monkeypatch)


def test_a_run_told_what_another_has_passed_by_ends_bit_for_bit_the_same(
    corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN and spikes, while the batch grows. The second run meets neither."""
    growing = phase(steps=40, ramp_batch_size=8, ramp_steps=10)
    run = tiny.pretrain_run(corpus, tmp_path / "first", (growing,), spike_window=16, validate_every=100)
    with monkeypatch.context() as patch:
        altered(lambda at, loss: loss * {40: float("nan"), 328: 3.0, 440: 3.0}.get(at, 1.0), patch)
        first = train(run)
    state = state_of(first.last_checkpoint)
    assert state["skipped_ranges"] == [[0, 40, 48], [0, 328, 344], [0, 440, 456]]
    assert [r["reason"] for r in metrics(run.output) if r["kind"] == "skipped"] == ["not finite", "spike", "spike"]
    second = repeated(run, first, tmp_path / "second")
    assert weights(second.last_checkpoint) == weights(first.last_checkpoint)
    assert state_of(second.last_checkpoint)["losses"] == state["losses"] and len(state["losses"]) == 16
    assert not [row for row in metrics(tmp_path / "second") if row["kind"] == "skipped"]


def test_a_resumed_run_decides_alike_about_spikes(corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spiking({448}, monkeypatch)
    run = tiny.pretrain_run(corpus, tmp_path / "whole", (phase(steps=40),), spike_window=24, validate_every=100)
    whole = train(run)
    assert state_of(whole.last_checkpoint)["skipped_ranges"] == [[0, 448, 464]]
    split = replace(run, output=str(tmp_path / "split"))
    with pytest.raises(Killed):
        train(split, should_stop=killed_at(25))  # resumes at step 20: half of the window comes from the checkpoint
    assert content(train(split).last_checkpoint) == content(whole.last_checkpoint)
    assert metrics(split.output) == metrics(run.output)


def test_without_sigma_nothing_is_a_spike(corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spiking({448}, monkeypatch)
    run = tiny.pretrain_run(corpus, tmp_path, (phase(steps=40),), spike_window=24, spike_sigma=0.0, validate_every=100)
    assert state_of(train(run).last_checkpoint)["skipped_ranges"] == []


def test_bad_steps_in_a_row_send_the_run_back_and_past_their_samples(
    corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = tiny.pretrain_run(corpus, tmp_path / "first", (phase(steps=30),), rollback_after=3, validate_every=100)
    heard: list[tuple[int, str | None]] = []
    with monkeypatch.context() as patch:
        poisoned({16 * n for n in (14, 15, 16)}, patch)
        result = train(run, on_commit=lambda figures, url: heard.append((figures["step"], url)))
    assert (result.step, result.attempt) == (30, 2)
    assert "rolled back from step 14 to step 10; samples 160 to 272 are skipped" in caplog.text
    assert storage.read_json(storage.join(run.output, "attempt-0002", "attempt.json"))["rolled_back_from"] == 14
    state = state_of(result.last_checkpoint)
    assert (state["skipped_ranges"], state["consumed_samples"], state["rollbacks"]) == ([[0, 160, 272]], 480 + 112, 0)
    assert [step for step, _ in heard] == [10, 10, 20, 30]
    assert [row["step"] for row in metrics(run.output) if row["kind"] == "train"] == list(range(1, 31))
    told = [row for row in metrics(run.output) if row["kind"] in ("rollback", "skipped")]
    assert [row["kind"] for row in told] == ["rollback", *["skipped"] * 3]
    assert (told[0]["step"], told[0]["from_step"], told[0]["samples"]) == (10, 14, [160, 272])
    again = repeated(run, result, tmp_path / "second")
    assert weights(again.last_checkpoint) == weights(result.last_checkpoint)


def test_killed_after_a_rollback_it_ends_bit_for_bit_the_same(
    corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned({16 * n for n in (3, 4, 20, 21)}, monkeypatch)  # the first two before there is a checkpoint
    run = tiny.pretrain_run(corpus, tmp_path / "whole", (phase(steps=30),), rollback_after=2, validate_every=100)
    whole = train(run)
    assert whole.attempt == 3
    assert state_of(whole.last_checkpoint)["skipped_ranges"] == [[0, 0, 80], [0, 240, 352]]
    split = replace(run, output=str(tmp_path / "split"))
    for calls in (7, 14, 8):  # after a return, and again
        with pytest.raises(Killed):
            train(split, should_stop=killed_at(calls))
    assert content(train(split).last_checkpoint) == content(whole.last_checkpoint)
    assert [r for r in metrics(split.output) if r["kind"] == "train"] == [
        r for r in metrics(run.output) if r["kind"] == "train"
    ]


def test_a_stop_amid_bad_steps_leaves_the_checkpoint_as_it_is(
    corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.pretrain_run(corpus, tmp_path / "whole", (phase(steps=20),), validate_every=100)
    with monkeypatch.context() as patch:
        poisoned({160, 176}, patch)
        whole = train(run)
        split = replace(run, output=str(tmp_path / "split"))
        calls = iter(range(100))
        stopped = train(split, should_stop=lambda: next(calls) == 11)
        assert (stopped.step, stopped.finished) == (10, False)
        assert content(train(split).last_checkpoint) == content(whole.last_checkpoint)
    assert metrics(split.output) == metrics(run.output)


def test_a_run_that_going_back_does_not_help_ends_in_one_line_also_after_a_restart(
    corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(set(range(64, 100_000)), monkeypatch)
    run = tiny.pretrain_run(corpus, tmp_path, (phase(steps=50),), validate_every=1_000, checkpoint_every=3, rollback_after=4)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="4 bad steps in a row after step 3, and 3 rollbacks did not help") as refused:
            train(run)
        assert "\n" not in str(refused.value) and "checkpoint-00000003" in str(refused.value)
    assert len(checkpoint.attempts(run.output)) == 5  # a restart tries no more than its own steps


def test_a_state_of_an_older_version_goes_on(
    corpus: tiny.Corpus, whole: tuple[PretrainRun, loop.TrainResult], tmp_path: Path
) -> None:
    """Checkpoints of before had no windows, no streak, no loss scale."""
    run = replace(whole[0], output=str(tmp_path))
    with pytest.raises(Killed):
        train(run, should_stop=killed_at(60))
    last = newest_of(run.output) or ""
    known = ("phase", "step", "consumed_samples", "skipped_ranges", "best")
    old = {name: value for name, value in state_of(last).items() if name in known}
    storage.write_json(f"{last}/state.json", old)
    marker = storage.read_json(f"{last}/checkpoint.json")
    marker["files"]["state.json"] = {
        "bytes": storage.file_size(f"{last}/state.json"),
        "sha256": storage.sha256(f"{last}/state.json"),
    }
    storage.write_json(f"{last}/checkpoint.json", marker)
    assert weights(train(run).last_checkpoint) == weights(whole[1].last_checkpoint)


def test_a_checkpoint_of_version_0_1_0_is_resumed(tmp_path: Path) -> None:
    """The stored folder stopped at step 10 of 20; losses.json has those of the ten steps after it, as 0.1.0 computed them."""
    stored = ROOT / "tests/data/checkpoint-0.1.0"
    shutil.copytree(stored, tmp_path / "run")
    corpus = tiny.prepare(tmp_path / "corpus", rows=60, validation_rows=10)
    phases = (PhaseConfig(sequence_length=24, batch_size=16, steps=20, learning_rate=0.05, warmup_steps=2),)
    shape = EncoderConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, max_relative_position=8
    )
    run = tiny.pretrain_run(corpus, tmp_path / "run", phases)
    run = replace(run, config=replace(run.config, encoder=shape))
    # The bytes of the shards may depend on the version of pyarrow.
    identity = storage.read_json(f"{run.output}/config.json")
    storage.write_json(f"{run.output}/config.json", {**identity, "shards": Inputs.of(run).identity(run.config)["shards"]})
    result = train(run)
    assert (result.step, result.attempt) == (20, 2)
    rows = {row["step"]: row["loss"] for row in checkpoint.read_metrics(run.output) if row["kind"] == "train"}
    assert list(rows) == list(range(1, 21))
    np.testing.assert_allclose(
        [rows[step] for step in range(11, 21)], storage.read_json(str(stored / "losses.json")), rtol=1e-4
    )
    assert not [row for row in checkpoint.read_metrics(run.output) if row["kind"] == "lost"]


def test_fp16_finds_its_loss_scale_and_resumes_with_it(corpus: tiny.Corpus, tmp_path: Path) -> None:
    """From 2^32, too large at first: each second overflow halves it, and no update is made meanwhile."""
    settings: dict[str, Any] = {"precision": "fp16", "loss_scale": "2019", "validate_every": 100, "rollback_after": 2}
    run = tiny.pretrain_run(corpus, tmp_path / "whole", (phase(steps=30),), **settings)
    result = train(run)
    state = state_of(result.last_checkpoint)
    skipped = [row for row in metrics(run.output) if row["kind"] == "skipped"]
    assert {row["reason"] for row in skipped} == {"overflow"} and len(skipped) >= 10
    assert state["loss_scale"]["scale"] == 2.0 ** (32 - len(skipped) // 2) and state["loss_scale"]["good"] > 0
    split = replace(run, output=str(tmp_path / "split"))
    with pytest.raises(Killed):
        train(split, should_stop=killed_at(len(skipped) + 25))
    assert content(train(split).last_checkpoint) == content(result.last_checkpoint)
    single = tiny.pretrain_run(corpus, tmp_path / "fp32", (phase(steps=30),), validate_every=100)
    start = len(skipped) * 16
    settings32 = replace(single.config.training, skipped_ranges=((0, 0, start),))
    train(replace(single, config=replace(single.config, training=settings32)))
    assert skipped[-1]["step"] == 0
    losses = [[row["loss"] for row in metrics(output) if row["kind"] == "train"] for output in (run.output, single.output)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)


@pytest.mark.parametrize("variant", ["nvlamb", "adamw"])
def test_other_optimizers_resume_bit_for_bit_and_are_not_mixed(corpus: tiny.Corpus, tmp_path: Path, variant: Any) -> None:
    run = tiny.pretrain_run(corpus, tmp_path / "whole", (phase(steps=20, learning_rate=1e-2),), validate_every=100)
    run = replace(run, config=replace(run.config, optimizer=OptimizerConfig(variant=variant)))
    whole = train(run)
    split = replace(run, output=str(tmp_path / "split"))
    with pytest.raises(Killed):
        train(split, should_stop=killed_at(13))
    assert content(train(split).last_checkpoint) == content(whole.last_checkpoint)
    rows = [row for row in metrics(run.output) if row["kind"] == "train"]
    assert bool(rows[-1]["trust_ratios"]) == (variant == "nvlamb")
    with pytest.raises(CheckpointError, match=f"optimizer.variant: {variant} here, nezha2019 in the recipe"):
        train(replace(run, config=replace(run.config, optimizer=OptimizerConfig())))


def test_the_batch_grows_as_the_phase_says(corpus: tiny.Corpus, tmp_path: Path) -> None:
    growing = phase(steps=12, ramp_batch_size=4, ramp_steps=6)
    run = tiny.pretrain_run(corpus, tmp_path / "whole", (growing,), validate_every=100, checkpoint_every=1, keep_every=1)
    result = train(run)
    urls = sorted(checkpoint.committed(run.output))
    consumed = np.array([0, *(state_of(url)["consumed_samples"] for url in urls)])
    assert np.diff(consumed).tolist() == [4, 4, 8, 8, 12, 12, 16, 16, 16, 16, 16, 16]
    split = replace(run, output=str(tmp_path / "split"))
    with pytest.raises(Killed):
        train(split, should_stop=killed_at(4))
    assert content(train(split).last_checkpoint) == content(result.last_checkpoint)


def test_phases_follow_each_other_also_when_stopped_between(corpus: tiny.Corpus, tmp_path: Path) -> None:
    """128 then 512 in small: the second phase has its own length, batch and schedule; moments carry over."""
    phases = (
        phase(sequence_length=16, steps=12, warmup_steps=2, weights={"news": 1.0}),
        phase(batch_size=8, steps=8, learning_rate=1e-3, warmup_steps=2),
    )
    run = tiny.pretrain_run(corpus, tmp_path / "whole", phases, validate_every=100, checkpoint_every=100)
    result = train(run)
    rows = metrics(run.output)
    trained = [row for row in rows if row["kind"] == "train"]
    assert [(row["step"], row["phase"]) for row in trained] == [(s, int(s > 12)) for s in range(1, 21)]
    rates = [row["learning_rate"] for row in trained]
    assert rates[:3] == [0, 2.5e-3, 5e-3] and rates[12:15] == [0, 5e-4, 1e-3]
    assert [(row["step"], row["source"]) for row in rows if row["kind"] == "validation"] == [
        *[(12, "news"), (12, "all")],
        *[(20, "news"), (20, "reviews"), (20, "all")],
    ]
    state = storage.read_json(f"{result.last_checkpoint}/state.json")
    assert (state["phase"], state["step"], state["consumed_samples"]) == (1, 20, 64)
    assert int(checkpoint.load(result.last_checkpoint).optimizer["step/0"]) == 20
    for name, stop in (("end", 11), ("second", 15)):
        split = replace(run, output=str(tmp_path / name))
        calls = iter(range(100))
        assert not train(split, should_stop=lambda calls=calls, stop=stop: next(calls) == stop).finished  # type: ignore[misc]
        assert content(train(split).last_checkpoint) == content(result.last_checkpoint)
        assert metrics(split.output) == rows


def test_a_phase_leaves_no_gradients_to_the_next(corpus: tiny.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []

    def counted(network: PretrainingModel, *arguments: Any) -> trainer.Trainer:
        left.append(sum(parameter.grad is not None for parameter in network.parameters()))
        return trainer.Trainer(network, *arguments)

    monkeypatch.setattr(setup, "Trainer", counted)
    train(tiny.pretrain_run(corpus, tmp_path, (phase(steps=1, warmup_steps=0),) * 2, validation_sequences=0))
    assert left == [0, 0]


def test_the_loss_falls_where_there_is_something_to_learn(corpus: tiny.Corpus, tmp_path: Path) -> None:
    run = tiny.pretrain_run(
        corpus,
        tmp_path,
        (phase(batch_size=32, steps=300, learning_rate=1e-2, warmup_steps=30),),
        **{"log_every": 50, "validate_every": 100, "micro_batch_tokens": 2_000, "checkpoint_every": 1_000},
    )
    encoder = replace(run.config.encoder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    train(replace(run, config=replace(run.config, encoder=encoder)))
    losses = [row["loss"] for row in metrics(tmp_path) if row["kind"] == "validation" and row["source"] == "all"]
    assert losses == sorted(losses, reverse=True)
    # Knowing nothing costs log 64 + log 2 = 4.85; a constant guess by frequency no less, as all tokens are equally frequent.
    assert losses[-1] < 4.4


def test_without_pairs_their_head_stays_as_it_was(tmp_path: Path) -> None:
    corpus = tiny.prepare(tmp_path / "corpus", task="none")
    run = tiny.pretrain_run(corpus, tmp_path / "out", (phase(steps=10),), checkpoint_every=5, keep_every=5)
    result = train(run)
    trained = [row for row in metrics(run.output) if row["kind"] == "train"]
    assert all(row["pair_loss"] is None and row["loss"] == row["mlm_loss"] for row in trained)
    first = checkpoint.load(str(tmp_path / "out/attempt-0001/checkpoint-00000005")).model
    last = checkpoint.load(result.last_checkpoint).model
    still = {name for name in first if torch.equal(first[name], last[name])}
    assert still == {f"{part}.{kind}" for part in ("nezha.pooler.dense", "cls.seq_relationship") for kind in ("weight", "bias")}


def test_without_validation_rows_there_is_no_best(tmp_path: Path) -> None:
    result = train(tiny.pretrain_run(tiny.prepare(tmp_path / "corpus", validation_rows=0), tmp_path / "out"))
    assert (result.best_checkpoint, result.best_validation_loss) == (None, None)
    assert not (tmp_path / "out" / "best.json").exists()


def test_masks_drawn_while_training_resume_bit_for_bit(tmp_path: Path) -> None:
    corpus = tiny.prepare(tmp_path / "corpus", static_draws=0)
    run = tiny.pretrain_run(corpus, tmp_path / "a")
    result = train(run)
    other = replace(run, output=str(tmp_path / "b"))
    with pytest.raises(Killed):
        train(other, should_stop=killed_at(13))
    assert content(train(other).last_checkpoint) == content(result.last_checkpoint)


def test_whoever_runs_it_hears_of_every_commit_and_validation(corpus: tiny.Corpus, tmp_path: Path) -> None:
    heard: list[tuple[int, bool]] = []
    urls: list[str] = []

    def on_commit(figures: dict[str, Any], url: str | None) -> None:
        heard.append((figures["step"], "validation_loss" in figures))
        if url is not None:
            assert checkpoint.damage(url) is None
            urls.append(url)

    # At rate 0 nothing is ever better than the first validation.
    run = tiny.pretrain_run(corpus, tmp_path, (phase(steps=20, learning_rate=0.0),), validate_every=4, checkpoint_every=10)
    result = train(run, on_commit=on_commit)
    assert heard == [(4, True), (8, True), (10, False), (12, True), (16, True), (20, True)]
    # When it hears of them depends on how fast they are written, except for the last.
    written = [f"{run.output}/attempt-0001/checkpoint-{step:08d}" for step in (4, 10, 20)]
    assert urls == [url for url in written if url in urls] and urls[-1] == result.last_checkpoint == written[-1]


def test_gradients_do_not_depend_on_how_a_step_is_cut(corpus: tiny.Corpus, tmp_path: Path) -> None:
    """Without dropout, one micro-batch or many give the same loss and norm: the global counts divide, not each one's own."""
    series = []
    for tokens in (100, 5_000):
        run = tiny.pretrain_run(corpus, tmp_path / str(tokens), (phase(steps=10),), micro_batch_tokens=tokens)
        encoder = replace(run.config.encoder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        train(replace(run, config=replace(run.config, encoder=encoder)))
        series.append([(row["loss"], row["grad_norm"]) for row in metrics(run.output) if row["kind"] == "train"])
    np.testing.assert_allclose(series[0], series[1], rtol=1e-4)


def test_dropout_is_another_in_each_step_and_micro_batch(corpus: tiny.Corpus, tmp_path: Path) -> None:
    run = tiny.pretrain_run(corpus, tmp_path, (phase(steps=3, learning_rate=0.0, warmup_steps=0),))
    train(run)
    with_dropout = [row["loss"] for row in metrics(tmp_path) if row["kind"] == "train"]
    encoder = replace(run.config.encoder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    train(replace(run, config=replace(run.config, encoder=encoder), output=str(tmp_path / "none")))
    without = [row["loss"] for row in metrics(tmp_path / "none") if row["kind"] == "train"]
    assert all(a != b for a, b in zip(with_dropout, without, strict=True))
    assert len({key(3, step, i) for step in range(50) for i in range(50)}) == 2_500


def test_bf16_trains_with_float32_weights(corpus: tiny.Corpus, tmp_path: Path) -> None:
    losses = []
    for name in ("fp32", "bf16"):
        run = tiny.pretrain_run(corpus, tmp_path / name, (phase(steps=10),), precision=name)
        weights = checkpoint.load(train(run).last_checkpoint).model
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        losses.append([row["loss"] for row in metrics(run.output) if row["kind"] == "train"])
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)


def test_shards_that_do_not_fit_are_refused(corpus: tiny.Corpus, tmp_path: Path) -> None:
    run = tiny.pretrain_run(corpus, tmp_path / "out", (phase(sequence_length=64),))
    with pytest.raises(CorpusError, match="no shards of sequence_length 64; there are some of 16, 24"):
        train(run)
    other = tmp_path / "other.txt"
    other.write_bytes(tiny.VOCAB.to_bytes() + b"more\n")
    with pytest.raises(CorpusError, match="made with another vocabulary"):
        train(replace(tiny.pretrain_run(corpus, tmp_path / "out"), vocabulary=str(other)))
    with pytest.raises(RecipeError, match="'wiki', which has no rows"):
        train(tiny.pretrain_run(corpus, tmp_path / "out", (phase(weights={"wiki": 1.0}),)))
    assert not (tmp_path / "out").exists()


def test_a_run_survives_json(corpus: tiny.Corpus, tmp_path: Path) -> None:
    run = tiny.pretrain_run(corpus, tmp_path, (phase(weights={"news": 0.5, "reviews": 0.5}), phase(steps=3, warmup_steps=0)))
    assert PretrainRun.from_json(json.loads(json.dumps(run.to_json()))) == run
    document = run.to_json()
    document["config"]["encoder"]["layers"] = 3
    with pytest.raises(RecipeError, match="layers"):
        PretrainRun.from_json(document)
    with pytest.raises(RecipeError, match="shards 'news' are not named SOURCE/LENGTH"):
        PretrainRun.from_json({**run.to_json(), "shards": {"news": "/data"}})


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def command(run: PretrainRun, tmp_path: Path, *launcher: str) -> list[str]:
    path = tmp_path / "run.json"
    storage.write_json(str(path), run.to_json())
    return [sys.executable, *launcher, "-m", "model.training", str(path)]


def test_sigterm_ends_in_order_after_the_step(corpus: tiny.Corpus, tmp_path: Path) -> None:
    run = tiny.pretrain_run(corpus, tmp_path / "out", (phase(steps=100_000),), checkpoint_every=100_000, validate_every=100_000)
    process = subprocess.Popen(
        command(run, tmp_path), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step "):
            process.send_signal(signal.SIGTERM)
            break
    out, err = process.communicate()
    watchdog.cancel()
    assert process.returncode == SIGTERM_CODE, err
    last = newest_of(run.output)
    assert last is not None
    step = storage.read_json(f"{last}/state.json")["step"]
    assert f"stopped at step {step} of 100000: {last}" in out
    assert metrics(run.output)[-1]["step"] == step


def test_the_command_tells_a_mistake_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main([str(tmp_path / "none.json")]) == 2
    assert entry.main([]) == 2
    (tmp_path / "run.json").write_text('{"config": {"phases": []}}')
    assert entry.main([str(tmp_path / "run.json")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "none.json: not found" in lines[0] and "RUN.json" in lines[1] and "[[phase]]" in lines[2]


@pytest.mark.parametrize(("size", "problem"), [("4", "RANK, MASTER_ADDR, MASTER_PORT missing"), ("four", "missing")])
def test_a_number_of_workers_without_their_addresses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, size: str, problem: str
) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", size)
    message = f"WORLD_SIZE={size} in the environment, but .*{problem}: start with torchrun"
    with pytest.raises(ClusterError, match=message), workers.process_group():
        pass


def test_the_loop_loads_nothing_that_a_bare_machine_lacks() -> None:
    heavy = ["ray", "apache_beam", "dagster", "click", "pandas", "tokenizers", "transformers", "jieba", "pydantic"]
    code = f"import sys, model.training.loop; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_training_does_not_wait_for_the_compiler_to_load(corpus: tiny.Corpus, tmp_path: Path) -> None:
    """Torch imports it for much that is not compiled, such as optimizers of its own: more than a second of each start."""
    path = tmp_path / "run.json"
    storage.write_json(str(path), tiny.pretrain_run(corpus, tmp_path / "out", (phase(steps=2, warmup_steps=1),)).to_json())
    code = (
        "import json, sys; from pathlib import Path; from model.training.loop import PretrainRun, train;"
        " train(PretrainRun.from_json(json.loads(Path(sys.argv[1]).read_text())));"
        " print({'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def loss_series(output: str) -> list[float]:
    return [row["loss"] for row in metrics(output) if row["kind"] in ("train", "validation")]


@pytest.mark.slow
@pytest.mark.parametrize("normalisation", ["global", "per_worker"])
def test_two_workers_compute_what_one_does(corpus: tiny.Corpus, tmp_path: Path, normalisation: Any) -> None:
    """Under torchrun: the same samples, masks and micro-batches; losses within 1e-3 (measured: 1e-7)."""
    alone = tiny.pretrain_run(corpus, tmp_path / "one", (phase(steps=40),))
    train(alone)
    run = replace(alone, output=str(tmp_path / "two"))
    run = replace(run, config=replace(run.config, training=replace(run.config.training, mlm_normalisation=normalisation)))
    done = subprocess.run(command(run, tmp_path, *TORCHRUN), cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done at step 40 of 40") == 1
    ones, twos = loss_series(alone.output), loss_series(run.output)
    if normalisation == "global":
        np.testing.assert_allclose(ones, twos, rtol=1e-3)
    else:  # weighs the words of a worker that has few of them more: close, but not the same gradients
        np.testing.assert_allclose(ones, twos, rtol=0.02)
        assert not np.allclose(ones, twos, rtol=1e-6)
    even, spread = (
        [row["token_spread"] for row in checkpoint.read_metrics(output) if row["kind"] == "train"]
        for output in (alone.output, run.output)
    )
    assert even == [1.0] * 40
    assert all(1 <= one <= 2 for one in spread) and max(spread) > 1


@pytest.mark.slow
def test_fewer_shards_than_workers_are_no_error(tmp_path: Path) -> None:
    """Three workers, one shard."""
    made = tiny.prepare(tmp_path / "corpus", rows=60, rows_a_shard=1_000)
    made = replace(made, shards={"news/24": made.shards["news/24"]})
    alone = tiny.pretrain_run(made, tmp_path / "one", (phase(steps=6, warmup_steps=2),))
    train(alone)
    run = replace(alone, output=str(tmp_path / "three"))
    workers = (*TORCHRUN[:-1], "3")
    done = subprocess.run(command(run, tmp_path, *workers), cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(loss_series(run.output), loss_series(alone.output), rtol=1e-3)


@pytest.mark.slow
def test_two_workers_resume_bit_for_bit_and_one_goes_on_from_them(corpus: tiny.Corpus, tmp_path: Path) -> None:
    """A worker under torchrun is killed with SIGKILL; the run is started again with two, and with one."""
    run = tiny.pretrain_run(corpus, tmp_path / "whole", (phase(steps=60),), checkpoint_every=20, validate_every=30)
    subprocess.run(command(run, tmp_path, *TORCHRUN), cwd=ROOT, env=environment(), capture_output=True, check=True)
    two = replace(run, output=str(tmp_path / "two"))
    process = subprocess.Popen(
        command(two, tmp_path, *TORCHRUN),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step ") and int(line.split()[1].partition("/")[0]) > 25:
            os.kill(storage.read_json(f"{two.output}/attempt-0001/attempt.json")["pid"], signal.SIGKILL)
            break
    process.communicate()  # torchrun ends the other worker
    assert process.returncode != 0
    one = replace(run, output=str(tmp_path / "one"))
    shutil.copytree(two.output, one.output)
    subprocess.run(command(two, tmp_path, *TORCHRUN), cwd=ROOT, env=environment(), capture_output=True, check=True)
    assert 20 <= storage.read_json(f"{two.output}/attempt-0002/attempt.json")["step"] < 60
    whole, resumed = newest_of(run.output), newest_of(two.output)
    assert whole and resumed and content(resumed) == content(whole)
    assert metrics(two.output) == metrics(run.output)
    assert train(one).attempt == 2
    np.testing.assert_allclose(loss_series(one.output), loss_series(run.output), rtol=1e-3)
