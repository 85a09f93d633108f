"""Kills and failures of the store, by a seeded plan: each waits for a stage to be under way, and a little longer.

kill    the run: SIGKILL to all of its processes
power   the run and the page; the page is started again two seconds later, as a machine would
store   every connection to the store breaks for 20 s
"""

import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.quarters.daemon import Daemon, lose
from benchmarks.quarters.store import Store

AWAY_SECONDS = 20.0
RESTART_SECONDS = 2.0


@dataclass(frozen=True)
class Fault:
    """What happens, and after which event."""

    kind: Literal["kill", "power", "store"]
    stage: str
    """Name of the stage that has to be under way in this quarter: `documents_wiki`."""
    after: str = ""
    """A part of a name that has to be in its folder: `checkpoint-`."""
    longest_delay: float = 0.5
    """Seconds that it waits at most, drawn by the seed."""
    is_after_end: bool = False
    """Whether the stage has to be finished: the next one is under way."""


PLAN = (
    Fault("kill", "documents_wiki"),
    Fault("store", "documents_"),
    Fault("power", "shards_"),
    Fault("kill", "checkpoint", after="checkpoint-", longest_delay=3),
    Fault("power", "scores", longest_delay=4),
    Fault("store", "scores", longest_delay=0, is_after_end=True),
    Fault("kill", "scores", longest_delay=4, is_after_end=True),
)


@dataclass
class Injector:
    """Injects the faults of a plan, one after the other."""

    daemon: Daemon
    store: Store
    seed: int
    plan: tuple[Fault, ...] = PLAN
    done: list[str] = field(default_factory=list)
    """What happened, in a line each."""
    kinds: list[str] = field(default_factory=list)
    _due: float = 0.0
    _back: float = 0.0
    _restart: float = 0.0
    _before: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._before = frozenset(path.name for path in self.daemon.output.glob("*-*"))

    def advance(self) -> None:
        """Do what is due. Call this often."""
        now = time.monotonic()
        if self._back and now >= self._back:
            self.store.away(False)
            self._back = 0.0
        if self._restart and now >= self._restart:
            self.daemon.start()
            self._restart = 0.0
        if self._restart or len(self.done) == len(self.plan):
            return
        fault = self.plan[len(self.done)]
        if self._due:
            if now >= self._due and (self.daemon.run() or fault.kind == "store"):
                self._due = 0.0
                self._inject(fault, now)
        elif self._reached(fault):
            self._due = now + self._draw.uniform(0, fault.longest_delay)

    def end(self) -> None:
        """End what is still there."""
        self.store.away(False)
        self.daemon.start()

    def _reached(self, fault: Fault) -> bool:
        found = [path for path in self.daemon.output.glob(f"{fault.stage}*-*") if path.name not in self._before]
        if fault.is_after_end:
            return any((path / "manifest.json").exists() for path in found)
        return any(not fault.after or any(path.glob(f"**/{fault.after}*")) for path in found) and bool(self.daemon.run())

    def _inject(self, fault: Fault, now: float) -> None:
        under_way = [path.name.rpartition("-")[0] for path in unfinished(self.daemon.output)]
        if fault.kind == "store":
            self.store.away(True)
            self._back = now + AWAY_SECONDS
        else:
            # The page first, so that it does not start the run again before it is gone itself.
            if fault.kind == "power":
                self.daemon.kill()
                self._restart = now + RESTART_SECONDS
            if run := self.daemon.run():
                lose(run)
        self.kinds.append(fault.kind)
        self.done.append(f"{fault.kind}, in {', '.join(under_way) or 'between stages'}")
        print(self.done[-1], file=sys.stderr, flush=True)


def unfinished(output: Path) -> list[Path]:
    """Return the folders of stages that are under way."""
    return [path for path in output.glob("*-????????????") if path.is_dir() and not (path / "manifest.json").exists()]
