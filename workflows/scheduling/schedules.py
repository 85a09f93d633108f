"""Schedules: what `nezha-pipe schedule` writes, one folder each.

add(folder, Schedule(name="tiny", recipe="tiny", output=..., cron="0 3 1 * *", ...))
for schedule in read_all(folder): ...
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.errors import RecipeError, StorageError
from pipeline.redaction import redact

FILE = "schedule.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a recipe is run, and how."""

    name: str
    recipe: str
    """Absolute path of a recipe, or the name of one that comes with the program."""
    settings: Sequence[str] = ()
    """As given by --set."""
    output: str
    """Absolute URL of the output folder."""
    workers: int | None = None
    folder: str
    """Working directory, for relative paths in the recipe."""
    cron: str = ""
    timezone: str = "UTC"
    watch: str = ""
    """URL of files, if it runs when there are new ones."""
    settle_seconds: float = 60.0
    """How long a file must not have changed."""
    since: str
    """When it was made or resumed: earlier ticks are not made up for. ISO 8601."""
    paused: bool = False
    notify: Mapping[str, Any] = field(default_factory=dict)
    """`[notify]` when it was made, for a recipe that can no longer be loaded."""

    @property
    def when(self) -> str:
        """Describe in a few words when it runs."""
        return f"{self.cron} ({self.timezone})" if self.cron else f"new files at {self.watch}"

    @property
    def command(self) -> list[str]:
        """Arguments of `nezha-pipe` that run it once."""
        words = ["run", self.recipe, "--output", self.output]
        words += [word for setting in self.settings for word in ("--set", setting)]
        return words + (["--workers", str(self.workers)] if self.workers else [])

    @property
    def began(self) -> datetime:
        return datetime.fromisoformat(self.since)


def folder_of(history: Path) -> Path:
    """Return the folder of all schedules, beside a history."""
    return history / "scheduled"


def read_all(folder: Path) -> list[Schedule]:
    """Return all schedules, sorted by name; those by cron first, since they are due at a minute.

    Raises: StorageError for a damaged one.
    """
    found = [read(folder, name) for name in storage.list_names(str(folder)) if (folder / name / FILE).is_file()]
    return sorted(found, key=lambda schedule: (not schedule.cron, schedule.name))


def read(folder: Path, name: str) -> Schedule:
    """Read a schedule.

    Raises: RecipeError if there is none of this name; StorageError if it is damaged.
    """
    place = folder / name / FILE
    if not _NAME.fullmatch(name) or not place.is_file():
        known = ", ".join(each for each in storage.list_names(str(folder)) if (folder / each / FILE).is_file())
        raise RecipeError(f"no schedule {name!r}; " + (f"there are {known}" if known else "there are none"))
    try:
        return Schedule(**json.loads(storage.read_bytes(str(place))))
    except (ValueError, TypeError) as error:
        raise StorageError(f"{place}: not a schedule of nezha-pipe; remove it: schedule --remove {name}") from error


def add(folder: Path, schedule: Schedule) -> None:
    """Write a new schedule.

    Raises: RecipeError for a name that cannot be, or is taken, and for a secret, which would be written down.
    """
    refuse_secrets(schedule)
    if not _NAME.fullmatch(schedule.name):
        raise RecipeError(f"--name {schedule.name}: use letters, digits, '-', '_' and '.', at most 64")
    if (folder / schedule.name / FILE).exists():
        raise RecipeError(f"there is a schedule {schedule.name!r} already: give another --name, or --remove it first")
    _write(folder, schedule)


def refuse_secrets(schedule: Schedule) -> None:
    """Raises: RecipeError for a command with a secret, which would be written down."""
    for text in (*schedule.command, schedule.watch, str(schedule.notify.get("url", ""))):
        if redact(text) != text:
            raise RecipeError(f"{redact(text)}: a secret would be written down; give it by the environment of the job")


def pause(folder: Path, name: str) -> None:
    """Start nothing for a schedule until it is resumed. A run that is going goes on."""
    _write(folder, replace(read(folder, name), paused=True))


def resume(folder: Path, name: str, now: datetime) -> None:
    """End a pause. Ticks that fell into it are not made up for."""
    schedule = read(folder, name)
    if schedule.paused:
        _write(folder, replace(schedule, paused=False, since=now.astimezone(UTC).isoformat(timespec="seconds")))


def remove(folder: Path, name: str) -> None:
    """Remove a schedule with its triggers and logs. A run that is going goes on."""
    if not _NAME.fullmatch(name) or not (folder / name).is_dir():
        read(folder, name)
    storage.remove(str(folder / name))


def _write(folder: Path, schedule: Schedule) -> None:
    storage.make_folder(folder / schedule.name)
    storage.write_json(str(folder / schedule.name / FILE), asdict(schedule))
