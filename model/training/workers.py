"""The workers of a run: the processes of torch.distributed where there is a process group, otherwise this process alone.

How they communicate, and how each is set up. The same in a plain process, under torchrun (`process_group` makes the group) and
under Ray (which has made it).
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.utils.deterministic
from torch import Tensor

from model.training.health import watchdog
from pipeline.errors import ClusterError

T = TypeVar("T")

RANK0_WORKS = "reading or writing for all"
COLLECTIVE_SECONDS = 86_400
"""Time-out of collectives. One waits for as long as the slowest worker reads, or rank 0 writes; the watchdog finds a hang."""


def rank() -> int:
    """Number of this worker, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device() -> torch.device:
    """Where this worker computes: its GPU, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor over all workers, in place."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def broadcast_from_rank0(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 only and return its result on every worker.

    Raises: what `function` raises, on every worker, so that none waits forever.
    """
    if world_size() == 1:
        with watchdog.busy(RANK0_WORKS):
            return function()
    answer: list[Any] = [None, None]  # result, error
    if rank() == 0:
        try:
            with watchdog.busy(RANK0_WORKS):
                answer[0] = function()
        except Exception as error:
            answer[1] = error
    dist.broadcast_object_list(answer, src=0)
    watchdog.resume()
    if answer[1] is not None:
        raise answer[1]
    result: T = answer[0]
    return result


def broadcast_tensors(tensors: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return the tensors of rank 0 on every worker, each on its device; the others give None."""
    if world_size() == 1:
        return dict(tensors or {})
    layout = broadcast_from_rank0(lambda: [(name, tensor.shape, tensor.dtype) for name, tensor in (tensors or {}).items()])
    received = {}
    for name, shape, dtype in layout:
        tensor = tensors[name].to(device()) if tensors else torch.empty(shape, dtype=dtype, device=device())
        dist.broadcast(tensor, src=0)
        received[name] = tensor
    return received


def gather(value: T) -> list[T]:
    """The values of all workers, by rank; on every worker."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """The process group that torchrun's environment variables describe; none without them.

    Raises: ClusterError where only some of them are set, as platforms do that count machines in WORLD_SIZE.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        yield
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing or not size.isdigit():
        problem = f"{', '.join(missing)} missing" if missing else "not a number"
        raise ClusterError(f"WORLD_SIZE={size} in the environment, but {problem}: start with torchrun, or unset WORLD_SIZE")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(seconds=COLLECTIVE_SECONDS))
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Make torch compute the same bits from the same input; its settings are restored afterwards.

    Compiled parts of a network have a setting of their own (model/compiling.py).
    """
    mode = torch.get_deterministic_debug_mode()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS sums in a fixed order only with this
    # `use_deterministic_algorithms` does the same, but imports the compiler to tell it too: more than a second of each start.
    torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
    # Would write all fresh memory a second time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
