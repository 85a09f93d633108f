"""Killed at any moment and started again, prepare ends with the bytes of a run that was never killed."""

import tempfile
from pathlib import Path

import pytest

from pipeline.engine import job
from pipeline.engine.execution import Execution
from tests import kills, number_jobs


@pytest.mark.parametrize("workers", [1, 2])
def test_beam_makes_no_folder_that_a_kill_would_leave_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    made: list[str] = []
    mkdtemp = tempfile.mkdtemp

    def noted(*words: str, **named: str) -> str:
        made.append(mkdtemp(*words, **named))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", noted)
    job.run(number_jobs.job(tmp_path), Execution(workers))
    assert not [path for path in made if "beam" in path]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("workers", "number"), [(1, 10), (2, 20)])
def test_kills_at_random_moments_change_no_byte_and_leave_nothing(tmp_path: Path, workers: int, number: int) -> None:
    """`python -m benchmarks kills --number 200` does the same, longer."""
    kinds = tuple(kind for kind in kills.KINDS if workers > 1 or kind != kills.WORKER)
    outcome = kills.killed(tmp_path, number, seed=workers, workers=workers, documents=4_000, kinds=kinds)
    assert outcome.problems == []
    assert outcome.kills.keys() == set(kinds) and outcome.kills.total() == number
    assert outcome.finished > 0
