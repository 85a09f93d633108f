"""The benchmark of faults: its plan can be repeated, its figures follow their definitions, and ours survives a short one."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.chaos import report, training
from benchmarks.chaos.ledger import Ledger, Recovery, compare, quantile
from benchmarks.chaos.plan import DRIVER, HEAD, KILL, MORE, STORE, WHAT, plan
from tests.hosts import unavailable


def test_a_plan_is_repeated_and_three_faults_in_four_are_kills() -> None:
    faults = plan(60, 60, 1)
    assert faults == plan(60, 60, 1) != plan(60, 60, 2)
    assert len(faults) == 60
    assert [fault.moment // 60 for fault in faults] == list(range(60))
    kinds = Counter(fault.kind for fault in faults)
    assert kinds.pop(KILL) == 45
    assert kinds.keys() == WHAT.keys() - {KILL} and max(kinds.values()) - min(kinds.values()) <= 1


def test_more_kinds_take_the_place_of_some_kills_and_failures_of_the_store_alone() -> None:
    for before, after in zip(plan(60, 60, 1), plan(60, 60, 1, more=True), strict=True):
        assert (before.moment, before.choice) == (after.moment, after.choice)
        assert before.kind in (KILL, STORE) or before == after
    kinds = Counter(fault.kind for fault in plan(60, 60, 1, more=True))
    assert kinds[DRIVER] == kinds[HEAD] + 1 == 5 and MORE.keys() <= kinds.keys()


def test_the_plan_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["resume", "--plan", "--minutes", "10", "--mtbf", "60"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(" a worker is killed" in line for line in lines) == 8


def row(time: float, step: int, attempt: int = 1, rank: int = 0, ids: tuple[int, ...] = ()) -> dict[str, object]:
    start = 4 * (step - 1)
    facts = {"phase": 0, "step": step, "start": start, "end": start + 4, "loss": 1.0 / step}
    return {"time": time, "rank": rank, "attempt": attempt, **facts, "ids": list(ids or range(start, start + 4))}


def steps(first: int, last: int, begin: float, attempt: int = 1) -> list[dict[str, object]]:
    """Notes of a step every second."""
    return [row(begin + i, step, attempt) for i, step in enumerate(range(first, last + 1))]


def test_lost_steps_and_seconds_are_counted_from_the_notes() -> None:
    # Killed at 10.5; resumed at step 6 after 8 s; steps 6 to 10 are repeated, so that 11 is the next new step.
    ledger = Ledger([*steps(1, 10, 1.0), *steps(6, 30, 18.5, attempt=2)])
    assert [each["step"] for each in ledger.repeats] == [6, 7, 8, 9, 10]
    assert ledger.recoveries([(10.5, "kill"), (35.25, "blip")], 1.0) == [Recovery("kill", 13.0, 5), Recovery("blip", 0.25, 0)]
    assert ledger.seconds == 41.5
    assert ledger.goodput(1.0) == pytest.approx(29 / 41.5)
    assert report.goodput_at(1800, ledger, 1.0, 2) == pytest.approx(1 - 12.5 / 2 / 1800)


def test_a_fault_after_which_nothing_comes_is_not_survived() -> None:
    ledger = Ledger(steps(1, 10, 1.0))
    recoveries = ledger.recoveries([(4.5, "store"), (10.5, "kill")], 1.0)
    assert [each.seconds for each in recoveries] == [0.5, None]


def test_examples_that_are_dropped_or_repeated_are_counted() -> None:
    peaceful = Ledger(steps(1, 10, 1.0))
    whole = Ledger([*steps(1, 6, 1.0), *steps(4, 10, 20.0, attempt=2)])
    assert compare(whole, peaceful) == {"steps": 10, "differing": 0, "dropped": 0, "repeated": 0}
    other = Ledger([*steps(1, 9, 1.0), row(11.0, 10, ids=(36, 37, 38, 0))])
    assert compare(other, peaceful) == {"steps": 10, "differing": 1, "dropped": 1, "repeated": 1}


def test_notes_of_two_workers_are_one_step_and_a_cut_line_is_none(tmp_path: Path) -> None:
    import json

    for rank in (0, 1):
        lines = [json.dumps(row(float(step), step, rank=rank, ids=(10 * step + rank,))) for step in (1, 2)]
        (tmp_path / f"run-host-{rank}.jsonl").write_text("\n".join(lines) + '\n{"time": 3.0, "ra')
    assert Ledger.read(tmp_path, "run").samples() == {1: (0, 0, 4, [10, 11]), 2: (0, 4, 8, [20, 21])}


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 2.0, 3.0, 3.0]
    assert quantile(list(range(1, 101)), 0.95) == 95


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_training_survives_a_plan_of_faults() -> None:
    """Two minutes of faults, then as many steps in peace: about four minutes on an idle machine.

    `CHAOS_MINUTES=10 pytest tests/test_chaos.py -m slow` takes longer; `python -m benchmarks resume --minutes 60` reports.
    """
    if reason := unavailable():
        pytest.skip(reason)
    minutes = float(os.environ.get("CHAOS_MINUTES", "2"))
    faults = plan(minutes, 30 if minutes < 5 else 60, seed=3)
    with tempfile.TemporaryDirectory(prefix="nezha-chaos-", dir="/tmp") as name, training.environment(Path(name)) as cluster:
        result = training.disturbed(cluster, Path(name), faults, minutes)
        assert [fault for _, fault in result.injected] == faults
        peaceful = training.undisturbed(cluster, Path(name), result.ledger.steps).ledger
        recoveries = result.ledger.recoveries([(moment, fault.kind) for moment, fault in result.injected], 1.0)
        assert all(report.survived(result, recoveries)), (recoveries, result.driver_ends)
        assert result.stopped
        facts = compare(result.ledger, peaceful)
        assert facts == {"steps": result.ledger.steps, "differing": 0, "dropped": 0, "repeated": 0}
        mine, theirs = result.ledger.losses(), peaceful.losses()
        assert all(mine[step] == theirs[step] for step in range(1, result.ledger.steps + 1))
        same = training.same_weights(cluster)
        assert same is not None and same[1]
