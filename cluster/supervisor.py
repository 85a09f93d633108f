"""Pretraining that outlives its driver: a small process starts the driver, waits, and starts it again when it was killed.

    nezha-pipe pretrain                the supervisor: reports progress; has neither torch nor Ray in it
      cluster/driver.py                the driver: connects to Ray, or starts one of its own
        ray::TrainController           Ray Train: starts workers again
          ray::RayTrainWorker x N      model.training.loop.train

    what ends                          who starts it again
    a worker, a machine                Ray Train's controller, by cluster/policies/failures.py
    the controller                     the driver (cluster/launch.py)
    the driver; its Ray, which         the supervisor; with an `address` it waits until the cluster answers and has room,
    takes the driver with it           as long as for room at the start
    the supervisor                     nobody: its driver ends with it; the same command resumes

All of them count the same way: failures in a row without a new checkpoint. Errors that a person must mend are raised here as
they were in the driver. There are never two drivers: the next is started after the last has ended, and it ends when its
supervisor does.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from cluster import driver
from cluster.config import ClusterConfig
from cluster.counting import Failures
from cluster.session import ROOT
from cluster.stops import on_sigterm
from model.checkpoints.listing import committed, step_of
from model.training.stopping import SIGTERM_CODE
from model.training.tracking.events import STOPPED, Command, EventLog
from pipeline.engine.execution import News, Report, silent
from pipeline.errors import ClusterError, RayLostError, UnavailableError

if TYPE_CHECKING:
    from model.training.run import PretrainRun, TrainResult

RETRY_SECONDS = 2.0
"""Interval of attempts to reach a cluster that is gone."""
END_SECONDS = 30.0
"""Longest wait for a driver to end after Ctrl-C."""


def pretrain(run: "PretrainRun", cluster: ClusterConfig, report: Report = silent) -> "TrainResult":
    """Train as `launch.pretrain` does, in a process of its own that is started again when it was killed.

    In a process that is connected to a Ray already, training is started from here, with that one.

    Raises: what `launch.pretrain` raises; `ClusterError` when the driver was killed more than `max_failures` times in a row
    without a new checkpoint; `SystemExit` on SIGTERM before there is a step to keep.
    """
    with Command(run.output) as command:

        def started(done: int, steps: int, what: str) -> None:
            command.begin()
            report(done, steps, what)

        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            from cluster import launch

            result = launch.pretrain(run, cluster, started)
        else:
            result = Supervisor(run, cluster, started, command.events).result()
        if result.stopped_by is not None:
            command.how = f"{STOPPED}: {result.stopped_by}"
    return result


class Supervisor:
    """Starts drivers, one after another, until one of them has a result or an error."""

    def __init__(self, run: "PretrainRun", cluster: ClusterConfig, report: Report, events: EventLog) -> None:
        self.run, self.cluster, self.report, self.events = run, cluster, report, events
        self.deaths = Failures(run.output, cluster.max_failures)
        self._deadline = time.monotonic() + cluster.max_hours * 3600 if cluster.max_hours else math.inf
        self._last = (0, 0)
        """Step and steps of the last report."""
        self._reports = 0
        """Reports of the driver; the first says that it starts, the second that its workers train."""
        self._wait_until = -math.inf
        """Until when a cluster may be unavailable: it was there before."""
        self._unavailable_since: float | None = None
        self._terminated = False
        self._driver: Driver | None = None

    def result(self) -> "TrainResult":
        """Return the result of the driver that had one."""
        with on_sigterm(self._pass_on):
            while True:
                try:
                    result, code = self._drive()
                except UnavailableError:
                    self._unavailable_since = self._unavailable_since or time.time()
                    if not self._waiting():
                        raise
                    time.sleep(RETRY_SECONDS)
                    continue
                except RayLostError as error:
                    self._count(f"lost its Ray: {str(error).partition(';')[0]}")
                    continue
                if result is not None:
                    return result
                if self._terminated or code in (SIGTERM_CODE, -signal.SIGTERM):
                    raise SystemExit(SIGTERM_CODE)
                if code in (driver.SIGINT_CODE, -signal.SIGINT):
                    raise KeyboardInterrupt
                if self.cluster.address and self._reports < 2 and self._waiting():
                    time.sleep(RETRY_SECONDS)  # a Ray that is not up again yet takes a driver with it
                else:
                    self._count(_how(code))

    def _waiting(self) -> bool:
        """Whether a cluster that was there before may be unavailable for longer."""
        return time.monotonic() < self._wait_until

    def _drive(self) -> tuple["TrainResult | None", int]:
        """Run a driver to its end; returns its result, None if it died, and its exit code."""
        cluster, self._reports = self.cluster, 0
        if self._deadline < math.inf:
            cluster = replace(cluster, max_hours=max(self._deadline - time.monotonic(), 1e-3) / 3600)
        if self._unavailable_since is not None:
            self.events.add("waited", since=self._unavailable_since)
            self._unavailable_since = None
        with Driver(self.run, cluster, again=self._wait_until > 0) as self._driver:
            result = self._driver.result(self._report)
        return result, self._driver.process.wait()

    def _report(self, done: int, steps: int, what: str) -> None:
        self._last, self._reports = (done, steps), self._reports + 1
        self.report(done, steps, what)

    def _count(self, how: str) -> None:
        """Count a death. `how` goes on from "the driver".

        Raises: `ClusterError` for one too many.
        """
        self.events.add("failure", what=f"the driver {how}")
        if not self.deaths.allows_another():
            step = step_of(next(committed(self.run.output), None))
            raise ClusterError(
                f"pretraining stopped: its driver {how}, {self.deaths.count} times without a checkpoint between them;"
                f" run again: training resumes at step {step}"
            )
        self.report(*self._last, News(f"pretrain: the driver {how}: starting it again"))
        self._wait_until = time.monotonic() + self.cluster.longest_start_seconds

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Pass SIGTERM on to the driver, which stops with a checkpoint."""
        self._terminated = True
        if self._driver is None or self._driver.process.poll() is not None:
            raise SystemExit(SIGTERM_CODE)
        self._driver.terminate()


def _how(code: int) -> str:
    """How a process with this exit code died."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}, as it does without its Ray"


class Driver:
    """A driver process, in a session of its own: Ctrl-C in a terminal reaches it through its supervisor alone."""

    module: ClassVar = "cluster.driver"
    """What it runs."""

    def __init__(self, run: "PretrainRun", cluster: ClusterConfig, again: bool = False) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._send(json.dumps({"run": run.to_json(), "cluster": asdict(cluster), "again": again}).encode() + b"\n")

    def terminate(self) -> None:
        """Tell the process of a SIGTERM; to be called in a handler, so without the lock of a buffer."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            os.write(self.process.stdin.fileno(), driver.TERMINATE)

    def _send(self, data: bytes) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def result(self, report: Report) -> "TrainResult | None":
        """Pass reports on until the driver ends; returns its result, None if it died without one.

        Raises: the driver's error.
        """
        from model.training.run import TrainResult

        assert self.process.stdout
        for line in self.process.stdout:
            if not line.endswith(b"\n"):  # killed in the middle of it
                break
            message: dict[str, Any] = json.loads(line)
            if "report" in message:
                done, steps, what = message["report"]
                report(done, steps, News(what) if message.get("news") else what)
            elif "error" in message:
                raise driver.unpacked(message["error"])
            else:
                return TrainResult.from_json(message["result"])
        return None

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the process, if it is alive: as by Ctrl-C, so that its Ray ends too; by force if it is not quick."""
        try:
            if error is not None and not isinstance(error, Exception):
                self._send(driver.STOP)
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
