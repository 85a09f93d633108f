"""The dashboard of a Ray cluster, by Ray's Job SDK: what can go wrong is one line, and no request waits forever."""

import contextlib
import importlib.util
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit

from model.training.stopping import SIGTERM_CODE
from pipeline.errors import ClusterError, UnavailableError
from pipeline.redaction import redact

T = TypeVar("T")

SECONDS = (10, 60)
"""Longest wait for a connection, and for an answer."""
COMMAND = "nezha-pipe"
"""Name in a job's metadata by which we know our own; its value is the command."""
START_SECONDS = 60
"""Longest wait for a head that was started just now: its dashboard answers before it takes jobs."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
WAY_ON = "give the address of its dashboard, such as http://10.0.0.1:8265"


class UnknownJobError(ClusterError):
    """A cluster that knows no job of this id, or not any more."""


class JobExistsError(ClusterError):
    """An id that is taken."""


@dataclass(frozen=True)
class Job:
    """What a cluster knows of a job."""

    id: str
    status: str
    message: str
    exit_code: int | None
    """Exit code of its process, negative for a signal; None if it has not ended, or nobody saw its end."""
    started: float | None
    ended: float | None
    metadata: Mapping[str, str]

    @property
    def running(self) -> bool:
        """Whether it runs, or will."""
        return self.status not in ENDED

    @property
    def code(self) -> int:
        """Exit code that the command would have had here."""
        if self.status == "SUCCEEDED":
            return 0
        if self.status == "STOPPED":
            return SIGTERM_CODE
        return 1 if self.exit_code is None else self.exit_code if self.exit_code >= 0 else 128 - self.exit_code

    @property
    def died(self) -> bool:
        """Whether it ended from outside: killed, or its machine is gone. Not: stopped, or an error of its own."""
        return self.status == "FAILED" and (self.exit_code is None or self.exit_code < 0 or self.exit_code > 128)

    @property
    def how(self) -> str:
        """How it ended, in the words of Ray's message, in one line."""
        if self.exit_code is not None:
            return f"ended with exit code {self.exit_code}"
        return " ".join(self.message.split())[:300] or self.status.lower()


class Connection:
    """Connection to the dashboard at an address.

    Raises: UnavailableError when nothing answers there, or the answer breaks off; ClusterError when it is no dashboard, has
    another Ray, or refuses the token. This is so for all methods.
    """

    def __init__(self, address: str) -> None:
        self.address = _normalised(address)
        if importlib.util.find_spec("aiohttp") is None:
            raise ClusterError("Ray's client for jobs needs more packages: pip install 'nezha-pipe[cluster]'")
        headers = {"Authorization": f"Bearer {secret}"} if (secret := token()) else {}
        with _without_ray_addresses():
            self._client: Any = self._ask(_client_class(), self.address, headers=headers)
        self._check_version(self._client._server_ray_version or "")

    @property
    def is_here(self) -> bool:
        """Whether the dashboard is on this machine."""
        host = urlsplit(self.address).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def _check_version(self, there: str) -> None:
        import ray

        if there.split(".")[:2] != ray.__version__.split(".")[:2]:
            raise ClusterError(
                f"the cluster at {self.address} has Ray {there}, here is {ray.__version__}: install the same in both places"
            )

    def submit(self, job: str, entrypoint: str, package: bytes, metadata: Mapping[str, str], env: Mapping[str, str]) -> None:
        """Submit a job. `env`: its environment variables, which everybody sees who lists jobs.

        Raises: JobExistsError if the id is taken.
        """
        with TemporaryDirectory() as folder:
            path = Path(folder) / "package.zip"
            path.write_bytes(package)
            environment = {"working_dir": str(path), "env_vars": dict(env)}
            more = {"entrypoint": entrypoint, "submission_id": job, "metadata": dict(metadata)}
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    self._ask(self._client.submit_job, runtime_env=environment, **more)
                    return
                except UnavailableError as error:
                    if "No available agent" not in str(error) or time.monotonic() > deadline:
                        raise
                time.sleep(1)

    def info(self, job: str) -> Job:
        """Return what is known of a job.

        Raises: UnknownJobError.
        """
        return _job(self._ask(self._client.get_job_info, job))

    def jobs(self) -> list[Job]:
        """Return our jobs, the oldest first."""
        found = [_job(one) for one in self._ask(self._client.list_jobs) if one.submission_id]
        return sorted((job for job in found if COMMAND in job.metadata), key=lambda job: job.started or 0)

    def stop(self, job: str) -> bool:
        """Ask a job to stop; returns whether it was running."""
        return bool(self._ask(self._client.stop_job, job))

    def log(self, job: str) -> str:
        """Return the log of a job."""
        return str(self._ask(self._client.get_job_logs, job))

    async def tail(self, job: str) -> AsyncIterator[str]:
        """Yield the log of a job from its beginning, as it grows, until the job has ended."""
        import aiohttp

        chunks = self._client.tail_job_logs(job)
        try:
            async for chunk in chunks:
                yield chunk
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._away(error) from error

    def _ask(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a function of the SDK, and translate its errors."""
        import requests
        from ray.exceptions import AuthenticationError

        try:
            return function(*arguments, **named)
        except AuthenticationError as error:
            raise ClusterError(self._refusal(str(error))) from error
        except (requests.exceptions.HTTPError, requests.exceptions.JSONDecodeError) as error:
            if (answer := getattr(error, "response", None)) is not None and answer.status_code >= 500:
                raise self._away(error) from error  # a proxy before it
            raise self._no_dashboard() from error
        except (requests.exceptions.RequestException, ConnectionError) as error:
            raise self._away(error) from error
        except RuntimeError as error:
            raise self._translated(str(error)) from error
        except (ValueError, KeyError, TypeError) as error:  # what it says is not Ray's
            raise self._no_dashboard() from error

    def _away(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"no Ray dashboard answers at {self.address} ({_first(error)}): {WAY_ON}")

    def _no_dashboard(self) -> ClusterError:
        return ClusterError(f"what answers at {self.address} is no Ray dashboard: {WAY_ON}")

    def _refusal(self, text: str) -> str:
        """The message for a token that is missing or wrong, by Ray's own."""
        if "Authentication required" in text:
            return f"the cluster at {self.address} asks for a token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's"
        return f"the cluster at {self.address} refuses the token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's"

    def _translated(self, text: str) -> ClusterError:
        """The error for what the dashboard says instead of an answer."""
        if "already exists" in text:
            return JobExistsError(f"the cluster at {self.address} has a job of this id already")
        if "Version check returned 404" in text:
            return self._no_dashboard()
        if "status code 404" in text and "does not exist" in text:
            return UnknownJobError(
                f"the cluster at {self.address} knows no such job: see `nezha-pipe jobs`; after a restart of its head it has"
                " forgotten all, and `nezha-pipe status FOLDER` says what is there"
            )
        last = (text.strip().rstrip(".").splitlines() or [""])[-1].strip()
        if "status code 5" in text:
            return UnavailableError(f"the Ray dashboard at {self.address} has an error: {last[:300]}")
        return ClusterError(f"the Ray dashboard at {self.address} refuses: {last[:300]}")


def token() -> str:
    """Return Ray's token, found as Ray finds it; "" if there is none.

    Raises: ClusterError when RAY_AUTH_MODE asks for one, or names a file, and it is not there.
    """
    mode, path = os.environ.get("RAY_AUTH_MODE", "").lower(), os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if mode == "disabled":
        return ""
    found = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    file = Path(path) if path else Path.home() / ".ray" / "auth_token"
    if not found and (path or file.exists()):
        try:
            found = file.read_text().strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ClusterError(f"Ray's token in {file} cannot be read: {reason}") from None
    if mode == "token" and not found:
        raise ClusterError("RAY_AUTH_MODE is token, but there is none: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH")
    return found


def _normalised(address: str) -> str:
    """`10.0.0.1:8265` -> `http://10.0.0.1:8265`.

    Raises: ClusterError for what is no address of a dashboard.
    """
    url = (address if "://" in address else f"http://{address}").rstrip("/")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0 and address != "auto"
    except ValueError:
        valid = False
    if not valid:
        raise ClusterError(f"--address {address}: {WAY_ON}")
    return url


def _client_class() -> Any:
    """Ray's client, whose requests end."""
    from ray.job_submission import JobSubmissionClient

    for module in ("dashboard_sdk", "job.sdk"):
        logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.ERROR)

    class Client(JobSubmissionClient):  # type: ignore[misc, unused-ignore]
        def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
            return super()._do_request(method, endpoint, **{"timeout": SECONDS, **more})

    return Client


@contextlib.contextmanager
def _without_ray_addresses() -> Iterator[None]:
    """Hide two variables that Ray's client prefers to the address it is given."""
    hidden = {name: os.environ.pop(name) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _job(details: Any) -> Job:
    return Job(
        id=details.submission_id or details.job_id,
        status=str(getattr(details.status, "value", details.status)),
        message=redact(details.message or ""),
        exit_code=details.driver_exit_code,
        started=details.start_time and details.start_time / 1000,
        ended=details.end_time and details.end_time / 1000,
        metadata=details.metadata or {},
    )


def _first(error: Exception) -> str:
    """The innermost reason of a failed connection, in a few words."""
    cause: BaseException = error
    while inner := cause.__cause__ or cause.__context__:
        cause = inner
    text = getattr(cause, "strerror", None) or (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return str(text).rstrip(".")[:200]
