"""Runs the plan against ours and the peers, and reports."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos import peers, report, training
from benchmarks.chaos.plan import plan, show
from benchmarks.measurement import Measurement
from benchmarks.peers import PeerMissing, environment
from tests.hosts import unavailable

PEER_MINUTES = 10
"""Longest time for each peer: the beginning of the plan."""


def measurements(
    minutes: float, mtbf: float, seed: int, plan_only: bool = False, python: str | None = None, more: bool = False
) -> Iterator[Measurement]:
    """Train under a plan, then undisturbed; then the beginning of the plan with each peer; print the report.

    Args:
        plan_only: print the plan, and do nothing.
        python: that of the environment of the peers; None: .venv-bench.
        more: kill the driver and the head too, and let the store refuse or be slow; not for the peers.

    Raises: SystemExit with the reason where there can be no hosts.
    """
    faults = plan(minutes, mtbf, seed, more)
    print(show(faults), flush=True)
    if plan_only:
        return
    if reason := unavailable():
        raise SystemExit(f"resume: {reason}")
    shorter = min(minutes, PEER_MINUTES)
    beginning = plan(shorter, mtbf, seed)
    with _folder() as folder, training.environment(folder, login=more) as cluster:
        result = training.disturbed(cluster, folder, faults, minutes)
        peaceful = training.undisturbed(cluster, folder, result.ledger.steps).ledger
        print("", *report.summary(result, peaceful, training.same_weights(cluster)), sep="\n", flush=True)
        yield from report.measurements(result, peaceful)
        peer = peers.ray_train(cluster, folder / "ray.log")
        print("", *peers.run(peer, cluster, folder / "notes", beginning, shorter), sep="\n", flush=True)
    try:
        python = environment(python)
    except PeerMissing as missing:
        print(missing)
        return
    with _folder() as folder, training.environment(folder, ray=False) as cluster:
        peer = peers.torchft(cluster, folder / "torchft.log", python)
        print("", *peers.run(peer, cluster, folder / "notes", beginning, shorter), sep="\n", flush=True)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder below /tmp: hosts share no other there."""
    with tempfile.TemporaryDirectory(prefix="nezha-chaos-", dir="/tmp") as name:
        yield Path(name)
