"""Several workers: they learn what one process learns, die and come back, and end with one line where it cannot go on."""

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.config import ClusterConfig
from cluster.session import check_reachable, check_resources, connected
from model.checkpoints import checkpoint
from model.config import PhaseConfig
from model.training.run import PretrainRun
from pipeline import locks, storage
from pipeline.errors import CheckpointError, ClusterError, CorpusError, StorageError
from tests import tiny
from tests.slow_processes import PATIENCE

ROOT = Path(__file__).parent.parent
STEPS = 120
TWO = ClusterConfig(workers=2, cpus_per_worker=0.5)  # so that they also find room on a machine of one CPU


def pretrain_run(corpus: tiny.Corpus, output: Path | str, **changes: Any) -> PretrainRun:
    settings = {"sequence_length": 24, "batch_size": 16, "steps": STEPS, "learning_rate": 5e-3, "warmup_steps": 10}
    phase = PhaseConfig(**{**settings, **changes})
    return tiny.pretrain_run(corpus, output, (phase,), checkpoint_every=20, validate_every=STEPS, keep_checkpoints=99)


def losses(output: str) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in checkpoint.read_metrics(output) if row["kind"] == "train"}


def weights(output: str) -> str:
    return storage.sha256(storage.join(next(checkpoint.committed(output)), "model.safetensors"))


def worker_processes(parent: int) -> set[int]:
    """Process ids of the Ray Train workers among the descendants of a process."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                names[int(entry.name)] = (entry / "cmdline").read_text()
                children.setdefault(int((entry / "stat").read_text().rpartition(")")[2].split()[1]), []).append(int(entry.name))
            except OSError:  # ended meanwhile
                continue
    found, look = set(), [parent]
    while look:
        pid = look.pop()
        look += children.get(pid, [])
        if names.get(pid, "").startswith("ray::RayTrainWorker"):
            found.add(pid)
    return found


class Killer(threading.Thread):
    """Kills the worker of rank 1 as soon as an attempt has committed a checkpoint; does so in the first `kills` attempts."""

    def __init__(self, output: str, kills: int = 1) -> None:
        super().__init__(daemon=True)
        self.output, self.kills = output, kills
        self.seen = 0
        """Step of the checkpoint that was there at the first."""

    def run(self) -> None:
        for attempt in range(1, self.kills + 1):
            folder = checkpoint.attempt_name(attempt)
            while not (urls := [url for url in checkpoint.committed(self.output) if f"/{folder}/" in url]):
                time.sleep(0.01)
            self.seen = self.seen or step_of(urls[0])
            first = storage.read_json(storage.join(self.output, folder, "attempt.json"))["pid"]
            (second,) = worker_processes(os.getpid()) - {first}
            os.kill(second, signal.SIGKILL)


def step_of(url: str) -> int:
    return int(storage.base_name(url).removeprefix("checkpoint-"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tiny.Corpus:
    return tiny.prepare(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray for all tests of this file: its start costs seconds."""
    with connected(TWO):
        yield


@pytest.fixture(scope="module")
def together(
    corpus: tiny.Corpus, ray: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[tuple[int, int, str]]]:
    """An undisturbed run of two workers: its folder and what it reported."""
    from cluster.launch import pretrain

    run, reports = pretrain_run(corpus, tmp_path_factory.mktemp("together")), []
    result = pretrain(run, TWO, lambda *report: reports.append(report))
    assert (result.step, result.steps, result.attempt) == (STEPS, STEPS, 1)
    return run.output, reports


def test_a_second_training_into_one_folder_is_kept_out(corpus: tiny.Corpus, tmp_path: Path) -> None:
    from cluster.launch import pretrain

    with locks.locked(storage.join(str(tmp_path), locks.LOCK)), pytest.raises(StorageError, match="another run is working"):
        pretrain(pretrain_run(corpus, tmp_path), TWO)


def test_two_workers_learn_what_one_process_learns(
    corpus: tiny.Corpus, together: tuple[str, list[tuple[int, int, str]]], tmp_path: Path
) -> None:
    program = (
        "import json, sys, torch; torch.set_num_threads(1); from model.training.loop import PretrainRun, train;"
        "train(PretrainRun.from_json(json.load(sys.stdin)))"
    )
    alone = pretrain_run(corpus, tmp_path / "alone")
    document = storage.json_bytes(alone.to_json())
    subprocess.run([sys.executable, "-c", program], input=document, cwd=ROOT, check=True)
    assert losses(together[0]) == pytest.approx(losses(alone.output), rel=1e-3)


def test_the_report_goes_from_the_start_to_the_last_step(together: tuple[str, list[tuple[int, int, str]]]) -> None:
    reports = together[1]
    assert reports[0] == (0, STEPS, "pretrain: starting 2 workers")
    done, steps, what = reports[-1]
    assert (done, steps) == (STEPS, STEPS)
    assert what.startswith(f"pretrain: step {STEPS} of {STEPS}, loss ") and what.endswith(" tokens/s")
    assert [done for done, _, _ in reports] == sorted(done for done, _, _ in reports)


def test_of_a_range_as_many_train_as_there_is_room_for_which_is_said_once(
    corpus: tiny.Corpus, ray: None, tmp_path: Path
) -> None:
    from cluster.launch import pretrain

    run, reports = pretrain_run(corpus, tmp_path, steps=20), []
    result = pretrain(run, replace(TWO, workers="1:64"), lambda *report: reports.append(report[2]))
    assert result.finished
    workers = storage.read_json(f"{run.output}/attempt-0001/attempt.json")["workers"]
    assert reports[0] == "pretrain: starting 1 to 64 workers"
    said = [what for what in reports if "workers" in what][1:]
    assert said == [f"pretrain: training with {workers} workers: there is room for no more (attempt 1)"] and workers == 2


def test_the_report_tells_a_failure_from_going_back(corpus: tiny.Corpus, tmp_path: Path) -> None:
    from cluster.progress import Progress

    run, told = pretrain_run(corpus, tmp_path), []
    progress = Progress(run, lambda done, steps, what: told.append(what))
    for begin in ((0,), (1_200,), (1_000, 1_257)):
        attempt = checkpoint.Attempt.begin(run.output, *begin)
        row = {"attempt": attempt.number, "step": begin[0] + 1, "loss": 5.25, "tokens_per_second": None}
        storage.write_json(storage.join(run.output, "progress.json"), row)
        progress.show(now=True)
    assert [what for what in told if "attempt" in what] == [
        "pretrain: restarting after a failure (attempt 2)",
        "pretrain: rolling back from step 1,257 to step 1,000 after bad steps (attempt 3)",
    ]


def test_a_killed_worker_comes_back_and_the_weights_are_bitwise_those_of_an_undisturbed_run(
    corpus: tiny.Corpus, together: tuple[str, list[tuple[int, int, str]]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from cluster.launch import pretrain

    run, reports = pretrain_run(corpus, tmp_path / "killed"), []
    environment, handlers = dict(os.environ), (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    killer = Killer(run.output)
    killer.start()
    result = pretrain(run, TWO, lambda *report: reports.append(report))

    assert (result.step, result.attempt) == (STEPS, 2)
    assert "pretrain: restarting after a failure (attempt 2)" in [what for _, _, what in reports]
    before = [step_of(url) for url in checkpoint.committed(run.output) if "attempt-0001" in url]
    resumed = storage.read_json(storage.join(run.output, "attempt-0002", "attempt.json"))["step"]
    assert killer.seen <= resumed == max(before) < STEPS
    steps = [row["step"] for row in checkpoint.read_metrics(run.output) if row["kind"] == "train"]
    assert steps == list(range(1, STEPS + 1)), "each step counts once"
    assert losses(run.output) == losses(together[0])
    assert weights(run.output) == weights(together[0])

    assert capfd.readouterr().out == "", "standard output belongs to the command"
    assert dict(os.environ) == environment
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_failures_used_up_are_one_line_that_says_where_training_resumes(corpus: tiny.Corpus, ray: None, tmp_path: Path) -> None:
    from cluster.launch import pretrain

    run = pretrain_run(corpus, tmp_path / "dead")
    Killer(run.output).start()
    with pytest.raises(ClusterError) as caught:
        pretrain(run, replace(TWO, max_failures=0))
    newest = step_of(next(checkpoint.committed(run.output)))
    place = storage.join(run.output, "failure.txt")
    assert str(caught.value) == (
        "pretraining stopped after a failure, the last on rank 1: its process was killed or ran out of memory"
        f" (details: {place}); run again: training resumes at step {newest}"
    )
    assert b"died" in storage.read_bytes(place)


@pytest.mark.slow
def test_failures_with_checkpoints_between_them_are_not_added_up(corpus: tiny.Corpus, ray: None, tmp_path: Path) -> None:
    from cluster.launch import pretrain

    run = pretrain_run(corpus, tmp_path / "often", steps=400)
    Killer(run.output, kills=5).start()
    result = pretrain(run, replace(TWO, max_failures=3))
    assert (result.step, result.attempt) == (400, 6)
    steps = [row["step"] for row in checkpoint.read_metrics(run.output) if row["kind"] == "train"]
    assert steps == list(range(1, 401)), "each step counts once"


def test_an_error_that_a_person_must_mend_is_not_tried_again(corpus: tiny.Corpus, ray: None, tmp_path: Path) -> None:
    from cluster.launch import pretrain

    run = pretrain_run(corpus, tmp_path / "wild", learning_rate=1e30)
    with pytest.raises(CheckpointError, match=r"10 bad steps in a row after step \d+, and 3 rollbacks did not help"):
        pretrain(run, TWO)
    assert checkpoint.attempts(run.output) == [1, 2, 3, 4]  # each return is an attempt of its own; a retry would be a fifth


def test_what_is_wrong_with_the_data_is_told_before_any_worker_starts(corpus: tiny.Corpus, tmp_path: Path) -> None:
    from cluster.launch import pretrain

    run, reports = pretrain_run(corpus, tmp_path / "long", sequence_length=512), []
    with pytest.raises(CorpusError, match="no shards of sequence_length 512"):
        pretrain(run, TWO, lambda *report: reports.append(report))
    assert not reports


def test_more_workers_than_the_machine_has_room_for_are_refused_at_once(corpus: tiny.Corpus, tmp_path: Path) -> None:
    from cluster.launch import pretrain

    with pytest.raises(
        ClusterError, match=r"1000 workers with 4 CPU each need 4000, (this machine|the cluster) has \d+: lower"
    ):
        pretrain(pretrain_run(corpus, tmp_path), ClusterConfig(workers=1000, cpus_per_worker=4))


def test_a_ray_that_was_imported_before_is_started_too() -> None:
    """It reads whether to show a token as it is imported; its processes would refuse it, and it would wait for minutes."""
    program = """
import ray
from cluster.config import ClusterConfig
from cluster.session import connected
with connected(ClusterConfig(workers=1)):
    print("connected")
"""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=unset, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout == "connected\n", done.stderr


def test_an_address_where_no_cluster_is_is_refused_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # ours, and nobody listens
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"nothing answers at {address} .*: start Ray there, or give another address"):
            check_reachable(address)


def test_workers_without_a_gpu_for_each_are_refused() -> None:
    with pytest.raises(ClusterError, match="2 workers with 1 GPU each need 2, the cluster has 1: lower workers"):
        check_resources(ClusterConfig(workers=2, gpus_per_worker=1), {"CPU": 8.0, "GPU": 1.0}, "the cluster")


@pytest.mark.parametrize(
    "setting",
    [{"workers": 0}, {"cpus_per_worker": 0}, {"cpus_per_worker": math.nan}, {"gpus_per_worker": 2}, {"max_failures": -1}],
)
def test_settings_that_cannot_be_are_refused(setting: dict[str, Any]) -> None:
    (name, value), *_ = setting.items()
    with pytest.raises(ValueError, match=f"{name} {value}"):
        ClusterConfig(**setting)


@pytest.mark.parametrize(("workers", "fewest", "most"), [(4, 4, 4), ("4", 4, 4), ("2:8", 2, 8), ("3:3", 3, 3)])
def test_workers_are_a_number_or_a_range(workers: int | str, fewest: int, most: int) -> None:
    cluster = ClusterConfig(workers=workers)
    assert (cluster.min_workers, cluster.max_workers, cluster.elastic) == (fewest, most, fewest < most)


@pytest.mark.parametrize(
    ("workers", "problem"),
    [
        ("0:4", "workers 0:4 is below 1: write 1:4"),
        ("4:2", "workers 4:2: the smaller number comes first, so write 2:4"),
        ("2-8", "workers '2-8' is neither a number nor a range such as 2:8"),
        ("2:", "workers '2:' is neither a number nor a range such as 2:8"),
        ("4:0", "workers 4:0 is below 1: write 1:4"),
        ("-1", "workers -1 is below 1"),
        (True, "workers True is neither a number nor a range such as 2:8"),
    ],
)
def test_other_ranges_of_workers_are_one_line(workers: int | str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        ClusterConfig(workers=workers)
    assert str(caught.value) == problem


def test_a_range_fits_where_there_is_room_for_the_fewest() -> None:
    check_resources(ClusterConfig(workers="2:8"), {"CPU": 2.0}, "this machine")
    with pytest.raises(ClusterError, match="2 workers with 1 CPU each need 2, this machine has 1: lower workers"):
        check_resources(ClusterConfig(workers="2:8"), {"CPU": 1.0}, "this machine")


def test_a_recipe_can_be_read_where_ray_is_not_installed() -> None:
    program = "import sys, cluster.config, cluster.launch; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


DRIVER = """
import json, sys
from cluster.config import ClusterConfig
from cluster.launch import pretrain
from model.training.loop import PretrainRun
document, cluster = json.load(sys.stdin)
pretrain(PretrainRun.from_json(document), ClusterConfig(**cluster), lambda *report: print(*report, file=sys.stderr, flush=True))
"""


def driver(
    run: PretrainRun, cwd: Path, environment: Mapping[str, str] = os.environ, **cluster: Any
) -> "subprocess.Popen[bytes]":
    """A process of its own, in another folder, that calls `pretrain`."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(storage.json_bytes([run.to_json(), {"cpus_per_worker": 0.5, **cluster}]))
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 0)])
def test_the_workers_end_with_the_driver(corpus: tiny.Corpus, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """On SIGTERM `pretrain` returns, with a checkpoint; the exit code 143 is that of the command."""
    run = pretrain_run(corpus, tmp_path / "out", steps=5_000)
    process = driver(run, tmp_path)
    while not list(checkpoint.committed(run.output)):
        assert process.poll() is None
        time.sleep(0.1)
    workers = worker_processes(process.pid)
    assert len(workers) == 2
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (code, b"")
    gone_by = time.monotonic() + 60  # Ray ends them when it notices; a busy machine takes its time
    while left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < gone_by, f"workers {left} outlived their driver"
        time.sleep(0.2)


@pytest.mark.slow
def test_a_run_in_a_cluster_that_is_there_ships_the_rooms_and_leaves_the_cluster_alone(
    corpus: tiny.Corpus, tmp_path: Path
) -> None:
    """The cluster takes no token; this machine has one, for another."""
    import tempfile

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="nezha-", dir="/tmp") as folder:  # short: sockets lie inside
        options = ["--head", "--block", f"--port={port}", "--num-cpus=2", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}"]
        command = [str(Path(sys.executable).parent / "ray"), "start", *options, "--include-dashboard=false"]
        head = subprocess.Popen(
            command,
            cwd=folder,
            # Workers of a Ray that others started have a niceness of 15, which starves them beside other tests.
            env={**clean, "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert head.poll() is None
                time.sleep(0.2)
            run = pretrain_run(corpus, tmp_path / "out", steps=20)
            environment = {**clean, "RAY_AUTH_TOKEN": "0" * 64}
            process = driver(run, tmp_path, {**environment, "RAY_AUTH_MODE": "token"}, address=f"127.0.0.1:{port}")
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 1 and b"takes no token, but RAY_AUTH_MODE is token: unset it" in errors, (
                errors.decode()
            )
            process = driver(run, tmp_path, environment, address=f"127.0.0.1:{port}")
            out, errors = process.communicate(timeout=600)
            assert (process.returncode, out) == (0, b""), errors.decode()
            assert list(losses(run.output)) == list(range(1, 21))
            assert "ray" not in os.listdir(run.output)
            # On one machine Ray also hands the driver's sys.path on, so that the workers' imports alone prove nothing.
            (shipped,) = Path(folder).glob("session_2*/runtime_resources/working_dir_files/_ray_pkg_*/")
            assert {path.name for path in shipped.iterdir()} == {"pipeline", "model", "cluster", "workflows"}
            assert (shipped / "model/training/loop.py").read_bytes() == (ROOT / "model/training/loop.py").read_bytes()
            assert head.poll() is None
        finally:
            head.terminate()
            head.wait(60)


@pytest.mark.slow
def test_a_worker_that_dies_while_it_starts_gives_its_place_back(
    corpus: tiny.Corpus, ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All places are taken by the first two workers, so that the next two need them."""
    from cluster import trainer
    from cluster.launch import pretrain

    run = pretrain_run(corpus, tmp_path / "run")
    mark = f"{run.output}.killed"

    class KillsOne(trainer.StopBeforeDrain):
        """In the controller: kills a worker of the first group, whose processes are there and whose loop has not begun."""

        def after_worker_group_start(self, worker_group: Any) -> None:
            if not os.path.exists(mark):
                Path(mark).touch()
                os.kill(worker_group.get_workers()[1].metadata.pid, signal.SIGKILL)

    monkeypatch.setattr(trainer, "StopBeforeDrain", KillsOne)
    result = pretrain(run, replace(TWO, start_timeout_seconds=20))
    assert os.path.exists(mark) and result.step == STEPS
