"""Finds training that hangs: a worker that is frozen or cut off, or one that is stuck in a collective.

    loop      marks progress after each micro-batch and step      progress()
              says when it does what may take long                busy("reading samples"), busy("writing a checkpoint")
    beats     a thread of each worker: tells the others "alive, 417 marks, reading samples" every few seconds
    watch     another: after `step_timeout_seconds` without a mark it asks what the others do

                                     rank 0                          rank 1
    a slow store of rank 1           waits, no marks                 alive, busy                  no hang
    rank 0 uploads a checkpoint      alive, busy                     waits, no marks              no hang
    rank 1 is frozen or cut off      waits, no marks                 silent                       hang: rank 1 is silent
    a collective is stuck            waits, no marks                 alive, waits, no marks       hang

Beats go through the store in which the workers have met, not through collectives, which are what hangs. A first step compiles,
and a step may be long by nature: while all workers are alive, no gap counts that is less than ten times the longest of late,
nor one before the first step is done that is less than WARM_UP_SECONDS. Time in which this process itself was frozen does not
count for it: a command that is suspended in a terminal goes on as if nothing had happened.
"""

import contextlib
import logging
import os
import platform
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d

STEP_SECONDS = 45.0
"""Default of `step_timeout_seconds`: with the restart of the workers, training is on again within 90 s."""
WARM_UP_SECONDS = 900.0
"""Longest time to the first mark of a phase: torch.compile takes minutes."""
GAPS, LONGER = 100, 10
"""A gap is no hang until it is LONGER times the longest of the last GAPS."""
EXIT_CODE = 1
log = logging.getLogger(__name__)

OnHang = Callable[[str], None]


class HangError(RuntimeError):
    """Training hangs: the workers have to be started again. No `UserError`, which would end the run."""


class _Pulse:
    """What the loop of this process does. Written by the loop, read by the threads."""

    def __init__(self) -> None:
        self.marks = 0
        self.last = time.monotonic()
        self.busy: list[str] = []
        self.gaps: deque[float] = deque(maxlen=GAPS)
        self.waited = False
        """Whether the present gap is one of waiting for a busy worker: it says nothing about the next."""


_pulse = _Pulse()


def progress() -> None:
    """Mark progress: a micro-batch or a step is done."""
    now = time.monotonic()
    if not _pulse.waited:
        _pulse.gaps.append(now - _pulse.last)
    _pulse.last, _pulse.waited = now, False
    _pulse.marks += 1


def warm_up() -> None:
    """Forget how long steps took: the next ones may compile."""
    _pulse.gaps.clear()
    resume()


def resume() -> None:
    """Begin a new gap, and forget this one: a wait for another worker's work is over."""
    _pulse.last, _pulse.waited = time.monotonic(), False
    _pulse.marks += 1


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
    """Do what may take long for good reasons, and is not watched: only this worker's own work, not a wait for others."""
    _pulse.busy.append(what)
    try:
        yield
    finally:
        resume()
        _pulse.busy.pop()


@dataclass
class Peer:
    """What is known of another worker."""

    host: str
    beat: str = ""
    """Its last message, which differs from the one before."""
    heard: float = field(default_factory=time.monotonic)
    """When it last changed."""
    marks: str = ""
    busy: str = ""
    moved: float = 0.0
    """When its marks last changed, or it was last busy."""


@contextlib.contextmanager
def watching(seconds: float, on_hang: OnHang) -> Iterator[None]:
    """Watch the loop in this block; every worker calls this. `on_hang(reason)` is called once, in a thread.

    `seconds`: longest time without progress, where nothing says that it takes longer.
    """
    warm_up()
    watch = Watch(seconds, on_hang)
    try:
        yield
    finally:
        watch.ended.set()


def end_process(reason: str) -> None:
    """End this process, so that whoever started it can start it again. Its loop cannot be reached: it waits in a collective."""
    print(f"Error: {reason}", file=sys.stderr, flush=True)
    os._exit(EXIT_CODE)


def log_hang(reason: str) -> None:
    """Log a hang, and leave the process alone, which may be somebody else's."""
    log.error("%s", reason)


class Watch:
    """The two threads of a worker."""

    def __init__(self, seconds: float, on_hang: OnHang) -> None:
        self.seconds, self.on_hang = seconds, on_hang
        self.interval = min(5.0, seconds / 10)
        self.ended = threading.Event()
        size = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if size > 1 else 0
        hosts: list[Any] = [None] * size
        if size > 1:
            dist.all_gather_object(hosts, platform.node())
        self.peers = {rank: Peer(host) for rank, host in enumerate(hosts) if rank != self.rank}
        if self.peers:
            # A copy for this thread alone: the loop, or torch, may wait in the original.
            store: Any = distributed_c10d._get_default_store()
            threading.Thread(target=self._beats, args=(store.clone(),), daemon=True, name="beats").start()
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def _watch(self) -> None:
        tick = min(1.0, self.interval)
        before = time.monotonic()
        while not self.ended.wait(tick):
            now = time.monotonic()
            if (lost := now - before - tick) > tick:  # this process stood still, or had no CPU
                _pulse.last += lost
                for peer in self.peers.values():
                    peer.heard += lost
            before = now
            if reason := self.hang(now):
                self.on_hang(reason)
                return

    def hang(self, now: float) -> str | None:
        """Why training hangs; None if it does not, or if that is not known yet."""
        gap = now - _pulse.last
        if _pulse.busy or gap < self.seconds:
            return None
        # Peers are asked from half the time on, every tenth of it.
        silent = {rank: peer for rank, peer in self.peers.items() if now - peer.heard > 0.35 * self.seconds}
        if any(rank not in silent and now - peer.moved < self.seconds for rank, peer in self.peers.items()):
            _pulse.waited = True
            return None
        if silent:
            names = ", ".join(f"rank {rank} on {peer.host}" for rank, peer in sorted(silent.items())[:3])
            more = f" and {len(silent) - 3} more" if len(silent) > 3 else ""
            return f"no progress for {gap:.0f} s, and nothing heard of {names}{more}: frozen, or cut off"
        usual = LONGER * max(_pulse.gaps) if _pulse.gaps else WARM_UP_SECONDS
        if gap < usual:
            return None
        where = "all workers wait, in a collective" if self.peers else "the step hangs"
        return f"no progress for {gap:.0f} s: {where}"

    def _beats(self, store: Any) -> None:
        """Tell the others of this worker, and listen when it has waited for long.

        The store may be frozen, or cut off too: then this thread waits, and the others count as silent.
        """
        number = 0
        while not self.ended.is_set():
            number += 1
            busy = _pulse.busy[-1] if _pulse.busy else ""
            with contextlib.suppress(RuntimeError):  # no answer: the peers stay as they were last heard
                store.set(_key(self.rank), f"{number}|{_pulse.marks}|{busy}")
                # Before, everybody is thought to be well: a store with a thousand readers would be busy with nothing else.
                if time.monotonic() - _pulse.last < self.seconds / 2 or _pulse.busy:
                    for peer in self.peers.values():
                        peer.heard, peer.beat = time.monotonic(), ""
                else:
                    self._listen(store)
            self.ended.wait(self.interval)

    def _listen(self, store: Any) -> None:
        for rank, peer in self.peers.items():
            beat = store.get(_key(rank)).decode() if store.check([_key(rank)]) else ""
            now = time.monotonic()
            if beat == peer.beat:
                continue
            _, marks, peer.busy = beat.split("|", 2)
            if peer.busy or (peer.beat and marks != peer.marks):
                peer.moved = now
            peer.beat, peer.marks, peer.heard = beat, marks, now


def _key(rank: int) -> str:
    return f"beat/{rank}"
