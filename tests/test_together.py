"""Progress of runs that run elsewhere: their steps are shown while they are under way, and a killed one goes no step back."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workflows.evaluation.grid import together
from workflows.evaluation.grid.together import Together, steps_file, steps_written
from workflows.progress import Display


@dataclass(frozen=True)
class Made:
    """A run."""

    name: str
    part: str
    cost: int = 100


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "WRITE_SECONDS", 0.0)
    monkeypatch.setattr(together, "READ_SECONDS", 0.01)


def runs_in(folder: Path) -> list[Made]:
    return [Made(name, str(folder / f"{name}.jsonl")) for name in ("a", "b", "c")]


def test_steps_of_runs_under_way_count_and_a_killed_one_goes_not_back(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    finished: dict[Made, Any] = {}
    a, b, c = runs_in(tmp_path)
    shown = Together([a, b, c], finished, lambda *state: told.append(state))
    shown.report("nothing yet")
    steps_written(a)(50, 200, "epoch 1 of 2")
    steps_written(b)(10, 20, "epoch 1 of 1")
    shown.report("two")
    steps_written(b)(0, 20, "epoch 1 of 1")  # killed, and begun again
    shown.report("killed")
    finished[b] = []
    shown.report("b")
    Path(steps_file(a)).write_text("cut sh")  # as a process leaves it that is killed while it writes
    shown.report("damaged")
    finished.update({a: [], c: []})
    shown.report("all")
    assert [done for done, _, _ in told] == [0, 75, 75, 125, 125, 300] and {total for _, total, _ in told} == {300}


def reported(report: Callable[[int, int, str], None], runs: Sequence[Made], seen: threading.Event) -> None:
    with Together(runs, {}, report).watched():
        for done in (20, 60):
            for run in runs[:2]:
                steps_written(run)(done, 100, f"epoch {done // 20}")
        assert seen.wait(120)


def test_each_run_under_way_is_shown_without_waiting_for_its_end(tmp_path: Path) -> None:
    seen = threading.Event()
    told: list[tuple[int, int, str]] = []

    def report(done: int, total: int, what: str) -> None:
        told.append((done, total, what))
        if done == 120:
            seen.set()

    reported(report, runs_in(tmp_path), seen)
    assert told[-1] == (120, 300, "a, epoch 3, b, epoch 3") and sorted(told) == told
    assert not [thread for thread in threading.enumerate() if thread.name == "progress of runs"]


def test_elsewhere_than_on_a_terminal_a_line_has_percent_and_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("workflows.progress.SECONDS_BETWEEN_LINES", 0.0)
    seen = threading.Event()
    with Display(["evaluate"]) as display:

        def report(done: int, total: int, what: str) -> None:
            display.report(done, total, what)
            if done == 120:
                seen.set()

        reported(report, runs_in(tmp_path), seen)
    assert "a, epoch 3, b, epoch 3 (40 %" in capsys.readouterr().err


def test_steps_of_a_killed_evaluation_count_no_more(tmp_path: Path) -> None:
    runs = runs_in(tmp_path)
    steps_written(runs[0])(90, 100, "epoch 2")
    with Together(runs, {}, lambda *_: None).watched():
        assert not Path(steps_file(runs[0])).exists()


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    steps_written(Made("a", str(tmp_path / "file" / "a.jsonl")))(1, 2, "epoch 1")
