"""`cluster check`: what is judged how, and a check of a real Ray on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cluster.checking import clocks, network, resources, versions
from cluster.checking.check import Check, Result
from cluster.checking.clocks import Offset
from cluster.checking.findings import Finding
from cluster.checking.network import Network
from cluster.config import ClusterConfig
from cluster.nodes import Node, alive
from cluster.session import connected
from workflows.cli import main

HERE = dict.fromkeys(("python", *versions.PACKAGES), "1.0")


def node(number: int) -> Node:
    return Node(str(number), f"n{number}", f"10.0.0.{number}", {"CPU": 1})


def lines(findings: Iterator[Finding]) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.level, finding.hosts) for finding in findings]


class Clock:
    """A clock that is `ahead`, asked over a network whose ways there and back take turns at these seconds."""

    def __init__(self, ahead: float, *ways: tuple[float, float]) -> None:
        self.now, self.ahead, self.ways, self.asked = 1_000.0, ahead, ways, 0

    def here(self) -> float:
        return self.now

    def ask(self) -> float:
        there, back = self.ways[self.asked % len(self.ways)]
        self.asked += 1
        self.now += there
        answer = self.now + self.ahead
        self.now += back
        return answer


@pytest.mark.parametrize("ahead", [0.0, 42.0, -0.5])
def test_a_clock_is_compared_whatever_the_network_takes(ahead: float) -> None:
    slow = Clock(ahead, (3.0, 0.1), (0.01, 0.01), (0.1, 5.0))
    found = clocks.offset(slow.ask, slow.here)
    assert found.seconds == pytest.approx(ahead) and found.error == pytest.approx(0.01)
    one_way = Clock(ahead, (3.0, 0.0))
    found = clocks.offset(one_way.ask, one_way.here)
    assert abs(found.seconds - ahead) <= found.error + 1e-9


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert lines(clocks.judge({"a": Offset(0, 0.001), "b": Offset(5, 5.5)})) == [("ok", ())]


def test_the_clock_that_differs_from_most_is_wrong_even_if_it_is_the_one_here() -> None:
    (one,) = clocks.judge({"here": Offset(0, 0.001), "b": Offset(42, 0.001), "c": Offset(42.3, 0.001)})
    assert one.level == "warning" and one.hosts == ("here",) and "42.0 s behind" in one.text
    (one,) = clocks.judge({"here": Offset(0, 0.001), "b": Offset(1_000, 0.001)})
    assert one.level == "error" and one.hosts == ("b",) and "1,000.0 s ahead" in one.text


@pytest.mark.parametrize(
    ("name", "there", "shipped", "level", "text"),
    [
        ("python", "1.1", True, "error", "Python 1.1, here 1.0: no run can work there"),
        ("ray", "1.1", True, "error", "Ray 1.1, here 1.0: no run can work there"),
        ("torch", "1.1", True, "error", "torch 1.1, here 1.0: training cannot"),
        ("torch", None, True, "error", "no torch, here 1.0: training cannot"),
        ("torch", "1.0+cpu", True, "ok", "the same versions"),
        ("jieba", "1.1", True, "error", "jieba 1.1, here 1.0: prepare would write other bytes there"),
        ("nezha-pipe", "1.1", False, "error", "nezha-pipe 1.1, here 1.0: no run can work there"),
        ("nezha-pipe", "1.1", True, "warning", "nezha-pipe 1.1, here 1.0"),
    ],
)
def test_versions(name: str, there: str | None, shipped: bool, level: str, text: str) -> None:
    found = list(versions.judge(HERE, {"a": HERE, "b": {**HERE, name: there}, "c": {**HERE, name: there}}, shipped))
    assert found[0].level == level and text in found[0].text
    assert {host for finding in found if finding.level == level for host in finding.hosts} == (
        set() if level == "ok" else {"b", "c"}
    )


def facts(**changes: Any) -> dict[str, Any]:
    usual = {"temporary": "/tmp", "temporary_free": 1e12, "shared_memory": 1e10, "shared_memory_free": 1e10}
    return {**usual, "niceness": 0, "devices": 0, **changes}


def test_little_disk_shared_memory_and_priority() -> None:
    given = {"a": facts(), "b": facts(temporary_free=5e9), "c": facts(temporary_free=5e8, shared_memory_free=64e6)}
    assert lines(resources.disks(given)) == [("warning", ("b",)), ("error", ("c",)), ("warning", ("c",))]
    assert lines(resources.disks({"a": facts(), "d": facts(shared_memory=None, shared_memory_free=None)})) == [("ok", ())]
    assert lines(resources.priorities({"a": facts(), "b": facts(niceness=15)})) == [("warning", ("b",))]


def test_gpus_that_torch_does_not_see_and_that_ray_does_not_know() -> None:
    given = {"a": facts(devices=2), "b": facts(devices=2), "c": facts(devices=2), "d": facts()}
    claimed = {"a": 2.0, "b": 2.0, "c": 0.0, "d": 0.0}
    found = list(resources.gpus(claimed, given, {"a": ["V100, 32 GB"] * 2, "b": []}))
    assert lines(iter(found)) == [("warning", ("c",)), ("error", ("b",)), ("ok", ())]
    assert found[-1].text == "GPUs: 2 x V100, 32 GB"
    mixed = list(resources.gpus(claimed, given, {"a": ["V100, 32 GB"] * 2, "b": ["A100, 80 GB"] * 2}))
    assert mixed[-1].level == "warning" and "2 x A100, 80 GB; 2 x V100, 32 GB" in mixed[-1].text
    assert lines(resources.gpus({"d": 0.0}, {"d": facts()}, {})) == [("ok", ())]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 9])
def test_each_machine_meets_both_neighbours_one_at_a_time(size: int) -> None:
    rounds = network.rounds(size)
    assert len(rounds) == (1 if size == 2 else 2 + size % 2)
    for pairs in rounds:
        busy = [one for pair in pairs for one in pair]
        assert len(busy) == len(set(busy))
    met = [pair for pairs in rounds for pair in pairs]
    assert sorted(one for pair in met for one in pair) == sorted([*range(size)] * (1 if size == 2 else 2))


def test_a_link_slower_than_those_of_most_is_named() -> None:
    nodes = [node(number) for number in range(4)]
    names = {one: one.host for one in nodes}
    measured = Network("gloo", dict.fromkeys(nodes, "eth0"), 1 << 20, 0.1, dict(zip(nodes, (1e8, 9e7, 5e6, 1e8), strict=True)))
    first, second = network.judge(measured, names)
    assert first.level == "ok" and "10 MB/s by gloo over eth0" in first.text
    assert second.level == "warning" and second.hosts == ("n2",) and "5.0 MB/s" in second.text
    two = Network("gloo", dict.fromkeys(nodes[:2], "eth0"), 1 << 20, 0.1, dict(zip(nodes, (1e8, 5e6), strict=False)))
    assert lines(network.judge(two, names)) == [("ok", ())]
    assert lines(network.judge(Network(problems={nodes[1]: "no end after 20 s"}), names)) == [("error", ("n1",))]


def test_a_finding_shows_no_secret() -> None:
    finding = Finding("error", "output", "http://me:secret@store/run is not there", ("a", "b"))
    assert str(finding) == "error    a, b: http://store/run is not there"


@pytest.mark.timeout(300)
def test_a_ray_of_one_machine_is_checked(tmp_path: Path) -> None:
    from cluster.checking.check import actors_on

    result = Result()
    with connected(ClusterConfig(workers=1)), actors_on(alive()) as actors:
        Check(actors, 200, result).run(str(tmp_path / "out"))
    assert result.fit, result.findings
    topics = {finding.topic for finding in result.findings if finding.level == "ok"}
    assert topics >= {"machines", "versions", "clocks", "output", "gpus", "network"}
    (one,) = result.machines
    assert one["works"] and one["versions"]["ray"] and abs(one["clock"]["seconds"]) < 60
    assert json.dumps(result.machines)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "nothing answers at 127.0.0.1:1"),
        ("http://127.0.0.1:8265", "is the address of a dashboard: give that of Ray itself, such as head:6379"),
    ],
)
def test_an_address_without_ray_is_one_line(address: str, message: str) -> None:
    done = CliRunner().invoke(main, ["cluster", "check", "--address", address], prog_name="nezha-pipe")
    assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1 and not done.stdout
