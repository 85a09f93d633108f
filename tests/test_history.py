"""The history of runs, which `nezha-pipe run` and the page share: several processes at once, and those that were killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipeline.engine.execution import SERIAL, Execution, News
from pipeline.errors import RecipeError, StorageError, UserError
from tests.histories import QUIET, STEPS, record, trivial
from tests.slow_processes import PATIENCE
from workflows import recipe
from workflows.assets import execute
from workflows.chain import Chain
from workflows.orchestration import sqlite
from workflows.orchestration.history import SETTING, History, opened_or_empty

ROOT = Path(__file__).parent.parent
KILLED = (
    "import os, sys, time; from tests.histories import trivial; from workflows.orchestration.history import History\n"
    "h = History.of(sys.argv[1])\n"
    "with h.opened() as instance, h.running() as run_id:\n"
    "    instance.create_run_for_job(trivial(), run_id=run_id, status=__import__('dagster').DagsterRunStatus.STARTED)\n"
    "    print('started', flush=True); time.sleep(3600)\n"
)
"""A run that does not end by itself."""


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)


def runs(output: Path) -> list[dg.DagsterRun]:
    with History.of(str(output)).opened() as instance:
        return list(instance.get_runs())


def recorder(output: Path, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.histories", str(output), str(times)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def together(output: Path, processes: int, times: int) -> None:
    """Let processes record runs into a new history while this one reads it, as a page does."""
    started = [recorder(output, times) for _ in range(processes)]
    ended = threading.Event()
    problems: list[BaseException] = []

    def read() -> None:
        try:
            while not ended.is_set():
                with History.of(str(output)).opened() as instance:
                    for run in instance.get_runs():
                        instance.all_logs(run.run_id)
        except BaseException as error:
            problems.append(error)

    page = threading.Thread(target=read)
    page.start()
    try:
        for process in started:
            said = process.communicate(timeout=PATIENCE)[0]
            assert process.returncode == 0 and "locked" not in said, said
    finally:
        ended.set()
        page.join(PATIENCE)
    assert not problems, problems
    found = runs(output)
    assert len(found) == processes * times and {run.status for run in found} == {dg.DagsterRunStatus.SUCCESS}


def test_two_processes_record_while_a_third_reads(tmp_path: Path) -> None:
    together(tmp_path, processes=2, times=2)


@pytest.mark.slow
def test_fifty_times_nothing_is_locked(tmp_path: Path) -> None:
    together(tmp_path, processes=2, times=25)


def test_it_waits_for_another_writer_longer_than_sqlite_does_by_default(tmp_path: Path) -> None:
    record(str(tmp_path), 1)
    held = threading.Event()

    def hold() -> None:
        for path in (tmp_path / ".dagster" / "history" / "runs.db", tmp_path / ".dagster" / "schedules" / "schedules.db"):
            connection = sqlite3.connect(path)
            connection.execute("BEGIN IMMEDIATE")
            held.set()
            threading.Event().wait(7)
            connection.rollback()

    writer = threading.Thread(target=hold)
    writer.start()
    held.wait(PATIENCE)
    record(str(tmp_path), 1)
    writer.join(PATIENCE)
    assert len(runs(tmp_path)) == 2 and sqlite.TIMEOUT_SECONDS > 30


def test_a_run_whose_process_was_killed_has_failed_at_the_next_look(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "started\n"
    try:
        assert [run.status for run in runs(tmp_path)] == [dg.DagsterRunStatus.STARTED]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
    assert [run.status for run in runs(tmp_path)] == [dg.DagsterRunStatus.FAILURE]
    assert not list((tmp_path / ".dagster" / "running").iterdir())


def test_what_a_stage_raises_is_raised_and_recorded(tmp_path: Path) -> None:
    chain = Chain(recipe.load("tiny"), str(tmp_path))

    def fail(name: str, execution: Execution = SERIAL) -> Any:
        raise UserError("no room")

    chain.run = fail  # type: ignore[method-assign]
    with pytest.raises(UserError, match="no room"):
        execute(chain, history=History.of(str(tmp_path)))
    (run,) = runs(tmp_path)
    assert run.status == dg.DagsterRunStatus.FAILURE and run.job_name == "tiny"


def test_a_history_that_cannot_be_opened_stops_no_run(tmp_path: Path) -> None:
    record(str(tmp_path), 1)
    for path in (tmp_path / ".dagster" / "history").glob("runs.db*"):
        path.write_bytes(b"not a database" * 400)
    history = History.of(str(tmp_path))
    with pytest.raises(StorageError, match="cannot be opened: file is not a database"), history.opened():
        pass
    said: list[str] = []
    with opened_or_empty(history, lambda done, total, what: said.append(what)) as instance:
        assert trivial().execute_in_process(instance=instance, run_config=QUIET).success
    (line,) = said
    assert isinstance(line, News) and line.endswith("this run is not in it")


def test_one_setting_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert History.of(str(tmp_path)).folder == tmp_path / ".dagster"
    assert History.of("s3://bucket/runs/news").folder == Path.cwd() / "runs" / "news" / ".dagster"
    monkeypatch.setenv(SETTING, str(tmp_path / "all"))
    assert History.of("runs/a") == History.of("runs/b") == History(tmp_path / "all")
    monkeypatch.setenv(SETTING, "mysql://user:secret@host/db")
    with pytest.raises(RecipeError, match="neither a folder here nor postgresql") as refused:
        History.of("runs/a")
    assert "secret" not in str(refused.value)
    content = json.dumps(History(tmp_path, on_server=True).settings)
    assert json.loads(content)["storage"]["custom"]["config"] == {"postgres_url": {"env": SETTING}}


def test_what_is_recorded_are_all_steps_of_each_run(tmp_path: Path) -> None:
    record(str(tmp_path), 2)
    with History.of(str(tmp_path)).opened() as instance:
        made = instance.fetch_materializations(dg.AssetKey("step_3"), limit=10).records
        assert len(made) == 2 and len(instance.get_asset_keys()) == STEPS


def test_the_page_runs_as_much_at_once_as_it_was_told_last(tmp_path: Path) -> None:
    def at_once(history: History) -> int:
        with history.opened() as instance:
            return instance.get_concurrency_config().run_queue_config.max_concurrent_runs  # type: ignore[union-attr]

    history = History(tmp_path)
    assert at_once(history) == 1
    assert at_once(replace(history, max_parallel=3)) == 3
    assert at_once(history) == 3, "a run of the command changes nothing"
    assert at_once(replace(history, max_parallel=1)) == 1
