"""The history of runs: Dagster's instance, in the folder `.dagster` of a run's output.

    runs/tiny/.dagster/dagster.yaml      settings for Dagster's own tools: DAGSTER_HOME=runs/tiny/.dagster
    runs/tiny/.dagster/history/          databases (SQLite)
    runs/tiny/.dagster/running/ID        locked as long as the process of run ID lives

`nezha-pipe run` writes the same history as runs that the page starts. It needs no server: every process opens the databases.
NEZHA_PIPE_HISTORY names another folder, or a PostgreSQL database; so several recipes can have one history.
"""

import contextlib
import fcntl
import importlib.util
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline import storage
from pipeline.engine.execution import News, Report
from pipeline.errors import RecipeError, StorageError
from pipeline.redaction import redact

SETTING = "NEZHA_PIPE_HISTORY"
"""Environment variable: a folder, or the URL of a PostgreSQL database, which may have a password and is written nowhere."""
FOLDER = ".dagster"
RUNNING = "running"
"""Folder of the locks of runs."""
OUTPUT_TAG = "nezha-pipe/output"
"""Tag of a run: its output folder."""
_QUIET = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
_UNUSED = {"auto_materialize": {"enabled": False, "use_sensors": False}, "freshness": {"enabled": False}}
"""Daemons of Dagster's that would look at nothing every few seconds."""
_NO_LOGS = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
"""In a terminal, output belongs to the progress display: Dagster is not to redirect it to its files."""
_ONE_A_FOLDER = {
    "dequeue_interval_seconds": 10,
    "tag_concurrency_limits": [{"key": OUTPUT_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}],
}
"""Runs that the page starts in one output folder wait for each other."""
_ENDED = "the process of this run ended without a word: it was killed, or its machine stopped. Run again to resume"


@dataclass(frozen=True)
class History:
    """Where a history is."""

    folder: Path
    """Settings, logs, locks, and databases unless these are elsewhere."""
    on_server: bool = False
    """Whether the databases are those of the PostgreSQL server in NEZHA_PIPE_HISTORY."""
    max_parallel: int | None = None
    """Runs of the page at a time, each one step at a time; None = as the page was told last, at first one."""

    @staticmethod
    def of(output: str) -> "History":
        """Return the history of runs in an output folder, or the one that NEZHA_PIPE_HISTORY names.

        Raises: RecipeError for a setting that is neither a folder nor a PostgreSQL database; StorageError for a file.
        """
        named = os.environ.get(SETTING, "")
        if named and storage.is_local(named):
            storage.refuse_file(named)
            return History(storage.local_path(storage.absolute(named)))
        # A store has no databases: the history of what runs there is kept here.
        local = output if storage.is_local(output) else f"runs/{storage.base_name(output)}"
        storage.refuse_file(local)
        folder = storage.local_path(storage.absolute(local)) / FOLDER
        if not named:
            return History(folder)
        if not named.startswith(("postgresql://", "postgres://")):
            raise RecipeError(f"{SETTING} {redact(named)}: neither a folder here nor postgresql://...")
        if importlib.util.find_spec("dagster_postgres") is None:
            raise RecipeError(f"{SETTING} {redact(named)}: needs a package: pip install 'nezha-pipe[postgres]'")
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        with contextlib.suppress(ValueError, ArgumentError):  # whose text may have a part of the password
            if "@" not in (make_url(named).host or ""):
                return History(folder, on_server=True)
        raise RecipeError(f"{SETTING}: no URL of a database; a password has its special characters as %40, %2F, ...")

    @property
    def settings(self) -> Mapping[str, Any]:
        """Content of dagster.yaml."""
        if self.on_server:
            place = {"module": "workflows.orchestration.postgres", "class": "PatientPostgresStorage"}
            config: dict[str, Any] = {"postgres_url": {"env": SETTING}}
        else:
            place = {"module": "workflows.orchestration.sqlite", "class": "PatientSqliteStorage"}
            config = {"base_dir": str(self.folder)}
        launcher = {"module": "workflows.orchestration.launching", "class": "DetachedRunLauncher"}
        return {
            **_QUIET,
            **_UNUSED,
            "storage": {"custom": {**place, "config": config}},
            # Only of runs whose process died; launching.py says how often.
            "run_retries": {"enabled": True, "max_retries": 0, "retry_on_asset_or_op_failure": False},
            "run_launcher": {**launcher, "config": {"folder": str(self.folder)}},
            "run_coordinator": {
                "module": "workflows.orchestration.queue",
                "class": "OneRunAFolder",
                "config": {**_ONE_A_FOLDER, "max_concurrent_runs": self.max_parallel or self._told()},
            },
        }

    def _told(self) -> int:
        """Return how many runs at a time the page was told last."""
        with contextlib.suppress(StorageError, ValueError, KeyError, TypeError):
            settings = storage.read_json(str(self.folder / "dagster.yaml"))
            return int(settings["run_coordinator"]["config"]["max_concurrent_runs"])
        return 1

    def prepare(self) -> None:
        """Create the folder, dagster.yaml and the databases; close runs whose process is gone.

        Raises: StorageError if it cannot be written, or is damaged.
        """
        with self.opened():
            pass

    @contextmanager
    def opened(self) -> Iterator[dg.DagsterInstance]:
        """Open the history, creating what is missing.

        Raises: StorageError if it cannot be written, or is damaged.
        """
        from dagster._core.instance.ref import InstanceRef
        from sqlalchemy.exc import SQLAlchemyError

        storage.make_folder(self.folder / RUNNING)
        content = storage.json_bytes(self.settings)  # JSON is YAML
        place = str(self.folder / "dagster.yaml")
        with ExitStack() as stack:
            # Databases are created by one process at a time: two would find half of the tables of the other.
            with storage.translate_error(str(self.folder)), self.locked():
                if not storage.exists(place) or storage.read_bytes(place) != content:
                    storage.write_bytes(place, content)
                try:
                    reference = InstanceRef.from_dir(str(self.folder), overrides={"compute_logs": _NO_LOGS})
                    instance = stack.enter_context(dg.DagsterInstance.from_ref(reference))
                    if self.on_server:
                        self._refuse_other_tables(instance)
                    self._close(instance)
                except SQLAlchemyError as error:
                    where = redact(os.environ[SETTING]) if self.on_server else str(self.folder)
                    reason = " ".join(str(getattr(error, "orig", None) or error).split())
                    raise StorageError(f"{where}: the history of runs cannot be opened: {redact(reason)}") from error
            yield instance

    def _refuse_other_tables(self, instance: dg.DagsterInstance) -> None:
        """Raises: StorageError for tables of another version of Dagster, or of another program: a run would end in it."""
        revision, ours = instance.event_log_storage.alembic_version() or (None, None)
        if revision != ours:
            raise StorageError(
                f"{redact(os.environ[SETTING])}: the history of runs has tables of another version of Dagster ({revision}, not"
                f" {ours}); if they are older: DAGSTER_HOME={self.folder} dagster instance migrate"
            )

    @contextmanager
    def running(self, output: str = "") -> Iterator[str]:
        """Yield the id of a new run, which counts as alive until the context or this process ends."""
        run_id = str(uuid.uuid4())
        path = self.folder / RUNNING / run_id
        with ExitStack() as stack:
            with self.locked():  # before it is locked, it looks like that of a dead process
                lock = stack.enter_context(open(path, "w", encoding="utf-8"))
                fcntl.flock(lock, fcntl.LOCK_EX)
                lock.write(f"{redact(output)}\n{os.getpid()}")
                lock.flush()
            stack.callback(path.unlink, missing_ok=True)
            yield run_id

    def alive(self, output: str) -> list[str]:
        """Return the ids of runs in an output folder whose process lives, and of those whose folder is not known: such is a
        run of assets of several recipes that were chosen on the page."""
        places = (self.folder / RUNNING).iterdir() if (self.folder / RUNNING).is_dir() else ()
        return [path.name for path in places if (found := self.process(path.name)) and found[0] in ("", redact(output))]

    def process(self, run_id: str) -> tuple[str, int] | None:
        """Return the output folder and the id of the process of a run; None if it is dead."""
        with contextlib.suppress(FileNotFoundError), open(self.folder / RUNNING / run_id, encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                output, _, process = lock.read().partition("\n")
                return output, int(process or 0)
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the folder."""
        with open(self.folder / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def close_dead(self, instance: dg.DagsterInstance) -> None:
        """Record runs as failed whose process is gone, while the history is open."""
        with self.locked():
            self._close(instance)

    def _close(self, instance: dg.DagsterInstance) -> None:
        """Record runs of `running` as failed whose process is gone; Dagster would show them as running forever."""
        for path in (self.folder / RUNNING).iterdir():
            # Not found: it has ended by itself meanwhile. Blocked: it is alive.
            with contextlib.suppress(FileNotFoundError, BlockingIOError), open(path) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                run = instance.get_run_by_id(path.name)
                if run is not None and not run.is_finished:
                    instance.report_run_failed(run, _ENDED)
                path.unlink(missing_ok=True)


@contextmanager
def opened_or_empty(history: History | None, report: Report) -> Iterator[dg.DagsterInstance]:
    """Open a history; without one, or if it cannot be opened, an empty one in memory: no run fails for want of a record."""
    with ExitStack() as stack:
        instance = None
        try:
            instance = stack.enter_context(history.opened()) if history else None
        except StorageError as error:
            report(0, 0, News(f"warning: {error}; this run is not in it"))
        yield instance or stack.enter_context(dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}))
