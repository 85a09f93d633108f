"""What the time of an attempt went into, in its folder: written anew every second, so that a killed one leaves it too.

    attempt-0002/time.json    {"attempt": 2, "host": "h1", "opened": 1796043851.2, "updated": 1796049001.1, "workers": 4,
                               "resumed": 300, "reached": 347, "step": 912, "ended": "",
                               "seconds": {"starting": 9.1, "repeating": 21.7, "computing": 4981.0, "data": 12.1, ...}}

`reached` is the last step of the attempts before it, `resumed` that of the checkpoint: the steps between them were repeated.
Needs no torch.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from model.checkpoints.listing import attempt_name, attempts
from model.training.tracking.events import FINISHED, STOPPED
from pipeline import storage

FILE = "time.json"
"""Name of the file in the folder of an attempt."""
LOOK_BACK = 20
"""How many attempts may have died before they wrote one."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What an attempt has done so far."""

    attempt: int
    host: str
    """That of rank 0."""
    opened: float
    """When its process began to train, or when the rollback began that led to it."""
    updated: float
    """The last sign of life."""
    workers: int
    resumed: int
    """The step that it resumed at."""
    reached: int
    """The last step that was done before it."""
    step: int
    seconds: Mapping[str, float]
    """By the kinds of clock.py; together `updated - opened`."""
    ended: str = ""
    """How it ended: finished, stopped (and why), rolled back, or its error; empty while it runs, and after it was killed."""

    @property
    def in_order(self) -> bool:
        """Whether it ended as it should."""
        return self.ended.startswith((FINISHED, STOPPED))

    @property
    def repeated(self) -> int:
        """Steps that it has done again."""
        return max(0, min(self.step, self.reached) - self.resumed)

    def write(self, output: str) -> None:
        """Write the file.

        Raises: StorageError.
        """
        storage.write_json(storage.join(output, attempt_name(self.attempt), FILE), asdict(self))


def read(output: str, attempt: int) -> Account | None:
    """Return the account of an attempt; None if it left none, or a damaged one.

    Raises: StorageError for one that cannot be read now.
    """
    url = storage.join(output, attempt_name(attempt), FILE)
    if not storage.exists(url):
        return None
    with contextlib.suppress(ValueError, TypeError):
        found: Any = json.loads(storage.read_bytes(url))
        known = {field.name for field in fields(Account)}
        return Account(**{name: value for name, value in found.items() if name in known})
    return None


def before(output: str, attempt: int) -> Account | None:
    """Return the newest account before an attempt.

    Raises: StorageError.
    """
    earlier = [number for number in attempts(output) if number < attempt]
    return next((found for number in earlier[::-1][:LOOK_BACK] if (found := read(output, number))), None)
