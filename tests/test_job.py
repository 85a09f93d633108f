"""Jobs: no row is lost, errors are one line, interrupted work resumes, progress is reported."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.engine import beam, job, processes
from pipeline.engine.execution import Execution
from pipeline.engine.steps import Job
from pipeline.errors import CorpusError, MemoryFullError, StorageError, UserError
from tests import number_jobs
from tests.slow_processes import PATIENCE


def test_every_number_arrives_in_its_bucket(tmp_path: Path) -> None:
    files, counts = job.run(number_jobs.job(tmp_path))
    assert counts == {"mapped": 60, "reduced": 60}
    assert [entry.name for entry in files] == [f"bucket-{i}.txt" for i in range(4)]
    for bucket, entry in enumerate(files):
        numbers = [int(word) for word in (tmp_path / "stage" / entry.name).read_text().split()]
        assert numbers == [n for n in range(60) if n % 4 == bucket]
        assert entry.rows == len(numbers)


def test_two_workers_give_what_one_gives(tmp_path: Path) -> None:
    one = job.run(number_jobs.job(tmp_path, "one"))
    assert job.run(number_jobs.job(tmp_path, "two"), Execution(workers=2)) == one


def test_workers_begin_before_beam_is_ready_and_do_each_task_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = str(tmp_path / "calls")
    real = beam.import_beam

    def import_beam() -> Any:
        deadline = time.monotonic() + PATIENCE
        while not number_jobs.calls(calls):
            assert time.monotonic() < deadline, "no worker has started"
            time.sleep(0.02)
        return real()

    numbers = number_jobs.job(tmp_path)
    monkeypatch.setattr(job, "import_beam", import_beam)
    assert job.run(numbers, Execution(workers=2))[1] == {"mapped": 60, "reduced": 60}
    assert number_jobs.calls(calls) == [task.name for task in numbers.tasks]


def test_workers_stop_when_beam_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def import_beam() -> Any:
        raise ImportError("no apache_beam here")

    monkeypatch.setattr(job, "import_beam", import_beam)
    numbers = number_jobs.job(tmp_path, stop_at="000000")
    before = time.monotonic()
    with pytest.raises(ImportError, match="no apache_beam here"):
        job.run(numbers, Execution(workers=2))
    assert time.monotonic() - before < 300, "the task that waits 600 seconds was waited for"
    monkeypatch.undo()
    assert job.run(number_jobs.job(tmp_path), Execution(workers=2))[1] == {"mapped": 60, "reduced": 60}


def test_a_task_without_rows_and_a_job_without_tasks_are_no_error(tmp_path: Path) -> None:
    empty = number_jobs.job(tmp_path, tasks=2)
    _, counts = job.run(Job(empty.name, empty.folder, [*empty.tasks, number_jobs.Numbers(900, 900)], empty.map, empty.reduce))
    assert counts == {"mapped": 20, "reduced": 20}
    assert job.run(number_jobs.job(tmp_path, "none", tasks=0)) == ([], {})


def test_bits_that_flip_on_the_way_are_an_error(tmp_path: Path) -> None:
    numbers = number_jobs.job(tmp_path)
    job.run(numbers)
    spill = sorted(Path(numbers.work).glob("spill-*"))[0]
    data = bytearray(spill.read_bytes())
    for place in range(len(data) // 4, len(data), len(data) // 4):  # in the rows of several buckets
        data[place] ^= 1
    spill.write_bytes(data)
    for done in Path(numbers.work).glob("reduce-*.json"):
        done.unlink()
    with pytest.raises(CorpusError, match=rf"{spill}: bytes .* not those that were written.*delete the folder {numbers.work} "):
        job.run(numbers)


def test_rows_that_were_lost_on_the_way_are_an_error(tmp_path: Path) -> None:
    numbers = number_jobs.job(tmp_path)
    job.run(numbers)
    marker = Path(numbers.work) / "reduce-00002.json"
    content = json.loads(marker.read_text())
    marker.write_text(json.dumps({**content, "rows": content["rows"] - 1}))
    with pytest.raises(CorpusError, match=rf"bucket 2 received 14 of 15 rows.*delete {numbers.work}"):
        job.run(numbers)


def test_an_interrupted_job_goes_on_from_its_finished_parts(tmp_path: Path) -> None:
    whole = job.run(number_jobs.job(tmp_path, "never stopped"))
    for name in os.listdir(tmp_path / "calls"):
        os.remove(tmp_path / "calls" / name)
    with pytest.raises(StorageError, match="task 000040: no space left"):
        job.run(number_jobs.job(tmp_path, refuse_at="000040"))
    finished = [task for task in number_jobs.calls(str(tmp_path / "calls")) if task != "000040"]
    assert finished, "the failing task came first: nothing to go on from"
    with pytest.raises(StorageError, match="bucket 2: no space left"):
        job.run(number_jobs.job(tmp_path, refuse_bucket=2))
    assert job.run(number_jobs.job(tmp_path)) == whole
    called = number_jobs.calls(str(tmp_path / "calls"))
    assert {task: called.count(task) for task in set(called)} == {f"{10 * i:06d}": 2 if i == 4 else 1 for i in range(6)}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_task_arrives_as_its_one_line(
    tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StorageError) as error:
        job.run(number_jobs.job(tmp_path, refuse_at="000030"), Execution(workers))
    assert str(error.value) == "task 000030: no space left; free some"
    assert (*capfd.readouterr(), caplog.messages) == ("", "", []), "Beam would write pages about it"


@pytest.mark.parametrize("workers", [1, 2])
def test_too_little_memory_for_a_library_is_one_line(
    tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(MemoryFullError, match="out of memory"):
        job.run(number_jobs.job(tmp_path, crowd_at="000030"), Execution(workers))
    assert (*capfd.readouterr(), caplog.messages) == ("", "", [])


def test_an_error_that_cannot_be_written_down_arrives_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk."""
    written = storage.write_json

    def write_json(url: str, content: object) -> None:
        if url.endswith("error.json"):
            raise StorageError(f"{url}: no space left")
        written(url, content)

    monkeypatch.setattr(storage, "write_json", write_json)
    with pytest.raises(StorageError, match=r"^task 000030: no space left; free some$"):
        job.run(number_jobs.job(tmp_path, refuse_at="000030"))


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_arrives_as_itself(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Raised where a signal would raise it: inside a step, or while waiting for workers."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    place: Any = processes.Started if workers > 1 else number_jobs.Spread
    monkeypatch.setattr(place, "results" if workers > 1 else "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        job.run(number_jobs.job(tmp_path), Execution(workers))
    assert caplog.messages == []


def test_a_bug_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="our own bug") as error:
        job.run(number_jobs.job(tmp_path, break_at="000030"))
    assert not isinstance(error.value, UserError)


def test_an_old_error_is_not_reported_again(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no space left"):
        job.run(number_jobs.job(tmp_path, refuse_at="000030"))
    with pytest.raises(Exception, match="our own bug"):
        job.run(number_jobs.job(tmp_path, break_at="000030"))


def test_other_tasks_have_another_work_folder(tmp_path: Path) -> None:
    assert number_jobs.job(tmp_path, tasks=5).work != number_jobs.job(tmp_path, tasks=6).work


def test_parts_made_of_other_content_are_not_resumed(tmp_path: Path) -> None:
    numbers = number_jobs.job(tmp_path)
    assert len({numbers.work, replace(numbers, made_of="a").work, replace(numbers, made_of="b").work}) == 3


def test_progress_is_reported_up_to_the_end(tmp_path: Path) -> None:
    reported: list[tuple[int, int, str]] = []
    job.run(number_jobs.job(tmp_path), Execution(report=lambda *what: reported.append(what)))
    assert reported[-1] == (6, 6, "numbers: 6 of 6 parts read, 4 written")
    assert [done for done, _, _ in reported] == sorted(done for done, _, _ in reported)
