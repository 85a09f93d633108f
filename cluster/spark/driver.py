"""Spark's driver: a Java process beside this one, which does the scheduling. It ends with this process, however that ends.

Its arguments name only a file of settings, so that no secret is in `ps`, and what it logs goes to a file, not to the terminal.
"""

import os
import re
import runpy
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cluster.spark.settings import JAVA, SparkConfig, write_properties
from pipeline.errors import ClusterError, UnavailableError

PREFIX = "nezha-spark-"
"""Beginning of the names of our temporary folders and of logs that are kept."""
SETTINGS = "settings.conf"
LONGEST_SOCKET = 107
"""Bytes in the name of a Unix domain socket."""
CONNECTION = "connection"
"""Port and secret of a driver: a file that it writes when it listens."""
START_SECONDS = 300
"""Longest wait for Java to start: a busy machine may take a while."""
POLL_SECONDS = 0.02
END_SECONDS = 30
"""Longest wait for Java to take leave of the cluster and end; then it is killed."""
NEEDS_JAVA = "Spark needs Java 17 or newer: install one (apt-get install openjdk-17-jre-headless), or set JAVA_HOME"
OTHER_JAVA = "UnsupportedClassVersionError"
"""In the log of a Java that is too old."""


@dataclass
class Driver:
    """A driver that runs, or still starts."""

    process: subprocess.Popen[bytes]
    folder: Path
    gateway: Any = None
    """Py4J's connection to it, once there is one."""

    @property
    def log(self) -> Path:
        """What it writes while it runs."""
        return _log(self.folder)

    def connect(self) -> Any:
        """Wait for it to listen, and return Py4J's connection to it.

        Raises: UnavailableError for a Java that is too old; ClusterError when it does not start.
        """
        from pyspark import SparkContext  # noqa: F401  # for session.py: imported while Java starts
        from pyspark.java_gateway import launch_gateway
        from pyspark.serializers import UTF8Deserializer, read_int

        deadline = time.monotonic() + START_SECONDS
        information = self.folder / CONNECTION
        while not information.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise _not_started(self.log)
            time.sleep(POLL_SECONDS)
        with information.open("rb") as file:
            port, secret = read_int(file), UTF8Deserializer().loads(file)
        for read in (information, self.folder / SETTINGS):  # secrets that nobody needs on disk any more
            read.unlink()
        # PySpark's way to connect to a driver that runs already; only this user can read the environment of a process.
        os.environ |= {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret}
        try:
            self.gateway = launch_gateway()
        finally:
            for name in ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"):
                del os.environ[name]
        return self.gateway


def keep(log: Path) -> str:
    """Copy a log out of its folder, which is removed at the end, and say where it is."""
    number, path = tempfile.mkstemp(prefix=PREFIX, suffix=".log")
    os.close(number)
    shutil.copyfile(log, path)
    return f"Spark's log: {path}"


def check_java() -> None:
    """Raise UnavailableError if there is no Java where Spark looks for one."""
    home = os.environ.get("JAVA_HOME")
    if not shutil.which(os.path.join(home, "bin", "java") if home else "java"):
        raise UnavailableError(NEEDS_JAVA + (f" (there is none in JAVA_HOME={home})" if home else ""))


@contextmanager
def running(config: SparkConfig) -> Iterator[Driver]:
    """Run a driver; yields it while it still starts, so that this process has the time for something else.

    There must be a Java: see `check_java`.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_properties(config, folder / SETTINGS)
        driver = Driver(_start(folder), folder)
        try:
            yield driver
        finally:
            if driver.gateway:
                driver.gateway.shutdown()
            _end(driver.process)


def sockets_in(folder: Path) -> dict[str, str]:
    """Return settings for an application on this machine: Java and Python talk through files in a folder that is ours alone.

    A task then takes 2 ms beside its work, not 24 as through TCP. Where the names would be too long, it is TCP.
    """
    if len(bytes(folder)) + len(f"/.{uuid.uuid4()}.sock") > LONGEST_SOCKET:
        return {}
    return {"spark.python.unix.domain.socket.enabled": "true", "spark.python.unix.domain.socket.dir": str(folder)}


def _log(folder: Path) -> Path:
    return folder / "spark.log"


def _start(folder: Path) -> subprocess.Popen[bytes]:
    submit = [os.path.join(_home(), "bin", "spark-submit")]
    environment = {
        "SPARK_LAUNCHER_OPTS": JAVA,
        "SPARK_LOCAL_DIRS": str(folder),
        "SPARK_SUBMIT_OPTS": JAVA,
        **os.environ,
        "SPARK_CONNECT_MODE": "0",
        "_PYSPARK_DRIVER_CONN_INFO_PATH": str(folder / CONNECTION),
    }
    with _log(folder).open("wb") as log:
        return subprocess.Popen(
            [*submit, "--properties-file", str(folder / SETTINGS), "--load-spark-defaults", "pyspark-shell"],
            stdin=subprocess.PIPE,  # when it is closed, also because this process was killed, the driver ends
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process alone, which ends it
        )


def _home() -> str:
    """Return the folder of Spark, by PySpark's module for that; the rest of PySpark is imported while Java starts."""
    package = find_spec("pyspark")
    assert package and package.origin
    return str(runpy.run_path(os.path.join(os.path.dirname(package.origin), "find_spark_home.py"))["_find_spark_home"]())


def _not_started(log: Path) -> ClusterError:
    text = log.read_text(errors="replace")
    if OTHER_JAVA in text:
        return UnavailableError(f"the Java here is too old: {NEEDS_JAVA}")
    reason = next(iter(re.findall(r"(?:Error|Exception)[^\n]*", text)), "it was not up in time")
    return ClusterError(f"Spark's driver did not start: {reason:.200}; {keep(log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a driver: it takes leave of the cluster when its standard input is closed."""
    assert process.stdin
    process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
