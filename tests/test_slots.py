"""Pieces of work in processes of their own: what a killed or failing one costs the others."""

import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.engine import slots


def killed_once(path: str) -> list[str]:
    """Kill this process at the first call for a path; the second returns."""
    if not os.path.exists(path):
        Path(path).touch()
        if path.endswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
    return [path]


@pytest.mark.timeout(300)
def test_a_killed_process_costs_its_own_piece_alone(tmp_path: Path) -> None:
    pieces = [str(tmp_path / name) for name in ("a", "b.kill", "c", "d")]
    done: dict[str, list[str]] = {}
    killed: list[str] = []
    slots.run_each(pieces, killed_once, 2, done.__setitem__, killed.append)
    assert done == {piece: [piece] for piece in pieces} and killed == [pieces[1]]


def _always_killed(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(300)
def test_processes_that_are_killed_again_and_again_are_given_up() -> None:
    killed: list[str] = []
    with pytest.raises(slots.WorkersKilled):
        slots.run_each(["a"], _always_killed, 2, lambda *_: pytest.fail("done"), killed.append)
    assert killed == ["a"] * (slots.ATTEMPTS - 1)


def _fails_while_others_work(path: str) -> str:
    """The piece that fails waits for another to be under way, which ends well after it."""
    if path.endswith("fails"):
        while not Path(path).with_name("works").exists():
            time.sleep(0.01)
        raise ValueError(path)
    Path(path).touch()
    time.sleep(0.5)
    return path


@pytest.mark.timeout(300)
def test_what_others_finish_is_recorded_before_an_error_is_raised(tmp_path: Path) -> None:
    pieces = [str(tmp_path / name) for name in ("fails", "works", "never begun")]
    done: dict[str, str] = {}
    with pytest.raises(ValueError, match="fails"):
        slots.run_each(pieces, _fails_while_others_work, 2, done.__setitem__, lambda _: pytest.fail("killed"))
    assert done == {pieces[1]: pieces[1]}
    assert not Path(pieces[2]).exists(), "nothing is begun after the error"
