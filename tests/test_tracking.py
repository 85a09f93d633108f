"""Metrics appear when they are made, a step once; where the time went adds up; neither ends a run."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.config import ClusterConfig
from cluster.supervisor import pretrain
from model.checkpoints.checkpoint import Attempt, read_metrics
from model.config import PhaseConfig, TrainingConfig
from model.training.loop import train
from model.training.run import PretrainRun
from model.training.tracking import accounts, clock, lines, spent, summary
from model.training.tracking.accounts import Account
from model.training.tracking.clock import Clock
from model.training.tracking.growing import GrowingFile, GrowingFolder
from model.training.tracking.live import Live
from model.training.tracking.spent import where_time_went
from pipeline import storage
from tests import tiny
from tests.slow_processes import descendants, wait_for

STEPS = list(range(1, 21))
WORKER, DRIVER = "ray::RayTrainWorker", "cluster.driver"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("corpus"), validation_rows=2)


def interrupted(corpus: tiny.Corpus, output: Path | str, **settings: Any) -> PretrainRun:
    """Train to step 13, with a checkpoint of step 10, and fail; returns the run."""
    every = {"validation_sequences": 0, "validate_every": 13, "checkpoint_every": 10}
    run = tiny.pretrain_run(corpus, output, **{**every, **settings})

    def fail(metrics: dict[str, Any], url: str | None) -> None:
        if metrics["step"] == 13:
            raise RuntimeError("a cable was pulled")

    with pytest.raises(RuntimeError, match="a cable"):
        train(run, on_commit=fail)
    return run


def shown(output: Path | str) -> list[dict[str, Any]]:
    """The training rows among the live JSON lines."""
    return [row for row in lines.read(storage.join(str(output), "live")) if row["kind"] == "train"]


def read_by_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of all scalars, as TensorBoard's own reader gives them."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    accumulator.Reload()
    return {tag: [(one.step, one.value) for one in accumulator.Scalars(tag)] for tag in accumulator.Tags()[SCALARS]}


def test_rows_appear_before_the_checkpoint_that_keeps_them(corpus: tiny.Corpus, tmp_path: Path) -> None:
    output = tmp_path / "out"
    seen: list[Any] = []

    def look(metrics: dict[str, Any], url: str | None) -> None:
        if metrics["step"] == 10:
            assert not list(output.glob("attempt-*/metrics-*"))
            wait_for(lambda: [row["step"] for row in shown(output)] == STEPS[:10])
            wait_for(lambda: len(read_by_tensorboard(output / "live").get("train/loss", [])) == 10)
            seen.append(True)

    train(tiny.pretrain_run(corpus, output, validation_sequences=0, checkpoint_every=100), on_commit=look)
    assert seen
    (last, *_) = shown(output)[::-1]
    assert last["workers"] == 1 and last["failures"] == 0 and 0 < last["goodput"] < 1
    assert {"checkpoint_seconds", "data_seconds", "tokens_per_second", "mfu", "memory_bytes", "pair_accuracy"} <= set(last)


def test_a_resumed_run_shows_a_step_once(corpus: tiny.Corpus, tmp_path: Path) -> None:
    output = tmp_path / "out"
    train(interrupted(corpus, output))
    kept = [row for row in read_metrics(str(output)) if row["kind"] == "train"]
    rows = shown(output)
    assert [row["step"] for row in rows] == STEPS
    assert [row["loss"] for row in rows] == [row["loss"] for row in kept]
    read = read_by_tensorboard(output / "live")
    assert [step for step, _ in read["train/loss"]] == STEPS
    assert [value for _, value in read["train/loss"]] == pytest.approx([row["loss"] for row in kept])
    assert {len(points) for tag, points in read.items() if not tag.startswith("validation")} == {20}
    assert {"optimizer/learning_rate", "trust_ratios/encoder.0/max", "speed/tokens_per_second", "run/goodput"} <= set(read)
    assert [row["failures"] for row in rows] == [0] * 10 + [1] * 10


def test_a_full_folder_or_no_tensorboard_ends_no_run(
    corpus: tiny.Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    for name in ("live", "events"):
        (output / name).write_text("no folder")
    assert train(tiny.pretrain_run(corpus, output)).finished
    assert len([record for record in caplog.records if "rows of metrics: not written" in record.message]) == 1


def test_live_metrics_are_off_for_other_workers_and_tensorboard_by_a_setting(corpus: tiny.Corpus, tmp_path: Path) -> None:
    train(tiny.pretrain_run(corpus, tmp_path / "out", tensorboard=False))
    assert [path.suffix for path in (tmp_path / "out" / "live").iterdir()] == [".jsonl"]
    other = Live(str(tmp_path / "other"), TrainingConfig(), first=False)
    other.begin(Attempt(str(tmp_path / "other"), 1, ""), 0, rolled_back=False, workers=2)
    other.add({"kind": "train", "step": 1})
    other.end("finished")
    assert not (tmp_path / "other").exists()


def row(step: int, kind: str = "train", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "step": step, "phase": 0, "loss": float(step), "learning_rate": 0.1, **more}


@pytest.mark.parametrize("place", ["disk", "memory://tracking"])
def test_a_rollback_takes_the_rows_since_the_checkpoint_back(place: str, tmp_path: Path) -> None:
    """On an object store, files are uploaded whole."""
    output = str(tmp_path) if place == "disk" else place
    live = Live(output, TrainingConfig(), first=True)
    live.begin(Attempt.begin(output, 0), 0, rolled_back=False, workers=2)
    for step in (1, 2):
        live.add(row(step))
    live.add(row(2, "samples"))
    live.clock.stepped(4)
    for made in (row(2, "skipped"), row(3), row(4), row(4, "skipped")):
        live.add(made)
    live.roll_back()
    live.begin(Attempt.begin(output, 2), 2, rolled_back=True, workers=2)
    live.add(row(2, "rollback"))
    live.add(row(3))
    live.clock.stepped(3)
    live.end("finished")
    folder = storage.join(output, "live")
    assert [(one["kind"], one["step"]) for one in lines.read(folder)] == [
        *(("train", 1), ("train", 2), ("samples", 2), ("rollback", 2), ("train", 3)),
    ]
    for name in storage.list_names(folder):
        storage.write_bytes(str(tmp_path / "read" / name), storage.read_bytes(storage.join(folder, name)))
    assert read_by_tensorboard(tmp_path / "read")["train/loss"] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    found = where_time_went(output)
    assert found and [(one.what, one.steps) for one in found.failures] == [("rolled back after step 4: too many bad steps", 1)]


def test_a_worker_that_was_replaced_shows_nothing_more(tmp_path: Path) -> None:
    output = str(tmp_path)
    live = Live(output, TrainingConfig(), first=True)
    live.begin(Attempt.begin(output, 0), 0, rolled_back=False, workers=1)
    Attempt.begin(output, 0)
    live.add(row(1))
    live.end("finished")
    assert shown(output) == []


def test_lines_that_a_disk_damaged_end_no_run(tmp_path: Path) -> None:
    output = str(tmp_path)
    first = Live(output, TrainingConfig(), first=True)
    first.begin(Attempt.begin(output, 0), 0, rolled_back=False, workers=1)
    for step in (1, 2):
        first.add(row(step))
    first.end("killed")
    (file,) = (tmp_path / "live").glob("metrics-*")
    file.write_bytes(b"\0\0\0\n[]\n{}\n" + file.read_bytes())
    second = Live(output, TrainingConfig(), first=True)
    second.begin(Attempt.begin(output, 1), 1, rolled_back=False, workers=1)
    second.add(row(2))
    second.end("finished")
    assert [one["step"] for one in shown(output)] == [1, 2]


def test_what_a_full_disk_cut_short_is_written_again(tmp_path: Path) -> None:
    file = GrowingFile(GrowingFolder(str(tmp_path)), "metrics", "jsonl", head=b"head\n")
    file.append(b"one\n")
    path = tmp_path / "metrics-000.jsonl"
    path.write_bytes(path.read_bytes() + b"tw")
    file.append(b"two\n")
    assert path.read_bytes() == b"head\none\ntwo\n"


def test_mlflow_has_a_step_once_also_after_a_resume_and_a_rollback(corpus: tiny.Corpus, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is an extra, and needs older packages than those pinned here")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    output = tmp_path / "out"
    run = interrupted(corpus, output, mlflow=uri)
    name = wait_for((output / "live" / "mlflow.json").exists) and storage.read_json(str(output / "live" / "mlflow.json"))["run"]
    client = MlflowClient(uri)

    def losses(run: str) -> list[int]:
        return [one.step for one in client.get_metric_history(run, "train/loss")]

    wait_for(lambda: losses(name) == STEPS[:13])
    train(run)
    wait_for(lambda: client.get_run(name).info.status == "FINISHED")
    assert losses(name) == STEPS
    live = Live(str(output), run.config.training, first=True)
    live.begin(Attempt.begin(str(output), 10), 10, rolled_back=True, workers=1)
    live.add(row(11))
    live.end("finished")
    again = wait_for(lambda: storage.read_json(str(output / "live" / "mlflow.json"))["run"])
    assert again != name and losses(again) == STEPS[:11]


def test_the_clock_is_always_one_thing() -> None:
    watch = Clock()
    started = time.perf_counter()
    with watch.doing(clock.DATA):
        pass
    watch.resume(step=3, reached=5)
    watch.stepped(4)
    with watch.doing(clock.VALIDATION):
        time.sleep(0.01)
    assert watch.seconds()[clock.VALIDATION] == 0 and watch.seconds()[clock.REPEATING] >= 0.01
    watch.stepped(5)
    with watch.doing(clock.CHECKPOINTS):
        time.sleep(0.01)
    seconds = watch.seconds()
    assert seconds[clock.CHECKPOINTS] >= 0.01 and seconds[clock.STARTING] > 0
    assert sum(seconds.values()) == pytest.approx(time.perf_counter() - started, abs=0.05)


class Story:
    """Events and accounts of a training that never was."""

    def __init__(self, folder: Path) -> None:
        self.output, self.events = str(folder), list[dict[str, Any]]()

    def add(self, kind: str, at: float, **facts: Any) -> None:
        self.events.append({"kind": kind, "time": float(at), "host": "head", **facts})
        text = "".join(json.dumps(event) + "\n" for event in self.events)
        storage.write_bytes(storage.join(self.output, "events", "1-story.jsonl"), text.encode())

    def attempt(
        self, number: int, opened: float, resumed: int, step: int, ended: str = "", reached: int = 0, **seconds: float
    ) -> None:
        Account(
            attempt=number,
            host=f"h{number}",
            opened=float(opened),
            updated=opened + sum(seconds.values()),
            workers=2,
            resumed=resumed,
            reached=reached,
            step=step,
            seconds=seconds,
            ended=ended,
        ).write(self.output)


def test_time_and_failures_of_a_story_with_everything(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.add("start", 0, command="a")
    story.add("waited", 9, since=2)
    story.add("workers", 10, hosts=["h1", "h5"])
    story.attempt(1, 20, 0, 130, starting=10, computing=100, data=5, checkpoints=3, validation=2)  # up to 140
    story.add("failure", 142, rank=1, what="its process was killed")
    story.add("failure", 160, what="the driver was killed by SIGKILL")
    story.add("waited", 175, since=170)
    story.attempt(2, 180, 100, 300, "stopped: drain", 130, starting=10, repeating=20, computing=70)  # up to 280
    story.attempt(3, 300, 300, 400, starting=5, computing=45)  # up to 350, then the command is killed
    story.add("start", 1_000, command="b")
    story.attempt(4, 1_010, 350, 500, "finished", 400, starting=5, repeating=15, computing=70)  # up to 1100
    story.add("end", 1_101, command="b", how="finished")
    found = where_time_went(str(tmp_path))
    assert found is not None
    assert found.total == pytest.approx(350 + 101) and (found.attempts, found.step, found.ended) == (4, 500, "finished")
    assert found.seconds == {
        "computing": 100 + 70 + 45 + 70,
        "data": 5,
        "checkpoints": 3,
        "validation": 2,
        "recovering": (180 - 140 - 5) + 30 + (300 - 280) + 5 + 10 + 20,
        "waiting for machines": 7 + 5,
        "starting and ending": (20 - 7) + 10 + 1,
    }
    assert [(one.time, one.host, one.what, one.steps, one.seconds) for one in found.failures] == [
        (142, "h5", "rank 1: its process was killed", 0, 160 - 140),
        (160, "head", "the driver was killed by SIGKILL", 30, 180 - 160 + 30),
        (350, "h3", spent.UNKNOWN, 50, 10 + 20),
    ]
    text = summary.lines(found)
    assert text[0] == "where the time went: 7:31 in 4 attempts, up to step 500"
    assert text[1].split() == ["computing", "4:45", "63.2", "%"]
    assert text[-1].endswith("  h3  its process was killed, or its machine was lost: 50 steps repeated, 30.0 s")


def test_a_damaged_account_is_none_and_nothing_recorded_is_nothing(tmp_path: Path) -> None:
    assert where_time_went(str(tmp_path)) is None
    (tmp_path / "attempt-0001").mkdir()
    (tmp_path / "attempt-0001" / "time.json").write_text('{"attempt": 1')
    assert accounts.read(str(tmp_path), 1) is None and where_time_went(str(tmp_path)) is None


@pytest.mark.slow
def test_one_process_that_was_killed_and_started_again(corpus: tiny.Corpus, tmp_path: Path) -> None:
    output = tmp_path / "out"
    phase = PhaseConfig(sequence_length=24, batch_size=16, steps=400, learning_rate=2e-3, warmup_steps=4)
    run = tiny.pretrain_run(corpus, output, (phase,), checkpoint_every=20)
    storage.write_json(str(tmp_path / "run.json"), run.to_json())
    command = [sys.executable, "-m", "model.training", str(tmp_path / "run.json")]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.DEVNULL)
    wait_for(lambda: (account := accounts.read(str(output), 1)) and account.step > 25)
    process.kill()
    process.wait()
    first = accounts.read(str(output), 1)
    assert first is not None and not first.ended
    train(run)
    second = accounts.read(str(output), 2)
    found = where_time_went(str(output))
    assert found is not None and second is not None
    assert found.total == pytest.approx(first.updated - first.opened + second.updated - second.opened, rel=1e-6)
    assert [(one.host, one.what) for one in found.failures] == [(platform.node(), spent.UNKNOWN)]
    assert found.failures[0].steps == second.reached - second.resumed >= 0
    assert [one["step"] for one in shown(output)] == list(range(1, 401))


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_driver_are_accounted_for(corpus: tiny.Corpus, tmp_path: Path) -> None:
    """All time is something, and adds up to the wall clock."""
    output = tmp_path / "out"
    phase = PhaseConfig(sequence_length=24, batch_size=16, steps=600, learning_rate=2e-3, warmup_steps=4)
    run = tiny.pretrain_run(corpus, output, (phase,), checkpoint_every=25, validate_every=100)
    to_kill = [WORKER, DRIVER]

    def kill(done: int, steps: int, what: str) -> None:
        begun = len(storage.list_names(str(output)) if output.exists() else [])
        account = accounts.read(str(output), 3 - len(to_kill)) if to_kill and begun else None
        if account and account.step >= account.resumed + 30:
            pids = [pid for pid, name in descendants(os.getpid()).items() if to_kill[0] in name]
            os.kill(pids[-1], signal.SIGKILL)
            to_kill.pop(0)

    started = time.time()
    result = pretrain(run, ClusterConfig(workers=2, cpus_per_worker=0.5), kill)
    wall = time.time() - started
    assert result.finished and not to_kill
    found = where_time_went(str(output))
    assert found is not None
    assert found.total == pytest.approx(wall, rel=0.01)
    assert sum(found.seconds.values()) == pytest.approx(found.total)
    assert (found.attempts, found.step, found.workers, found.ended) == (3, 600, 2, "finished")
    by_worker, by_driver = found.failures
    assert by_worker.what.endswith("its process was killed or ran out of memory") and by_worker.what.startswith("rank ")
    assert by_driver.what == "the driver was killed by SIGKILL"
    assert {one.host for one in found.failures} == {platform.node()}
    assert all(one.seconds > 0 for one in found.failures) and found.seconds["recovering"] > 0
    assert [one["step"] for one in shown(output)] == list(range(1, 601))
    points = read_by_tensorboard(output / "live")["train/loss"]
    assert [step for step, _ in points] == list(range(1, 601))
