"""Finds workers that are slow for long: all wait for the slowest, so one machine that throttles slows down the whole run.

    seconds of own computing and tokens, summed over 20 steps     rank 0  1.2 s  40,000    rank 1  2.9 s  41,000
    seconds a token, beside the median of the others                      0.42                     2.36: slow

One collective in EVERY steps carries them. Tokens are counted because workers may have unequal numbers of micro-batches.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from model.training import workers

EVERY = 20
"""Steps that a worker is slow for."""
RATIO = 2.0
"""How much slower than the median of the others."""


@dataclass(frozen=True)
class Slow:
    """A worker that was slow."""

    rank: int
    host: str
    ratio: float
    """Seconds for a token, in those of the median of the other workers."""


class SlowWorkers:
    """The times of this worker since the last comparison. Every worker must call `add` at every step."""

    def __init__(self) -> None:
        self.hosts = workers.gather(platform.node())
        self.restart()

    def restart(self) -> None:
        """Begin anew, and leave out the next step, which may compile."""
        self.steps, self.seconds, self.tokens = -1, 0.0, 0

    def add(self, seconds: float, tokens: int) -> list[Slow]:
        """Add a step of this worker; returns the workers that were slow, every EVERY steps, on every worker."""
        self.steps += 1
        if len(self.hosts) == 1 or self.steps == 0:
            return []
        self.seconds, self.tokens = self.seconds + seconds, self.tokens + tokens
        if self.steps % EVERY:
            return []
        figures = torch.zeros(len(self.hosts), 2, dtype=torch.float64)
        figures[workers.rank()] = torch.tensor([self.seconds, self.tokens])
        self.seconds, self.tokens = 0.0, 0
        summed = workers.all_reduce_sum(figures.to(workers.device())).tolist()
        return slow([seconds / tokens if tokens else None for seconds, tokens in summed], self.hosts)


def slow(seconds_a_token: list[float | None], hosts: list[str]) -> list[Slow]:
    """The slow ones among workers; None for those that had nothing to do."""
    found = []
    for rank, seconds in enumerate(seconds_a_token):
        others = [one for other, one in enumerate(seconds_a_token) if one is not None and other != rank]
        if seconds and others and seconds >= RATIO * (usual := median(others)) and usual > 0:
            found.append(Slow(rank, hosts[rank], seconds / usual))
    return found


class Timer:
    """Measures computing on a device without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.started = self._now()

    def _now(self) -> Any:
        if not self.on_gpu:
            return time.perf_counter()
        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def stop(self) -> Callable[[], float]:
        """A function that returns the seconds; on a GPU, to be called when it is known to be past this."""
        started, stopped = self.started, self._now()
        return lambda: started.elapsed_time(stopped) / 1_000 if self.on_gpu else stopped - started
