"""The paper model of scaling: its formulas, and that docs/scaling.md holds what the program prints."""

import math
from pathlib import Path

import pytest

from benchmarks import scaling
from benchmarks.scaling import NETWORKS, Step, all_reduce, daly, goodput, models, tables, young
from model.optimization.gradients import fitting

PAGE = (Path(__file__).parent.parent / "docs" / "scaling.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("title", "table"), list(tables()))
def test_the_page_holds_what_the_program_prints(title: str, table: str) -> None:
    assert f"\n{table}\n" in PAGE, f"{title}: put this into docs/scaling.md:\n{table}"


def test_an_all_reduce_sends_everything_twice_and_a_tree_has_fewer_hops() -> None:
    fast, slow = NETWORKS
    for gpus in (8, 80, 1_000):
        ring, tree = (all_reduce(1e12, gpus, slow, which) for which in ("ring", "tree"))
        bandwidth = slow.within if gpus == 8 else slow.between
        assert ring == pytest.approx(2e12 * (gpus - 1) / gpus / bandwidth, rel=1e-3)
        assert tree == pytest.approx(ring, rel=1e-3)
    assert all_reduce(0, 1_000, fast, "ring") > 20 * all_reduce(0, 1_000, fast, "tree") > 0
    assert all_reduce(0, 80, fast, "tree", messages=5) == pytest.approx(5 * all_reduce(0, 80, fast, "tree"))


def test_overlap_hides_what_fits_behind_the_last_backward_pass() -> None:
    base = models()[0]
    fast, slow = (Step(base, 80, network, base.batch) for network in NETWORKS)
    tail = all_reduce(base.embeddings * 4, 80, NETWORKS[0], "tree")
    assert fast.overlapped("tree") == pytest.approx(fast.computing + tail)
    assert slow.computing < slow.overlapped("tree") < slow.blocking("tree")
    latency = 60 * all_reduce(0, 80, NETWORKS[1], "tree")  # of no more than so many buckets
    assert slow.hiding - latency < slow.blocking("tree") - slow.overlapped("tree") < slow.hiding


def test_buckets_of_many_workers_are_larger() -> None:
    assert fitting(2) == fitting(80) == 8_000_000 and fitting(1_000) == 100_000_000


def test_the_best_interval_is_the_best() -> None:
    stall, mttf = 2.0, 7_200.0

    def lost(interval: float) -> float:
        """Exact for failures that come at any moment alike (Daly 2006): wall time per second of work."""
        return mttf * math.exp(scaling.RECOVERY_SECONDS / mttf) * math.expm1((interval + stall) / mttf) / interval

    best = min(range(20, 1_000), key=lost)
    assert daly(stall, mttf) == pytest.approx(best, abs=1)
    assert young(stall, mttf) == pytest.approx(math.sqrt(2 * 2 * 7_200))
    assert goodput(best, stall, 0.0, mttf) == pytest.approx(1 / lost(best), abs=1e-3)
