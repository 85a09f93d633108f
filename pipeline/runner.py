"""Beam's local runner, guarded. Everything that touches Beam's inner modules is in this file, with apache-beam pinned.

Beam 2.77 as it comes loses data here, without a word (measured; tests/test_runner.py holds the guard):

- Its bare `DirectRunner` tries to download another engine first. We name the engine: `FnApiRunner`.
- A timer flushes the driver's buffers once a second while another thread writes to them; what arrives between reading and
  clearing is gone. The guard turns the timer off, so that buffers flush by size.
- A worker process that dies (the out-of-memory killer) leaves the pipeline waiting for ever. `exit_when_a_worker_dies` ends
  the process instead; a pipeline with several workers therefore runs in a process of its own (pipeline/job.py).
"""

import logging
import os
import sys
import threading
import time
from typing import Any

WORKER_DIED = 70
"""Exit code of a pipeline process that lost a worker."""


def import_beam() -> Any:
    """apache_beam, without the warnings about Google's packages that its import writes to a logger it configures itself."""
    logging.disable(logging.WARNING)
    try:
        import apache_beam
    finally:
        logging.disable(logging.NOTSET)
    return apache_beam


def local_runner(workers: int) -> tuple[Any, Any]:
    """The guarded runner and its options: in this process for one worker, in that many processes for more."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = -1
    mode = "in_memory" if workers == 1 else "multi_processing"
    options = PipelineOptions(
        [], direct_num_workers=workers, direct_running_mode=mode, pickle_library="cloudpickle", save_main_session=False
    )
    # Named directly, FnApiRunner hands workers empty options; they travel in the provision information.
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = fn_runner.ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
    return fn_runner.FnApiRunner(provision_info=provision), options


def exit_when_a_worker_dies() -> None:
    """End this process with code 70 when a worker process of Beam's ends before its work is done."""
    previous = threading.excepthook

    def watch(arguments: threading.ExceptHookArgs) -> None:
        previous(arguments)
        if "Worker subprocess exited" in str(arguments.exc_value):
            print("a worker process died before its work was done", file=sys.stderr, flush=True)
            os._exit(WORKER_DIED)

    threading.excepthook = watch


def exit_with(parent: int) -> None:
    """End this process when the process `parent`, which started it, is gone: it would write where the next run may be."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(WORKER_DIED)

    threading.Thread(target=watch, daemon=True).start()
