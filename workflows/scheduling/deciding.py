"""What to do with a schedule at a look. Nothing is read or started here: all facts are arguments.

decide(Facts(schedule=..., now=..., last=trigger, is_running=False, ...))     Decision("resume", "its process died")
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from workflows.scheduling import files
from workflows.scheduling.files import Seen
from workflows.scheduling.schedules import Schedule
from workflows.scheduling.times import last_tick, next_tick
from workflows.scheduling.triggers import Trigger

MOST_FRUITLESS = 8
"""Starts in a row that may die without a newly finished stage or checkpoint."""
FIRST_PAUSE_SECONDS = 30.0
"""Before the third start in a row that brings nothing; doubled each time. The second follows at once."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a look found."""

    schedule: Schedule
    now: datetime
    last: Trigger | None = None
    """The newest trigger."""
    last_cron_tick: datetime | None = None
    is_running: bool = False
    """Whether the process of the newest trigger lives."""
    busy: str = ""
    """Who else uses the output folder now; "" for nobody."""
    has_moved: bool = False
    """Whether a stage or a checkpoint was finished since the newest trigger's last start."""
    looker: str = ""
    """This page."""
    seen: Mapping[str, Seen] = field(default_factory=dict)
    """Watched files, as of this look."""
    known: Mapping[str, set[tuple[int, str]]] = field(default_factory=dict)
    """Versions of files for which a run was started before."""


@dataclass(frozen=True)
class Decision:
    """What to do, and why in a line."""

    action: Literal["wait", "start", "resume", "give up"]
    why: str
    tick: datetime | None = None
    files: Mapping[str, Seen] = field(default_factory=dict)


def decide(facts: Facts) -> Decision:
    """Return what to do with a schedule."""
    last = facts.last
    if last and last.is_open:
        return _of_open(facts, last)
    if facts.schedule.paused:
        return Decision("wait", "paused")
    found = _by_cron(facts) if facts.schedule.cron else _by_files(facts)
    if found.action == "start" and facts.busy:
        return Decision("wait", f"{found.why}; waits for {facts.busy}")
    return found


def _of_open(facts: Facts, last: Trigger) -> Decision:
    """Decide about a trigger whose run has not ended."""
    if facts.is_running:
        return Decision("wait", f"running since {_when(last.started_at, facts)}: {last.cause}")
    if facts.schedule.paused:
        return Decision("wait", "paused; its run is not finished, and resumes after the pause")
    if facts.busy:
        return Decision("wait", f"its run is not finished, and waits for {facts.busy}")
    if last.starts == 0:
        return Decision("resume", last.cause)
    reason = last.message or "its process was killed, or its machine stopped"
    fruitless = 0 if facts.has_moved else last.fruitless
    if fruitless >= MOST_FRUITLESS:
        return Decision("give up", f"{reason}; started {last.starts} times, the last {fruitless} without a finished stage")
    pause = FIRST_PAUSE_SECONDS * 2 ** (fruitless - 1) if fruitless else 0
    left = last.started_at + pause - facts.now.timestamp()
    if last.started_by == facts.looker and 0 < left <= pause:
        return Decision("wait", f"{reason}; starts again in {left:.0f} s")
    return Decision("resume", reason)


def _by_cron(facts: Facts) -> Decision:
    schedule = facts.schedule
    after = max(schedule.began, facts.last_cron_tick or schedule.began)
    if tick := last_tick(schedule.cron, schedule.timezone, after, facts.now):
        return Decision("start", f"{schedule.cron} at {tick:%Y-%m-%d %H:%M} UTC", tick)
    rest = "; its training resumes then" if facts.last and facts.last.outcome == "out of time" else ""
    return Decision("wait", f"next at {next_tick(schedule.cron, schedule.timezone, facts.now):%Y-%m-%d %H:%M %Z}{rest}")


def _by_files(facts: Facts) -> Decision:
    """Start when there are new files, and none of all is still written: the recipe may read any of them."""
    now, seconds = facts.now.timestamp(), facts.schedule.settle_seconds
    new = {url: seen for url, seen in facts.seen.items() if not files.is_known(url, seen, facts.known)}
    if not new:
        return Decision("wait", f"no new file among {len(facts.seen):,}" if facts.seen else "no files yet")
    if written := [url for url, seen in new.items() if not files.settled(seen, now, seconds)]:
        return Decision("wait", f"{_named(written)} may still be written")
    return Decision("start", f"new: {_named(new)}", files=new)


def _named(urls: Mapping[str, Seen] | list[str]) -> str:
    first, *others = sorted(urls)
    return first + (f" and {len(others)} more" if others else "")


def _when(seconds: float, facts: Facts) -> str:
    return f"{datetime.fromtimestamp(seconds, facts.now.tzinfo):%Y-%m-%d %H:%M}"
