"""The workers of a run: the processes of torch.distributed where there is a process group, otherwise this process alone.

How they communicate, how each is set up, and how it is asked to stop. The same in a plain process, under torchrun
(`process_group` makes the group) and under Ray (which has made it).
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
        return function()
    answer: list[Any] = [None, None]  # result, error
    if rank() == 0:
        try:
            answer[0] = function()
        except Exception as error:
            answer[1] = error
    dist.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise answer[1]
    result: T = answer[0]
    return result


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """The process group that torchrun's environment variables describe; none without them."""
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
    """Make torch compute the same bits from the same input; its settings are restored afterwards."""
    enabled, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS sums in a fixed order only with this
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Would write all fresh memory a second time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


@contextlib.contextmanager
def stop_requests(should_stop: Callable[[], bool] | None = None) -> Iterator[Callable[[], bool]]:
    """A function that tells whether this worker was asked to stop: by SIGTERM, or by `should_stop` returning True.

    SIGTERM is caught in the main thread only. Under Ray the loop runs in another one, and Ray stops workers by other means.
    """
    received = threading.Event()

    def stop_requested() -> bool:
        return received.is_set() or (should_stop is not None and should_stop())

    if threading.current_thread() is not threading.main_thread():
        yield stop_requested
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.set())
    try:
        yield stop_requested
    finally:
        signal.signal(signal.SIGTERM, before)
