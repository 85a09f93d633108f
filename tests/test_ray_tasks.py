"""Jobs of prepare as Ray tasks: the same bytes, errors in one line, a killed worker tried again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.config import ClusterConfig
from cluster.session import connected
from cluster.tasks import RayTasks
from pipeline.engine import job
from pipeline.engine.execution import Execution
from pipeline.errors import StorageError
from tests import corpus, number_jobs


@pytest.fixture(scope="module")
def on_ray() -> Iterator[Execution]:
    with connected(ClusterConfig(workers=2)):
        yield Execution(workers=2, executor=RayTasks())


@pytest.mark.timeout(120)
def test_a_job_on_ray_writes_what_it_writes_here(on_ray: Execution, tmp_path: Path) -> None:
    there = job.run(number_jobs.job(tmp_path, "there"), on_ray)
    assert job.run(number_jobs.job(tmp_path, "here")) == there
    assert there[1] == {"mapped": 60, "reduced": 60}


@pytest.mark.timeout(120)
def test_the_error_of_a_task_arrives_as_its_one_line(on_ray: Execution, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as error:
        job.run(number_jobs.job(tmp_path, refuse_at="000030"), on_ray)
    assert str(error.value) == "task 000030: no space left; free some"


@pytest.mark.timeout(120)
def test_a_killed_worker_is_tried_again(on_ray: Execution, tmp_path: Path) -> None:
    assert job.run(number_jobs.job(tmp_path, kill_at="000050"), on_ray)[1] == {"mapped": 60, "reduced": 60}
    assert number_jobs.calls(str(tmp_path / "calls"), "000050") == ["000050"] * 2


@pytest.mark.timeout(120)
def test_a_job_without_tasks_is_no_error(on_ray: Execution, tmp_path: Path) -> None:
    assert job.run(number_jobs.job(tmp_path, tasks=0), on_ray) == ([], {})


@pytest.mark.timeout(300)
def test_prepare_on_ray_writes_the_same_bytes(on_ray: Execution, tmp_path: Path) -> None:
    there = corpus.prepare(corpus.generated(), str(tmp_path), on_ray)
    here = corpus.prepared()
    assert corpus.same_bytes(there, here, "") > 100
