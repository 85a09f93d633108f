"""Settings of the workers. None of them is part of a stage's key: they do not decide the result."""

import math
import re
from dataclasses import dataclass

from pipeline.validation import check_ranges

START_ATTEMPTS = 10
"""Attempts in a row to find room for the workers."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """`[cluster]`: the workers of Ray Train."""

    workers: int | str = 2
    """Processes that train together, each with a full copy of the network. `"2:8"`: as many as there is room for, at least two
    and at most eight, while machines come and go; what is trained stays the same."""
    cpus_per_worker: float = 1
    """CPUs that a worker claims, and threads it computes with. Below 1, workers share a CPU."""
    gpus_per_worker: int = 0
    """GPUs that a worker claims; 0 trains on the CPU."""
    max_failures: int = 3
    """Restarts after failures in a row, without a new checkpoint between them."""
    max_hours: float = 0
    """Hours after which training stops with a checkpoint; the same command continues it. 0: no limit."""
    address: str = ""
    """Address of a running Ray: `10.0.0.1:6379`, or `auto` on one of its machines. Of its dashboard, `http://10.0.0.1:8265`:
    training is a job there, which goes on without this process and is followed again by the next run. Empty: start a Ray here,
    for this run only."""
    start_timeout_seconds: float = 60
    """Longest wait for room for the workers, in each of ten attempts: a lost machine may be replaced meanwhile."""
    step_timeout_seconds: float = 45
    """Longest time without progress within a step before the workers are restarted. Slow reading, checkpoints, validations,
    first steps, and steps that have always been long are no hang (model/training/health/watchdog.py)."""

    def __post_init__(self) -> None:
        parse_workers(self.workers)
        check_ranges(self, max_failures=(0, math.inf), max_hours=(0, math.inf))
        if not 0 < self.cpus_per_worker < math.inf:
            raise ValueError(f"cpus_per_worker {self.cpus_per_worker} must be above 0: 0.5 lets two workers share a CPU")
        if self.gpus_per_worker not in (0, 1):
            raise ValueError(f"gpus_per_worker {self.gpus_per_worker} must be 0 or 1: NCCL needs one GPU for each worker")
        if not (self.start_timeout_seconds > 0 and self.step_timeout_seconds > 0):
            raise ValueError(
                f"start_timeout_seconds {self.start_timeout_seconds} and step_timeout_seconds {self.step_timeout_seconds}"
                " must be above 0"
            )

    @property
    def min_workers(self) -> int:
        """Fewest workers to train with."""
        return parse_workers(self.workers)[0]

    @property
    def max_workers(self) -> int:
        """Most workers to train with."""
        return parse_workers(self.workers)[1]

    @property
    def takes_jobs(self) -> bool:
        """Whether the address is that of a dashboard, which takes jobs, and not of a Ray to connect to."""
        return self.address.startswith(("http://", "https://"))

    @property
    def elastic(self) -> bool:
        """Whether the number of workers may change during training."""
        return self.min_workers < self.max_workers

    @property
    def resources(self) -> dict[str, float]:
        """What a worker claims, in Ray's words."""
        return {"CPU": self.cpus_per_worker, **({"GPU": 1} if self.gpus_per_worker else {})}

    @property
    def longest_start_seconds(self) -> float:
        """Longest wait for room for the workers, in all attempts."""
        return START_ATTEMPTS * self.start_timeout_seconds

    @property
    def how_many(self) -> str:
        """The number of workers in words: `4`, or `2 to 8`."""
        return f"{self.min_workers} to {self.max_workers}" if self.elastic else str(self.max_workers)

    @property
    def threads(self) -> int:
        """Threads that a worker computes with."""
        return max(1, int(self.cpus_per_worker))


def parse_workers(workers: int | str) -> tuple[int, int]:
    """Read the fewest and the most workers of `4`, `"4"` or `"2:8"`.

    Raises: ValueError for anything else.
    """
    match = re.fullmatch(r"(-?\d+)(?::(\d+))?", str(workers), re.ASCII)
    if not match:
        raise ValueError(f"workers {workers!r:.60} is neither a number nor a range such as 2:8")
    fewest, most = int(match[1]), int(match[2] or match[1])
    if min(fewest, most) < 1:
        raise ValueError(f"workers {workers} is below 1" + (f": write 1:{max(fewest, most)}" if max(fewest, most) > 0 else ""))
    if fewest > most:
        raise ValueError(f"workers {workers}: the smaller number comes first, so write {most}:{fewest}")
    return fewest, most
