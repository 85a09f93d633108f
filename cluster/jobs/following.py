"""Follow a job: its log line by line until its end, also while the dashboard is away for some time.

A thread reads, so that Ctrl-C is obeyed at once whatever it waits for. Ray gives a log from its beginning each time; what has
been seen is skipped.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from cluster.jobs.connection import Connection, Job
from cluster.local import in_thread
from pipeline.errors import UnavailableError

RAY = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+\s+INFO .*|Running entrypoint for job .*")
"""What Ray itself writes into the log of each job."""
AWAY_SECONDS = 600
"""Longest time for which a dashboard may be away."""
RETRY_SECONDS = 2.0
SILENT_SECONDS = 15.0
"""Time without a new line after which the dashboard is asked whether the job still runs."""
SILENCES = 8
"""Silences in a row after which the log is asked for again: the connection may be gone without a word."""


def follow(connection: Connection, job: str, on_line: Callable[[str], None], note: Callable[[str], None]) -> Job:
    """Call `on_line` with each line of a job's log, and return the job when it has ended.

    Args:
        note: told when the dashboard is away, and when it is back.

    Raises: UnavailableError when it is away for too long; UnknownJobError when the cluster does not know the job any more.
    """
    news: SimpleQueue[tuple[bool, str]] = SimpleQueue()
    result = in_thread("job-log", _Reader(connection, job, news).read)
    rest = ""
    while True:
        try:
            is_note, text = news.get(timeout=0.1)
        except Empty:
            if result.done() and news.empty():
                break
            continue
        if is_note:
            note(text)
            continue
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            on_line(line)
    if rest:
        on_line(rest)
    return result.result()


class _Reader:
    """Reads the log of a job into a queue, in a thread of its own."""

    def __init__(self, connection: Connection, job: str, news: "SimpleQueue[tuple[bool, str]]") -> None:
        self.connection, self.job, self.news = connection, job, news
        self._seen = 0
        """Characters of the log that have been passed on."""
        self._away_since: float | None = None

    def read(self) -> Job:
        """Read to the end of the job, and return it."""
        while True:
            try:
                job = self._info()
                try:
                    asyncio.run(self._tail())
                except UnavailableError:
                    if job.running:
                        raise
                    return job  # the machine that has its log is gone
                if not job.running:
                    return job
                if not self._info().running:
                    continue  # Ray may end the log of a job that ends before its last lines: it is read once more
            except UnavailableError as error:
                now = time.monotonic()
                if self._away_since is None:
                    self._away_since = now
                    self.news.put((True, f"{error}; trying again for {AWAY_SECONDS // 60} minutes, meanwhile the job goes on"))
                elif now - self._away_since > AWAY_SECONDS:
                    raise
            time.sleep(RETRY_SECONDS)

    def _info(self) -> Job:
        job = self.connection.info(self.job)
        self._answered()
        return job

    def _answered(self) -> None:
        if self._away_since is not None:
            self._away_since = None
            self.news.put((True, "the dashboard answers again"))

    async def _tail(self) -> None:
        """Pass on what is new in the log, until the job ends or the connection is of no use any more."""
        chunks = self.connection.tail(self.job)
        place, silences = 0, 0
        pending = asyncio.ensure_future(anext(chunks, None))  # type: ignore[arg-type, unused-ignore]
        try:
            while silences < SILENCES:
                done, _ = await asyncio.wait({pending}, timeout=SILENT_SECONDS)
                if not done:
                    silences += 1
                    if not self._info().running:
                        return
                    continue
                if (text := pending.result()) is None:
                    return
                self._answered()
                silences = 0
                if new := text[max(0, self._seen - place) :]:
                    self.news.put((False, new))
                place += len(text)
                self._seen = max(self._seen, place)
                pending = asyncio.ensure_future(anext(chunks, None))  # type: ignore[arg-type, unused-ignore]
        finally:
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, UnavailableError):
                await pending
