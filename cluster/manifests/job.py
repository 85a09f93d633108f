"""What a cluster is for: a recipe, the command that runs it, and how many machines its workers need."""

import math
import shlex
from dataclasses import dataclass

from cluster.config import ClusterConfig
from cluster.manifests.config import HeadConfig, MachinesConfig, ManifestConfig
from pipeline.errors import RecipeError

FOLDER = "/etc/nezha-pipe"
"""Folder of the recipe on the machine of the driver."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A recipe as the command names it, with its workers."""

    recipe: str
    """Name of a recipe that comes with the program, or the path of a TOML file here."""
    text: str | None = None
    """Content of that file."""
    settings: tuple[str, ...] = ()
    """Overrides, as given by --set."""
    cluster: ClusterConfig
    """`[cluster]` of the recipe, overrides applied."""


def arguments(config: ManifestConfig, job: Job, bounds: "Bounds") -> list[str]:
    """Return the command that runs the job on the cluster, as its head runs it."""
    name = job.recipe if job.text is None else f"{FOLDER}/recipe.toml"
    command = ["nezha-pipe", config.job.command, name, "--output", config.job.output]
    if config.job.command == "pretrain":
        command += ["--data", config.job.data]
    if config.job.command == "prepare":
        workers = (bounds.min + bounds.spot_min) * config.machines.cpus
        command += ["--runner", "ray", "--runner-option", "address=auto", "--workers", str(workers)]
    else:
        command += ["--set", "cluster.address=auto"]
    if config.job.command == "run":
        command += ["--workers", str(config.head.cpus)]
    return command + [word for setting in job.settings for word in ("--set", setting)]


def shell_line(config: ManifestConfig, job: Job, bounds: "Bounds") -> str:
    """Return the same as a line for a shell."""
    return shlex.join(arguments(config, job, bounds))


@dataclass(frozen=True)
class Bounds:
    """How many machines there are beside the head, at least and at most."""

    min: int
    max: int
    spot_min: int
    spot_max: int

    @property
    def autoscaled(self) -> bool:
        """Whether machines are added and removed."""
        return self.min < self.max or self.spot_min < self.spot_max


def places(machine: HeadConfig | MachinesConfig, cluster: ClusterConfig) -> int:
    """Return how many of the recipe's workers a machine has room for."""
    by_cpu = int(machine.cpus / cluster.cpus_per_worker)
    return min(by_cpu, machine.gpus // cluster.gpus_per_worker) if cluster.gpus_per_worker else by_cpu


def bounds(config: ManifestConfig, cluster: ClusterConfig, hosts: int | None = None) -> Bounds:
    """Return the machines that a recipe's workers need, or those of the settings where they fit.

    Args:
        hosts: how many machines there are beside the head, where that is given.

    Raises: RecipeError for machines without room for the workers, and for some that would never train.
    """
    spot, machines = config.spot, config.machines
    if hosts is not None and (machines.max or machines.min or 0) > hosts:
        raise RecipeError(f"machines.max {machines.max or machines.min}: onprem.hosts has {hosts}")
    if config.job.command == "prepare":
        found = _bounds(config, 1, 1, hosts)
        if found.min + found.spot_min == 0:
            raise RecipeError("machines.min 0: prepare needs a machine from the start; set machines.min=1 or spot.min=1")
        return found
    if machines.gpus and not cluster.gpus_per_worker:
        raise RecipeError(
            f"machines.gpus {machines.gpus}: the recipe trains on CPUs; set machines.gpus=0, or --set cluster.gpus_per_worker=1"
        )
    each = places(machines, cluster)
    if not each:
        field = "gpus" if cluster.gpus_per_worker > machines.gpus else "cpus"
        need = f"{cluster.cpus_per_worker:g} CPUs" + (" and a GPU" if cluster.gpus_per_worker else "")
        raise RecipeError(f"machines.{field} {getattr(machines, field)}: a worker of the recipe needs {need}")
    on_head = places(config.head, cluster) if config.head.gpus else 0
    least = _machines(cluster.min_workers - on_head - spot.min * each, each)
    most = _machines(cluster.max_workers - on_head - spot.max * each, each)
    found = _bounds(config, least, most, hosts)
    _check_room(found, cluster, each, on_head)
    if hosts is None:
        _check_idle(found, cluster, each, on_head)
    return found


def _bounds(config: ManifestConfig, least: int, most: int, hosts: int | None) -> Bounds:
    """The bounds of the settings; where they give none, as many as wanted, or all hosts."""
    if hosts is not None:
        least = most = hosts
    machines = config.machines
    high = max(most, machines.min or least) if machines.max is None else machines.max
    low = min(least, high) if machines.min is None else machines.min
    return Bounds(low, high, config.spot.min, config.spot.max)


def _machines(workers: int, each: int) -> int:
    return max(0, math.ceil(workers / each))


def _check_room(found: Bounds, cluster: ClusterConfig, each: int, on_head: int) -> None:
    """Raise RecipeError where the recipe's workers would not find room, at the start or ever."""
    first, last = on_head + (found.min + found.spot_min) * each, on_head + (found.max + found.spot_max) * each
    if not cluster.elastic and first < cluster.min_workers:
        more = _machines(cluster.min_workers - on_head - found.spot_min * each, each)
        raise RecipeError(
            f"machines.min {found.min}: room for {first} workers at the start, and the recipe's {cluster.how_many} start"
            f" together; set machines.min={more}, or let their number change: --set cluster.workers=1:{cluster.max_workers}"
        )
    if last < cluster.max_workers:
        more = _machines(cluster.max_workers - on_head - found.spot_max * each, each)
        raise RecipeError(
            f"machines.max {found.max}: room for {last} workers at most, and the recipe has {cluster.how_many};"
            f" set machines.max={more}, or fewer workers: --set cluster.workers={last}"
        )


def _check_idle(found: Bounds, cluster: ClusterConfig, each: int, on_head: int) -> None:
    """Raise RecipeError for machines that would be paid for and never train."""
    first, last = on_head + (found.min + found.spot_min) * each, on_head + (found.max + found.spot_max) * each
    for name, room, many, spot in (("min", first, found.min, found.spot_min), ("max", last, found.max, found.spot_max)):
        if many and room - each >= cluster.max_workers:
            enough = _machines(cluster.max_workers - on_head - spot * each, each)
            raise RecipeError(
                f"machines.{name} {many}: room for {room} workers, and the recipe has {cluster.how_many};"
                f" set machines.{name}={enough}, or raise cluster.workers"
            )
