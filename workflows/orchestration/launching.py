"""How the page starts a run: a process of its own that outlives the page, and locks its file in `running/` as long as it lives.

So a run of the page whose process was killed is known to be dead, as one of `nezha-pipe run` is (history.py). dagster.yaml
names this class.
"""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher.base import LaunchRunContext, RunLauncher
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, serialize_value
from dagster._serdes.config_class import ConfigurableClassData

from workflows.orchestration import detached
from workflows.orchestration.history import OUTPUT_TAG, RUNNING, History

RESTARTED = {"dagster/max_retries": "8", "dagster/retry_strategy": "ALL_STEPS"}
"""Tags of a run that the page starts again if its process died; finished stages are skipped."""


class DetachedRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Starts `dagster api execute_run` with the lock of its run."""

    def __init__(self, folder: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._history, self._inst_data = History(Path(folder)), inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"folder": str}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process of a run."""
        run, origin = context.dagster_run, context.job_code_origin
        assert origin is not None, "a run of the page comes from its code server"
        self._instance.add_run_tags(run.run_id, RESTARTED)
        arguments = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref())
        with ExitStack() as stack:
            log = stack.enter_context(open(self._history.folder / "page.log", "ab"))
            with self._history.locked():  # before it is locked, it looks like that of a dead process
                place = self._history.folder / RUNNING / run.run_id
                lock = stack.enter_context(open(place, "w", encoding="utf-8"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            command = [sys.executable, "-m", "dagster", "api", "execute_run", serialize_value(arguments)]
            process = detached.start(command, lock, out=subprocess.DEVNULL, err=log)  # its output is events, which are recorded
            lock.write(f"{run.tags.get(OUTPUT_TAG, '')}\n{process.pid}")

    def terminate(self, run_id: str) -> bool:
        """Interrupt the process of a run, also of one that `nezha-pipe run` or a schedule started."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        found = self._history.process(run_id)
        if found is None or not found[1]:
            return False
        os.kill(found[1], signal.SIGINT)
        return True
