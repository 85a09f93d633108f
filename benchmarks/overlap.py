"""How much of the all-reduce is hidden behind computing: two workers on two hosts, joined by a slow link.

    overlap/step                s      baseline: one all-reduce after the last backward pass, as ours was before
    overlap/step/vs-ddp         s      baseline: torch's DistributedDataParallel on the same network and link
    overlap/step/bf16           s      baseline: ours in float32
    overlap/step/1MB, /25MB     s      in buckets of another size; baseline: ours
    overlap/hidden              %      the longer of computing alone and communicating alone / step; baseline: the same before
    overlap/hidden/2-micro-batches     in a step of two micro-batches: the first one's backward pass hides nothing

The hosts are two network namespaces, which needs root, util-linux and iproute2. The link between them is limited (`tc tbf`) so
that an all-reduce of all gradients takes as long as one backward pass: where hiding it matters most. Each worker has one thread
for computing; gloo has its own, which take their time from the same two cores. A step has one micro-batch per worker. All kinds
of step take turns, and the median counts.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.command import ROOT
from benchmarks.measurement import Measurement

SIZES = ("1 MB", "25 MB")
"""Other sizes of buckets; the largest is the default of DistributedDataParallel."""
SYNCHRONOUS = ("overlapped", "bf16", "blocking", *SIZES)
"""Kinds of step after which all workers have the same weights."""
KINDS = ("computing", "communicating", "ddp", *SYNCHRONOUS, "computing twice", "overlapped twice")
TURNS = 5
ADDRESSES = ("10.99.0.1", "10.99.0.2")
INTERFACE = "bench0"
TOOLS = ("ip", "tc", "unshare", "nsenter")
WORKER = (sys.executable, "-m", "benchmarks.overlap_worker")


class Pair:
    """Two workers on hosts of their own. Their namespaces and the link are gone as soon as their processes are."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.workers = [stack.enter_context(_waiting(rank)) for rank in range(2)]
        first, second = (str(worker.pid) for worker in self.workers)
        _run(*f"ip link add {INTERFACE} netns {first} type veth peer name {INTERFACE} netns {second}".split())
        for rank in range(2):
            for command in (f"addr add {ADDRESSES[rank]}/24 dev {INTERFACE}", f"link set {INTERFACE} up", "link set lo up"):
                self._on(rank, "ip", *command.split())
        self._say("")  # start
        self.gradient_bytes: int = self._hear()[0]["gradient_bytes"]

    def ask(self, kind: str) -> dict[str, Any]:
        """Run one kind of step on both; the slower one counts."""
        self._say(kind)
        answers = self._hear()
        return {name: max(answer[name] for answer in answers) for name in answers[0]}

    def limit(self, bytes_per_second: float) -> None:
        """Limit the link, in both directions."""
        rate = f"{round(bytes_per_second * 8)}bit"
        for rank in range(2):
            self._on(rank, *f"tc qdisc replace dev {INTERFACE} root tbf rate {rate} burst 256kb latency 200ms".split())

    def _on(self, rank: int, *command: str) -> None:
        _run("nsenter", "--net", "--target", str(self.workers[rank].pid), *command)

    def _say(self, line: str) -> None:
        for worker in self.workers:
            assert worker.stdin
            print(line, file=worker.stdin, flush=True)

    def _hear(self) -> list[dict[str, Any]]:
        lines = [worker.stdout.readline() for worker in self.workers if worker.stdout]
        if not all(lines):
            raise RuntimeError("a worker of the benchmark has ended; its error is above")
        return [json.loads(line) for line in lines]


@contextlib.contextmanager
def _waiting(rank: int) -> Iterator["subprocess.Popen[str]"]:
    """A process in a network namespace of its own that becomes a worker at the first line of input."""
    variables = {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": ADDRESSES[0],
        "MASTER_PORT": "29500",
        "GLOO_SOCKET_IFNAME": INTERFACE,
        "OMP_NUM_THREADS": "1",
    }
    command = ["unshare", "--net", "sh", "-c", 'echo; read line && exec "$@"', "sh", *WORKER]
    process = subprocess.Popen(
        command, cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert process.stdout
        process.stdout.readline()  # from here on it is in its namespace
        yield process
    finally:
        process.kill()
        process.communicate()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def measurements() -> Iterator[Measurement]:
    """Measure all kinds of step in turns."""
    if missing := [tool for tool in TOOLS if not shutil.which(tool)] + ([] if os.geteuid() == 0 else ["root"]):
        print(f"overlap: not measured: it makes two network namespaces, which needs {', '.join(missing)}", file=sys.stderr)
        return
    with contextlib.ExitStack() as stack:
        pair = Pair(stack)
        for kind in SYNCHRONOUS:
            pair.ask(kind)
        assert pair.ask("agree")["equal"], "the workers have different weights"
        for kind in ("computing", "communicating", "ddp", "backward"):
            pair.ask(kind)  # warm up
        rate = _as_slow_as_backward(pair)
        turns = [{kind: pair.ask(kind) for kind in KINDS} for _ in range(TURNS)]
    seconds = {kind: statistics.median(turn[kind]["seconds"] for turn in turns) for kind in KINDS}
    cpu = {kind: statistics.median(turn[kind]["cpu"] for turn in turns) for kind in KINDS}
    yield from _rows(seconds, f"link of {rate * 8 / 1e9:.2g} Gbit/s; {_in_words(seconds, cpu)}")


def _as_slow_as_backward(pair: Pair) -> float:
    """Limit the link so that an all-reduce takes as long as a backward pass; returns its bytes per second."""
    backward: float = statistics.median(pair.ask("backward")["seconds"] for _ in range(5))
    # Two workers send and receive each gradient once. What the all-reduce takes beyond that is measured, and allowed for.
    rate: float = pair.gradient_bytes / backward
    for _ in range(2):
        pair.limit(rate)
        rate *= statistics.median(pair.ask("communicating")["seconds"] for _ in range(3)) / backward
    pair.limit(rate)
    return rate


def _rows(seconds: dict[str, float], note: str) -> Iterator[Measurement]:
    ours = seconds["overlapped"]
    yield Measurement(name="overlap/step", value=ours, unit="s", baseline=seconds["blocking"], workers=2, note=note)
    yield Measurement(name="overlap/step/vs-ddp", value=ours, unit="s", baseline=seconds["ddp"], workers=2)
    yield Measurement(name="overlap/step/bf16", value=seconds["bf16"], unit="s", baseline=ours, workers=2)
    for size in SIZES:
        name = f"overlap/step/{size.replace(' ', '')}"
        yield Measurement(name=name, value=seconds[size], unit="s", baseline=ours, workers=2)
    yield _hidden("overlap/hidden", seconds["computing"], seconds["communicating"], ours, seconds["blocking"])
    twice = (seconds["computing twice"], seconds["communicating"], seconds["overlapped twice"])
    yield _hidden("overlap/hidden/2-micro-batches", *twice)


def _hidden(name: str, computing: float, communicating: float, step: float, before: float | None = None) -> Measurement:
    """The longer of computing and communicating as a part of a step."""
    longer = max(computing, communicating)
    note = f"a step takes {step / longer:.2f} times the longer of computing and communicating; goal: at most 1.15"
    baseline = before and 100 * longer / before
    return Measurement(name=name, value=100 * longer / step, unit="%", baseline=baseline, workers=2, note=note)


def _in_words(seconds: dict[str, float], cpu: dict[str, float]) -> str:
    parts = [f"{kind} {seconds[kind]:.3g} s (CPU {cpu[kind]:.3g} s)" for kind in KINDS]
    return ", ".join(parts) + f"; median of {TURNS} turns"
