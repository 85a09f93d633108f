"""Our training on a cluster that a plan of faults happens to; afterwards the same training, undisturbed.

Two workers on three machines train into the store; the third machine is a spare. A command that ends before its time is started
again, as by a service manager, but the fault before it does not count as survived. It runs on the head, or where it survives
the head, on the host `login`.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.chaos.driver import SUPERVISE
from benchmarks.chaos.injection import Injector, Store
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.plan import Fault
from benchmarks.chaos.worker import FOLDER
from cluster.config import ClusterConfig
from model.checkpoints import checkpoint
from model.config import EncoderConfig, PhaseConfig
from model.training.run import PretrainRun
from model.training.stopping import StopReason, request_stop
from pipeline import storage
from pipeline.errors import StorageError
from tests import tiny
from tests.machines import HEAD, LOGIN, Machines, machines

ENCODER = EncoderConfig(
    hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512, max_relative_position=16
)
WORKERS = 2
CHECKPOINT_EVERY = 20
"""Steps between checkpoints."""
LAST_STEP = 1_000_000
"""A step that no run gets to: they are stopped."""
SETTLING_SECONDS = 240
"""Longest wait after the last fault for a new step, and for a run to stop."""


@dataclass
class Result:
    """A run that has ended. `injected`: when each fault happened."""

    ledger: Ledger
    injected: list[tuple[float, Fault]] = field(default_factory=list)
    driver_ends: list[tuple[float, str]] = field(default_factory=list)
    """When a command ended before its time, and what it said."""
    stopped: bool = True
    """Whether it ended by itself when it was asked to."""


@contextlib.contextmanager
def environment(folder: Path, workers: int = WORKERS + 1, **options: Any) -> Iterator[Machines]:
    """A cluster whose store this process can read. `folder`: what all hosts share; workers note their steps in its `notes`."""
    (folder / "notes").mkdir()
    with machines(workers, shared=[folder], environment={FOLDER: str(folder / "notes")}, **options) as cluster:
        before = dict(os.environ)
        os.environ.update({name: value for name, value in cluster.environment.items() if name.startswith("AWS_")})
        try:
            yield cluster
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)


def pretrain_run(folder: Path, output: str) -> PretrainRun:
    """The training; its corpus is written to `folder` unless it is there."""
    phase = PhaseConfig(sequence_length=24, batch_size=96, steps=LAST_STEP, learning_rate=2e-3, warmup_steps=50)
    corpus = tiny.prepare(folder / "corpus", rows=3_000)
    settings = {"checkpoint_every": CHECKPOINT_EVERY, "validate_every": 5 * CHECKPOINT_EVERY, "micro_batch_tokens": 640}
    run = tiny.pretrain_run(corpus, output, (phase,), keep_checkpoints=5, **settings)
    return replace(run, config=replace(run.config, encoder=ENCODER))


class Command:
    """A run with its supervisor, started again whenever it ends."""

    def __init__(self, cluster: Machines, run: PretrainRun, log: Path) -> None:
        self.cluster, self.run, self.log = cluster, run, log
        self.host = LOGIN if LOGIN in cluster.hosts else HEAD
        self.ends: list[tuple[float, str]] = []
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        settings = ClusterConfig(
            workers=WORKERS,
            address=self.cluster.head_address,
            cpus_per_worker=self.cluster.cpus,
            max_failures=10_000,
            start_timeout_seconds=20,
        )
        with self.log.open("ab") as log:
            words = [sys.executable, "-m", "benchmarks.chaos.driver", SUPERVISE]
            process = self.cluster.run(self.host, words, stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert process.stdin
        process.stdin.write(storage.json_bytes([self.run.to_json(), asdict(settings)]))
        process.stdin.close()
        return process

    def keep_up(self) -> None:
        """Start it again if it has ended."""
        if self.process.poll() is not None:
            self.ends.append((time.time(), self.last_line()))
            self.process = self._start()

    def drivers(self) -> list[int]:
        """The driver that the supervisor has started."""
        found = self.cluster.processes(self.host, "benchmarks.chaos.driver")
        return [pid for pid, line in found.items() if SUPERVISE not in line]

    def last_line(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"code {self.process.returncode}: {lines[-1] if lines else ''}"

    def stop(self) -> bool:
        """Ask it to stop; returns whether it did."""
        deadline = time.monotonic() + SETTLING_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(StorageError):
                request_stop(self.run.output, StopReason.REQUEST, attempt=1_000_000_000)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            return False
        return self.process.returncode == 0


def disturbed(cluster: Machines, folder: Path, faults: Sequence[Fault], minutes: float) -> Result:
    """Train for so many minutes after the first step, while the faults happen."""
    run = pretrain_run(folder, f"{cluster.store_url}/disturbed")
    notes, store = folder / "notes", Store(cluster)
    command = Command(cluster, run, folder / "driver.log")
    injector = Injector(
        cluster,
        faults,
        find=lambda: {pid: host for host in cluster.workers for pid in cluster.train_workers(host)},
        damage=lambda: store.damage("disturbed", r"/checkpoint\.json$", "model.safetensors"),
        revive=lambda host: cluster.start(host, wait=False),
        drivers=command.drivers,
    )
    while not (first := Ledger.read(notes, "disturbed").new):
        command.keep_up()
        time.sleep(0.5)
    start = first[0]["time"]
    while (seconds := time.time() - start) < minutes * 60 or len(injector.injected) < len(faults):
        injector.advance(seconds)
        command.keep_up()
        time.sleep(0.2)
        if seconds > minutes * 60 + SETTLING_SECONDS:  # the next fault finds nothing to break: no worker is left
            break
    _settle(command, injector, notes, start)
    injector.end()
    stopped = command.stop()
    return Result(Ledger.read(notes, "disturbed"), injector.injected, command.ends, stopped)


def _settle(command: Command, injector: Injector, notes: Path, start: float) -> None:
    """Wait for a new step after the last fault, and for faults that pass."""
    deadline = time.monotonic() + SETTLING_SECONDS
    while time.monotonic() < deadline:
        injector.advance(time.time() - start)
        command.keep_up()
        ledger = Ledger.read(notes, "disturbed")
        if all(each.seconds is not None for each in ledger.recoveries([(t, f.kind) for t, f in injector.injected], 0.5)):
            return
        time.sleep(1)


def undisturbed(cluster: Machines, folder: Path, steps: int) -> Result:
    """Train at least so many steps in peace."""
    run = pretrain_run(folder, f"{cluster.store_url}/undisturbed")
    command = Command(cluster, run, folder / "driver.log")
    while Ledger.read(folder / "notes", "undisturbed").steps < steps:
        command.keep_up()
        time.sleep(1)
    stopped = command.stop()
    return Result(Ledger.read(folder / "notes", "undisturbed"), driver_ends=command.ends, stopped=stopped)


def same_weights(cluster: Machines) -> tuple[int, bool] | None:
    """Compare the newest checkpoint that both runs have: its step, and whether all weights are equal bit for bit."""
    found = []
    for name in ("disturbed", "undisturbed"):
        newest: dict[str, str] = {}
        for url in checkpoint.committed(f"{cluster.store_url}/{name}"):  # a later attempt's first: earlier ones may be damaged
            newest.setdefault(storage.base_name(url), url)
        found.append(newest)
    if common := sorted(found[0].keys() & found[1].keys()):
        one, other = (storage.sha256(storage.join(each[common[-1]], "model.safetensors")) for each in found)
        return int(common[-1].removeprefix("checkpoint-")), one == other
    return None
