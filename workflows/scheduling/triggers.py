"""Triggers: why a run was started. Each is a file that is written before its run is started, so that no cause starts two.

    000001.json   {"cause": "0 3 1 * *", "tick": "2026-12-01T03:00:00+00:00", "starts": 2, "outcome": "succeeded", ...}

One without an outcome is open: its run is going, or its process died and is to be started again.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline import folders, storage
from pipeline.errors import StorageError

Outcome = Literal["", "succeeded", "failed", "stopped", "out of time", "given up"]
_NAME = re.compile(r"(\d{6,})\.json")
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One cause of one run, which may take several starts."""

    number: int
    cause: str
    """In words."""
    at: str
    """When it was noticed. ISO 8601."""
    tick: str = ""
    """The tick of a cron expression. ISO 8601."""
    files: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Size and version of each new file, by URL."""
    starts: int = 0
    """Processes that were started."""
    fruitless: int = 0
    """The last starts in a row that died without a newly finished stage or checkpoint."""
    progress: Sequence[int] = ()
    """Finished stages, and the step of the newest checkpoint, at the last start."""
    started_at: float = 0.0
    """Time of the last start, in seconds."""
    started_by: str = ""
    """The page that started it last; another one does not wait before it starts it again."""
    outcome: Outcome = ""
    message: str = ""
    """How it ended, or why it has to be started again."""

    @property
    def is_open(self) -> bool:
        return not self.outcome


def read_all(folder: Path) -> list[Trigger]:
    """Return all triggers of a schedule, the first one first.

    Raises: StorageError for a damaged one.
    """
    numbers = sorted(int(match[1]) for name in storage.list_names(str(folder)) if (match := _NAME.fullmatch(name)))
    return [read(folder, number) for number in numbers]


def newest(folder: Path) -> list[Trigger]:
    """Return the last trigger alone; empty if there is none."""
    numbers = [int(match[1]) for name in storage.list_names(str(folder)) if (match := _NAME.fullmatch(name))]
    return [read(folder, max(numbers))] if numbers else []


def read(folder: Path, number: int) -> Trigger:
    """Raises: StorageError if it is missing or damaged."""
    place = folder / f"{number:06d}.json"
    try:
        return Trigger(**json.loads(storage.read_bytes(str(place))))
    except (ValueError, TypeError) as error:
        raise StorageError(f"{place}: not a trigger of nezha-pipe; delete it") from error


def write(folder: Path, trigger: Trigger) -> None:
    """Write a trigger: whole, and on the disk, before anything is started."""
    storage.write_json(str(folder / f"{trigger.number:06d}.json"), asdict(trigger))


def log_of(folder: Path, number: int) -> Path:
    """Return the file that has what the runs of a trigger print."""
    return folder / f"{number:06d}.log"


def known_files(triggers: Sequence[Trigger]) -> dict[str, set[tuple[int, str]]]:
    """Return the versions of files for which a run was started, by URL."""
    known: dict[str, set[tuple[int, str]]] = {}
    for trigger in triggers:
        for url, (size, version) in trigger.files.items():
            known.setdefault(url, set()).add((size, version))
    return known


def is_further(now: Sequence[int], before: Sequence[int]) -> bool:
    """Return whether a stage or a checkpoint was finished between two readings of `progress`."""
    return any(one > other for one, other in zip(now, before, strict=False))


def progress(output: str) -> tuple[int, int]:
    """Return how many stages in an output folder are finished, and the steps of the newest checkpoints of all others: one that
    was given up stays where it is."""
    stages, step = 0, 0
    for name in storage.list_names(output):
        place = storage.join(output, name)
        if storage.exists(storage.join(place, folders.MANIFEST)):
            stages += 1
        elif name.startswith("checkpoint-"):
            attempts = [storage.join(place, each) for each in storage.list_names(place) if each.startswith("attempt-")]
            found = [_CHECKPOINT.fullmatch(each) for attempt in attempts for each in storage.list_names(attempt)]
            step += max((int(match[1]) for match in found if match), default=0)
    return stages, step
