"""The champion: the last record of a history, to which of several processes one adds.

    history/000001.json     {"event": "promoted", "model": "tiny-5d0c", "champion": {"name": "tiny-5d0c", "url": ...}, ...}
    history/000002.json     {"event": "refused", "model": "wide-77ab", "champion": {"name": "tiny-5d0c", ...}, ...}
    history/000003.json     {"event": "overridden", "model": "wide-77ab", "champion": {"name": "wide-77ab", ...}, ...}

Each record has a number, and a file is created only if there is none of that name (pipeline/conditional.py). So of two
promotions at once, one has the next number; and whoever is killed has either created it, whole, or not. There is no second file
that says who the champion is, so nothing can disagree with the history.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline import conditional, storage
from pipeline.errors import DamagedError

HISTORY = "history"
Event = Literal["promoted", "overridden", "refused", "rolled back"]
_NAME = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True)
class Record:
    """One record of the history."""

    number: int
    content: Mapping[str, Any]

    @property
    def champion(self) -> str:
        """Name of the model that was the champion from here on; "" if none was."""
        return str((self.content["champion"] or {}).get("name", ""))


def records(registry: str) -> list[Record]:
    """Return the whole history."""
    return [_read(registry, number) for number in _numbers(registry)]


def backwards(registry: str) -> Iterator[Record]:
    """Yield the records, the last one first, each read when it is asked for."""
    return (_read(registry, number) for number in reversed(_numbers(registry)))


def last(registry: str) -> Record | None:
    """Return the last record, which says who the champion is; None if nobody was ever judged."""
    return next(backwards(registry), None)


def add(registry: str, number: int, content: Mapping[str, Any]) -> bool:
    """Add the record of this number. Return whether there was none: otherwise somebody was faster."""
    content = {**content, "number": number, "token": uuid.uuid4().hex}
    return conditional.create(_url(registry, number), storage.json_bytes(content)) is not None


def _numbers(registry: str) -> list[int]:
    storage.refuse_file(registry)
    found = (_NAME.fullmatch(name) for name in storage.list_names(storage.join(registry, HISTORY)))
    return sorted(int(match[1]) for match in found if match)


def _url(registry: str, number: int) -> str:
    return storage.join(registry, HISTORY, f"{number:06d}.json")


def _read(registry: str, number: int) -> Record:
    url = _url(registry, number)
    try:
        content = json.loads(storage.read_bytes(url))
        if content["number"] != number or not {"champion", "model", "event"} <= content.keys():
            raise ValueError("not a record")
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{url}: not a whole record of the history; bring it back from a backup, or delete it") from error
    return Record(number, content)
