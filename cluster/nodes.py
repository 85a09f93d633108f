"""The machines of a cluster, each of which runs a node of Ray: which there are, what they answer, whether they see the same
files, and over which network interface they talk.
"""

import ipaddress
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.engine import places
from pipeline.errors import ClusterError

log = logging.getLogger(__name__)

SECONDS = 120
"""Longest wait for the answers. A machine that gives none may be on its way out, and is not a reason to stop."""
NODES_SECONDS = 10.0
"""Longest wait for the list of machines."""
ALIVE = 0
"""State of a machine that is part of the cluster, in Ray's numbers."""
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclass(frozen=True)
class Node:
    """A node of Ray that is alive."""

    id: str
    host: str
    address: str
    resources: Mapping[str, float]

    def __hash__(self) -> int:
        return hash(self.id)

    def strategy(self) -> Any:
        """The scheduling strategy for a task or an actor that must be on this node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self.id, soft=False)


def alive(resources: Mapping[str, float] | None = None) -> list[Node]:
    """Return the nodes of the connected Ray with these resources, ordered by address."""
    import ray

    untyped: Any = ray
    nodes = [
        Node(one["NodeID"], one["NodeManagerHostname"], one["NodeManagerAddress"], one["Resources"])
        for one in untyped.nodes()
        if one["Alive"] and all(one["Resources"].get(name, 0) >= amount for name, amount in (resources or {}).items())
    ]
    return sorted(nodes, key=lambda node: _ordered(node.address))


def _ordered(address: str) -> tuple[int, int]:
    number = ipaddress.ip_address(address)
    return number.version, int(number)


@dataclass(frozen=True)
class Answers:
    """What nodes answered to a question."""

    given: dict[Node, Any]
    failed: dict[Node, str]
    """The reason of those whose answer is an error: that of a task, or of Ray, which could not run it there."""
    lost: dict[Node, str]
    """Those whose process or machine ended before it could answer."""
    silent: list[Node]


def answers(asked: Mapping[Node, Any], seconds: float) -> Answers:
    """Wait for the answers of nodes, with a time limit for all together. `asked`: what `.remote()` returned for each."""
    import ray

    nodes = {task: node for node, task in asked.items()}
    found = Answers({}, {}, {}, [])
    if not nodes:
        return found
    answered, silent = ray.wait(list(nodes), num_returns=len(nodes), timeout=seconds)
    found.silent.extend(nodes[task] for task in silent)
    for task in answered:
        node = nodes[task]
        try:
            found.given[node] = ray.get(task)
        except ray.exceptions.RayTaskError as error:
            found.failed[node] = _line(error.cause)
        except (ray.exceptions.RuntimeEnvSetupError, ray.exceptions.ActorUnschedulableError) as error:
            found.failed[node] = _line(error)
        except ray.exceptions.RayError as error:
            found.lost[node] = _line(error)
    return found


def _line(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def check_nodes(folder: str, files: Mapping[str, int], resources: Mapping[str, float]) -> None:
    """Make sure that all machines of the connected Ray with these resources see a folder and files as this process does.

    `files`: URL -> size.

    Raises: `ClusterError` with the host of one that does not.
    """
    import ray

    untyped: Any = ray
    with places.marked(folder) as mark:
        asked = {}
        for node in alive(resources):
            task = untyped.remote(num_cpus=0, scheduling_strategy=node.strategy(), max_retries=0)(places.unseen)
            asked[node] = task.remote(mark, dict(files))
        found = answers(asked, SECONDS)
    for node in found.silent:
        log.warning("%s does not answer whether it sees %s", node.host, folder)
    # What a node cannot reach, such as a store, is an error of its task. A node that is gone is no reason to stop.
    for node, problem in {**found.given, **found.failed}.items():
        if problem:
            raise ClusterError(f"{node.host} does not see what this machine sees: {problem}; {places.WAY_ON}")


def use_node_interface() -> None:
    """Make Gloo and NCCL use the interface of the address that this machine has in Ray, unless the user has named another.

    By default Gloo takes that of the host name's address: the loopback interface where /etc/hosts says so, one that may be
    firewalled or down elsewhere.
    """
    import ray.util

    untyped: Any = ray.util
    if name := interface_of(untyped.get_node_ip_address()):
        for variable in INTERFACES:
            os.environ.setdefault(variable, name)


def interface_of(address: str) -> str | None:
    """Name of the network interface with an IP address; None if no interface has it."""
    import psutil  # type: ignore[import-untyped]  # Ray needs it too

    wanted = ipaddress.ip_address(address)
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            try:
                if ipaddress.ip_address(entry.address.partition("%")[0]) == wanted:
                    return str(name)
            except ValueError:  # a hardware address
                continue
    return None


def own_node(address: str) -> str | None:
    """Address of the Ray of this machine in the cluster at `host:port`; None if the cluster knows of none.

    Ray looks for it among all processes of the machine: where containers share them, it may take another's.

    Raises: RuntimeError when the cluster does not answer.
    """
    from ray import _raylet

    untyped: Any = _raylet
    nodes = untyped.GcsClient(address=address).get_all_node_info(timeout=NODES_SECONDS).values()
    there = (node.node_manager_address for node in nodes if node.state == ALIVE)
    return next((one for one in there if interface_of(one)), None)
