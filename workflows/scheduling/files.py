"""Which watched files are new, and which may still be written.

A file is taken when two looks found it with the same size and etag (or time), and it has not changed for a while.

    found = look_at("s3://bucket/dumps")         size and etag of each file
    seen = remembered(found, earlier, now)       and when a look first found it so
    settled(seen[url], now, 60)                  whether it may be taken
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import CorpusError
from pipeline.sources import inputs


@dataclass(frozen=True)
class Seen:
    """A file as a look found it."""

    size: int
    version: str
    """Etag or time of change; "" if the store has nothing of the kind."""
    written: float
    """Time of the last change of a local file, in seconds; 0 = unknown."""
    since: float = 0.0
    """When a look first found it so, in seconds."""

    def is_same(self, other: "Seen") -> bool:
        return (self.size, self.version) == (other.size, other.version)


def look_at(url: str) -> dict[str, Seen]:
    """Return the files that a path, folder or glob names, by URL without secrets; empty if there are none yet.

    Raises: StorageError, StoreAwayError when the place cannot be read now.
    """
    try:
        found = inputs.expand([url])
    except CorpusError as error:
        if "no such file" not in str(error):
            raise
        return {}
    return {file.shown_url: Seen(file.size, file.version, file.written) for file in found}


def remembered(found: Mapping[str, Seen], earlier: Mapping[str, Seen], now: float) -> dict[str, Seen]:
    """Return what this look found, with the time at which a look first found each file so."""
    kept = {}
    for url, seen in found.items():
        before = earlier.get(url)
        since = before.since if before and seen.is_same(before) else now
        kept[url] = Seen(seen.size, seen.version, seen.written, since)
    return kept


def settled(seen: Seen, now: float, seconds: float) -> bool:
    """Return whether a file is no longer written: found the same at an earlier look, and unchanged for `seconds`.

    A time of change in the future, by a clock that is wrong, is not believed.
    """
    at_two_looks = seen.since < now
    unchanged_since = min(seen.written, seen.since) if 0 < seen.written <= now else seen.since
    return at_two_looks and now - unchanged_since >= seconds


def is_known(url: str, seen: Seen, known: Mapping[str, set[tuple[int, str]]]) -> bool:
    """Return whether an earlier run was started for this version of a file."""
    return (seen.size, seen.version) in known.get(url, set())
