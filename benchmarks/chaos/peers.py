"""Runs the plan against other programs on the same hosts, and counts by the same definitions."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.injection import Injector, Store
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.peer_network import BATCH
from benchmarks.chaos.plan import Fault
from tests.machines import HEAD, Machines

PEACEFUL_STEPS = 60
"""Steps that are done before the first fault, for the time of an undisturbed one."""
LOOP = 'while :; do "$@"; sleep 1; done'
"""Starts a program again when it has ended, as a service manager or torchrun does."""
LIGHTHOUSE_PORT = 29510
SETTLING_SECONDS = 240
"""Longest wait for a new step after the last fault."""


@dataclass
class Peer:
    """A program that trains. All but `name` act on the hosts."""

    name: str
    start: Callable[[], Any]
    find: Callable[[], dict[int, str]]
    """The processes that train, and their hosts."""
    damage: Callable[[], bool]
    revive: Callable[[str], Any]
    running: "list[subprocess.Popen[Any]]" = field(default_factory=list)


def ray_train(cluster: Machines, log: Path) -> Peer:
    """The loop of Ray Train's documentation, with a driver that is started again when it ends."""
    endpoint = cluster.environment["AWS_ENDPOINT_URL"].removeprefix("http://")
    where = f"machines/peers?endpoint_override={endpoint}&scheme=http"
    command = [sys.executable, "-m", "benchmarks.chaos.peer_ray", f"s3://{where}", "peer-ray"]
    peer = Peer(
        "peer-ray",
        start=lambda: _run(peer, cluster, HEAD, command, log, {"PEER_ADDRESS": cluster.head_address}),
        find=lambda: {pid: host for host in cluster.workers for pid in cluster.train_workers(host)},
        damage=lambda: Store(cluster).damage("peers/peer-ray", r"/model\.pt$", "model.pt"),
        revive=lambda host: cluster.start(host, wait=False),
    )
    return peer


def torchft(cluster: Machines, log: Path, python: str) -> Peer:
    """torchft: its lighthouse on the head, a replica on each of two workers."""
    head = cluster.hosts[HEAD].address
    lighthouse = str(Path(python).parent / "torchft_lighthouse")
    flags = ["--min_replicas=1", "--quorum_tick_ms=100", "--join_timeout_ms=10000", f"--bind={head}:{LIGHTHOUSE_PORT}"]
    replicas = cluster.workers[:2]

    def start_replica(host: str) -> None:
        command = [python, "-m", "benchmarks.chaos.peer_torchft", "peer-torchft", str(replicas.index(host))]
        own = {"TORCHFT_LIGHTHOUSE": f"http://{head}:{LIGHTHOUSE_PORT}", "PEER_HOST": cluster.hosts[host].address}
        _run(peer, cluster, host, command, log, own)

    def start() -> None:
        _run(peer, cluster, HEAD, [lighthouse, *flags], log, {})
        for host in replicas:
            start_replica(host)

    def find() -> dict[int, str]:
        # The first process is the loop that starts it again.
        found = {host: cluster.processes(host, "benchmarks.chaos.peer_torchft") for host in replicas}
        return {pid: host for host, lines in found.items() for pid, line in lines.items() if not line.startswith("sh ")}

    # It has no checkpoints to damage, so that a worker is only killed.
    peer = Peer("peer-torchft", start, find, damage=lambda: True, revive=start_replica)
    return peer


def _run(peer: Peer, cluster: Machines, host: str, command: Sequence[str], log: Path, variables: dict[str, str]) -> None:
    with log.open("ab") as file:
        words = ["sh", "-c", LOOP, peer.name, *command]
        peer.running.append(cluster.run(host, words, env=variables, stdout=file, stderr=file))


def run(peer: Peer, cluster: Machines, notes: Path, faults: Sequence[Fault], minutes: float) -> Iterator[str]:
    """Train in peace, then so many minutes under the faults; yields the lines of the report."""
    peer.start()
    while (peaceful := Ledger.read(notes, peer.name)).steps < PEACEFUL_STEPS:
        time.sleep(1)
    step_seconds, begin = peaceful.step_seconds(), time.time()
    injector = Injector(cluster, faults, peer.find, peer.damage, peer.revive)
    while True:
        injector.advance(seconds := time.time() - begin)
        time.sleep(0.2)
        if seconds > minutes * 60:
            whole = Ledger.read(notes, peer.name)
            ledger = Ledger(row for row in whole.rows if row["step"] >= PEACEFUL_STEPS)
            faced = [(moment, fault.kind) for moment, fault in injector.injected]
            recovered = [each.seconds is not None for each in ledger.recoveries(faced, step_seconds)]
            if all(recovered) or seconds > minutes * 60 + SETTLING_SECONDS:
                break
            time.sleep(1)
    injector.end()
    _stop(peer)
    done = len(ledger.new) - 1
    used = [one for _, _, _, ids in whole.samples().values() for one in ids]
    yield f"{peer.name}: {sum(recovered)} of {len(injector.injected)} faults survived ({len(faults)} planned)"
    kept = len({one for _, _, _, ids in ledger.samples().values() for one in ids}) / BATCH - 1
    yield f"goodput           {done * step_seconds / seconds:.3f}; a step takes {step_seconds:.3f} s undisturbed"
    yield f"  by samples      {kept * step_seconds / seconds:.3f}: a step with fewer samples counts less"
    yield f"steps lost        {len(ledger.repeats)}"
    planned, distinct = whole.steps * BATCH, len(set(used))
    lost = f"{planned - distinct:,} dropped, {len(used) - distinct:,} used again"
    yield f"samples           of {planned:,} in {whole.steps:,} steps, {lost}"


def _stop(peer: Peer) -> None:
    """End it: first the loops that would start it again."""
    for process in peer.running:
        process.kill()
        process.wait()
    for pid in peer.find():
        os.kill(pid, signal.SIGKILL)
