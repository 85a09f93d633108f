"""What happened to a training: who began, failed, waited and ended, when, and on which host. Needs no torch.

    log = EventLog("runs/encoder", "command")
    log.add("failure", what="the driver was killed by SIGKILL")

    {"kind": "start", "time": 1796042700.1, "host": "h0", "command": "8f3a12"}
    {"kind": "waited", "time": 1796042731.9, "host": "h0", "since": 1796042704.4}                  for machines
    {"kind": "workers", "time": 1796042733.0, "host": "h0", "hosts": ["h1", "h2", "h3"]}           by rank
    {"kind": "failure", "time": 1796043822.7, "host": "h0", "rank": 1, "what": "its process was killed"}
    {"kind": "end", "time": 1796049001.5, "host": "h0", "command": "8f3a12", "how": "finished"}

Each process has a file of its own, written anew with each of its few events: an object store cannot append.
"""

import contextlib
import json
import logging
import platform
import threading
import time
import uuid
from types import TracebackType
from typing import Any

from pipeline import storage
from pipeline.errors import StorageError
from pipeline.redaction import redact

FOLDER = "events"
"""Name of the folder in the training folder."""
PATIENCE = 2.0
"""Longest time that an event waits for its store, in seconds; it is written all the same, later."""
FINISHED = "finished"
STOPPED = "stopped"
"""How an attempt or a command ended in order; the latter is followed by the reason."""
Event = dict[str, Any]
log = logging.getLogger(__name__)


class EventLog:
    """The events of this process. It may be sent to another process, whose events then have a file of their own.

    Args:
        output: the training folder.
        who: what this process is, in the name of its file.
    """

    def __init__(self, output: str, who: str) -> None:
        self.output, self.who = output, who
        self.id = uuid.uuid4().hex[:6]
        self._name = ""
        self._events: list[Event] = []
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["EventLog"], tuple[str, str]]:
        return EventLog, (self.output, self.who)

    def add(self, kind: str, **facts: Any) -> None:
        """Add an event. It never raises: a store that does not take it now gets it with the next one."""
        now = time.time()
        self._name = self._name or f"{int(now * 1_000)}-{self.who}-{self.id}.jsonl"
        texts = {name: redact(fact) for name, fact in facts.items() if isinstance(fact, str)}
        self._events.append({"kind": kind, "time": now, "host": platform.node(), **facts, **texts})
        thread = threading.Thread(target=self._write, daemon=True, name="events")
        thread.start()
        thread.join(PATIENCE)

    def _write(self) -> None:
        with self._lock:
            lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in self._events)
            try:
                storage.write_bytes(storage.join(self.output, FOLDER, self._name), lines.encode())
            except StorageError as error:
                log.warning("an event is not recorded: %s", error)


class Command:
    """A command that trains, as a context: its start and its end are events, once training is found to be possible.

    Call `begin` when inputs are checked; before, nothing is written. Set `how` if it ends otherwise than finished.
    """

    def __init__(self, output: str) -> None:
        self.events = EventLog(output, "command")
        self.how = FINISHED
        self._created = time.time()
        self._begun = False

    def begin(self) -> None:
        """Record the start, if it is not recorded yet."""
        if not self._begun:
            self._begun = True
            self.events.add("start", time=self._created, command=self.events.id)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.how = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        if self._begun:
            self.events.add("end", command=self.events.id, how=self.how)


def read(output: str) -> list[Event]:
    """Return the events of a training folder by time.

    Raises: StorageError for a file that cannot be read now.
    """
    events: list[Event] = []
    for name in storage.list_names(storage.join(output, FOLDER)):
        for line in storage.read_bytes(storage.join(output, FOLDER, name)).splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and isinstance(event.get("time"), float) and isinstance(event.get("kind"), str):
                    events.append(event)
    return sorted(events, key=lambda event: float(event["time"]))
