"""How many workers train, where, and how much may go wrong. Nothing here is part of a stage's key."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """`[cluster]`: the workers of Ray Train."""

    workers: int = 2
    """Processes that train together; each has a full copy of the network."""
    cpus_per_worker: float = 1
    """CPUs that a worker claims, and threads it computes with. Below 1, workers share one."""
    gpus_per_worker: int = 0
    """GPUs that a worker claims; 0 trains on the CPU."""
    max_failures: int = 3
    """Times that the workers are started again after one of them died."""
    address: str = ""
    """A running Ray: `10.0.0.1:6379`, or `auto` on one of its machines. Empty: our own, for one run, on this machine."""
    start_timeout_seconds: float = 60
    """How long to wait for the workers' places on the machines, each of ten times: a lost machine may be replaced meanwhile."""
    hang_timeout_seconds: float = 300
    """A worker that is silent for longer counts as dead. Longer than a checkpoint and a validation may take."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers {self.workers} is below 1")
        if self.cpus_per_worker <= 0:
            raise ValueError(f"cpus_per_worker {self.cpus_per_worker} must be above 0: 0.5 lets two workers share a CPU")
        if self.gpus_per_worker not in (0, 1):
            raise ValueError(f"gpus_per_worker {self.gpus_per_worker} must be 0 or 1: NCCL wants a GPU for each worker")
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
