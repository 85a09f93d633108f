"""Unusable locations and interrupted runs: a one-line message, no half-written files, and the next run ends the same."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster
import pytest
from click.testing import CliRunner

from pipeline import locks
from pipeline.documents import clean_part
from pipeline.engine import stages
from pipeline.engine.stages import Stage
from tests import corpus
from tests.commands import digests, prepare, refused
from workflows.cli import main

ROOT = Path(__file__).parents[1]
STOPPED = "Stopped. Run the same command again to resume: finished parts are kept."


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `news`, the input, and `out`, the output of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    corpus.write_news(folder / "news", 400)
    assert prepare("--corpus", "news", "--input", folder / "news", output=folder / "out").exit_code == 0
    return folder


def command(whole: Path, output: Path, *more: str) -> list[str]:
    program = "from workflows.cli import main; main(prog_name='nezha-pipe')"
    named = ["--corpus", "news", "--input", str(whole / "news"), "--output", str(output), *more]
    return [sys.executable, "-c", program, "prepare", *named]


def goes_on(whole: Path, output: Path) -> None:
    """The next run ends with the bytes of an undisturbed run."""
    done = prepare("--corpus", "news", "--input", whole / "news", output=output)
    assert done.exit_code == 0, done.output
    assert digests(output) == digests(whole / "out")


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("size", "workers"), [("64k", 1), ("600k", 1), pytest.param("1m", 2, marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, whole: Path, size: str, workers: int
) -> None:
    with mounted(tmp_path / "out", f"size={size}") as output:
        done = prepare("--corpus", "news", "--input", whole / "news", "--workers", workers, output=output)
        assert "no space left; free some and run again, finished parts are kept" in refused(done)
        assert not (output / "data.json").exists()
        subprocess.run(["mount", "-o", "remount,size=100m", str(output)], check=True)
        goes_on(whole, output)


def test_a_limit_of_file_sizes_is_one_line_and_the_run_goes_on_without_it(tmp_path: Path, whole: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        done = prepare("--corpus", "news", "--input", whole / "news", output=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "the file is larger than this system allows (ulimit -f)" in refused(done)
    goes_on(whole, tmp_path / "out")


def test_a_read_only_place_is_one_line(tmp_path: Path, whole: Path) -> None:
    with mounted(tmp_path / "out", "ro") as output:
        done = prepare("--corpus", "news", "--input", whole / "news", output=output)
        assert "the file system is read-only; choose another place" in refused(done)


def test_a_file_where_the_output_should_be_is_one_line(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "out").write_text("mine")
    done = prepare("--corpus", "news", "--input", whole / "news", output=tmp_path / "out")
    assert "there is a file where a folder is needed; choose another place" in refused(done)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_disk_that_is_full_again_and_again_is_one_line_at_every_stage(tmp_path: Path, whole: Path) -> None:
    stopped = set()
    with mounted(tmp_path / "out", "size=64k") as output:
        for kilobytes in range(64, 8_192, 96):
            subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(output)], check=True)
            done = prepare("--corpus", "news", "--input", whole / "news", output=output)
            if done.exit_code == 0:
                break
            assert "no space left; free some and run again, finished parts are kept" in refused(done)
            stopped.add(len(list(output.glob("*/manifest.json"))))
        assert len(stopped) >= 3, f"it stopped only behind so many stages: {stopped}"
        assert digests(output) == digests(whole / "out")


@pytest.mark.parametrize("place", ["/proc/nezha-pipe", "/proc/1/nezha-pipe/deeper", "/sys/nezha-pipe"])
def test_a_place_where_no_file_can_be_is_one_line(whole: Path, place: str) -> None:
    message = refused(prepare("--corpus", "news", "--input", whole / "news", output=place))
    assert message.startswith(place.rpartition("/")[0])
    assert message.endswith(("no folder can be created there; choose another place", "the credentials", "choose another place"))


@pytest.mark.parametrize(("what", "rights"), [("out", 0o000), ("out", 0o555), ("news", 0o000), ("news/news.jsonl", 0o000)])
def test_a_place_that_may_not_be_used_is_one_line(tmp_path: Path, what: str, rights: int) -> None:
    corpus.write_news(tmp_path / "news", 9)
    (tmp_path / "out").mkdir()
    (tmp_path / what).chmod(rights)
    # Root may read anything; without these two capabilities it is an ordinary user.
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        done = subprocess.run([*without, *command(tmp_path, tmp_path / "out")], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no setpriv here")
    finally:
        (tmp_path / what).chmod(0o755)
    assert done.returncode == 2, done.stderr
    assert list((tmp_path / "out").iterdir()) == []
    assert done.stderr.removeprefix("Error: ").removeprefix("file://").startswith(str(tmp_path / what))
    assert done.stderr.endswith("permission denied; check the owner of the folder, or the credentials\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_error_of_a_task_is_all_that_is_said(tmp_path: Path, workers: int) -> None:
    """In a separate process: pytest cannot capture what Beam writes."""
    (tmp_path / "news").mkdir()
    (tmp_path / "news/a.jsonl").write_bytes(b"\x1f\x8b\x08" + bytes(100))
    arguments = command(tmp_path, tmp_path / "out", "--workers", str(workers))
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("started", ["documents_news-*/work-*", pytest.param("tokens_news-*/work-*", marks=pytest.mark.slow)])
def test_ctrl_c_ends_the_run_at_once_and_the_next_resumes(tmp_path: Path, whole: Path, started: str, workers: int) -> None:
    output = tmp_path / "out"
    arguments = command(whole, output, "--workers", str(workers))
    run = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(output.glob(started)):
        assert run.poll() is None
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGINT)  # to the whole group, as a terminal does
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert errors.splitlines()[-1] == STOPPED
    assert all(line.startswith("[") for line in errors.splitlines()[:-2]), errors
    assert not (output / "data.json").exists()
    goes_on(whole, output)


@pytest.mark.parametrize("arguments", [["run", "tiny"], ["prepare", "--corpus", "demo"]])
@pytest.mark.parametrize("error", [KeyboardInterrupt, dagster.DagsterExecutionInterruptedError])
def test_ctrl_c_as_an_exception_is_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[BaseException]
) -> None:
    """As under Ray and Dagster, which have handlers of their own."""

    def stop(*_: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(clean_part.ReadDocuments, "__call__", stop)
    result = CliRunner().invoke(main, [*arguments, "--workers", "1", "--output", str(tmp_path / "out")])
    assert (result.exit_code, result.output.splitlines()[-1]) == (130, STOPPED)
    assert "Traceback" not in result.output


def test_a_second_run_into_the_same_output_is_refused_while_the_first_is_at_work(tmp_path: Path, whole: Path) -> None:
    output = tmp_path / "out"
    (first,) = (path.name for path in (whole / "out").glob("documents_news-*"))
    with locks.locked(str(output / f".{first}.lock")):
        message = refused(prepare("--corpus", "news", "--input", whole / "news", output=output))
        assert message.startswith(f"{output}: another run is working here (process {os.getpid()} on ")
        assert message.endswith("; wait until it is done, or choose another --output")
    goes_on(whole, output)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [1, 2])
def test_two_runs_into_the_same_output_at_the_same_time_leave_what_one_does(tmp_path: Path, whole: Path, workers: int) -> None:
    arguments = command(whole, tmp_path / "out", "--workers", str(workers))
    runs = [subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [run.communicate()[1] for run in runs]
    assert 0 in [run.returncode for run in runs], outputs
    for run, errors in zip(runs, outputs, strict=True):
        assert run.returncode == 0 or (run.returncode == 2 and "another run is working here" in errors.splitlines()[-1])
    goes_on(whole, tmp_path / "out")


def test_what_a_killed_run_left_is_gone_when_its_stage_is_done(tmp_path: Path) -> None:
    stage = Stage("made", 1, {}, {})
    folder = tmp_path / stage.folder
    (folder / "work-1").mkdir(parents=True)
    (folder / "work-1" / "map-0.json").touch()
    (folder / ".part-00000.parquet.0a1b2c3d.tmp").touch()
    (tmp_path / f".{stage.folder}.lock").write_text("process 1 on another")  # the lock is not held
    stages.run(str(tmp_path), stage, lambda _: {"files": []})
    assert sorted(os.listdir(folder)) == ["manifest.json", "run.json"]
    assert os.listdir(tmp_path) == [stage.folder]


def test_a_stage_that_another_run_finished_meanwhile_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage("made", 1, {}, {})
    found, root = stages.find, str(tmp_path)

    def late(root: str, stage: Stage) -> stages.Finished | None:
        monkeypatch.setattr(stages, "find", found)
        stages.run(root, stage, lambda _: {"files": [], "by": "the other"})
        return None

    monkeypatch.setattr(stages, "find", late)
    assert stages.run(root, stage, lambda _: pytest.fail("made again")).manifest["by"] == "the other"


def test_a_name_that_a_terminal_would_obey_is_shown_escaped(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/\x1b[2J\u202egpj.jsonl").write_bytes(b"\x1f\x8b\x08" + bytes(100))
    message = refused(prepare("--corpus", "news", "--input", tmp_path / "in", output=tmp_path / "out"))
    assert "\\u001b[2J\\u202egpj.jsonl" in message and message.isprintable()


def test_an_output_inside_the_input_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    corpus.write_news(tmp_path / "in", 9)
    message = refused(prepare("--corpus", "news", "--input", tmp_path / "in", output=tmp_path / "in/out"))
    assert message.endswith(f"in: the output folder {tmp_path / 'in/out'} is in it and would be read as input; choose another")
    assert not (tmp_path / "in/out").exists()
