"""A real Spark for tests: a standalone master and worker on loopback, with a secret, ended by their ids."""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

HAS_SPARK = importlib.util.find_spec("pyspark") is not None
needs_spark = pytest.mark.skipif(
    not (HAS_SPARK and shutil.which("java")), reason="needs pyspark (pip install 'nezha-pipe[spark]') and Java 17"
)
SECRET = "onlythefilesofthistesthaveit"
EXECUTOR = "CoarseGrainedExecutorBackend"
"""In the command line of an executor."""
START_SECONDS = 300


@dataclass(frozen=True)
class SparkCluster:
    """A master and a worker."""

    url: str
    secret_file: Path
    worker: psutil.Process

    @property
    def options(self) -> list[str]:
        """Options of `--runner spark` to work there."""
        return [f"master={self.url}", f"spark.authenticate.secret.file={self.secret_file}"]

    def executors(self) -> list[psutil.Process]:
        """Running executors of all applications."""
        found = []
        for process in self.worker.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(EXECUTOR in word for word in process.cmdline()):
                    found.append(process)
        return found


@contextlib.contextmanager
def running(folder: Path, cores: int = 4) -> Iterator[SparkCluster]:
    """Run a Spark whose files are in `folder`."""
    secret = folder / "secret"
    secret.write_text(SECRET)
    settings = folder / "settings.conf"
    settings.write_text(f"spark.authenticate=true\nspark.authenticate.secret={SECRET}\nspark.worker.cleanup.enabled=true\n")
    common = ["--host", "127.0.0.1", "--webui-port", "0", "--properties-file", str(settings)]
    master, url = _started("master.Master", [*common, "--port", "0"], folder / "master.log", r"(spark://127.0.0.1:\d+)")
    try:
        room = ["--cores", str(cores), "--memory", "4g", "--work-dir", str(folder / "work")]
        worker, _ = _started("worker.Worker", [*common, *room, url], folder / "worker.log", "(Successfully registered)")
        try:
            yield SparkCluster(url, secret, psutil.Process(worker.pid))
        finally:
            _end(worker)
    finally:
        _end(master)


def _started(name: str, arguments: list[str], log: Path, sign: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a process of Spark; returns it, and what it wrote to say that it is ready."""
    import pyspark

    command = [str(Path(pyspark.__file__).parent / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments]
    java = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # starts with half the CPU
    environment = {**os.environ, "SPARK_LOCAL_DIRS": str(log.parent), "SPARK_DAEMON_MEMORY": "256m"}
    environment |= {"SPARK_LAUNCHER_OPTS": java, "SPARK_DAEMON_JAVA_OPTS": java}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    deadline = time.monotonic() + START_SECONDS
    while not (match := re.search(sign, log.read_text(errors="replace"))):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.2)
    return process, match[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":  # for trying things out: python -m tests.spark_cluster FOLDER
    with running(Path(sys.argv[1])) as cluster:
        print(" ".join(f"--runner-option {option}" for option in cluster.options), flush=True)
        time.sleep(3600)
