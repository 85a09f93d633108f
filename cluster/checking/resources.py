"""Disk, /dev/shm, GPUs and priority: what a run needs of each machine beside its software."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from cluster.checking.findings import Finding, together

LITTLE_DISK, NO_DISK = 10e9, 1e9
"""Bytes for temporary files. Two checkpoints must fit: 2.5 GB for nezha-base, 8 GB for nezha-large."""
LITTLE_MEMORY = 1e9
"""Bytes of /dev/shm. NCCL and Ray's object store need some; containers have 64 MB unless told otherwise."""

Facts = Mapping[str, Any]
"""What a machine says (`Machine.facts`)."""


def disks(facts: Mapping[str, Facts]) -> Iterator[Finding]:
    """Judge the room for temporary files, and in /dev/shm."""
    if not facts:
        return
    scarce = False
    for host, one in facts.items():
        if (free := one["temporary_free"]) < LITTLE_DISK:
            scarce = True
            text = f"{_gigabytes(free)} free in {one['temporary']}: checkpoints are first written there; free some"
            yield Finding("error" if free < NO_DISK else "warning", "disk", text, (host,))
        if one["shared_memory"] is not None and (free := one["shared_memory_free"]) < LITTLE_MEMORY:
            scarce = True
            text = f"{_gigabytes(free)} free in /dev/shm: NCCL and Ray need more; start the container with a larger --shm-size"
            yield Finding("warning", "disk", text, (host,))
    if not scarce:
        disk = min(facts, key=lambda host: facts[host]["temporary_free"])
        text = f"at least {_gigabytes(facts[disk]['temporary_free'])} free for temporary files ({disk})"
        with_memory = {host: one["shared_memory_free"] for host, one in facts.items() if one["shared_memory"] is not None}
        if with_memory:
            least = min(with_memory, key=lambda host: with_memory[host])
            text += f", {_gigabytes(with_memory[least])} in /dev/shm ({least})"
        yield Finding("ok", "disk", text)


def gpus(claimed: Mapping[str, float], facts: Mapping[str, Facts], seen: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Judge the GPUs of hosts.

    Args:
        claimed: how many Ray gives away on each host.
        seen: those that torch sees, where there are any.
    """
    if not any(claimed.values()) and not any(one["devices"] for one in facts.values()):
        yield Finding("ok", "gpus", "no GPUs: training runs on CPUs")
        return
    kinds: Counter[str] = Counter()
    problems = {}
    for host, one in facts.items():
        number, found = int(claimed[host]), seen.get(host, [])
        kinds.update(found[:number])
        if number > len(found) and host in seen:
            problems[host] = f"Ray has {number} GPUs, torch sees {len(found)}: install a torch for CUDA, or a newer driver"
        elif not number and one["devices"]:
            text = f"{one['devices']} GPUs that Ray does not know: start it with --num-gpus"
            yield Finding("warning", "gpus", text, (host,))
    for hosts, problem in together(problems):
        yield Finding("error", "gpus", problem, hosts)
    if len(kinds) > 1:
        yield Finding("warning", "gpus", f"GPUs differ, and all wait for the slowest: {_counted(kinds)}")
    elif kinds:
        yield Finding("ok", "gpus", f"GPUs: {_counted(kinds)}")


def priorities(facts: Mapping[str, Facts]) -> Iterator[Finding]:
    """Judge the priority of Ray's workers."""
    low = tuple(host for host, one in facts.items() if one["niceness"] > 0)
    if low:
        text = (
            f"workers run at niceness {facts[low[0]]['niceness']}, so any other program starves them:"
            " set RAY_worker_niceness=0 where Ray is started"
        )
        yield Finding("warning", "priority", text, low)


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:,.1f} GB"


def _counted(kinds: Mapping[str, int]) -> str:
    return "; ".join(f"{number} x {kind}" for kind, number in sorted(kinds.items()))
