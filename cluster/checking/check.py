"""Ask all machines of a cluster whether they are fit for a run, and judge what they say."""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from cluster import session
from cluster.checking import clocks, machine, network, resources, versions
from cluster.checking.clocks import Offset
from cluster.checking.findings import Finding, Level, Topic
from cluster.checking.network import Network
from cluster.nodes import Node, alive, answers
from pipeline import storage
from pipeline.engine import places

SECONDS = 20.0
"""Longest wait for each question. All answer within a few on machines that are not overloaded."""

Tell = Callable[[Finding], None]


@dataclass
class Result:
    """What was found, and the facts behind it."""

    findings: list[Finding] = field(default_factory=list)
    machines: list[dict[str, Any]] = field(default_factory=list)
    """Facts of each machine that answers."""
    network: dict[str, Any] = field(default_factory=dict)
    tell: Tell = lambda finding: None
    """Called with each finding as soon as it is known."""

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.findings.append(finding)
            self.tell(finding)

    @property
    def fit(self) -> bool:
        """Whether nothing would break a run."""
        return all(finding.level != "error" for finding in self.findings)


def check(address: str, output: str = "", seconds: float = SECONDS, tell: Tell = lambda finding: None) -> Result:
    """Check the cluster at an address, from one of its machines.

    Args:
        output: folder of a run that all machines must see; empty: none is looked at.
        seconds: longest wait for each question.
        tell: called with each finding as soon as it is known.

    Raises: `ClusterError` when there is no connection; `StorageError` when this machine cannot write to `output`.
    """
    result = Result(tell=tell)
    with session.attached(address), actors_on(alive()) as actors:
        Check(actors, seconds, result).run(output)
    return result


@contextmanager
def actors_on(nodes: list[Node]) -> Iterator[dict[Node, Any]]:
    """An actor on each node, which claims nothing."""
    import ray
    import ray.cloudpickle

    untyped: Any = ray
    pickling: Any = ray.cloudpickle
    pickling.register_pickle_by_value(machine)
    try:
        actors = {
            node: untyped.remote(num_cpus=0, max_restarts=0, scheduling_strategy=node.strategy())(machine.Machine).remote()
            for node in nodes
        }
        yield actors
    finally:
        pickling.unregister_pickle_by_value(machine)


class Check:
    """One check. Those that do not answer a question are not asked the next ones."""

    def __init__(self, actors: dict[Node, Any], seconds: float, result: Result) -> None:
        self.actors, self.seconds, self.result, self.found = actors, seconds, result, result.add
        hosts = [node.host for node in actors]
        self.names = {node: node.host if hosts.count(node.host) == 1 else f"{node.host} ({node.address})" for node in actors}

    def run(self, output: str) -> None:
        """Ask everything, the cheap things first."""
        facts = self._ask("machines", "facts", versions.PACKAGES)
        self._machines(facts)
        named = self._named(facts)
        here = {"python": platform.python_version(), **{name: machine.version(name) for name in versions.PACKAGES}}
        there = {host: one["versions"] for host, one in named.items()}
        self.found(versions.judge(here, there, session.ships()))
        offsets = self._offsets(facts)
        self.found(clocks.judge(self._named(offsets)))
        if output:
            self._output(output, facts)
        self.found(resources.disks(named))
        self._gpus(facts)
        self.found(resources.priorities(named))
        self._network([node for node in facts if _works(node) and _same_torch(facts[node]["versions"], here)])
        self.result.machines = [
            {
                **{"host": node.host, "address": node.address, "works": _works(node), **facts[node]},
                "clock": asdict(offsets[node]) if node in offsets else None,
            }
            for node in facts
        ]

    def _ask(self, topic: Topic, question: str, *arguments: Any, nodes: Iterable[Node] | None = None) -> dict[Node, Any]:
        """Ask nodes the same; returns the answers. An error is a finding; a node that gave no answer is asked no more."""
        asked = {
            node: getattr(self.actors[node], question).remote(*arguments)
            for node in (self.actors if nodes is None else nodes)
            if node in self.actors
        }
        answered = answers(asked, self.seconds)
        for node, problem in answered.failed.items():
            self.found([Finding("error", topic, problem, (self.names[node],))])
        silent = dict.fromkeys(answered.silent, f"no answer within {self.seconds:g} s: frozen, cut off or overloaded")
        for node, problem in {**answered.lost, **silent}.items():
            self.found([Finding("error", "machines", problem, (self.names[node],))])
            del self.actors[node]
        return answered.given

    def _named(self, values: Mapping[Node, Any]) -> dict[str, Any]:
        return {self.names[node]: value for node, value in values.items()}

    def _machines(self, facts: Mapping[Node, Any]) -> None:
        """Judge who is there, and who lets whom in."""
        working = [node for node in facts if _works(node)]
        idle = [self.names[node] for node in facts if not _works(node)]
        if not working:
            self.found([Finding("error", "machines", "no machine that answers has CPUs for work: add one (--num-cpus)")])
        else:
            cpus, gpus = (sum(node.resources.get(name, 0) for node in working) for name in ("CPU", "GPU"))
            names = ", ".join(self.names[node] for node in working)
            aside = f"; without work: {', '.join(idle)}" if idle else ""
            self.found([Finding("ok", "machines", f"{cpus:g} CPUs and {gpus:g} GPUs for work on {names}{aside}")])
        if os.environ.get("RAY_AUTH_MODE") != "token":
            text = "the cluster asks for no token: whoever reaches its ports can run programs there"
            self.found([Finding("warning", "token", text)])

    def _offsets(self, facts: Mapping[Node, Any]) -> dict[Node, Offset]:
        """Compare the clocks."""
        import ray

        offsets = {}
        for node in facts:
            try:
                offsets[node] = clocks.offset(partial(self._time, self.actors[node]))
            except ray.exceptions.RayError:  # also of the time limit
                self.found([Finding("error", "machines", "no answer any more: frozen or cut off", (self.names[node],))])
                del self.actors[node]
        return offsets

    def _time(self, actor: Any) -> float:
        import ray

        return float(ray.get(actor.time.remote(), timeout=self.seconds))

    def _output(self, output: str, facts: Mapping[Node, Any]) -> None:
        """Judge who sees the folder of a run, and can write to it."""
        there_before = storage.is_folder(output)
        with places.marked(output) as mark:
            seen = self._ask("output", "unseen", mark, nodes=facts)
        if not there_before and storage.is_local(output):
            with suppress(OSError):  # somebody else uses it by now
                storage.local_path(output).rmdir()
        for node, problem in seen.items():
            if problem:
                # A head without CPUs may still run the driver of a job.
                level: Level = "error" if _works(node) else "warning"
                self.found([Finding(level, "output", f"{problem}; {places.WAY_ON}", (self.names[node],))])
        if seen and not any(seen.values()):
            self.found([Finding("ok", "output", f"all {len(seen)} machines see {output}, and can write there")])

    def _gpus(self, facts: Mapping[Node, Any]) -> None:
        claimed = {node: node.resources.get("GPU", 0) for node in facts}
        seen = self._ask("gpus", "gpus", nodes=[node for node in facts if claimed[node]])
        self.found(resources.gpus(self._named(claimed), self._named(facts), self._named(seen)))

    def _network(self, nodes: list[Node]) -> None:
        """Measure and judge the network."""
        import ray

        actors = {node: self.actors[node] for node in nodes if node in self.actors}
        if len(actors) < 2:
            self.found([Finding("ok", "network", "no network to measure: fewer than two machines work")])
            return
        untyped: Any = ray
        total, free = (amounts.get("GPU", 0) for amounts in (untyped.cluster_resources(), untyped.available_resources()))
        gpu = all(node.resources.get("GPU") for node in actors) and total == free
        measured: Network = network.measure(actors, self.seconds, gpu)
        self.found(network.judge(measured, self.names))
        self.result.network = {
            "backend": measured.backend,
            "bytes": measured.bytes,
            "seconds": measured.seconds,
            "links": self._named(measured.links),
        }


def _works(node: Node) -> bool:
    return node.resources.get("CPU", 0) > 0


def _same_torch(there: versions.Versions, here: versions.Versions) -> bool:
    return versions.public(there["torch"]) == versions.public(here["torch"])
