"""Where jobs run: nothing lost in Beam's own buffers, the same bytes through its job service, no wait for a dead worker."""

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from pipeline.engine import job
from pipeline.engine.beam import RemoteBeam, import_beam
from pipeline.engine.execution import Execution
from pipeline.errors import CorpusError
from tests import corpus, number_jobs

ROOT = Path(__file__).parents[1]
EMBEDDED = Execution(executor=RemoteBeam("portable", ("--job_endpoint=embed", "--environment_type=LOOPBACK")))
"""Beam's job service in this process."""


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


def test_a_job_service_in_this_process_has_its_timer_off(tmp_path: Path) -> None:
    import_beam()
    from apache_beam.runners.portability.fn_api_runner import worker_handlers
    from apache_beam.runners.worker.data_plane import ClosableOutputStream, TimeBasedBufferingClosableOutputStream

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 5
    assert job.run(number_jobs.job(tmp_path), EMBEDDED)[1] == {"mapped": 60, "reduced": 60}
    stream = ClosableOutputStream.create(None, None, worker_handlers.DATA_BUFFER_TIME_LIMIT_MS)
    assert not isinstance(stream, TimeBasedBufferingClosableOutputStream)


@pytest.mark.timeout(120)
def test_a_job_through_beams_job_service_writes_the_same_bytes(tmp_path: Path) -> None:
    here = job.run(number_jobs.job(tmp_path, "here"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module = "apache_beam.runners.portability.local_job_service_main"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    service = subprocess.Popen([sys.executable, "-m", module, "--port", str(port)], env=environment, stderr=subprocess.DEVNULL)
    try:
        options = (f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK", "--job_server_timeout=60")
        remote = Execution(executor=RemoteBeam("portable", options))
        assert job.run(number_jobs.job(tmp_path, "there"), remote) == here
    finally:
        service.kill()
        service.wait()


@pytest.mark.parametrize("options", [("--flink_master=flink:8081",), ()])
def test_workers_elsewhere_are_not_given_local_paths(options: tuple[str, ...]) -> None:
    runner = RemoteBeam("flink", options)
    with pytest.raises(CorpusError, match=r"cannot see the local path /data/a; give a URL"):
        runner.refuse_local(["s3://bucket/a", "/data/a"])
    runner.refuse_local(["s3://bucket/a"])


def test_workers_on_this_machine_may_read_local_paths() -> None:
    RemoteBeam("portable", ("--job_endpoint=localhost:8099", "--environment_type=LOOPBACK")).refuse_local(["/data/a"])


def processes_with(mark: str) -> list[int]:
    """Processes that were started with `mark` in their environment, but for this one and what Python keeps as long as it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() not in (folder / "environ").read_bytes() or int(folder.name) == os.getpid():
                continue
            if b"resource_tracker" not in (folder / "cmdline").read_bytes():
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
        job.run(number_jobs.job(tmp_path, kill_at="000050"), Execution(workers=2))
    assert "\n" not in str(error.value)
    finished = {name for name in os.listdir(number_jobs.job(tmp_path).work) if name.startswith("map-")}
    assert "map-000050.json" not in finished
    before = number_jobs.calls(str(tmp_path / "calls"))

    files, counts = job.run(number_jobs.job(tmp_path, kill_at="000050"), Execution(workers=2))
    again = number_jobs.calls(str(tmp_path / "calls"))
    for name in finished:  # what was done is not done again
        task = name.removeprefix("map-").removesuffix(".json")
        assert again.count(task) == before.count(task)
    (tmp_path / "other").mkdir()
    never_killed = job.run(number_jobs.job(tmp_path / "other"))
    assert (files, counts) == never_killed
    assert gone(mark), "worker processes outlive their pipeline"


@pytest.mark.timeout(300)
def test_workers_end_with_the_program_that_started_them(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    program = (
        "from pathlib import Path\nfrom pipeline.engine import job\nfrom pipeline.engine.execution import Execution\n"
        "from tests import number_jobs\n"
        f"job.run(number_jobs.job(Path({str(tmp_path)!r}), stop_at='000030'), Execution(workers=2))"
    )
    caller = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "NEZHA_PIPE_TEST": mark})
    while not list(tmp_path.glob("calls/000030.*")):
        assert caller.poll() is None
        time.sleep(0.1)
    assert len(processes_with(mark)) >= 3  # the caller and two workers
    caller.kill()
    caller.wait()
    assert gone(mark), "a killed program leaves its pipeline running"


@pytest.mark.timeout(120)
def test_a_job_on_dask_writes_the_same_bytes(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="pip install 'apache-beam[dask]'")
    here = job.run(number_jobs.job(tmp_path, "here"))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        runner = RemoteBeam("dask", (f"--dask_client_address={cluster.scheduler_address}",))
        assert job.run(number_jobs.job(tmp_path, "there"), Execution(executor=runner)) == here


@pytest.mark.timeout(300)
def test_prepare_through_beams_job_service_writes_the_same_bytes(tmp_path: Path) -> None:
    here = corpus.prepared()
    there = corpus.prepare(corpus.generated(), str(tmp_path), EMBEDDED)
    assert corpus.same_bytes(there, here, "") > 100
