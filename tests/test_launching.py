"""Runs that the page starts: processes of their own, known to be dead when they are, and ended by the page."""

import os
import signal
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import reconstructable

from tests.histories import sleeping, trivial
from tests.slow_processes import PATIENCE
from workflows.orchestration.history import History

ROOT = Path(__file__).parent.parent
Status = dg.DagsterRunStatus

pytestmark = pytest.mark.slow


def launched(instance: dg.DagsterInstance, job: object) -> str:
    origin = reconstructable(job).get_python_origin()  # type: ignore[arg-type]
    run = instance.create_run_for_job(job(), job_code_origin=origin, tags={"nezha-pipe/output": "out"})  # type: ignore[operator]
    instance.launch_run(run.run_id, None)  # type: ignore[arg-type]
    return run.run_id


def until(instance: dg.DagsterInstance, run_id: str, *statuses: Status) -> Status:
    end = time.monotonic() + PATIENCE
    while True:
        run = instance.get_run_by_id(run_id)
        assert run is not None and time.monotonic() < end
        if run.status in statuses:
            return run.status
        time.sleep(0.1)


def test_a_run_of_the_page_ends_dies_and_is_terminated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    history = History(tmp_path / "history")
    with history.opened() as instance:
        done, killed, ended = launched(instance, trivial), launched(instance, sleeping), launched(instance, sleeping)
        assert set(history.alive("out")) >= {killed, ended} and history.alive("elsewhere") == []
        for run_id in (killed, ended):
            until(instance, run_id, Status.STARTED)
        assert until(instance, done, Status.SUCCESS, Status.FAILURE) == Status.SUCCESS
        found = history.process(killed)
        assert found is not None
        os.kill(found[1], signal.SIGKILL)
        while history.process(killed):
            time.sleep(0.1)
        history.close_dead(instance)
        run = instance.get_run_by_id(killed)
        assert run and run.status == Status.FAILURE and run.tags["dagster/max_retries"] == "8"
        assert instance.run_launcher.terminate(ended)
        assert until(instance, ended, Status.CANCELED, Status.FAILURE) == Status.CANCELED
        assert not instance.run_launcher.terminate(killed)
