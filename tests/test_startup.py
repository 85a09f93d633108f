"""Start-up tricks: the same bytes without them, no pandas where nobody uses it, no wait for Beam's sampling thread."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.engine import startup
from pipeline.engine.beam import local_runner
from pipeline.engine.processes import pool
from tests import commands
from workflows.cli import main

ROOT = Path(__file__).parent.parent
PREPARE = """
import sys
from workflows.cli import main

if __name__ == "__main__":
    arguments = ["prepare", "--corpus", "demo", "--input", "reviews", "--workers", "2", "--output", sys.argv[1]]
    main(arguments, standalone_mode=False)
    print("pandas" in sys.modules)
    import pyarrow as pa
    print(pa.table({"x": [1, 2]}).to_pandas()["x"].sum())
"""


def prepare(folder: Path, plain: bool) -> tuple[dict[str, str], bool]:
    """Run the command in a fresh process; return the digests of its files, and whether it loaded pandas."""
    environment = {**os.environ, startup.PLAIN: str(int(plain))}
    command = [sys.executable, "-c", PREPARE, str(folder)]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    *_, loaded, total = ran.stdout.split()
    assert total == "3", "pandas is there for who asks for it"
    return commands.digests(folder), loaded == "True"


def test_prepare_without_the_tricks_writes_the_same_bytes(tmp_path: Path) -> None:
    files, loaded = prepare(tmp_path / "fast", plain=False)
    plain, plain_loaded = prepare(tmp_path / "plain", plain=True)
    assert files == plain
    assert (loaded, plain_loaded) == (False, True), "the switch must decide whether Arrow loads pandas"


@pytest.mark.parametrize(("set_before", "plain", "expected"), [("", "", "PASSIVE"), ("ACTIVE", "", "ACTIVE"), ("", "1", "")])
def test_threads_of_the_command_sleep_while_they_wait_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, set_before: str, plain: str, expected: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv(startup.PLAIN, plain)
    if set_before:
        monkeypatch.setenv("OMP_WAIT_POLICY", set_before)
    main(["--version"], standalone_mode=False)
    assert os.environ.get("OMP_WAIT_POLICY", "") == expected


def loads_pandas(text: str) -> bool:
    """Whether pandas is loaded after Arrow has converted a list."""
    pa.array([text])
    return "pandas" in sys.modules


def test_a_worker_does_not_import_pandas() -> None:
    pool.replace_workers()  # those of other tests may have loaded it
    assert not any(pool.start(loads_pandas, ["甲"] * 8, 2).results())


def test_pandas_is_hidden_from_one_thread_alone() -> None:
    found: list[object] = []

    def find() -> None:
        found.append(sys.meta_path[0].find_spec("pandas", None))

    with startup.without_pandas():
        with pytest.raises(ModuleNotFoundError, match="hidden here"):
            sys.meta_path[0].find_spec("pandas", None)
        thread = threading.Thread(target=find)
        thread.start()
        thread.join()
    assert found == [None], "the finder must leave it to the next one"


def test_beams_sampling_thread_sleeps_10_ms() -> None:
    """Not 200, for which every finished step would wait."""
    local_runner()
    from apache_beam.runners.worker.statesampler import StateSampler
    from apache_beam.utils.counters import CounterFactory

    assert StateSampler("step", CounterFactory()).sampling_period_ms == 10


@pytest.mark.parametrize(("value", "plain"), [("1", True), ("0", False), ("", False)])
def test_the_switch(value: str, plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(startup.PLAIN, value)
    assert startup.is_plain() == plain
