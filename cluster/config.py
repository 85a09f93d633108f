"""Settings of the workers. None of them is part of a stage's key: they do not decide the result."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """`[cluster]`: the workers of Ray Train."""

    workers: int = 2
    """Processes that train together, each with a full copy of the network."""
    cpus_per_worker: float = 1
    """CPUs that a worker claims, and threads it computes with. Below 1, workers share a CPU."""
    gpus_per_worker: int = 0
    """GPUs that a worker claims; 0 trains on the CPU."""
    max_failures: int = 3
    """Restarts of the workers after one of them died."""
    address: str = ""
    """Address of a running Ray: `10.0.0.1:6379`, or `auto` on one of its machines. Empty: start one here, for this run only."""
    start_timeout_seconds: float = 60
    """Longest wait for room for the workers, in each of ten attempts: a lost machine may be replaced meanwhile."""
    hang_timeout_seconds: float = 300
    """Silence after which a worker counts as dead. Must be longer than a checkpoint and a validation take."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers {self.workers} is below 1")
        if self.cpus_per_worker <= 0:
            raise ValueError(f"cpus_per_worker {self.cpus_per_worker} must be above 0: 0.5 lets two workers share a CPU")
        if self.gpus_per_worker not in (0, 1):
            raise ValueError(f"gpus_per_worker {self.gpus_per_worker} must be 0 or 1: NCCL needs one GPU for each worker")
        if self.max_failures < 0:
            raise ValueError(f"max_failures {self.max_failures} is below 0")
        if self.start_timeout_seconds <= 0 or self.hang_timeout_seconds <= 0:
            raise ValueError(
                f"start_timeout_seconds {self.start_timeout_seconds} and hang_timeout_seconds {self.hang_timeout_seconds}"
                " must be above 0"
            )

    @property
    def threads(self) -> int:
        """Threads that a worker computes with."""
        return max(1, int(self.cpus_per_worker))
