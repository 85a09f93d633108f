"""The speed of the network between machines, as training uses it.

All machines together sum a tensor over Gloo, or over NCCL where each has a GPU: the all-reduce of training. It is as fast as
the slowest link, so neighbours in a ring then exchange bytes two by two. Each machine takes part in two such pairs (one, if
there are but two machines), and one that is slow with both is slow itself.
"""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.checking.findings import Finding
from cluster.nodes import Answers, Node, answers

SLOW = 0.5
"""A machine is slow below this ratio of the median of all."""
GRADIENTS = 4 * 102e6
"""Bytes of the gradients of nezha-base in 32 bits."""

Pair = tuple[int, int]


@dataclass
class Network:
    """What was measured."""

    backend: str = "gloo"
    interfaces: dict[Node, str] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    """Time for an all-reduce of `bytes`."""
    links: dict[Node, float] = field(default_factory=dict)
    """Bytes per second of each machine with its better neighbour."""
    problems: dict[Node, str] = field(default_factory=dict)
    """Why nothing could be measured."""


def measure(machines: Mapping[Node, Any], seconds: float, gpu: bool) -> Network:
    """Measure the network between machines, of which there are at least two.

    Args:
        machines: their actors, in the order of their ranks.
        seconds: longest wait for each step.
        gpu: whether each has a GPU that is free.
    """
    found = Network("nccl" if gpu else "gloo")
    nodes = list(machines)
    opened = answers({nodes[0]: machines[nodes[0]].meet_at.remote(nodes[0].address)}, seconds)
    if _failed(opened, found, seconds):
        return found
    where = (nodes[0].address, opened.given[nodes[0]])
    size = len(nodes)
    joined = answers(
        {node: machines[node].join.remote(where, rank, size, seconds, gpu) for rank, node in enumerate(nodes)}, seconds
    )
    if _failed(joined, found, seconds):
        return found
    found.interfaces = joined.given
    summed = answers({node: machines[node].all_reduce.remote() for node in nodes}, seconds)
    if _failed(summed, found, seconds):
        return found
    found.bytes, found.seconds = summed.given[nodes[0]]
    for pairs in rounds(size):
        asked = {}
        for one, other in pairs:
            asked[nodes[one]] = machines[nodes[one]].exchange.remote(other, True)
            asked[nodes[other]] = machines[nodes[other]].exchange.remote(one, False)
        exchanged = answers(asked, seconds)
        if _failed(exchanged, found, seconds):
            return found
        for one, other in pairs:
            for node in (nodes[one], nodes[other]):
                found.links[node] = max(found.links.get(node, 0.0), exchanged.given[nodes[one]])
    return found


def _failed(answered: Answers, found: Network, seconds: float) -> bool:
    """Whether a step went wrong on any machine; notes the reasons."""
    found.problems = {
        **answered.failed,
        **dict.fromkeys(answered.lost, "its process ended"),
        **dict.fromkeys(answered.silent, f"no end after {seconds:g} s"),
    }
    return bool(found.problems)


def rounds(size: int) -> list[list[Pair]]:
    """Pair neighbours in a ring of `size`; in each round a machine is in at most one pair."""
    if size == 2:
        return [[(0, 1)]]
    edges = [(one, (one + 1) % size) for one in range(size)]
    last = [edges.pop()] if size % 2 else []
    return [each for each in (edges[::2], edges[1::2], last) if each]


def judge(network: Network, names: Mapping[Node, str]) -> Iterator[Finding]:
    """Judge what was measured. `names`: of the machines."""
    for node, problem in network.problems.items():
        yield Finding("error", "network", f"no all-reduce by {network.backend}: {problem}", (names[node],))
    if network.problems:
        return
    speed = network.bytes / network.seconds
    interfaces = ", ".join(sorted(set(filter(None, network.interfaces.values()))))
    text = (
        f"all-reduce between {len(network.interfaces)} machines: {_megabytes(speed)} by {network.backend} over {interfaces};"
        f" the gradients of nezha-base take {GRADIENTS / speed:,.1f} s"
    )
    yield Finding("ok", "network", text)
    for node, its_speed in slow(network.links).items():
        others = statistics.median(network.links.values())
        text = f"its link carries {_megabytes(its_speed)}, the others' {_megabytes(others)}, and all wait for the slowest"
        yield Finding("warning", "network", text, (names[node],))


def slow(links: Mapping[Node, float]) -> dict[Node, float]:
    """Machines whose link is much slower than those of most; never known with only two."""
    if len(links) < 3:
        return {}
    usual = statistics.median(links.values())
    return {node: speed for node, speed in links.items() if speed < SLOW * usual}


def _megabytes(speed: float) -> str:
    return f"{speed / 1e6:,.0f} MB/s" if speed >= 10e6 else f"{speed / 1e6:,.1f} MB/s"
