"""What `--runner-option` says about a Spark: its master, and settings in Spark's own words.

master=spark://head:7077  spark.executor.memory=2g  ->  SparkConfig("spark://head:7077", {"spark.executor.memory": "2g"}, 16)
"""

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.session import check_reachable
from pipeline.errors import RecipeError, UnavailableError

JAVA = "-XX:TieredStopAtLevel=1 -XX:+NeverActAsServerClassMachine"
"""Options for Java: compiling less, and the simplest collector where the user names no other, spare CPU while it starts, and it
has little else to do."""
ATTEMPTS = 4
"""Times that Spark tries a task whose process or machine died: its own default."""
SECRET = re.compile(r"secret|password|token|access[.]?key", re.IGNORECASE)
"""Settings that Spark itself hides in its logs."""
SECRET_FILE = "spark.authenticate.secret.file"
LOCAL = re.compile(r"local(\[(\d+|\*)(,\d+)?\])?")
STANDALONE = re.compile(r"spark://(?P<places>[^/,]+:\d+(,[^/,]+:\d+)*)")
MASTERS = "spark://host:7077, k8s://https://host:6443, yarn or local[4]"


@dataclass(frozen=True)
class SparkConfig:
    """Where a Spark is, and its settings."""

    master: str
    properties: Mapping[str, str]
    """Spark's settings that the user gave, secrets included."""
    workers: int | None
    """Tasks at a time; None: as many as the cluster has cores for, one on this machine."""

    @property
    def local(self) -> bool:
        """Whether the executors are the driver itself, on this machine."""
        return bool(LOCAL.fullmatch(self.master))

    @property
    def standalone(self) -> bool:
        """Whether it is a cluster of Spark's own kind."""
        return bool(STANDALONE.fullmatch(self.master))

    def defaults(self) -> dict[str, str]:
        """Return settings for what neither the user nor a spark-defaults.conf has set."""
        settings = {
            "spark.app.name": "nezha-pipe",
            "spark.executor.defaultJavaOptions": JAVA,
            "spark.executor.memory": "512m",  # of Java, which only passes descriptors on
            "spark.python.authenticate.socketTimeout": "300s",  # for Python to answer on a busy machine: 15
            "spark.task.maxFailures": str(ATTEMPTS),
            "spark.ui.enabled": "false",
        }
        if self.local:
            settings["spark.authenticate"] = "true"  # with a secret of the run, made by Spark
        elif self.workers is not None and self.standalone:
            settings["spark.cores.max"] = str(self.workers)
        elif self.workers is not None:
            settings |= {"spark.executor.instances": str(self.workers), "spark.executor.cores": "1"}
        if address := self._own_address():
            settings |= {"spark.driver.host": address, "spark.driver.bindAddress": address}
        return settings

    def _own_address(self) -> str:
        """Return the one address that the driver listens at: that by which this machine reaches the master, or loopback.

        Empty where Spark must find it: on Kubernetes and YARN.

        Raises: UnavailableError when no master answers.
        """
        if self.local:
            return "127.0.0.1"
        match = STANDALONE.fullmatch(self.master)
        return reachable(match["places"].split(",")) if match else ""


def reachable(places: Sequence[str]) -> str:
    """Return the address of this machine by which it reaches the first master that answers.

    Raises: UnavailableError if none does; Spark itself would try for a minute.
    """
    for number, place in enumerate(places, 1):
        try:
            check_reachable(place)
        except UnavailableError:
            if number < len(places):
                continue
            raise UnavailableError(
                f"no Spark master answers at {', '.join(places)}: start one there, or give another"
            ) from None
        host, _, port = place.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            return str(connection.getsockname()[0])
    raise AssertionError("no places")


def parse(options: Sequence[str], workers: int | None) -> SparkConfig:
    """Read `NAME=VALUE` of --runner-option.

    Raises: RecipeError for a name that is neither `master` nor one of Spark's, or a secret that other users could see.
    """
    settings: dict[str, str] = {}
    for option in options:
        name, given, value = option.partition("=")
        name = {"master": "spark.master"}.get(name, name)
        if not given or not re.fullmatch(r"spark\.[\w.-]+", name, re.ASCII) or "\n" in value:
            raise RecipeError(
                f"--runner-option {name}: --runner spark has master=spark://host:7077, and Spark's own settings as"
                " spark.executor.memory=2g"
            )
        if SECRET.search(name) and not name.lower().endswith("file"):
            raise RecipeError(
                f"--runner-option {name}: every user of this machine could read it (ps); write it into spark-defaults.conf in"
                f" the folder that SPARK_CONF_DIR names, or give a file ({SECRET_FILE}=PATH)"
            )
        settings[name] = value
    master = settings.pop("spark.master", "") or f"local[{workers or 1},{ATTEMPTS}]"
    if not (LOCAL.fullmatch(master) or STANDALONE.fullmatch(master) or re.fullmatch(r"yarn|k8s://\S+", master)):
        raise RecipeError(f"--runner-option master={master}: not a master of Spark, such as {MASTERS}")
    if SECRET_FILE in settings and not master.startswith("k8s"):  # where Spark reads the file itself
        settings |= {"spark.authenticate": "true", "spark.authenticate.secret": _read_secret(settings.pop(SECRET_FILE))}
    return SparkConfig(master, settings, workers)


def _read_secret(path: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"--runner-option {SECRET_FILE}={path}: cannot be read ({error})") from None
    if not secret or "\n" in secret:
        raise RecipeError(f"--runner-option {SECRET_FILE}={path}: must be one line, the secret")
    return secret


def write_properties(config: SparkConfig, file: Path) -> None:
    """Write the settings to a file that only this user can read; arguments of a process could be read by all."""
    shell = {"spark.ui.showConsoleProgress": "false"}  # which a shell, as Spark takes us for, has otherwise
    settings = {**shell, **config.properties, "spark.master": config.master}
    lines = [f"{name}={_escape(value)}\n" for name, value in settings.items()]
    file.touch(mode=0o600)
    file.write_text("".join(lines), encoding="utf-8")


def _escape(value: str) -> str:
    """Write a value as a Java properties file has it."""
    return value.replace("\\", "\\\\")
