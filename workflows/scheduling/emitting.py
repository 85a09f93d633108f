"""A schedule for those who want no daemon: a line for cron, or units of systemd. Both run `nezha-pipe run`, which resumes.

emit_cron(schedule)         {"crontab": "0 3 1 * * cd /data && flock -n ... nezha-pipe run ..."}
emit_systemd(schedule)      {"tiny.service": ..., "tiny.timer": ...}

The RayCronJob is cluster/manifests/kuberay.py's.
"""

import shlex
import shutil
import sys
from pathlib import Path

from cluster.manifests.config import MONTHS
from cluster.manifests.systemd import command_line, escaped, unit_file
from pipeline.errors import RecipeError
from workflows.scheduling.schedules import Schedule, refuse_secrets

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def program() -> str:
    """Return the path of this program: cron and systemd have no PATH of yours."""
    beside = Path(sys.executable).with_name("nezha-pipe")
    return str(beside) if beside.is_file() else shutil.which("nezha-pipe") or "nezha-pipe"


def emit_cron(schedule: Schedule) -> dict[str, str]:
    """Return a line for `crontab -e`. A run that is still going is not started twice."""
    refuse_secrets(schedule)
    command = f"{shlex.join([program(), *schedule.command])} >> {shlex.quote(f'{schedule.name}.log')} 2>&1"
    line = f"cd {shlex.quote(schedule.folder)} && flock -n {shlex.quote(f'.{schedule.name}.lock')} {command}"
    return {
        "crontab": (
            f"# cron reads times in the zone of its machine; here {schedule.timezone} is meant.\n"
            "# cron does not make up for a time at which the machine was off: the next one resumes what is unfinished.\n"
            f"{MACROS.get(schedule.cron, schedule.cron)} {line.replace('%', chr(92) + '%')}\n"
        )
    }


def emit_systemd(schedule: Schedule) -> dict[str, str]:
    """Return a service and its timer. A time at which the machine was off is made up for once (`Persistent`)."""
    refuse_secrets(schedule)
    service = {
        "Unit": [
            ("Description", escaped(f"nezha-pipe run {schedule.recipe}")),
            ("Wants", "network-online.target"),
            ("After", "network-online.target"),
            ("StartLimitIntervalSec", "1d"),
            ("StartLimitBurst", "8"),
        ],
        "Service": [
            ("Type", "oneshot"),
            ("WorkingDirectory", escaped(schedule.folder)),
            ("ExecStart", command_line([program(), *schedule.command])),
            # 2: what a user has to mend first. Anything else may pass.
            ("Restart", "on-failure"),
            ("RestartPreventExitStatus", "2"),
            ("RestartSec", "30"),
            ("TimeoutStopSec", "300"),
        ],
    }
    times = [("OnCalendar", f"{time} {schedule.timezone}") for time in calendar(schedule.cron)]
    timer = {
        "Unit": [("Description", escaped(f"{schedule.name}: {schedule.when}"))],
        "Timer": [*times, ("Persistent", "true"), ("AccuracySec", "1s")],
        "Install": [("WantedBy", "timers.target")],
    }
    return {f"nezha-{schedule.name}.service": unit_file(service), f"nezha-{schedule.name}.timer": unit_file(timer)}


def calendar(cron: str) -> list[str]:
    """Return a cron expression as systemd's calendar events, which are two if it restricts both days of month and of week.

    >>> calendar("0 3 1 * *")
    ['*-*-01 03:00:00']

    Raises: RecipeError for what systemd cannot say, such as `L`.
    """
    fields = MACROS.get(cron, cron).split()
    minute, hour = (_field(part, cron) for part in fields[:2])
    day, month = _field(fields[2], cron, first=1), _field(fields[3], cron, first=1, names=MONTHS)
    week = _week(fields[4], cron)
    time = f"{hour}:{minute}:00"
    if week and day != "*":
        return [f"*-{month}-{day} {time}", f"{week} *-{month}-* {time}"]
    return [f"{week} *-{month}-{day} {time}" if week else f"*-{month}-{day} {time}"]


def _field(part: str, cron: str, first: int = 0, names: tuple[str, ...] = ()) -> str:
    """`1-5/2,9` -> `01..05/2,09`, as systemd writes ranges."""
    found = []
    for item in part.lower().split(","):
        span, slash, step = item.partition("/")
        for number, name in enumerate(names, start=1):
            span = span.replace(name, str(number))
        ends = span.split("-")
        if slash and span == "*":
            ends = [str(first)]  # every step-th from the first
        known = len(ends) <= 2 and (span == "*" or all(end.isdecimal() for end in ends)) and (step.isdecimal() or not slash)
        if not known or (len(ends) == 2 and int(ends[0]) > int(ends[1])):  # 22-2: for cron, 22 to 2
            raise RecipeError(f"--cron {cron!r}: systemd has no form for {part!r}; use numbers, ranges and steps")
        found.append("..".join(end if end == "*" else f"{int(end):02d}" for end in ends) + (f"/{step}" if slash else ""))
    return ",".join(found)


def _week(part: str, cron: str) -> str:
    """`1-3` -> `Mon,Tue,Wed`; "" for every day."""
    if part == "*":
        return ""
    text = part.lower()
    for number, name in enumerate(DAYS):
        text = text.replace(name.lower(), str(number))
    days: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        low, dash, high = ("0-6" if span == "*" else span).partition("-")
        known = all(word.isdecimal() for word in (low, high or "0", step or "1")) and max(int(low), int(high or 0)) <= 7
        if not known or (slash and not dash):  # 1/2: for cron, each second day from Monday on
            raise RecipeError(f"--cron {cron!r}: systemd has no form for {part!r}; use numbers, ranges and names of days")
        first, last = int(low), int(high or low)
        last += 7 if last < first else 0  # 5-1: from Friday to Monday
        days.update(day % 7 for day in range(first, last + 1, int(step or 1)))
    return ",".join(DAYS[day] for day in sorted(days, key=lambda day: (day - 1) % 7))
