"""Shards of an object store are copied to this machine's disk before they are due: those of the next window of each source.

    with fetching(rows.sets, order) as ahead:
        ahead.at(4096)          sample 4096 is next: fetch what its window and the one after it lack

Threads of each worker take the shards in the order in which they are needed, and pass over those that another worker fetches
(pipeline/examples/cache.py). Nothing depends on them: a row whose shard is not there yet waits for it.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Iterator, Sequence

from model.samples.order import Order
from pipeline.errors import UserError
from pipeline.examples.cache import SIZE, Stopped
from pipeline.examples.shards import ShardSet
from pipeline.redaction import redact

THREADS = 2
"""Downloads at a time in each worker."""
EVERY = 4_096
"""Samples between two looks at what is due; a window has a hundred thousand."""

log = logging.getLogger(__name__)
_told: set[str] = set()


class Ahead:
    """What is due, and the threads that fetch it."""

    def __init__(self, sets: Sequence[ShardSet], order: Order) -> None:
        self._sets, self._order = sets, order
        self._next = -1
        self._keep: frozenset[str] = frozenset()
        self._due: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self._asked: set[tuple[int, int]] = set()
        self._stopped = threading.Event()
        for number in range(THREADS):
            threading.Thread(target=self._run, daemon=True, name=f"shards-{number}").start()

    def at(self, sample: int) -> None:
        """Look at what is due from a sample on; most calls return at once."""
        if self._next <= sample < self._next + EVERY and self._next >= 0:
            return
        self._next = sample
        due = [
            (source, shard)
            for source, windows in enumerate(self._order.windows(sample))
            for window in windows
            for shard in sorted(self._sets[source].covering(window))
        ]
        self._keep = frozenset(str(self._sets[source].entries[shard]["sha256"]) for source, shard in due)
        # What is due later may be asked for again, as it may have been removed since.
        self._asked &= set(due)
        for one in due:
            if one not in self._asked:
                self._asked.add(one)
                self._due.put(one)

    def stop(self) -> None:
        """End the threads; a download is given up."""
        self._stopped.set()
        for _ in range(THREADS):
            self._due.put((-1, -1))

    def _run(self) -> None:
        while True:
            source, shard = self._due.get()
            if self._stopped.is_set():
                return
            # Who reads the shard fetches it then, or says why it cannot be had.
            with contextlib.suppress(UserError, Stopped):
                self._sets[source].fetch(shard, self._keep, self._stopped)


@contextlib.contextmanager
def fetching(sets: Sequence[ShardSet], order: Order) -> Iterator[Ahead | None]:
    """Fetch shards during a block; None if all are on disks that this machine sees. `sets`: of the order's sources."""
    _tell_what_does_not_fit([shards for shards in sets if shards.cache is not None])
    ahead = Ahead(sets, order) if any(shards.cache is not None for shards in sets) else None
    try:
        yield ahead
    finally:
        if ahead is not None:
            ahead.stop()


def _tell_what_does_not_fit(sets: Sequence[ShardSet]) -> None:
    """Say once of a phase that its shards are more than the cache holds."""
    size = sum(int(entry["bytes"]) for shards in sets for entry in shards.entries)
    for shards in sets[:1]:
        url, cache = shards.stage.url, shards.cache
        if cache is not None and size > cache.most > 0 and url not in _told:
            _told.add(url)
            log.warning(
                "%s: the shards of this phase, %.1f GB, do not fit a cache of %.1f GB: they are fetched repeatedly; raise %s",
                *(redact(url), size / 1e9, cache.most / 1e9, SIZE),
            )
