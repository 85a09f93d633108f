"""The actor on each machine that tells about it.

It is sent by value, so a machine where our package is missing, or is another version, answers too. Therefore this module
imports nothing but the standard library until a method is called, and answers are plain values.
"""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHARED_MEMORY = "/dev/shm"
DEVICES = "/dev/nvidia[0-9]*"
FIRST_BYTES, LAST_BYTES = 1 << 20, 64 << 20
"""Sizes of the messages that are timed: each is four times the one before, until one takes LONG_SECONDS."""
LONG_SECONDS = 0.3


class Machine:
    """One machine, asked from elsewhere. Its process ends with it."""

    def __init__(self) -> None:
        self.store: Any = None
        self.group: Any = None
        """The group of NCCL, where there is one."""

    def facts(self, packages: Sequence[str]) -> dict[str, Any]:
        """Return what can be said at once. `packages`: whose versions are asked for."""
        folder = tempfile.gettempdir()
        shared = shutil.disk_usage(SHARED_MEMORY) if os.path.isdir(SHARED_MEMORY) else None
        return {
            "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
            "temporary": folder,
            "temporary_free": shutil.disk_usage(folder).free,
            "shared_memory": shared and shared.total,
            "shared_memory_free": shared and shared.free,
            "niceness": os.getpriority(os.PRIO_PROCESS, 0),
            "devices": len(list(Path("/dev").glob(Path(DEVICES).name))),
        }

    def time(self) -> float:
        """Return what the clock says."""
        return time.time()

    def unseen(self, mark: str) -> str | None:
        """Return why a run that writes to the folder of a mark (pipeline/engine/places.py) would fail here."""
        from pipeline.engine import places

        return places.unseen(mark, {}) or places.unwritable(mark)

    def gpus(self) -> list[str]:
        """Return name and memory of each GPU, as torch sees them."""
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # empty for an actor that claims none
        import torch

        found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return [f"{one.name}, {one.total_memory / 1e9:.0f} GB" for one in found]

    def meet_at(self, address: str) -> int:
        """Open the store by which the machines meet; returns its port."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        self.store = TCPStore(address, 0, is_master=True, wait_for_workers=False)
        return int(self.store.port)

    def join(self, where: tuple[str, int], rank: int, size: int, seconds: float, gpu: bool) -> str:
        """Join the process group, as training would; returns the network interface.

        Args:
            where: address and port of the store.
            gpu: also build a group of NCCL.
        """
        from datetime import timedelta

        import torch.distributed as dist
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        from cluster.nodes import INTERFACES, use_node_interface

        use_node_interface()
        patience = timedelta(seconds=seconds)
        if rank:
            self.store = TCPStore(*where, is_master=False, timeout=patience)
        dist.init_process_group("gloo", store=self.store, rank=rank, world_size=size, timeout=patience)
        if gpu:
            self.group = dist.new_group(backend="nccl", timeout=patience)
        return os.environ.get(INTERFACES[1 if gpu else 0], "")

    def all_reduce(self) -> tuple[int, float]:
        """Sum tensors of growing sizes over all machines; returns the bytes of the last, and the seconds it took."""
        import torch
        import torch.distributed as dist

        device = torch.device("cpu" if self.group is None else "cuda:0")
        size = FIRST_BYTES
        while True:
            tensor = torch.zeros(size // 4, device=device)
            seconds = []
            for _ in range(2):  # the first connects
                dist.barrier()
                started = time.perf_counter()
                dist.all_reduce(tensor, group=self.group)
                tensor[0].item()  # waits for a GPU
                seconds.append(time.perf_counter() - started)
            slowest = torch.tensor([min(seconds)], dtype=torch.float64)
            dist.all_reduce(slowest, dist.ReduceOp.MAX)  # so that all agree on whether to go on
            if size >= LAST_BYTES or slowest.item() > LONG_SECONDS:
                return size, slowest.item()
            size *= 4

    def exchange(self, partner: int, first: bool) -> float:
        """Send bytes to another machine and back, more and more; returns the bytes per second of the last.

        `first`: whether this one sends first, and decides how far to go. The other returns 0.
        """
        import torch
        import torch.distributed as dist

        size = FIRST_BYTES
        while True:
            tensor, more = torch.zeros(size // 4), torch.zeros(1)
            if not first:
                dist.recv(tensor, partner)
                dist.send(tensor, partner)
                dist.recv(more, partner)
                if not more.item():
                    return 0.0
            else:
                started = time.perf_counter()
                dist.send(tensor, partner)
                dist.recv(tensor, partner)
                seconds = time.perf_counter() - started
                more.fill_(size < LAST_BYTES / 4 and seconds < LONG_SECONDS)
                dist.send(more, partner)
                if not more.item():
                    return 2 * size / seconds
            size *= 4


def version(package: str) -> str | None:
    """The version of an installed package; None if it is missing."""
    loaded = sys.modules.get(package)
    try:
        return str(getattr(loaded, "__version__", None) or importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return None
