"""A look at all schedules: read the facts, decide, act. Dagster's sensor calls it every few seconds.

look(history)      {"tiny": "next at 2026-12-01 03:00 CST", "news": "started: new: s3://bucket/news/2026-11.jsonl"}
"""

import fcntl
import json
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pipeline import storage
from pipeline.errors import UserError
from workflows.orchestration.history import History
from workflows.scheduling import files, schedules, starting, triggers
from workflows.scheduling.deciding import Decision, Facts, decide
from workflows.scheduling.files import Seen
from workflows.scheduling.schedules import Schedule
from workflows.scheduling.telling import tell
from workflows.scheduling.triggers import Trigger

LOOKS = "looks.json"
STORE_SECONDS = 10.0
"""For how long a store that does not answer is asked in one look: other schedules wait."""
LONGEST_INTERVAL = 30.0
"""Seconds between two looks at the same files."""
LOOKER = uuid.uuid4().hex
"""This process."""


def look(history: History, looker: str = LOOKER) -> dict[str, str]:
    """Look at all schedules, start what is due, and return what was found in a line each.

    Empty while another process looks. What is wrong with one schedule is said in its line.
    """
    folder = schedules.folder_of(history.folder)
    if not folder.is_dir():
        return {}
    said = {}
    with open(folder / ".lock", "a") as lock, storage.patience(STORE_SECONDS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return {}
        for name in sorted(storage.list_names(str(folder)), key=lambda each: _order(folder, each)):
            if (folder / name / schedules.FILE).is_file():
                try:
                    said[name] = _look_at(history, folder, schedules.read(folder, name), looker)
                except (UserError, OSError) as error:
                    said[name] = f"{error}; asked again at the next look"
    return said


def _order(folder: Path, name: str) -> tuple[bool, str]:
    """Put schedules that look at files last: their stores may keep the others waiting."""
    try:
        return bool(schedules.read(folder, name).watch), name
    except UserError:
        return True, name


def _look_at(history: History, folder: Path, schedule: Schedule, looker: str) -> str:
    own = folder / schedule.name
    with ExitStack() as stack:
        lock, holder = stack.enter_context(starting.locked(folder, schedule.output))
        # Read with the lock, so that a run which ends meanwhile has said how.
        found = triggers.read_all(own) if schedule.watch else triggers.newest(own)
        last = found[-1] if found else None
        is_running = last is not None and holder == f"{schedule.name}/{last.number}"
        has_died = last is not None and last.is_open and last.starts > 0 and not is_running
        progress = triggers.progress(schedule.output) if has_died else ()
        facts = Facts(
            schedule=schedule,
            now=datetime.now(UTC),
            last=last,
            last_cron_tick=datetime.fromisoformat(last.tick) if last and last.tick else None,
            is_running=is_running,
            busy=_busy(history, schedule, holder, is_running),
            has_moved=last is not None and triggers.is_further(progress, last.progress),
            looker=looker,
            known=triggers.known_files(found),
        )
        if schedule.watch and not schedule.paused and not (last and last.is_open):
            seen = _seen(own, schedule, facts.now.timestamp())
            if seen is None:
                return "looked at a moment ago"
            facts = replace(facts, seen=seen)
        decision = decide(facts)
        if decision.action == "wait" or lock is None:
            return decision.why
        if decision.action == "give up":
            return _give_up(own, schedule, decision, facts)
        return _start(own, schedule, decision, facts, lock, progress or triggers.progress(schedule.output))


def _busy(history: History, schedule: Schedule, holder: str, is_running: bool) -> str:
    """Return who else uses the output folder of a schedule."""
    if holder and not is_running:
        return f"the run of schedule {holder}"
    if not is_running and (others := history.alive(schedule.output)):
        return f"run {others[0]}"
    return ""


def _seen(own: Path, schedule: Schedule, now: float) -> dict[str, Seen] | None:
    """Look at the watched files and remember what is there; None if the last look was a moment ago."""
    place = str(own / LOOKS)
    at, earlier = _last_look(place)
    if 0 <= now - at < min(LONGEST_INTERVAL, schedule.settle_seconds / 2):
        return None
    found = files.remembered(_within(schedule.folder, schedule.watch), earlier, now)
    storage.write_json(place, {"at": now, "files": {url: asdict(seen) for url, seen in found.items()}})
    return found


def _last_look(place: str) -> tuple[float, dict[str, Seen]]:
    """Return the time of the last look, and what it found. One that cannot be understood is none: files settle once more."""
    try:
        before: Any = json.loads(storage.read_bytes(place)) if storage.exists(place) else {"at": 0.0, "files": {}}
        return float(before["at"]), {url: Seen(**seen) for url, seen in before["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return 0.0, {}


def _within(folder: str, watch: str) -> dict[str, Seen]:
    return files.look_at(str(Path(folder) / storage.local_path(watch)) if storage.is_local(watch) else watch)


def _give_up(own: Path, schedule: Schedule, decision: Decision, facts: Facts) -> str:
    assert facts.last is not None
    triggers.write(own, replace(facts.last, outcome="given up", message=decision.why))
    # In a thread: whoever is told may not answer for minutes, and other schedules are due.
    threading.Thread(target=tell, args=(schedule, f"given up: {decision.why}")).start()
    return f"given up: {decision.why}"


def _start(own: Path, schedule: Schedule, decision: Decision, facts: Facts, lock: IO[str], progress: Sequence[int]) -> str:
    """Start a run for a new trigger, or again for the last one."""
    last = facts.last
    if decision.action == "start":
        trigger = Trigger(
            number=last.number + 1 if last else 1,
            cause=decision.why,
            at=facts.now.isoformat(timespec="seconds"),
            tick=decision.tick.isoformat() if decision.tick else "",
            files={url: (seen.size, seen.version) for url, seen in decision.files.items()},
        )
        triggers.write(own, trigger)
    else:
        assert last is not None
        trigger = last
    moved = not trigger.starts or facts.has_moved
    trigger = replace(
        trigger,
        starts=trigger.starts + 1,
        fruitless=0 if moved else trigger.fruitless + 1,
        progress=progress,
        started_at=time.time(),
        started_by=facts.looker,
        message="",
    )
    triggers.write(own, trigger)
    starting.start(own.parent, schedule, trigger, lock)
    return f"{'started' if trigger.starts == 1 else 'started again'}: {decision.why}"
