"""Beam's runners that no cluster is here for: their options are Beam's, and the graph of a job is one that they can be given.

A graph in Beam's portable form is all that such a runner sees of a job. So it is made here as the runner makes it, read back,
and run by Beam's local engine: it must write what a job writes.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine import job
from pipeline.engine.beam import RemoteBeam, add_steps, import_beam, local_runner, new_pipeline
from pipeline.engine.execution import Execution
from pipeline.engine.steps import Job
from pipeline.errors import RecipeError
from tests import number_jobs

ROOT = Path(__file__).parents[1]
RUNNERS_PAGE = (ROOT / "docs" / "runners.md").read_text(encoding="utf-8")
BEAMS = ("portable", "flink", "dataflow", "dask")
STANDARD = {
    "beam:transform:impulse:v1",
    "beam:transform:pardo:v1",
    "beam:transform:flatten:v1",
    "beam:transform:reshuffle:v1",
    "beam:transform:group_by_key:v1",
    "beam:transform:window_into:v1",
}
"""Transforms that every portable runner has."""


def documented(name: str) -> RemoteBeam:
    """The runner with the options of its command in docs/runners.md."""
    section = RUNNERS_PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
    (command,) = re.findall(r"^nezha-pipe prepare (?:.*\\\n)*.*", section, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[words.index("--runner") + 1] == name
    return RemoteBeam(name, tuple(f"--{words[i + 1]}" for i, word in enumerate(words) if word == "--runner-option"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BEAMS)
def test_beam_takes_the_options_that_the_page_shows(name: str) -> None:
    pytest.importorskip("distributed") if name == "dask" else None
    remote = documented(name)
    _, options = remote.runner_and_options()
    known = options.get_all_options()
    unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    assert remote.options and not unknown, f"docs/runners.md, {name}: Beam has no option {', '.join(unknown)}"
    values = {str(one) for value in known.values() for one in (value if isinstance(value, list) else [value])}
    assert {option.partition("=")[2] for option in remote.options} <= values


@pytest.mark.parametrize(
    ("remote", "message"),
    [
        (RemoteBeam("flink", ("--flink_version=1.2",)), "argument --flink_version: invalid choice: '1.2'"),
        (RemoteBeam("flink", ("--parallelism=many",)), "argument --parallelism: invalid int value: 'many'"),
        (RemoteBeam("dataflow", ("--projekt=a",)), "--runner-option projekt: Beam has no such option for dataflow"),
        (RemoteBeam("dataflow", ("--project=my-project", "--region=europe-west1")), "temp_location"),
    ],
)
def test_options_that_beam_does_not_take_are_one_line(
    remote: RemoteBeam, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)) as error:
        remote.runner_and_options()
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def graph(remote: RemoteBeam, numbers: Job) -> Any:
    """The graph of a job as the runner makes it."""
    import_beam()
    from apache_beam.options.pipeline_options import WorkerOptions
    from apache_beam.runners.portability.fn_api_runner import translations
    from apache_beam.runners.portability.portable_runner import PortableRunner
    from apache_beam.transforms.environments import DockerEnvironment

    runner, options = remote.runner_and_options()
    pipeline = new_pipeline(runner, options)
    add_steps(pipeline, numbers, spread=True)
    if remote.name != "dataflow":
        return PortableRunner.get_proto_pipeline(pipeline, options)
    # DataflowRunner.run_pipeline does this, then sends it to Google; it needs Google's packages.
    image = DockerEnvironment.from_container_image(options.view_as(WorkerOptions).sdk_container_image)
    phases = [translations.pack_combiners, translations.sort_stages]
    proto = pipeline.to_runner_api(default_environment=image)
    return translations.optimize_pipeline(proto, phases=phases, known_runner_urns=frozenset(), partial=True)


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("portable", "beam:env:embedded_python_loopback:v1"),
        ("flink", "beam:env:external:v1"),
        ("dataflow", "beam:env:docker:v1"),
    ],
)
def test_the_graph_in_portable_form_writes_what_the_job_writes(name: str, environment: str, tmp_path: Path) -> None:
    numbers = number_jobs.job(tmp_path, "there")
    proto = graph(documented(name), numbers)
    parts = proto.components
    urns = {one.spec.urn for one in parts.transforms.values() if one.spec.urn and not one.subtransforms}
    assert urns <= STANDARD and "beam:transform:group_by_key:v1" in {one.spec.urn for one in parts.transforms.values()}
    assert environment in {one.urn for one in parts.environments.values()}
    assert shuffles(proto) == 2, "of tasks over machines, and of rows to buckets"

    beam = import_beam()

    def run(numbers: Job, workers: int) -> None:
        runner, options = local_runner()
        beam.Pipeline.from_runner_api(proto, runner, options).run().wait_until_finish()

    there = job.run(numbers, Execution(executor=run))
    assert there == job.run(number_jobs.job(tmp_path, "here"))
    assert there[1] == {"mapped": 60, "reduced": 60}


def shuffles(proto: Any) -> int:
    """How often a graph moves its elements."""
    return sum(one.spec.urn == "beam:transform:group_by_key:v1" for one in proto.components.transforms.values())


def test_tasks_on_this_machine_are_not_shuffled(tmp_path: Path) -> None:
    pipeline = new_pipeline(*local_runner())
    add_steps(pipeline, number_jobs.job(tmp_path))
    assert shuffles(pipeline.to_runner_api()) == 1
