"""Room: how many whole workers find a place on the machines of the connected Ray.

    a 8 CPUs, 3 free    b 8 CPUs, all free    c does not answer        workers of 2 CPUs: room for 1 + 4

A machine that does not answer has no room, though Ray counts on it until its own checks have failed several times. One that is
about to be taken away (draining) has none either.
"""

import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cluster.config import ClusterConfig

ANSWER_SECONDS = 2.0
"""Longest wait until a machine accepts a connection."""
ROUNDING = 1e-6
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster, as Ray sees it."""

    id: str
    address: str
    port: int
    """Port of its raylet."""
    free: Mapping[str, float]
    """Resources that nobody has claimed."""


def machines() -> list[Machine]:
    """Return the machines that Ray counts on, but for those that are draining."""
    import ray
    from ray._private import state

    untyped: Any = state
    nodes: Any = ray.nodes
    free, draining = untyped.available_resources_per_node(), untyped.state.get_draining_nodes()
    return [
        Machine(node["NodeID"], node["NodeManagerAddress"], node["NodeManagerPort"], free.get(node["NodeID"], {}))
        for node in nodes()
        if node["Alive"] and node["NodeID"] not in draining
    ]


def answering(some: Iterable[Machine]) -> list[Machine]:
    """Return the machines that accept a connection."""
    some = list(some)
    with ThreadPoolExecutor(max(1, len(some))) as threads:
        return [machine for machine, answers in zip(some, threads.map(_answers, some), strict=True) if answers]


def _answers(machine: Machine) -> bool:
    try:
        socket.create_connection((machine.address, machine.port), timeout=ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def places(some: Iterable[Machine], cluster: ClusterConfig, held: Mapping[str, int]) -> int:
    """Return how many workers these machines have room for.

    Args:
        held: places that our own workers have now, by machine; those of "" are on machines that are not known yet.
    """
    each = cluster.resources.items()
    free = sum(int(min(machine.free.get(name, 0) / amount + ROUNDING for name, amount in each)) for machine in some)
    return free + held.get("", 0) + sum(held.get(machine.id, 0) for machine in some)
