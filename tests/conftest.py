"""What holds for all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.engine import startup

# A shell that starts tests in the background has them ignore Ctrl-C, and every program that they start inherits that:
# programs that are ended by it, or end their own children by it, would then never end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As the command does: two test processes share the cores.
startup.sleep_while_waiting()

# The same examples in every run: a rare one that fails should be found by a search (`--hypothesis-profile=search`), not by
# chance in somebody else's change.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("search", max_examples=2_000, deadline=None)
settings.load_profile("repeatable")

# A store that is away on purpose is not waited for, unless a test says so; programs that tests start inherit this.
os.environ["NEZHA_PIPE_STORE_TIMEOUT"] = "0"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with tests of many minutes first: started last, they would keep one worker busy and the other idle."""
    longest: dict[Path, float] = {}
    for item in items:
        limit = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0), limit.args[0] if limit and limit.args else 0)
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread: sums in a fixed order, and several tests at a time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Take back what a test, or a command that it called, left in the environment: programs of later tests would inherit it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
