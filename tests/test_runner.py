"""The guard around Beam's local runner: no record lost, no pipeline that waits for a dead worker."""

import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from pipeline import job
from pipeline.errors import CorpusError
from pipeline.runner import import_beam, local_runner
from tests import steps

ROOT = Path(__file__).parents[1]
LONG = 8_000
"""Characters of a record: long ones make the driver write for longer than its timer."""


def test_beams_timed_buffer_still_loses_what_is_written_while_it_flushes() -> None:
    # The reason for the guard. If this fails, Beam has mended it, and the guard may go.
    import_beam()
    from apache_beam.runners.worker.data_plane import ClosableOutputStream

    flushing, written = threading.Event(), threading.Event()
    arrived: list[bytes] = []

    def send(data: bytes) -> None:
        arrived.append(data)
        if b"first" in data:
            flushing.set()
            assert written.wait(30)

    stream = ClosableOutputStream.create(arrived.append, send, 5)
    stream.write(b"first")
    assert flushing.wait(30)
    stream.write(b"second")
    written.set()
    stream.close()
    assert b"second" not in b"".join(arrived)


def test_the_guard_turns_the_timer_off() -> None:
    import_beam()
    from apache_beam.runners.portability.fn_api_runner import worker_handlers
    from apache_beam.runners.worker.data_plane import ClosableOutputStream, TimeBasedBufferingClosableOutputStream

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 5
    local_runner(2)
    limit = worker_handlers.DATA_BUFFER_TIME_LIMIT_MS
    stream = ClosableOutputStream.create(None, None, limit)
    assert not isinstance(stream, TimeBasedBufferingClosableOutputStream)


COUNT = """
import sys
from pipeline import runner
beam = runner.import_beam()
from apache_beam.runners.portability.fn_api_runner import worker_handlers
limit, number, length, output = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 5
built, options = runner.local_runner(2)
if limit:
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = limit
def records(k):
    return ((k, j, "长" * length) for j in range(number))
def save(count):
    open(output, "w").write(str(count))
with beam.Pipeline(runner=built, options=options) as p:
    branches = [p | f"tasks {i}" >> beam.Create(range(16)) | f"records {i}" >> beam.FlatMap(records) for i in range(2)]
    branches | beam.Flatten() | "count" >> beam.combiners.Count.Globally() | "save" >> beam.Map(save)
"""


def count_in_two_processes(tmp_path: Path, limit: int, number: int) -> int:
    """Records that reach the end of a Beam pipeline, of 32 * `number`; limit 0 leaves the guard's setting."""
    output = tmp_path / "count"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COUNT, str(limit), str(number), str(LONG), str(output)]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    return int(output.read_text())


def test_with_the_guard_every_record_arrives(tmp_path: Path) -> None:
    assert count_in_two_processes(tmp_path, limit=0, number=100) == 3_200


@pytest.mark.slow
def test_without_the_guard_records_are_lost(tmp_path: Path) -> None:
    assert count_in_two_processes(tmp_path, limit=5, number=800) < 25_600


def processes_with(mark: str) -> list[int]:
    """Processes that were started with `mark` in their environment, this one left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def gone(mark: str, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes_with(mark)


@pytest.mark.timeout(300)
def test_a_killed_worker_ends_in_an_error_and_the_next_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid.uuid4().hex
    monkeypatch.setenv("NEZHA_PIPE_TEST", mark)
    with pytest.raises(CorpusError, match="finished parts are kept") as error:
        job.run(steps.job(tmp_path, kill_at="000050"), workers=2)
    assert "\n" not in str(error.value)
    finished = {name for name in os.listdir(steps.job(tmp_path).work) if name.startswith("map-")}
    assert "map-000050.json" not in finished
    before = steps.calls(str(tmp_path / "calls"))

    files, counts = job.run(steps.job(tmp_path, kill_at="000050"), workers=2)
    again = steps.calls(str(tmp_path / "calls"))
    for name in finished:  # what was done is not done again
        task = name.removeprefix("map-").removesuffix(".json")
        assert again.count(task) == before.count(task)
    (tmp_path / "other").mkdir()
    never_killed = job.run(steps.job(tmp_path / "other"), workers=1)
    assert (files, counts) == never_killed
    assert gone(mark), "worker processes outlive their pipeline"


@pytest.mark.timeout(300)
def test_workers_end_with_the_program_that_started_them(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    program = (
        "from pathlib import Path; from pipeline import job; from tests import steps\n"
        f"job.run(steps.job(Path({str(tmp_path)!r}), stop_at='000030'), workers=2)"
    )
    caller = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "NEZHA_PIPE_TEST": mark})
    while not list(tmp_path.glob("calls/000030.*")):
        assert caller.poll() is None
        time.sleep(0.1)
    assert len(processes_with(mark)) >= 4  # the caller, the pipeline, two workers
    caller.kill()
    caller.wait()
    assert gone(mark), "a killed program leaves its pipeline running"
