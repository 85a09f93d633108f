"""An application on a Spark, for one run: started, looked after while jobs run, and ended with everything that it started.

    with connected(config, "s3://bucket/data", {}) as session:
        session.context.parallelize(...)

Spark waits long, says much and names causes in pages of Java. Here each is one line, with the rest in a log that is kept.
"""

import contextlib
import logging
import os
import pickle
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cluster.local import in_thread
from cluster.session import ROOT
from cluster.spark import driver as drivers
from cluster.spark.driver import Driver, keep
from cluster.spark.executing import Expected, versions
from cluster.spark.explaining import cause, explain, refusal
from cluster.spark.settings import SparkConfig
from cluster.stops import leave, on_sigterm
from pipeline.engine import places
from pipeline.errors import ClusterError, UnavailableError, UserError

SHIPPED = ("pipeline", "model", "cluster")
"""Our packages, which executors fetch."""
ARCHIVE = "nezha-pipe.zip"
"""Their name in Spark."""
EXECUTOR_SECONDS = 120
"""Longest time without any executor while there is work; Kubernetes and YARN, which may have to start machines, have five
times as long."""
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass
class Session:
    """An application on a Spark."""

    config: SparkConfig
    driver: Driver
    start: "Future[Any]"
    """pyspark.SparkContext, once the master has taken the application: until then there is other work for this process."""
    expected: bytes
    """What each executor must have and see: an `Expected`, pickled."""
    packages: str
    """Where executors find our packages: a name in Spark, or the folder that they are in on this machine."""
    _executors_seen: float = field(default_factory=time.monotonic)
    _looked: float = 0

    @property
    def context(self) -> Any:
        """pyspark.SparkContext.

        Raises: UnavailableError when the master does not take the application; ClusterError when the driver does not start.
        """
        while not wait([self.start], timeout=0.2).done:
            if reason := refusal(self.driver.log, self.config.master):
                raise UnavailableError(f"{reason}; {keep(self.driver.log)}")
        try:
            return self.start.result()
        except UserError:
            raise
        except Exception as error:
            reason = refusal(self.driver.log, self.config.master) or f"Spark did not start: {cause(str(error))}"
            raise UnavailableError(f"{reason}; {keep(self.driver.log)}") from error

    def await_(self, answer: "Future[Any]", seconds: float) -> bool:
        """Wait a moment for an answer of Spark; returns whether it is there.

        Raises: ClusterError when the driver has ended; UnavailableError when there is no executor for EXECUTOR_SECONDS.
        """
        if wait([answer], timeout=seconds).done:
            return True
        self._check_driver()
        now = time.monotonic()
        if not self.config.local and now - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = now
            if self._executors():
                self._executors_seen = now
            elif now - self._executors_seen > (longest := EXECUTOR_SECONDS * (1 if self.config.standalone else 5)):
                raise UnavailableError(
                    f"Spark at {self.config.master} has given no executor for {longest} s: no machine of it has a free core and"
                    f" {self.context.getConf().get('spark.executor.memory')} of memory; {keep(self.driver.log)}"
                )
        return False

    def begin(self) -> None:
        """Note that there is work from now on."""
        self._executors_seen = time.monotonic()

    def result(self, answer: "Future[Any]") -> Any:
        """Return an answer that is there.

        Raises: ClusterError for any error of Spark's.
        """
        from py4j.protocol import Py4JError

        try:
            return answer.result()
        except (Py4JError, OSError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.driver.process.wait(1)  # the reason, where it has just ended
            self._check_driver()
            raise explain(str(error), self.driver.log, self.config.master) from error

    def _check_driver(self) -> None:
        if self.driver.process.poll() is not None:
            raise ClusterError(f"Spark's driver has ended; run again, finished parts are kept; {keep(self.driver.log)}")

    def cancel(self, answer: "Future[Any]", seconds: float) -> None:
        """Let Spark stop all tasks, and wait for that."""
        if self.driver.process.poll() is None:
            wait([in_thread("spark-cancel", self.context.cancelAllJobs)], timeout=seconds)
            wait([answer], timeout=seconds)

    def _executors(self) -> int:
        """How many executors there are."""
        from py4j.protocol import Py4JError

        try:
            return int(self.context._jsc.sc().getExecutorMemoryStatus().size()) - 1  # the driver is among them
        except Py4JError:  # the answer will say why
            return 1


@contextlib.contextmanager
def connected(config: SparkConfig, folder: str, files: Mapping[str, int]) -> Iterator[Session]:
    """Run an application on a Spark. It starts in the background; what is wrong with it is raised when it is used.

    Args:
        folder: URL of the output. Every executor must see it as this process does, and `files` too: URL -> size.

    Raises: UnavailableError when there is no pyspark, no Java, or no master.
    """
    if find_spec("pyspark") is None:
        raise UnavailableError("--runner spark needs pyspark, in the version of the cluster: pip install 'nezha-pipe[spark]'")
    drivers.check_java()
    defaults = config.defaults()
    with on_sigterm(leave), _restored(), drivers.running(config) as driver, places.marked(folder) as mark:
        if config.local:
            defaults |= drivers.sockets_in(driver.folder)
        start = in_thread("spark-start", lambda: _context(config, defaults, driver))
        packages = str(ROOT) if config.local else ARCHIVE
        try:
            yield Session(config, driver, start, pickle.dumps(Expected(versions(), mark, dict(files))), packages)
        finally:
            if start.done() and not start.exception():
                _stop(start.result(), driver)
            _forget()


def _context(config: SparkConfig, defaults: Mapping[str, str], driver: Driver) -> Any:
    """Return the context of a new application. Not in the main thread, where PySpark would handle Ctrl-C."""
    gateway = driver.connect()
    from pyspark import SparkConf, SparkContext

    configuration: Any = SparkConf(_jvm=gateway.jvm)
    for name, value in defaults.items():
        configuration.setIfMissing(name, value)
    context: Any = SparkContext(conf=configuration, gateway=gateway)
    context._accumulatorServer.handle_error = lambda *_: None  # a driver that was killed is reported in a line
    context.pythonExec = configuration.get("spark.pyspark.python") or os.environ.get("PYSPARK_PYTHON", sys.executable)
    if not config.local:
        context.addArchive(f"{_pack(driver.folder / ARCHIVE)}")
    return context


def _pack(archive: Path) -> Path:
    """Write our packages into an archive for the executors."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for room in SHIPPED:
            for file in sorted((ROOT / room).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    packed.write(file, file.relative_to(ROOT))
    return archive


def _stop(context: Any, driver: Driver) -> None:
    """End the application. Where Java hangs, it is killed, and the master ends the application when it misses it."""
    server, context._accumulatorServer = context._accumulatorServer, None
    if server:
        in_thread("spark-accumulators", server.shutdown)  # takes a second, which nothing waits for
    if driver.process.poll() is None:
        wait([in_thread("spark-stop", context.stop)], timeout=drivers.END_SECONDS)


def _forget() -> None:
    """Let PySpark forget its driver: it keeps one for as long as the process."""
    from pyspark import SparkContext

    untyped: Any = SparkContext
    untyped._gateway = untyped._jvm = untyped._active_spark_context = None


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    """Undo what PySpark changes in this process, and keep Py4J from reporting every broken connection to the terminal."""
    warnings.filterwarnings("ignore", module=r"pyspark\.")  # about pandas, which we do not use
    environment, path = dict(os.environ), list(sys.path)
    root, py4j = logging.getLogger(), logging.getLogger("py4j")
    level, handlers = py4j.level, list(root.handlers)
    py4j.setLevel(logging.CRITICAL + 1)
    root.addFilter(_is_not_py4j)  # some of its messages go there
    try:
        yield
    finally:
        py4j.setLevel(level)
        root.removeFilter(_is_not_py4j)
        root.handlers[:] = handlers
        sys.path[:] = path
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


def _is_not_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in Path(record.pathname).parts
