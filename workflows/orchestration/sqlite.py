"""Dagster's SQLite databases, for several processes at a time.

Dagster waits 30 s for a lock on the events of a run, but SQLite's default of 5 s for one on the lists of runs and of schedules:
on a busy disk, one of two runs ends with "database is locked". Here all three wait for TIMEOUT_SECONDS. The journals are
write-ahead logs (Dagster's own choice), so readers wait for nobody.

dagster.yaml names this class (history.py), so that the page and its runs use it too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

TIMEOUT_SECONDS = 120
"""How long a process waits for another one's write, which takes milliseconds unless the machine is overloaded."""


class _Runs(SqliteRunStorage):
    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with _connected(self._conn_string) as connection:
            yield connection


class _Schedules(SqliteScheduleStorage):
    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with _connected(self._conn_string) as connection:
            yield connection


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": TIMEOUT_SECONDS})
    with engine.connect() as connection, connection.begin():
        yield connection


class PatientSqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in the same folders and tables: it can be opened by Dagster's own class too."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        vars(sqlite_event_log)["SQLITE_BUSY_TIMEOUT_SECONDS"] = TIMEOUT_SECONDS
        super().__init__(base_dir, inst_data)
        self._run_storage = _Runs(self._run_storage._conn_string, inst_data)
        self._schedule_storage = _Schedules(self._schedule_storage._conn_string, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "PatientSqliteStorage":
        return cls.from_local(inst_data=inst_data, **config_value)
