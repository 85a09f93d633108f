"""Tasks in parallel: each runs once, errors are raised, and torch keeps its own number of threads."""

import threading

import pytest
import torch

from model.threads import spread


@pytest.fixture(autouse=True)
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_each_item_is_processed_once_with_one_torch_thread() -> None:
    done: list[tuple[int, int, bool]] = []
    both = threading.Barrier(2, timeout=30)

    def task(item: int) -> None:
        if item < 2:
            both.wait()  # passes only if two threads are working
        done.append((item, torch.get_num_threads(), torch.is_grad_enabled()))

    spread(task, range(50))
    assert sorted(done) == [(item, 1, False) for item in range(50)]


def test_torch_keeps_its_number_of_threads_when_there_are_fewer_items() -> None:
    torch.set_num_threads(3)
    spread(lambda item: None, range(2))
    assert torch.get_num_threads() == 3


def test_torch_keeps_its_number_of_threads_here_and_in_later_threads() -> None:
    spread(lambda item: None, range(4))
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert torch.get_num_threads() == 2 and later == [2]


def test_what_a_task_raises_is_raised() -> None:
    def task(item: int) -> None:
        if item == 3:
            raise ZeroDivisionError("of item 3")

    with pytest.raises(ZeroDivisionError, match="item 3"):
        spread(task, range(6))


def test_inference_mode_applies_in_the_threads() -> None:
    with torch.inference_mode():
        x = torch.zeros(8)
        spread(lambda item: x.__setitem__(item, item), range(8))  # outside inference mode, writing to its tensors is an error
    assert x.tolist() == list(range(8))
