"""The history of runs in a PostgreSQL database: the same as on disk, and what is different about a server."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipeline.engine.execution import News
from pipeline.errors import RecipeError, StorageError
from tests.database_server import PASSWORD, PROGRAMS, Server
from tests.histories import QUIET, trivial
from tests.slow_processes import PATIENCE
from tests.test_history import KILLED, ROOT
from workflows.orchestration.history import SETTING, History, opened_or_empty

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None, reason="no PostgreSQL server on this machine"),
    pytest.mark.skipif(importlib.util.find_spec("dagster_postgres") is None, reason="needs nezha-pipe[postgres]"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def setting(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, server.url)


def started(*command: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def recorders(*folders: Path, times: int) -> list["subprocess.Popen[str]"]:
    return [started("-m", "tests.histories", str(folder), str(times)) for folder in folders]


def ended(processes: list["subprocess.Popen[str]"]) -> str:
    """Wait until all have succeeded, and return what they said."""
    said = ""
    for process in processes:
        said += process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0, said
    assert PASSWORD not in said
    return said


def runs(output: Path) -> list[dg.DagsterRun]:
    with History.of(str(output)).opened() as instance:
        return list(instance.get_runs())


def test_runs_in_two_folders_create_and_share_one_history(server: Server, tmp_path: Path) -> None:
    """Nothing but the database keeps them apart: two machines share no lock on disk."""
    processes = recorders(tmp_path / "a", tmp_path / "b", times=2)
    lines = {path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
    ended(processes)
    found = runs(tmp_path / "a")
    assert len(found) == 4 and {run.status for run in found} == {dg.DagsterRunStatus.SUCCESS}
    assert not any(PASSWORD.encode() in line for line in lines)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 2 and not any(PASSWORD.encode() in path.read_bytes() for path in written)


def test_a_killed_run_has_failed_at_the_next_look(tmp_path: Path) -> None:
    process = started("-c", KILLED, str(tmp_path))
    assert process.stdout and any(line == "started\n" for line in process.stdout)  # after warnings
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    assert runs(tmp_path)[0].status == dg.DagsterRunStatus.FAILURE


def test_a_run_waits_while_the_server_is_away(server: Server, tmp_path: Path) -> None:
    """Longer than Dagster's own 6 s."""
    before = len(runs(tmp_path))
    program = (
        "import sys, time, dagster as dg; from tests.histories import QUIET\n"
        "from workflows.orchestration.history import History\n"
        "@dg.op\n"
        "def look(): print('away', flush=True); sys.stdin.readline()\n"
        "@dg.job(executor_def=dg.in_process_executor)\n"
        "def job(): look()\n"
        "h = History.of(sys.argv[1])\n"
        "with h.opened() as instance, h.running() as run_id:\n"
        "    assert job.execute_in_process(instance=instance, run_id=run_id, run_config=QUIET).success\n"
    )
    process = started("-c", program, str(tmp_path))
    assert process.stdin and process.stdout and any(line == "away\n" for line in process.stdout)
    server.stop()
    process.stdin.write("\n")
    process.stdin.flush()
    time.sleep(10)
    server.start()
    said = ended([process])
    assert said.count("is waited for") == 1, said
    found = runs(tmp_path)
    assert len(found) == before + 1 and found[0].status == dg.DagsterRunStatus.SUCCESS


def test_a_wrong_password_is_a_warning_and_no_wait(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, server.url_with("no-such-password"))
    history = History.of(str(tmp_path))
    said: list[str] = []
    with opened_or_empty(history, lambda done, total, what: said.append(what)) as instance:
        assert trivial().execute_in_process(instance=instance, run_config=QUIET).success
    (line,) = said
    assert isinstance(line, News) and line.endswith("this run is not in it")
    assert "password authentication failed" in line and "no-such-password" not in line and "\n" not in line


@pytest.mark.parametrize("password", ["se@cret", "se@cr:et"])
def test_a_password_that_is_no_part_of_a_url_is_not_shown(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, f"postgresql://nezha:{password}@127.0.0.1/postgres")
    with pytest.raises(RecipeError, match="no URL of a database") as refused:
        History.of("runs/a")
    assert "cr" not in str(refused.value)


def test_tables_of_another_version_are_refused(server: Server, tmp_path: Path) -> None:
    runs(tmp_path)
    ((revision,),) = server.query("SELECT version_num FROM alembic_version")
    server.query("UPDATE alembic_version SET version_num = '7e2f3204cf8e'")
    with pytest.raises(StorageError, match=r"another version of Dagster \(7e2f3204cf8e, not \w+\); .* instance migrate"):
        runs(tmp_path)
    server.query(f"UPDATE alembic_version SET version_num = '{revision}'")
    assert runs(tmp_path) is not None
