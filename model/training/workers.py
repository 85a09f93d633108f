"""The workers of a run: the processes of torch.distributed where a group has been made, else this one alone.

What they tell each other, how each is set up, and how it is asked to stop. Used alike in a plain process, under torchrun
(`joined` makes the group) and under Ray (which has made it).
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.utils.deterministic
from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    """Number of this worker, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device() -> torch.device:
    """Where this worker computes: its GPU, or the processor."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over all workers, in place."""
    if world() > 1:
        dist.all_reduce(tensor)
    return tensor


def broadcast_from_rank0(what: Callable[[], T]) -> T:
    """Let worker 0 do something and give its result to all. What it raises, all raise, so that none waits for ever."""
    if world() == 1:
        return what()
    answer: list[Any] = [None, None]
    if rank() == 0:
        try:
            answer[0] = what()
        except Exception as error:
            answer[1] = error
    dist.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise answer[1]
    result: T = answer[0]
    return result


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Make the process group that torchrun's environment describes; nothing where there is none."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Ask torch for the same bits from the same input; afterwards all is as it was."""
    enabled, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS sums in a fixed order only with this
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Would write all fresh memory once more.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


@contextlib.contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, where this is the main thread (under Ray it is not: Ray asks by other means)."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
