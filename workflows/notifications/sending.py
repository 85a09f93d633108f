"""Tell somebody what became of a run. What goes wrong here is a warning: no run fails because nobody could be told.

    notify(recipe.notify, Event("failed", "tiny", "runs/tiny", "dedup: 96 % of news dropped"))

A command gets the event as JSON on standard input, a URL as the body of a POST:

    {"event": "failed", "recipe": "tiny", "output": "runs/tiny", "text": "tiny: failed: dedup: ...", "message": "dedup: ...",
     "at": "2026-12-01T03:20:11+00:00"}

`text` is the field that Slack and Mattermost show. Keys, tokens and passwords are hidden in it.
"""

import contextlib
import datetime
import json
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.credentials import hide
from pipeline.errors import StoppedEarly, UserError
from pipeline.redaction import redact
from workflows.notifications.config import NotifyConfig

Name = Literal["failed", "promoted", "refused"]
SECONDS_A_TRY = 30.0
LONGEST_PAUSE = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """What happened."""

    name: Name
    recipe: str
    output: str
    message: str

    def content(self) -> dict[str, str]:
        """Return what is sent, without secrets."""
        output, message = redact(self.output), hide(redact(" ".join(self.message.split())))
        return {
            "event": self.name,
            "recipe": self.recipe,
            "output": output,
            "text": f"{self.recipe}: {self.name}: {message} ({output})",
            "message": message,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }


def notify(config: NotifyConfig, event: Event) -> list[str]:
    """Send an event to those that `[notify]` names. Return what went wrong, which is also logged as a warning."""
    content = event.content()
    ways: list[tuple[str, Callable[[], None]]] = []
    if config.command:
        ways.append((f"command {config.command[0]}", lambda: _call(config, content)))
    if config.url:
        ways.append((f"url {_shown(config.url)}", lambda: _post(config, content)))
    problems = []
    for place, send in ways:
        try:
            _tried_again(config.timeout_seconds, send)
        except Exception as error:  # whatever a program or a server does: the run goes on
            problems.append(f"[notify] {place}: {event.name} of {event.recipe} was not told: {_reason(config, error)}")
            log.warning("%s", problems[-1])
    return problems


@contextlib.contextmanager
def failures_told(config: NotifyConfig, recipe: str, output: str) -> Iterator[None]:
    """Tell of an error that ends the block, and raise it again. Ctrl-C and an orderly stop are no failures."""
    try:
        yield
    except (StoppedEarly, KeyboardInterrupt):
        raise
    except Exception as error:
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        notify(config, Event("failed", recipe, output, message))
        raise


def _tried_again(seconds: float, send: Callable[[], None]) -> None:
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    pause = wait_random_exponential(multiplier=0.5, max=min(LONGEST_PAUSE, seconds))
    passing = retry_if_exception(_may_pass)
    Retrying(retry=passing, stop=stop_after_delay(seconds), wait=pause, reraise=True)(send)


def _may_pass(error: BaseException) -> bool:
    """Return whether an error may be gone at the next try. A variable that is not set will not be set."""
    return isinstance(error, Exception) and not isinstance(error, UserError)


def _call(config: NotifyConfig, content: dict[str, str]) -> None:
    variables = {"NEZHA_PIPE_EVENT": content["event"], "NEZHA_PIPE_MESSAGE": content["text"]}
    subprocess.run(
        config.command,
        input=json.dumps(content, ensure_ascii=False).encode(),
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=SECONDS_A_TRY,
        check=True,
    )


def _post(config: NotifyConfig, content: dict[str, str]) -> None:
    import requests

    url = os.path.expandvars(config.url)
    if url.startswith("$"):
        raise UserError(f"the environment variable {url} is not set")
    requests.post(url, json=content, timeout=min(SECONDS_A_TRY, config.timeout_seconds)).raise_for_status()


def _shown(url: str) -> str:
    """Return a webhook without its path, which is often its secret."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}://{redact(rest).partition('/')[0].rpartition('@')[2]}/..." if found else url


def _reason(config: NotifyConfig, error: Exception) -> str:
    """Describe an error in one line; those of requests repeat the URL."""
    if isinstance(error, subprocess.CalledProcessError):
        said = " ".join(error.stderr.decode(errors="replace").split())[-200:]
        return hide(f"exit code {error.returncode}{': ' if said else ''}{said}")
    if isinstance(error, subprocess.TimeoutExpired):
        return f"not finished after {error.timeout:g} s"
    response = getattr(error, "response", None)
    if response is not None:
        return f"answer {response.status_code}"
    if isinstance(error, UserError | OSError) and not type(error).__module__.startswith("requests"):
        return str(error)
    return type(error).__name__
