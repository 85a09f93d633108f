"""Run a job by Beam, on this machine or elsewhere. Everything that touches Beam's inner modules is here and in startup.py.

Beam 2.77 silently loses data on one machine (measured; tests/test_runner.py). What we do about it:

- Its bare `DirectRunner` tries to download another engine first. We name the engine: `FnApiRunner`.
- With several workers, and in its own job service, a timer flushes the driver's buffers once a second while another thread
  writes to them; what arrives between reading and clearing is lost. Here Beam runs in one process and hands its steps to our
  own worker processes (pipeline/engine/processes.py). Where its job service runs in this process, the timer is turned off.
"""

import contextlib
import io
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

from pipeline import storage
from pipeline.engine import startup
from pipeline.engine.steps import Job, MapStep, ReduceStep
from pipeline.errors import CorpusError, RecipeError, UserError, is_memory_full

RunnerName = Literal["portable", "flink", "dataflow", "dask"]

_CLASSES: dict[RunnerName, str] = {
    "portable": "PortableRunner",
    "flink": "FlinkRunner",
    "dataflow": "DataflowRunner",
    "dask": "apache_beam.runners.dask.dask_runner.DaskRunner",
}
_ALONE: frozenset[RunnerName] = frozenset({"dataflow", "dask"})
"""Runners whose options are all known here. A job service, as of Flink, may have more, which Beam asks it for."""
_LOCAL_SIGNS = ("LOOPBACK", "localhost", "127.0.0.1", "embed")
"""Substrings of options of a runner whose workers are on this machine and can read local paths."""


def import_beam() -> Any:
    """Import and return apache_beam, without what it would log.

    Its import warns about missing Google packages, in a logger that it configures itself. Its runners log pages about errors
    of users, which we report in one line.
    """
    logging.disable(logging.WARNING)
    try:
        with startup.without_pandas():
            import apache_beam
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("apache_beam.runners.common").addFilter(_is_worth_logging)
    startup.skip_collection_at_exit()
    return apache_beam


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Whether a record is about neither a user's error nor Ctrl-C."""
    error = record.exc_info[1] if record.exc_info else None
    return error is None or (isinstance(error, Exception) and not isinstance(error, UserError) and not is_memory_full(error))


def local_runner() -> tuple[Any, Any]:
    """Return Beam's engine in this process, and its options."""
    import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    startup.shorten_beam_sampling()
    options = PipelineOptions([], direct_running_mode="in_memory", pickle_library="cloudpickle", save_main_session=False)
    return fn_runner.FnApiRunner(), options


def new_pipeline(runner: Any, options: Any) -> Any:
    """Return a Beam pipeline without its folder in /tmp, which a run that is killed would leave behind.

    The folder is for programs in other languages, of which we have none: a path that cannot exist is in place of it.
    """
    beam = import_beam()
    before = beam.pipeline.tempfile
    beam.pipeline.tempfile = SimpleNamespace(mkdtemp=lambda **_: os.path.join(os.devnull, "none"))
    try:
        return beam.Pipeline(runner=runner, options=options)
    finally:
        beam.pipeline.tempfile = before


def run_beam(job: Job, runner: Any, options: Any, spread: bool = False) -> None:
    """Run a job as a Beam pipeline.

    Args:
        spread: see `add_steps`.
    """
    with new_pipeline(runner, options) as pipeline:
        add_steps(pipeline, job, spread)


def add_steps(pipeline: Any, job: Job, spread: bool = False) -> None:
    """Add the steps of a job to a Beam pipeline, with one element per task.

    Args:
        spread: shuffle the tasks first, for runners that would otherwise fuse all steps into one on one worker.
    """
    beam = import_beam()
    # `Create` would shuffle them by itself, on this machine too, where nothing is gained.
    tasks = pipeline | "tasks" >> beam.Create(list(job.tasks), reshuffle=False)
    if spread:
        tasks |= "spread" >> beam.Reshuffle()
    mapped = tasks | "map" >> beam.FlatMap(MapStep(job.work, job.map))
    if job.reduce is not None:
        mapped | "gather by bucket" >> beam.GroupByKey() | "reduce" >> beam.FlatMap(ReduceStep(job.work, job.reduce))


@dataclass(frozen=True)
class RemoteBeam:
    """A Beam runner with its workers elsewhere; an executor of jobs (pipeline/engine/job.py)."""

    name: RunnerName
    options: tuple[str, ...] = ()
    """Options as on Beam's command line: `--job_endpoint=localhost:8099`."""

    def __call__(self, job: Job, workers: int) -> None:
        """Run a job; the runner's own options, not `workers`, set the parallelism."""
        more: tuple[str, ...] = ()
        if self.name == "dask":  # by default it puts up to 128 tasks into one partition, which runs them one by one
            more = (f"--dask_npartitions={max(1, len(job.tasks))}",)
        runner, options = self.runner_and_options(more)
        _turn_off_timed_flushes()
        try:
            run_beam(job, runner, options, spread=self.name != "dask")
        finally:
            if self.name == "dask":
                _close_dask()

    def runner_and_options(self, more: Sequence[str] = ()) -> tuple[Any, Any]:
        """Return Beam's runner, and its options with some more.

        Raises: CorpusError when packages of the runner are missing; RecipeError for options that Beam does not take.
        """
        import_beam()
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
        from apache_beam.runners.runner import create_runner

        try:
            runner = create_runner(_CLASSES[self.name])
        except ImportError as error:
            raise CorpusError(f"runner {self.name}: {error}; install apache-beam[{self.name}]") from error
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                options = PipelineOptions([*self.options, *more], pickle_library="cloudpickle", save_main_session=False)
                known = options.get_all_options()
        except SystemExit:  # argparse ends the program, with a page of all options of Beam
            raise RecipeError(f"--runner {self.name}: {said.getvalue().strip().rpartition('error: ')[2]}") from None
        if self.name in _ALONE and (unknown := options.get_all_options(retain_unknown_options=True).keys() - known.keys()):
            raise RecipeError(f"--runner-option {min(unknown)}: Beam has no such option for {self.name}")
        if problems := PipelineOptionsValidator(options, runner).validate():
            raise RecipeError(f"--runner {self.name}: {' '.join(problems)}")
        return runner, options

    def refuse_local(self, urls: Sequence[str]) -> None:
        """Raise CorpusError for a local path among `urls` if the workers are on other machines."""
        if any(sign in option for option in self.options for sign in _LOCAL_SIGNS):
            return
        for url in urls:
            if storage.is_local(url):
                raise CorpusError(
                    f"runner {self.name}: its workers cannot see the local path {url}; give a URL (s3://, gs://, hdfs://)"
                )


def _close_dask() -> None:
    """Close the client that Beam's runner leaves open: it would try to reconnect to the cluster until this process exits."""
    import distributed

    client: Any = distributed.default_client
    with contextlib.suppress(ValueError):  # there is none
        client().close()


def _turn_off_timed_flushes() -> None:
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = -1
