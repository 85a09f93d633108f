"""The driver as a process of its own, which its supervisor (cluster/supervisor.py) starts and survives.

    standard input     one line with the job, then STOP for Ctrl-C, TERMINATE for SIGTERM; its end is that of the supervisor,
                       and ends this process
    standard output    a JSON object per line: {"report": [120, 400, "pretrain: ..."], "news": false},
                       last {"result": {}} or {"error": ""}

What else is printed goes to standard error.
"""

import base64
import contextlib
import json
import os
import pickle
import signal
import sys
import threading
from dataclasses import asdict
from typing import Any, NoReturn

from cluster.stops import PassedOn, leave, take_sigterm
from pipeline.credentials import format_error, hidden, hide_in_this_process
from pipeline.engine.execution import News

SIGINT_CODE = 128 + signal.SIGINT
STOP = b"\n"
"""Ends the driver as Ctrl-C does. A signal could come before Python is ready, which then prints where it was."""
TERMINATE = b"t"
"""SIGTERM to the supervisor. Not as a signal: it would look like another one when all processes were signalled."""


class Channel:
    """Messages to the supervisor."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)

    def report(self, done: int, steps: int, what: str) -> None:
        """Send a report; it is dropped if the supervisor is stopped, since training must not wait for who looks at it."""
        os.set_blocking(self._descriptor, False)
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._descriptor, _line({"report": [done, steps, what], "news": isinstance(what, News)}))

    def end(self, code: int, **last: Any) -> NoReturn:
        """Send the last message and end this process, without the seconds that an orderly end of Python takes."""
        os.set_blocking(self._descriptor, True)
        with contextlib.suppress(BrokenPipeError), open(self._descriptor, "wb") as file:
            file.write(_line(last))
        sys.stderr.flush()
        os._exit(code)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def main() -> None:
    """Train as the supervisor says."""
    hide_in_this_process()
    take_sigterm(leave)
    try:
        channel, job = Channel(), _job()

        from cluster.config import ClusterConfig
        from cluster.launch import pretrain
        from model.training.run import PretrainRun

        result = pretrain(PretrainRun.from_json(job["run"]), ClusterConfig(**job["cluster"]), channel.report, job["again"])
    except KeyboardInterrupt:
        sys.exit(SIGINT_CODE)
    except Exception as error:
        channel.end(1, error=packed(error))
    channel.end(0, result=asdict(result))


def _job() -> dict[str, Any]:
    """Read the job, and from then on wait for the end of the supervisor."""
    file = os.fdopen(os.dup(0), "rb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what is started here inherits no hold on the pipe
    job: dict[str, Any] = json.loads(file.readline())

    def obey() -> None:
        while message := file.read(1):
            PassedOn.count += message == TERMINATE
            os.kill(os.getpid(), signal.SIGTERM if message == TERMINATE else signal.SIGINT)
        os._exit(1)

    threading.Thread(target=obey, daemon=True, name="supervisor").start()
    return job


def packed(error: Exception) -> str:
    """An error for another process, with its stack trace as a note."""
    trace = format_error(error)
    shown = hidden(error)
    shown.add_note(trace)
    try:
        data = pickle.dumps(shown)
        pickle.loads(data)
    except Exception:  # of a class that cannot be pickled
        data = pickle.dumps(RuntimeError(trace))
    return base64.b64encode(data).decode()


def unpacked(text: str) -> Exception:
    """The inverse of `packed`."""
    error: Exception = pickle.loads(base64.b64decode(text))
    return error


if __name__ == "__main__":
    main()
