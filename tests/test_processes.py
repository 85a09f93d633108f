"""Worker processes: woken early, sent away when there is no more to do, and without pandas."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.engine import processes

ROOT = Path(__file__).parent.parent


def worker(_: int) -> int:
    return os.getpid()


def knows(module: str) -> bool:
    """After Arrow has made a column of a list."""
    pa.array(["甲"])
    return module in sys.modules


def workers() -> set[int]:
    return set(processes.begin(worker, range(8), 2).results())


def ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_that_were_woken_are_those_that_work() -> None:
    processes.dismiss()
    processes.wake(2, ["colorsys"])
    woken = set(processes._workers._processes)
    assert len(woken) == 2
    assert workers() <= woken
    # Which of them imports is a matter of who is up first.
    assert any(processes.begin(knows, ["colorsys"] * 8, 2).results())


def blocked(_: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("woken", [True, False])
def test_ctrl_c_is_for_the_program_alone(woken: bool) -> None:
    processes.dismiss()
    if woken:
        processes.wake(2, [])
    assert all(processes.begin(blocked, range(8), 2).results())
    assert not blocked(0)


def test_workers_that_are_dismissed_end_and_others_come_when_there_is_work() -> None:
    before = workers()
    processes.dismiss()
    deadline = time.monotonic() + 60
    while not all(map(ended, before)):
        assert time.monotonic() < deadline, "they do not end"
        time.sleep(0.05)
    assert workers().isdisjoint(before)


def test_who_has_no_workers_dismisses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_workers", None)
    processes.dismiss()


def test_a_worker_does_not_import_pandas() -> None:
    processes.dismiss()  # who worked for other tests may know it
    assert not any(processes.begin(knows, ["pandas"] * 8, 2).results())


def test_a_program_that_prepares_does_not_import_pandas_and_may_use_it(tmp_path: Path) -> None:
    program = (
        "import sys; from workflows.cli import main\n"
        f"main(['prepare', '--corpus', 'demo', '--input', 'reviews', '--output', {str(tmp_path)!r}], standalone_mode=False)\n"
        "assert 'pandas' not in sys.modules, 'pandas was imported'\n"
        "import pyarrow as pa; print(pa.table({'x': [1, 2]}).to_pandas()['x'].sum())"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "3"


def test_other_threads_import_pandas_meanwhile() -> None:
    found: list[object] = []

    def look() -> None:
        found.append(sys.meta_path[0].find_spec("pandas", None))

    with processes.without_pandas():
        with pytest.raises(ModuleNotFoundError, match="left out"):
            sys.meta_path[0].find_spec("pandas", None)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [None], "the finder does not leave it to others"
