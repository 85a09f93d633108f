"""Where Beam runs a job: here, guarded, or on a cluster. Everything that touches Beam's inner modules is in this file.

Beam 2.77 as it comes loses data on one machine, without a word (measured; tests/test_runner.py):

- Its bare `DirectRunner` tries to download another engine first. We name the engine: `FnApiRunner`.
- With several workers, and in its own job service, a timer flushes the driver's buffers once a second while another thread
  writes to them; what arrives between reading and clearing is gone. Here Beam runs in one process, and hands steps to worker
  processes of ours (pipeline/engine/processes.py); where its job service runs in this process, the timer is turned off.
"""

import atexit
import contextlib
import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pipeline import storage
from pipeline.engine import processes
from pipeline.engine.steps import Job, MapStep, ReduceStep
from pipeline.errors import CorpusError, UserError

RunnerName = Literal["portable", "flink", "spark", "dataflow", "dask"]

_CLASSES: dict[RunnerName, str] = {
    "portable": "PortableRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
    "dask": "apache_beam.runners.dask.dask_runner.DaskRunner",
}
_LOCAL_SIGNS = ("LOOPBACK", "localhost", "127.0.0.1", "embed")
"""Found in the options of a runner whose workers are on this machine, and may be given local paths."""


def import_beam() -> Any:
    """apache_beam, without the warnings about Google's packages that its import writes to a logger it configures itself, and
    without the pages that it would write about errors that we tell in a line."""
    logging.disable(logging.WARNING)
    try:
        with processes.rare_collections(), processes.without_pandas():
            import apache_beam
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("apache_beam.runners.common").addFilter(_is_no_users_error)
    _end_without_a_search()
    return apache_beam


@cache
def _end_without_a_search() -> None:
    """Else Python, as it ends, looks for cycles in all that Beam's import has made, several times: half a second."""
    atexit.register(gc.freeze)


def _is_no_users_error(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, UserError) and (error is None or isinstance(error, Exception))  # else it is Ctrl-C


def local_runner() -> tuple[Any, Any]:
    """Beam's engine in this process, and its options."""
    import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    _end_steps_at_once()
    options = PipelineOptions([], direct_running_mode="in_memory", pickle_library="cloudpickle", save_main_session=False)
    return fn_runner.FnApiRunner(), options


@cache
def _end_steps_at_once() -> None:
    """Else a step that is done waits for a thread that measures it, and sleeps 200 ms at a time: a second a run of prepare."""
    from apache_beam.runners.worker.statesampler import StateSampler

    StateSampler.__init__.__defaults__ = (10,)


def run_beam(job: Job, runner: Any, options: Any, spread: bool = False) -> None:
    """Run a job as a Beam pipeline, a task an element. `spread` parts them where a runner would fuse all into one step."""
    beam = import_beam()
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        tasks = pipeline | "tasks" >> beam.Create(list(job.tasks))
        if spread:
            tasks |= "spread" >> beam.Reshuffle()
        mapped = tasks | "map" >> beam.FlatMap(MapStep(job.work, job.map))
        if job.reduce is not None:
            mapped | "gather by bucket" >> beam.GroupByKey() | "reduce" >> beam.FlatMap(ReduceStep(job.work, job.reduce))


@dataclass(frozen=True)
class RemoteBeam:
    """A Beam runner that has its workers elsewhere; an executor of jobs (pipeline/engine/job.py)."""

    name: RunnerName
    options: tuple[str, ...] = ()
    """Beam's own, as on its command line: `--job_endpoint=localhost:8099`."""

    def __call__(self, job: Any, workers: int) -> None:
        import_beam()
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.runner import create_runner

        _turn_off_timed_flushes()
        arguments = list(self.options)
        if self.name == "dask":  # by itself it puts 128 tasks into one partition: no two at a time
            arguments.append(f"--dask_npartitions={max(1, len(job.tasks))}")
        options = PipelineOptions(arguments, pickle_library="cloudpickle", save_main_session=False)
        try:
            runner = create_runner(_CLASSES[self.name])
        except ImportError as error:
            raise CorpusError(f"runner {self.name}: {error}; install apache-beam[{self.name}]") from error
        try:
            run_beam(job, runner, options, spread=self.name != "dask")
        finally:
            if self.name == "dask":
                _close_dask()

    def refuse_local(self, urls: Sequence[str]) -> None:
        """Raise CorpusError for a path that only this machine has, where the workers are on others."""
        if any(sign in option for option in self.options for sign in _LOCAL_SIGNS):
            return
        for url in urls:
            if storage.is_local(url):
                raise CorpusError(
                    f"runner {self.name}: its workers cannot see the local path {url}; give a URL (s3://, gs://, hdfs://)"
                )


def _close_dask() -> None:
    """Beam's runner leaves its client open, which then looks for the cluster for as long as this process lives."""
    import distributed

    client: Any = distributed.default_client
    with contextlib.suppress(ValueError):  # there is none
        client().close()


def _turn_off_timed_flushes() -> None:
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = -1
