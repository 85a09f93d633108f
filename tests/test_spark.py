"""Jobs of prepare on a real Spark: the same bytes, lost executors tried again, each thing that is wrong in one line.

The Spark is a standalone master and a worker on loopback, with a secret. What starts a Java is slow.
"""

import contextlib
import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from cluster.spark import executing, session
from cluster.spark.executing import PACKAGES, Expected, versions
from cluster.spark.session import Session, connected
from cluster.spark.settings import SparkConfig, parse, write_properties
from cluster.spark.tasks import SparkTasks
from pipeline.engine import job, places
from pipeline.engine.execution import Execution
from pipeline.errors import ClusterError, RecipeError, StorageError, UnavailableError
from tests import corpus, number_jobs, spark_cluster
from tests.commands import prepare, refused
from tests.spark_cluster import SECRET, SparkCluster, needs_spark

ROOT = Path(__file__).parents[1]
PATIENCE = 300
"""Seconds to wait for a process on a busy machine."""


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition and return what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"no {what} after {PATIENCE} s"
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("adress=spark://a:1", "adress: --runner spark has master=spark://host:7077"),
        ("spark.executor.memory", "spark.executor.memory: --runner spark has"),
        ("spark.executor.memory=2g\nspark.x=1", "--runner spark has"),
        ("master=ray://a:1", "master=ray://a:1: not a master of Spark, such as spark://host:7077"),
        ("spark.authenticate.secret=abc", "every user of this machine could read it (ps); write it into spark-defaults.conf"),
        ("spark.hadoop.fs.s3a.access.key=abc", "every user of this machine could read it"),
        ("spark.authenticate.secret.file=missing", "spark.authenticate.secret.file=missing: cannot be read"),
    ],
)
def test_an_option_that_spark_does_not_have_is_refused_by_name(option: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse([option], 2)
    assert message in str(error.value) and "abc" not in str(error.value)


def test_a_secret_goes_from_its_file_to_one_that_only_this_user_reads(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a\\b\n")
    options = ["master=spark://head:7077,other:7077", f"spark.authenticate.secret.file={tmp_path / 'secret'}"]
    write_properties(parse([*options, "spark.executor.memory=2g"], 2), tmp_path / "settings.conf")
    assert (tmp_path / "settings.conf").stat().st_mode & 0o777 == 0o600
    assert set((tmp_path / "settings.conf").read_text().splitlines()) == {
        "spark.master=spark://head:7077,other:7077",
        "spark.ui.showConsoleProgress=false",
        "spark.executor.memory=2g",
        "spark.authenticate=true",
        "spark.authenticate.secret=a\\\\b",
    }


def test_without_a_master_spark_runs_here_and_listens_here() -> None:
    config = parse([], 3)
    assert config.master == "local[3,4]" and config.local
    assert config.defaults()["spark.driver.bindAddress"] == config.defaults()["spark.driver.host"] == "127.0.0.1"
    assert config.defaults()["spark.authenticate"] == "true" and config.defaults()["spark.ui.enabled"] == "false"


def test_what_executors_are_checked_for_is_what_we_depend_on() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(PACKAGES) <= set(content["project"]["dependencies"])
    assert all(versions().values())


def test_an_executor_with_another_package_or_folder_does_nothing(tmp_path: Path) -> None:
    with places.marked(str(tmp_path)) as mark:
        executing.check(pickle.dumps(Expected(versions(), mark, {})))
        other = Expected({**versions(), "pyarrow": "1.0"}, mark, {})
        with pytest.raises(ClusterError, match=r"has pyarrow [\d.]+, this machine pyarrow 1\.0: install the same there"):
            executing.check(pickle.dumps(other))
    with pytest.raises(ClusterError, match=r"does not see what this machine sees: .* use a disk that all machines share"):
        executing.check(pickle.dumps(Expected(versions(), mark, {"s3://bucket/news": 1})))


def test_what_a_process_keeps_is_not_searched_for_garbage_after_each_task(tmp_path: Path) -> None:
    with places.marked(str(tmp_path)) as mark:
        try:
            assert executing.run(*map(pickle.dumps, (Expected(versions(), mark, {}), len, [1, 2]))) == 2
            assert gc.get_freeze_count() > 10_000
        finally:
            gc.unfreeze()


@needs_spark
def test_a_master_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    options = ["--corpus", "demo", "--runner", "spark", "--runner-option"]
    assert "no Spark master answers at 127.0.0.1:1" in refused(
        prepare(*options, "master=spark://127.0.0.1:1", output=tmp_path / "out")
    )


@needs_spark
def test_no_java_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Spark needs Java 17 or newer" in refused(prepare("--corpus", "demo", "--runner", "spark", output=tmp_path / "out"))


def test_no_pyspark_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "find_spec", lambda name: None)
    line = refused(prepare("--corpus", "demo", "--runner", "spark", output=tmp_path / "out"))
    assert "pip install 'nezha-pipe[spark]'" in line


def remove_log(error: Exception) -> None:
    """Remove the log that an error names, if it names one."""
    if match := re.search(r"Spark's log: (\S+)$", str(error)):
        Path(match[1]).unlink()


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster.running(tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shared() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def application(spark: SparkCluster, shared: contextlib.ExitStack, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """An application that tests share, until the first that is `alone`."""
    return shared.enter_context(connected(parse(spark.options, 2), str(tmp_path_factory.mktemp("output")), {}))


@pytest.fixture
def alone(shared: contextlib.ExitStack) -> None:
    """No application is running in this process: Spark has one a process."""
    shared.close()


@pytest.fixture
def on_spark(application: Session) -> Execution:
    return Execution(workers=2, executor=SparkTasks(application))


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_on_spark_writes_what_it_writes_here(on_spark: Execution, tmp_path: Path) -> None:
    there = job.run(number_jobs.job(tmp_path, "there"), on_spark)
    assert job.run(number_jobs.job(tmp_path, "here")) == there
    assert there[1] == {"mapped": 60, "reduced": 60}
    assert job.run(number_jobs.job(tmp_path, "empty", tasks=0), on_spark) == ([], {})


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_error_of_a_task_arrives_as_its_one_line_and_is_not_tried_again(on_spark: Execution, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as error:
        job.run(number_jobs.job(tmp_path, refuse_at="000030"), on_spark)
    assert str(error.value) == "task 000030: no space left; free some"
    assert number_jobs.calls(str(tmp_path / "calls"), "000030") == ["000030"]
    with pytest.raises(StorageError, match="bucket 2: no space left"):
        job.run(number_jobs.job(tmp_path, "reduce", refuse_bucket=2), on_spark)
    with pytest.raises(ZeroDivisionError, match="our own bug"):
        job.run(number_jobs.job(tmp_path, "bug", break_at="000030"), on_spark)


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_error_stops_the_other_tasks(on_spark: Execution, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="task 000010"):  # not after the 600 s of the other
        job.run(number_jobs.job(tmp_path, refuse_at="000010", stop_at="000000"), on_spark)


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_executor_is_survived(spark: SparkCluster, on_spark: Execution, tmp_path: Path) -> None:
    killed = []

    def kill() -> None:
        until(lambda: number_jobs.calls(str(tmp_path / "calls"), "000030"), "task")
        for executor in spark.executors():
            executor.kill()
            killed.append(executor.pid)

    (tmp_path / "calls").mkdir()
    killer = threading.Thread(target=kill)
    killer.start()
    there = job.run(number_jobs.job(tmp_path, "there", lose_at="000030"), on_spark)
    killer.join()
    assert killed and not any(psutil.pid_exists(pid) for pid in killed)
    assert number_jobs.calls(str(tmp_path / "calls"), "000030") == ["000030"] * 2
    assert job.run(number_jobs.job(tmp_path, "here")) == there


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_task_whose_process_always_dies_is_one_line(on_spark: Execution, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"Spark lost a task 4 times .*; run again, .* Spark's log: \S+\.log$") as error:
        job.run(number_jobs.job(tmp_path, die_at="000030"), on_spark)
    assert len(number_jobs.calls(str(tmp_path / "calls"), "000030")) == 4
    kept = Path(str(error.value).rpartition(" ")[2])
    assert kept.stat().st_mode & 0o777 == 0o600 and SECRET not in kept.read_text()
    kept.unlink()


def python_with(folder: Path, name: str, content: str) -> str:
    """Return a Python like this one that also finds a module or a package's metadata, as another machine may have it."""
    extra = folder / uuid.uuid4().hex
    file = extra / name
    file.parent.mkdir(parents=True)
    file.write_text(content)
    program = extra / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={extra}:$PYTHONPATH exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return str(program)


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_another_python_or_package_on_executors_is_one_line(
    application: Session, on_spark: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = "import collections, sys\nsys.version_info = collections.namedtuple('V', 'major minor')(3, 8)"
    for python, message in [
        (str(tmp_path / "none"), r"executors have no Python at \S+/none: name theirs"),
        (python_with(tmp_path, "sitecustomize.py", older), r"executors have Python 3\.8, this machine 3\.\d+: name another"),
        (
            python_with(tmp_path, "py4j.py", "raise ImportError('no py4j')"),
            r"executors does not start \(ImportError: no py4j\)",
        ),
        (python_with(tmp_path, "jieba-0.1.dist-info/METADATA", "Name: jieba\nVersion: 0.1\n"), "has jieba 0.1, this machine"),
    ]:
        monkeypatch.setattr(application.context, "pythonExec", python)
        with pytest.raises(ClusterError, match=message) as error:
            job.run(number_jobs.job(tmp_path, uuid.uuid4().hex), on_spark)
        remove_log(error.value)
    assert not list((tmp_path / "calls").iterdir())  # no task has begun


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_prepare_on_spark_writes_the_same_bytes(on_spark: Execution, tmp_path: Path) -> None:
    there = corpus.prepare(corpus.generated(), str(tmp_path), on_spark, task_bytes=3_000)
    assert corpus.same_bytes(there, corpus.prepared(), "") > 100


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("alone")
def test_another_secret_is_one_line(spark: SparkCluster, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("another")
    options = [f"master={spark.url}", f"spark.authenticate.secret.file={tmp_path / 'secret'}"]
    message = r"does not take us: it asks for another secret .*; Spark's log: \S+\.log$"
    with connected(parse(options, 1), str(tmp_path), {}) as running, pytest.raises(UnavailableError, match=message) as error:
        job.run(number_jobs.job(tmp_path), Execution(executor=SparkTasks(running)))
    remove_log(error.value)


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("alone")
def test_a_spark_without_room_is_one_line(spark: SparkCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "EXECUTOR_SECONDS", 5)
    message = r"has given no executor for 5 s: .* 900g of memory; .*\.log$"
    hungry = parse([*spark.options, "spark.executor.memory=900g"], 1)
    with connected(hungry, str(tmp_path), {}) as running, pytest.raises(UnavailableError, match=message) as error:
        job.run(number_jobs.job(tmp_path), Execution(executor=SparkTasks(running)))
    remove_log(error.value)


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("alone")
def test_spark_on_this_machine_and_the_end_of_its_driver(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (dict(os.environ), list(sys.path), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    config = SparkConfig(parse([], 2).master, {}, 2)
    with connected(config, str(tmp_path), {}) as here:
        there = job.run(number_jobs.job(tmp_path, "there"), Execution(executor=SparkTasks(here)))
        assert job.run(number_jobs.job(tmp_path, "here")) == there

        def kill() -> None:
            until(lambda: number_jobs.calls(str(tmp_path / "calls"), "000030")[2:], "task")  # the third call of it
            here.driver.process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(ClusterError, match=r"Spark's driver has ended; run again, .*; Spark's log: \S+\.log$") as error:
            job.run(number_jobs.job(tmp_path, "lost", stop_at="000030"), Execution(executor=SparkTasks(here)))
        killer.join()
    remove_log(error.value)
    assert not here.driver.folder.exists()
    assert capfd.readouterr() == ("", "")
    assert before == (dict(os.environ), list(sys.path), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def processes_with(mark: str) -> list[psutil.Process]:
    """Processes that were started with `mark` in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.environ().values():
                found.append(process)
        except psutil.Error:
            continue
    return found


@needs_spark
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ctrl_c_ends_the_application_and_the_next_run_goes_on(spark: SparkCluster, tmp_path: Path) -> None:
    text = corpus.write_text(tmp_path / "text")
    mark, others = uuid.uuid4().hex, {executor.pid for executor in spark.executors()}
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-c", "from workflows.cli import main; main(prog_name='nezha-pipe')", "prepare"]
    command += ["--corpus", "text", "--input", str(text), "--sequence-length", "64", "--output", str(tmp_path / "out")]
    command += ["--runner", "spark", *(word for option in spark.options for word in ("--runner-option", option))]
    environment = {**os.environ, "NEZHA_PIPE_TEST": mark, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        until(lambda: {one.pid for one in spark.executors()} - others or run.poll() is not None, "executor")
        listening = [
            connection.laddr.ip.removeprefix("::ffff:")
            for process in processes_with(mark)
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening and set(listening) <= {"127.0.0.1", "::1"}
        shown = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
        assert any("spark-submit" in line or "SparkSubmit" in line for line in shown)
        assert not [line for line in shown if SECRET in line]
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        _, errors = run.communicate(timeout=PATIENCE)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, errors
    *progress, last = errors.strip().splitlines()
    assert last == "Stopped. Run the same command again to resume: finished parts are kept."
    assert all(line.startswith("[") for line in progress), errors
    until(lambda: not processes_with(mark), "end of its processes")
    until(lambda: not {one.pid for one in spark.executors()} - others, "end of its executors")
    assert not list((tmp_path / "tmp").iterdir())
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=4 * PATIENCE)
    assert again.returncode == 0 and again.stdout.strip().endswith("report.html"), again.stderr
    assert all(line.startswith("[") for line in again.stderr.strip().splitlines()), again.stderr
