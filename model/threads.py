"""Run many small tasks in parallel, each on a single torch thread. A first reader can skip this file.

    spread(task, [unit_0, unit_1, unit_2])        two threads: one takes unit_0 and unit_2, the other unit_1

torch splits each operation over all its threads, which then wait for each other. For operations of less than a millisecond that
is expensive, most of all on busy cores: on two cores with a load of eight, a layer of attention took four times as long. The
results do not depend on the number of threads.
"""

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")


def spread(task: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Run a task for each item, without gradients, on torch's number of threads. The first exception is raised again here."""
    threads = min(torch.get_num_threads(), len(items))
    counter, inference = itertools.count(), torch.is_inference_mode_enabled()

    def work() -> None:
        with torch.inference_mode(inference), torch.no_grad():
            while (number := next(counter)) < len(items):
                task(items[number])

    if threads <= 1:
        return work()
    for done in [_pool(threads).submit(work) for _ in range(threads)]:
        done.result()


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads in each of which torch uses that thread only.

    `set_num_threads` applies to the calling thread, but also to threads started later, so the caller's setting is restored once
    all threads are running.
    """
    before = torch.get_num_threads()
    started = threading.Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, "attention", initializer=_use_one_thread)
    for _ in range(threads):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(before)
    return pool


def _use_one_thread() -> None:
    torch.get_num_threads()  # a thread adopts the global setting on its first query, which would overwrite ours
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has no threads
