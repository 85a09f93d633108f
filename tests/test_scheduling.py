"""Retraining by itself: when it is due, what is new, what runs, what died. Plain files, no daemon; processes are real."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.training.stopping import StopReason, TrainingStopped
from pipeline import storage
from pipeline.errors import RecipeError
from tests.slow_processes import PATIENCE
from workflows.chain import Chain
from workflows.cli import main, scheduled
from workflows.definitions import of_recipes
from workflows.orchestration import detached
from workflows.orchestration.history import SETTING, History
from workflows.scheduling import emitting, files, looking, schedules, triggers
from workflows.scheduling.deciding import MOST_FRUITLESS, Facts, decide
from workflows.scheduling.files import Seen
from workflows.scheduling.schedules import Schedule
from workflows.scheduling.times import check_cron, last_tick
from workflows.scheduling.triggers import Trigger

MADE = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SHANGHAI = "Asia/Shanghai"


def monthly(**more: object) -> Schedule:
    settings = {"name": "tiny", "recipe": "tiny", "output": "runs/tiny", "folder": ".", "since": MADE.isoformat(), **more}
    return Schedule(**{"cron": "0 3 1 * *", "timezone": "UTC", **settings})  # type: ignore[arg-type]


def at(*day: int) -> datetime:
    return datetime(*day, tzinfo=UTC)  # type: ignore[misc,arg-type]


def test_a_tick_is_due_at_its_minute_and_not_before() -> None:
    assert decide(Facts(schedule=monthly(), now=at(2026, 12, 1, 2, 59, 59))).action == "wait"
    found = decide(Facts(schedule=monthly(), now=at(2026, 12, 1, 3, 0, 5)))
    assert (found.action, found.tick) == ("start", at(2026, 12, 1, 3))


def test_missed_ticks_are_made_up_for_once() -> None:
    found = decide(Facts(schedule=monthly(), now=at(2027, 5, 7)))  # six months without power
    assert (found.action, found.tick) == ("start", at(2027, 5, 1, 3))
    after = Facts(schedule=monthly(), now=at(2027, 5, 8), last_cron_tick=found.tick)
    assert decide(after).action == "wait" and "next at 2027-06-01 03:00" in decide(after).why
    assert decide(Facts(schedule=monthly(), now=at(2026, 11, 30))).action == "wait"  # ticks before it was made are not its own


def test_ticks_follow_the_zone_and_its_changes_of_the_clock() -> None:
    assert last_tick("0 3 1 * *", SHANGHAI, MADE, at(2026, 12, 2)) == at(2026, 11, 30, 19)
    ticks = [last_tick("30 2 * * *", "Europe/Berlin", at(2027, 3, day), at(2027, 3, day + 1)) for day in (26, 27, 28, 29)]
    assert all(ticks) and len(set(ticks)) == 4  # 02:30 does not exist on 28 March there


def test_a_run_that_is_going_is_waited_for_and_then_one_follows() -> None:
    running = Trigger(number=1, cause="x", at="", tick=at(2026, 12, 1, 3).isoformat(), starts=1)
    facts = Facts(schedule=monthly(), now=at(2027, 3, 1, 4), last=running, last_cron_tick=at(2026, 12, 1, 3), is_running=True)
    assert decide(facts).action == "wait"
    ended = replace(facts, last=replace(running, outcome="succeeded"), is_running=False)
    assert (decide(ended).action, decide(ended).tick) == ("start", at(2027, 3, 1, 3))
    assert decide(replace(ended, busy="run 12")).action == "wait"


def test_a_dead_run_is_started_again_until_that_brings_nothing() -> None:
    died = Trigger(number=1, cause="x", at="", starts=1, started_at=at(2026, 12, 1, 3).timestamp(), started_by="me")
    facts = Facts(schedule=monthly(), now=at(2026, 12, 1, 3, 0, 20), last=died, looker="me")
    assert decide(facts).action == "resume"
    again = replace(facts, last=replace(died, starts=3, fruitless=2))
    assert decide(again).action == "wait" and decide(replace(again, looker="after the power came back")).action == "resume"
    assert decide(replace(again, now=facts.now + timedelta(minutes=1))).action == "resume"
    assert decide(replace(facts, last=replace(died, fruitless=MOST_FRUITLESS))).action == "give up"
    assert decide(replace(facts, last=replace(died, starts=0))).action == "resume"  # power was lost before its first start


def test_paused_starts_nothing() -> None:
    facts = Facts(schedule=monthly(paused=True), now=at(2027, 1, 1))
    assert decide(facts).action == "wait"
    assert decide(replace(facts, last=Trigger(number=1, cause="x", at="", starts=1))).action == "wait"


def watching(now: float, seen: dict[str, Seen], **more: object) -> Facts:
    schedule = monthly(cron="", watch="dumps", settle_seconds=60.0)
    return Facts(schedule=schedule, now=datetime.fromtimestamp(now, UTC), seen=seen, **more)  # type: ignore[arg-type]


def test_a_file_is_taken_after_two_equal_looks_and_a_quiet_while() -> None:
    first = files.remembered({"a": Seen(10, "e1", 0)}, {}, now=1_000)
    assert decide(watching(1_000, first)).action == "wait"
    grown = files.remembered({"a": Seen(20, "e2", 0)}, first, now=1_090)
    assert "may still be written" in decide(watching(1_090, grown)).why
    same = files.remembered({"a": Seen(20, "e2", 0)}, grown, now=1_140)
    assert decide(watching(1_140, same)).action == "wait"
    same = files.remembered({"a": Seen(20, "e2", 0)}, same, now=1_151)
    assert decide(watching(1_151, same)).files == same
    assert not files.settled(Seen(20, "m", written=1_100, since=1_100), 1_100, 60)  # one look is not two
    assert files.settled(Seen(20, "m", written=500, since=1_100), 1_110, 60)  # unchanged for long before the first look
    assert not files.settled(Seen(20, "m", written=9_999, since=1_100), 1_110, 60)  # a clock that is wrong


def test_each_version_of_a_file_starts_one_run() -> None:
    seen = {"a": Seen(20, "e2", 0, since=0), "b": Seen(5, "e1", 0, since=0)}
    found = decide(watching(1_000, seen))
    assert found.action == "start" and set(found.files) == {"a", "b"}
    done = Trigger(number=1, cause="", at="", outcome="failed", files={"a": (20, "e2"), "b": [5, "e1"]})
    known = triggers.known_files([done])
    assert decide(watching(1_000, seen, known=known)).action == "wait"
    changed = {**seen, "b": Seen(5, "e9", 0, since=0)}
    assert set(decide(watching(1_000, changed, known=known)).files) == {"b"}
    half = {**changed, "c": Seen(1, "x", 0, since=990)}
    assert decide(watching(1_000, half, known=known)).action == "wait"  # the recipe may read it too


@pytest.mark.parametrize("cron", ["61 * * * *", "0 0 31 2 *", "0 0 31 4,6 *", "* * * * * *", "hello", "@reboot", ""])
def test_a_time_that_never_comes_is_one_line(cron: str) -> None:
    with pytest.raises(RecipeError, match=r"^--cron .*(never ticks|parts, not 5)") as refused:
        check_cron(cron, "UTC")
    assert "\n" not in str(refused.value)


def test_an_unknown_zone_is_one_line() -> None:
    with pytest.raises(RecipeError, match="no such time zone"):
        check_cron("0 3 1 * *", "Asia/Peking")


def test_calendar_events_of_systemd() -> None:
    assert emitting.calendar("0 3 1 * *") == ["*-*-01 03:00:00"]
    assert emitting.calendar("*/15 1-5/2 * jan,jul mon-fri") == ["Mon,Tue,Wed,Thu,Fri *-01,07-* 01..05/2:00/15:00"]
    assert emitting.calendar("0 3 1 * 7") == ["*-*-01 03:00:00", "Sun *-*-* 03:00:00"]
    assert emitting.calendar("@weekly") == ["Sun *-*-* 00:00:00"]
    for weekend in ("5-0", "fri-sun", "5-7"):
        assert emitting.calendar(f"0 3 * * {weekend}") == ["Fri,Sat,Sun *-*-* 03:00:00"]


@pytest.mark.parametrize("cron", ["0 0 L * *", "0 22-2 * * *", "0 3 28-3 * *", "0 3 * * 1/2"])
def test_what_systemd_cannot_say_is_refused(cron: str) -> None:
    check_cron(cron, "UTC")
    with pytest.raises(RecipeError, match="systemd has no form"):
        emitting.calendar(cron)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_knows_what_is_emitted(tmp_path: Path) -> None:
    for cron in ("0 3 1 * *", "*/15 1-5/2 * jan,jul mon-fri", "0 3 1 * 7", "@weekly", "5,10 0-23/6 1-7 */3 sat"):
        events = [f"{event} {SHANGHAI}" for event in emitting.calendar(cron)]
        said = subprocess.run(["systemd-analyze", "calendar", *events], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
    for name, text in emitting.emit_systemd(monthly(folder=str(tmp_path))).items():
        (tmp_path / name).write_text(text)
    units = [str(path) for path in tmp_path.iterdir()]
    said = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert not [line for line in said.stderr.splitlines() if "nezha-tiny" in line and "not executable" not in line], said.stderr


# Processes that are real. A recipe that takes no time: its run is a program of ours.


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.chdir(tmp_path)
    return History(tmp_path / "history")


@pytest.fixture
def program(history: History, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Put a program in the place of the run: it is started, locked, logged and killed as the run is."""
    real = subprocess.Popen
    started: list[subprocess.Popen[bytes]] = []

    def use(text: str) -> None:
        def popen(command: list[str], **more: object) -> "subprocess.Popen[bytes]":
            if command[1:3] != ["-m", "workflows.cli.scheduled"]:
                return real(command, **more)  # type: ignore[call-overload,no-any-return]
            started.append(real([sys.executable, "-c", text, *command[3:]], **more))  # type: ignore[call-overload]
            return started[-1]

        monkeypatch.setattr(detached.subprocess, "Popen", popen)  # type: ignore[attr-defined]

    yield use
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)


ENDS = """
import sys, pathlib; from dataclasses import replace; from workflows.scheduling import triggers
name, _, number = sys.argv[2].rpartition("/"); own = pathlib.Path(sys.argv[1], name)
print("ran", flush=True); triggers.write(own, replace(triggers.read(own, int(number)), outcome="succeeded"))
"""
STAYS = "import time; print('ran', flush=True); time.sleep(3600)"


def make(history: History, **more: object) -> Path:
    folder = schedules.folder_of(history.folder)
    schedule = monthly(output=str(history.folder.parent / "out"), folder=str(history.folder.parent), **more)
    schedules.add(folder, schedule)
    return folder / schedule.name


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_missed_tick_starts_one_process_and_no_other(history: History, program: Callable[[str], None]) -> None:
    program(ENDS)
    own = make(history, cron="0 3 1 * *", since=at(2026, 1, 1).isoformat())
    assert looking.look(history)["tiny"].startswith("started: 0 3 1 * * at ")
    until(lambda: triggers.read(own, 1).outcome)
    assert looking.look(history)["tiny"].startswith("next at ")
    assert triggers.log_of(own, 1).read_text() == "ran\n" and len(triggers.read_all(own)) == 1


def test_a_killed_run_is_seen_and_started_again_and_a_living_one_is_not(
    history: History, program: Callable[[str], None]
) -> None:
    program(STAYS)
    own = make(history, cron="* * * * *", since=at(2026, 1, 1).isoformat())
    looking.look(history)
    until(lambda: "ran" in triggers.log_of(own, 1).read_text())
    assert looking.look(history)["tiny"].startswith("running since")
    assert looking.look(history, "another page")["tiny"].startswith("running since")
    (process,) = [one for one in detached._started if one.poll() is None]
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    program(ENDS)
    assert looking.look(history)["tiny"].startswith("started again: its process was killed")
    until(lambda: triggers.read(own, 1).outcome)
    assert (triggers.read(own, 1).starts, triggers.read(own, 1).fruitless) == (2, 1)


def test_a_trigger_whose_run_never_started_is_started(history: History, program: Callable[[str], None]) -> None:
    program(ENDS)
    own = make(history)
    triggers.write(own, Trigger(number=1, cause="a tick", at=""))  # power was lost here
    assert looking.look(history)["tiny"] == "started: a tick"
    until(lambda: triggers.read(own, 1).outcome)


def test_schedules_of_one_output_take_turns(history: History, program: Callable[[str], None]) -> None:
    program(STAYS)
    make(history, name="a", since=at(2026, 1, 1).isoformat())
    make(history, name="b", since=at(2026, 1, 1).isoformat())
    said = looking.look(history)
    assert said["a"].startswith("started") and said["b"].endswith("waits for the run of schedule a/1")


def test_a_run_of_the_command_is_waited_for(history: History, program: Callable[[str], None]) -> None:
    program(STAYS)
    own = make(history, since=at(2026, 1, 1).isoformat())
    storage.make_folder(history.folder / "running")
    with history.running(str(history.folder.parent / "out")) as run_id:
        # The lock belongs to the open file: this process sees it as another one does.
        assert looking.look(history)["tiny"].endswith(f"waits for run {run_id}")
    with history.running() as run_id:  # of assets that were chosen on the page: it does not say of which folder
        assert looking.look(history)["tiny"].endswith(f"waits for run {run_id}")
    assert triggers.read_all(own) == []
    assert looking.look(history)["tiny"].startswith("started")


def test_progress_forgives_earlier_deaths(history: History, program: Callable[[str], None]) -> None:
    program(ENDS)
    own = make(history)
    output = history.folder.parent / "out"
    (output / "documents-1").mkdir(parents=True)
    (output / "documents-1" / "manifest.json").write_text("{}")
    (output / "checkpoint-2" / "attempt-0001" / "checkpoint-00000040").mkdir(parents=True)
    assert triggers.progress(str(output)) == (1, 40)
    # A training that was given up is no measure for another one.
    (output / "checkpoint-3" / "attempt-0001" / "checkpoint-00000090").mkdir(parents=True)
    (output / "checkpoint-2" / "attempt-0001" / "checkpoint-00000060").mkdir(parents=True)
    assert triggers.progress(str(output)) == (1, 150)
    triggers.write(own, Trigger(number=1, cause="x", at="", starts=9, fruitless=8, progress=(1, 20)))
    looking.look(history)
    assert triggers.read(own, 1).fruitless == 0


def test_what_never_gets_further_is_given_up_and_told(history: History, program: Callable[[str], None]) -> None:
    program(STAYS)
    told = history.folder.parent / "told"
    notify = {"command": ["sh", "-c", f"cat > {told}"], "url": "", "timeout_seconds": 5.0}
    own = make(history, recipe="gone.toml", notify=notify)  # a recipe that cannot be loaded any more
    triggers.write(
        own, Trigger(number=1, cause="x", at="", starts=9, fruitless=MOST_FRUITLESS, message="no answer from the store")
    )
    assert looking.look(history)["tiny"].startswith("given up: no answer from the store; started 9 times")
    until(lambda: told.exists() and told.read_text())
    assert json.loads(told.read_text())["event"] == "failed" and triggers.read(own, 1).outcome == "given up"


@pytest.mark.parametrize(
    ("reason", "outcome", "message"),
    [
        (
            StopReason.BUDGET,
            "out of time",
            "pretraining stopped at step 1,250 of 5,000: its hours are over; resumes at its next time",
        ),
        (StopReason.REQUEST, "stopped", "stopped in order with code 0"),
        (StopReason.SIGTERM, "", "stopped in order with code 143"),
    ],
)
def test_how_a_training_that_stopped_early_is_noted(
    history: History, monkeypatch: pytest.MonkeyPatch, reason: StopReason, outcome: str, message: str
) -> None:
    def stop(chain: Chain) -> None:
        raise TrainingStopped(reason, 1_250, 5_000)

    monkeypatch.setattr(Chain, "check", stop)  # the first thing that `run` does
    own = make(history, since=at(2026, 11, 1).isoformat())
    triggers.write(own, Trigger(number=1, cause="a tick", at="", tick=datetime.now(UTC).isoformat(), starts=1))
    scheduled.main(own.parent, "tiny", 1)
    found = triggers.read(own, 1)
    assert (found.outcome, found.message) == (outcome, message)
    if outcome:
        assert looking.look(history)["tiny"].endswith("; its training resumes then") == (reason is StopReason.BUDGET)


def test_watched_files_start_one_run_each_time(history: History, program: Callable[[str], None]) -> None:
    program(ENDS)
    dumps = history.folder.parent / "dumps"
    own = make(history, cron="", watch="dumps", settle_seconds=0.2)

    def look() -> str:
        time.sleep(0.11)
        return looking.look(history)["tiny"]

    assert look() == "no files yet"
    dumps.mkdir()
    for number, text in enumerate(("one", "two", "twice"), start=1):
        (dumps / f"{min(number, 2)}.jsonl").write_text(text)
        until(lambda: look().startswith("started: new: "))
        until(lambda number=number: triggers.read(own, number).outcome)  # type: ignore[misc]
        assert {look() for _ in range(4)} == {f"no new file among {min(number, 2)}"}
    assert [len(each.files) for each in triggers.read_all(own)] == [1, 1, 1]


def test_what_was_looked_at_is_found_by_any_name_and_after_damage(history: History, program: Callable[[str], None]) -> None:
    program(ENDS)
    dumps = history.folder.parent / "dumps"
    dumps.mkdir()
    (dumps / "1.jsonl").write_text("one")
    own = make(history, cron="", watch=dumps.as_uri(), settle_seconds=0.2)
    for damage in ("{", '{"at": 0, "files": {"a": {"other": 1}}}'):
        (own / looking.LOOKS).write_text(damage)
        assert looking.look(history)["tiny"].endswith("may still be written")


def test_a_store_that_does_not_answer_is_asked_again(
    history: History, program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(ENDS)
    monkeypatch.setattr(looking, "STORE_SECONDS", 0.1)
    own = make(history, cron="", watch="http://127.0.0.1:1/dump.xml.bz2", settle_seconds=0.1)
    for _ in range(2):
        assert looking.look(history)["tiny"].endswith("asked again at the next look")
    assert triggers.read_all(own) == []


def test_a_damaged_schedule_stops_no_other(history: History, program: Callable[[str], None]) -> None:
    program(ENDS)
    make(history, name="good", since=at(2026, 1, 1).isoformat())
    (make(history, name="bad") / schedules.FILE).write_text("{")
    said = looking.look(history)
    assert said["good"].startswith("started") and "schedule --remove bad" in said["bad"]


@pytest.mark.parametrize("names", [("a-b", "a.b"), ("looks_at_schedules", "a"), ("a", "bad")])
def test_no_name_and_no_damage_takes_the_page_away(history: History, names: tuple[str, str]) -> None:
    for name in names:
        make(history, name=name)
    if "bad" in names:
        (schedules.folder_of(history.folder) / "bad" / schedules.FILE).write_text("{")
    shown = of_recipes(["tiny"], str(history.folder.parent / "out"), history=history).get_repository_def().schedule_defs
    assert [one.name for one in shown] == [re.sub("[-.]", "_", "a-b" if "a-b" in names else "a")]


def test_the_command(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str) -> str:
        found = CliRunner().invoke(main, ["schedule", *words])
        assert found.exit_code in (0, 2), found.output
        return found.output.strip()

    assert run("--list") == "no schedules; make one with --cron or --watch"
    assert run("tiny", "--cron", "0 3 1 * *", "--timezone", "UTC") == (
        "tiny: 0 3 1 * * (UTC); starts as long as `nezha-pipe ui tiny` is up"
    )
    assert "there is a schedule 'tiny' already" in run("tiny", "--watch", "dumps")
    assert run("--pause", "tiny") == "tiny: paused"
    assert "tiny: 0 3 1 * * (UTC), paused: tiny; never started" in run("--list")
    assert run("tiny", "--resume", "tiny") == "tiny: resumed"
    (row,) = json.loads(run("--list", "--json"))
    assert (row["paused"], row["state"]) == (False, "never started") and "-01T03:00:00" in row["next"]
    assert run("--remove", "tiny") == "tiny: removed"
    assert "no schedule 'tiny'; there are none here" in run("--remove", "tiny")
    assert "never ticks" in run("tiny", "--cron", "0 0 31 2 *")
    for words in (("--output", "s3://key:opensesame@bucket/run"), ("--set", "source.0.input=http://me:opensesame@a.cn/n")):
        said = run("tiny", "--cron", "@daily", *words)
        assert "a secret would be written down" in said and "opensesame" not in said
    assert "give one of" in run("tiny") and "give one of" in run("tiny", "--cron", "@daily", "--list")
    assert not Path("runs/tiny/.dagster/scheduled/tiny").exists()


def test_what_is_emitted_runs_the_same_command(history: History) -> None:
    Path("my.toml").write_text("name = 'my'\nseed = 3\n[[source]]\nname = 'news'\nkind = 'demo'\ninput = ['news']\n")

    def emit(*words: str) -> str:
        found = CliRunner().invoke(main, ["schedule", "my.toml", "--timezone", "UTC", *words], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output

    line = emit("--cron", "0 3 1 * *", "--emit", "cron").splitlines()[-1]
    assert line.startswith("0 3 1 * * cd ") and f" run {Path.cwd()}/my.toml --output {Path.cwd()}/runs/my" in line
    units = emit("--cron", "30 3 * * 6", "--emit", "systemd", "--workers", "2")
    assert "OnCalendar=Sat *-*-* 03:30:00 UTC\n" in units and "Persistent=true" in units and "--workers 2\n" in units
    Path("cluster.toml").write_text("image = 'registry.example.org/nezha:1'\nmachines.gpus = 0\n")
    job = emit(
        *("--cron", "0 3 1 * *", "--emit", "raycronjob", "--config", "cluster.toml", "--output", "s3://bucket/my"),
        *("--set", "cluster.workers=2"),
    )
    assert "kind: RayCronJob" in job and "schedule: 0 3 1 * *" in job and "timeZone: UTC" in job and "s3://bucket/my" in job
    assert not Path("runs").exists()
