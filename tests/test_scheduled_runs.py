"""Runs by themselves, from raw text to the promotion, while power is lost: everything is killed, and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.slow_processes import PATIENCE
from tests.test_chain import RECIPE
from workflows.cli import main as command
from workflows.orchestration.history import SETTING, History
from workflows.registry import history as registry
from workflows.scheduling import looking, schedules, triggers

ROOT = Path(__file__).parent.parent
PROGRAM = "from workflows.cli import main; main(prog_name='nezha-pipe')"
LONG_AGO = "2020-01-01T00:00:00+00:00"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a schedule with a tick that was missed. Return the folder of its triggers."""
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    text = RECIPE.replace("workers = 2", "workers = 1")
    text += f"\n[gate]\npromote_to = '{tmp_path}/registry'\n[notify]\ncommand = ['sh', '-c', 'cat >> {tmp_path}/told']\n"
    Path("mini.toml").write_text(text)
    command(["schedule", "mini.toml", "--cron", "0 3 1 * *", "--output", "out"], standalone_mode=False)
    place = Path("out/.dagster/scheduled/mini")
    content = json.loads((place / schedules.FILE).read_text())
    (place / schedules.FILE).write_text(json.dumps({**content, "since": LONG_AGO}))
    return place.absolute()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def run_of(own: Path) -> int:
    """Return the process id of the run."""
    word = f"{own.parent}\0mini/1".encode()
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in place.read_bytes():
                return int(place.parent.name)
        except OSError:
            continue
    return 0


def lose_power(*leaders: int) -> None:
    """Kill sessions, the processes that a run or the page has started included."""
    sessions = {str(leader) for leader in leaders}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
            if fields[3] in sessions:
                os.kill(int(place.parent.name), signal.SIGKILL)
        except OSError:
            continue


def unfinished(kind: str) -> bool:
    return any(not (folder / "manifest.json").exists() for folder in Path("out").glob(f"{kind}-*"))


def finished() -> dict[str, int]:
    """Return when each manifest was written."""
    return {str(path.parent): path.stat().st_mtime_ns for path in Path("out").glob("*/manifest.json")}


def test_it_resumes_in_every_part_and_repeats_nothing(own: Path) -> None:
    history = History(own.parent.parent)
    done: dict[str, int] = {}
    for kind in ("documents_reviews", "checkpoint", "scores", "promotion"):
        until(lambda kind=kind: "start" in looking.look(history, f"page before {kind}")["mini"])  # type: ignore[misc]
        until(lambda kind=kind: unfinished(kind) or triggers.read(own, 1).outcome)  # type: ignore[misc]
        lose_power(run_of(own) or -1)
        until(lambda: not run_of(own))
        assert done.items() <= finished().items()
        done = finished()
        if triggers.read(own, 1).outcome:  # the promotion takes milliseconds
            break
    until(lambda: looking.look(history, "the last page") and triggers.read(own, 1).outcome)
    assert triggers.read(own, 1).outcome == "succeeded", triggers.log_of(own, 1).read_text()
    assert done.items() <= finished().items() and triggers.read(own, 1).starts >= 4
    assert [record.content["event"] for record in registry.records("registry")] == ["promoted"]
    told = [json.loads(line) for line in Path("told").read_text().replace("}{", "}\n{").splitlines()]
    assert {event["event"] for event in told} == {"promoted"}
    assert looking.look(history)["mini"].startswith("next at")


def page(port: int) -> subprocess.Popen[bytes]:
    words = ["ui", "mini.toml", "--output", "out", "--port", str(port)]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], start_new_session=True)


def test_the_page_makes_up_for_a_tick_and_resumes_when_everything_was_killed(own: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first = page(port)
    try:
        until(lambda: unfinished("checkpoint"))
        done = finished()
        assert first.poll() is None
    finally:
        lose_power(first.pid, run_of(own) or -1)
        first.wait(PATIENCE)
        until(lambda: not run_of(own))
    second = page(port)
    try:
        until(lambda: triggers.newest(own)[0].outcome)
        assert second.poll() is None
    finally:
        os.kill(second.pid, signal.SIGINT)
        second.wait(PATIENCE)
    (trigger,) = triggers.read_all(own)
    assert (trigger.outcome, trigger.starts) == ("succeeded", 2), triggers.log_of(own, 1).read_text()
    assert done.items() <= finished().items()
    with History(own.parent.parent).opened() as instance:
        runs: list[Any] = list(instance.get_runs())
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    assert {run.tags["nezha-pipe/schedule"] for run in runs} == {"mini/1"}
