"""Dagster's databases on a PostgreSQL server, for several processes and machines at a time.

Dagster gives up a server that is away after 6 s, and never one that is cut off in silence. Here a history opens within
OPENING_SECONDS or not at all, so that a wrong password is a warning and no wait; one that is open is waited for while the
server is restarted or replaced by another, up to PATIENCE_SECONDS. A silent server counts as away after a minute, unless the
URL has parameters of its own for that.

dagster.yaml names this class (history.py), so that the page and its runs use it too.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from dagster_postgres import DagsterPostgresStorage, utils
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

OPENING_SECONDS, PATIENCE_SECONDS = 5.0, 120.0
NOTICED: Final = {"connect_timeout": "10", "keepalives_idle": "20", "keepalives_interval": "10", "keepalives_count": "4"}
"""Parameters of libpq: after how many seconds a server counts as away that does not answer."""
Answer = TypeVar("Answer")


def waited_for(connect: Callable[[], Answer], seconds: float) -> Answer:
    """Call `connect` until it succeeds, with growing pauses.

    Raises: DBAPIError, what it raised last, after `seconds`.
    """
    return Retrying(
        retry=retry_if_exception_type(DBAPIError),
        stop=stop_before_delay(seconds),
        wait=wait_exponential(multiplier=0.2, max=5.0),
        before_sleep=_tell,
        reraise=True,
    )(connect)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    if state.attempt_number == 1 and isinstance(error, DBAPIError):
        logging.warning("the database of the history of runs is waited for: %s", " ".join(str(error.orig).split()))


class PatientPostgresStorage(DagsterPostgresStorage):  # type: ignore[misc]  # of a package that need not be installed
    """Dagster's storage in the same tables: it can be opened by Dagster's own class too."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "PatientPostgresStorage":
        url = make_url(config_value["postgres_url"]).set(drivername="postgresql+psycopg2")  # what Dagster installs
        url = url.update_query_dict({name: value for name, value in NOTICED.items() if name not in url.query})
        waited_for(create_engine(url, poolclass=NullPool).connect, OPENING_SECONDS).close()
        vars(utils)["retry_pg_connection_fn"] = lambda connect, *_, **__: waited_for(connect, PATIENCE_SECONDS)
        return cls(url.render_as_string(hide_password=False), inst_data=inst_data)
