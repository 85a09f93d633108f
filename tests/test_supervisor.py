"""Pretraining by the command: its driver may be killed, and what ends it early keeps the step and says how to go on."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.config import ClusterConfig
from cluster.driver import packed, unpacked
from cluster.supervisor import Driver, pretrain
from model.checkpoints import checkpoint
from model.training.stopping import StopReason, TrainingStopped
from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from tests import tiny
from tests.slow_processes import PATIENCE, descendants, wait_for
from tests.test_cluster import losses, pretrain_run, step_of
from workflows import recipe as recipes
from workflows.chain import DataPointer
from workflows.pretraining import checkpoint as checkpoint_stage

ROOT = Path(__file__).parent.parent
DRIVER, WORKER = "cluster.driver", "ray::RayTrainWorker"
COMMAND = "from workflows.cli import main; main(prog_name='nezha-pipe')"
RECIPE = """
name = "tiny"
seed = 3
[[source]]
name = "news"
kind = "demo"
input = ["news"]
[[source]]
name = "reviews"
kind = "demo"
input = ["reviews"]
[encoder]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 64
max_relative_position = 16
[[phase]]
sequence_length = 24
batch_size = 16
steps = 150
learning_rate = 5e-3
warmup_steps = 10
[training]
precision = "fp32"
micro_batch_tokens = 160
validate_every = 100_000
checkpoint_every = 20
keep_checkpoints = 99
log_every = 1
[cluster]
workers = 1
cpus_per_worker = 0.5
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data"))


def prepared(folder: Path) -> Path:
    """What `prepare` leaves, and a recipe."""
    corpus = tiny.prepare(folder)
    names = {name: storage.base_name(url) for name, url in corpus.shards.items()}
    DataPointer("tiny", storage.base_name(storage.parent(corpus.vocabulary)), names, None).write(str(folder))
    vocabulary = folder / storage.base_name(storage.parent(corpus.vocabulary))
    vocabulary.mkdir(exist_ok=True)
    (vocabulary / "vocab.txt").write_bytes(tiny.VOCAB.to_bytes())
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(data: Path, tmp_path: Path) -> Iterator[Command]:
    """Start `nezha-pipe pretrain` into `tmp_path / "out"`; ended after the test, if need be."""
    started = []

    def start(*options: str) -> "subprocess.Popen[str]":
        words = [str(data / "recipe.toml"), "--data", str(data), "--output", str(tmp_path / "out"), *options]
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "pretrain", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()  # its driver ends with it


def below(process: "subprocess.Popen[str]", words: str) -> list[int]:
    """Processes below one by words of their command lines."""
    return [pid for pid, name in descendants(process.pid).items() if words in name]


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def newest(output: Path) -> int:
    """Step of the newest checkpoint; 0 without one."""
    return step_of(url) if (url := next(checkpoint.committed(str(output)), None)) else 0


@pytest.mark.slow
@pytest.mark.parametrize("killed", [DRIVER, "/gcs/gcs_server", "/raylet/raylet --"])
def test_a_killed_driver_is_started_again_and_repeats_only_the_steps_since_its_checkpoint(
    command: Command, tmp_path: Path, killed: str
) -> None:
    """Without one of Ray's own processes the driver is of no use either."""
    output = tmp_path / "out"
    process = command()
    wait_for(lambda: newest(output), process)
    (pid,) = below(process, killed)
    os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert out == f"{next(checkpoint.committed(str(output)))}\n" and newest(output) == 150
    attempts = checkpoint.attempts(str(output))
    # Workers that lose Ray's first process may still come to the last step; those of a dead driver are ended at once.
    assert attempts == [1, 2] or (attempts == [1] and "gcs" in killed)
    assert all(storage.read_json(str(output / f"attempt-{n:04d}" / "attempt.json"))["step"] >= 20 for n in attempts[1:])
    assert list(losses(str(output))) == list(range(1, 151)), "each step counts once"
    assert "Traceback" not in err


@pytest.mark.slow
def test_sigterm_keeps_the_step_and_a_driver_does_not_outlive_its_supervisor(command: Command, tmp_path: Path) -> None:
    output = tmp_path / "out"
    long = ("--set", "phase.0.steps=100000", "--set", "training.checkpoint_every=100000")
    process = command(*long)
    wait_for(lambda: (output / "progress.json").exists(), process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    step = newest(output)
    assert process.returncode == 143, err
    assert out == f"{next(checkpoint.committed(str(output)))}\n"
    assert err.splitlines()[-1] == f"pretraining stopped at step {step} of 100,000 on SIGTERM; run again: it resumes there"
    assert step == checkpoint.read_metrics(str(output))[-1]["step"] > 0

    process = command(*long)
    wait_for(lambda: (output / "attempt-0002" / "attempt.json").exists(), process)
    assert storage.read_json(str(output / "attempt-0002" / "attempt.json"))["step"] == step
    processes = [*below(process, DRIVER), *below(process, WORKER)]
    assert len(processes) >= 2
    process.kill()
    deadline = time.monotonic() + PATIENCE
    while not gone(processes):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_the_end_of_max_hours_keeps_the_step_and_is_no_failure(command: Command, tmp_path: Path) -> None:
    process = command("--max-hours", "0.001", "--set", "phase.0.steps=100000", "--json")
    out, err = process.communicate(timeout=PATIENCE)
    step = newest(tmp_path / "out")
    assert process.returncode == 0, err
    because = "because its time is over; run again: it resumes there"
    assert err.splitlines()[-1] == f"pretraining stopped at step {step} of 100,000 {because}"
    facts = json.loads(out)
    assert (facts["step"], facts["stopped_by"]) == (step, "budget") and step > 0


@pytest.mark.slow
def test_a_training_that_stopped_is_no_finished_stage(data: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(data / "recipe.toml"), ["phase.0.steps=100000", "cluster.max_hours=0.001"])
    pointer = DataPointer.read(str(data))
    shards = [stages.load(storage.join(str(data), name)) for name in pointer.shards.values()]
    vocabulary = Finished(storage.join(str(data), pointer.vocabulary), {"files": []})
    with pytest.raises(TrainingStopped, match=r"stopped at step [\d,]+ of 100,000 because its time is over") as stopped:
        checkpoint_stage(recipe, shards, vocabulary, str(tmp_path))
    assert stopped.value.exit_code == 0
    (folder,) = tmp_path.glob("checkpoint-*")
    assert newest(folder) > 0 and not (folder / "manifest.json").exists()


def test_ctrl_c_ends_the_driver_too(command: Command) -> None:
    process = command()
    (driver,) = wait_for(lambda: below(process, DRIVER), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == "Stopped. Run the same command again to resume: finished parts are kept."
    assert "Traceback" not in err and gone([driver])


def test_an_error_of_the_driver_is_raised_as_it_was(tmp_path: Path) -> None:
    corpus = tiny.prepare(tmp_path)
    with pytest.raises(CorpusError, match="no shards of sequence_length 512; there are some of 24"):
        pretrain(pretrain_run(corpus, tmp_path / "out", sequence_length=512), ClusterConfig(workers=1))


def test_an_error_that_cannot_be_sent_is_sent_as_text() -> None:
    class Local(Exception):
        pass

    try:
        raise Local("here")
    except Local as error:
        assert "test_supervisor.py" in str(unpacked(packed(error)))
    sent = unpacked(packed(CorpusError("damaged")))
    assert isinstance(sent, CorpusError) and str(sent) == "damaged"


def test_errors_with_facts_keep_them_on_their_way_from_a_process() -> None:
    stopped = pickle.loads(pickle.dumps(TrainingStopped(StopReason.SIGTERM, 10, 100)))
    assert (stopped.step, stopped.exit_code) == (10, 143) and "step 10 of 100 on SIGTERM" in str(stopped)


def test_a_driver_that_was_killed_in_the_middle_of_a_line_has_no_result() -> None:
    driver = object.__new__(Driver)
    half = 'print(\'{"report": [1, 2, "a"]}\'); print(\'{"error": "gASV\', end=\'\')'
    driver.process = subprocess.Popen([sys.executable, "-c", half], stdout=subprocess.PIPE)
    seen: list[object] = []
    with driver.process:
        assert driver.result(lambda *news: seen.append(news)) is None
    assert seen == [(1, 2, "a")]


def test_the_supervisor_has_neither_torch_nor_ray_in_it() -> None:
    program = (
        "import sys, workflows.cli.weights, workflows.recipe, workflows.chain, workflows.pretraining, cluster.supervisor;"
        "import model.training.run, workflows.progress; print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
