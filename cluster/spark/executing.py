"""What runs in Python on the executors. Before its first step, each process makes sure that it may work for this run.

Executors have these packages from the driver (session.py); everything that they import is installed there.
"""

import functools
import gc
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from pipeline.engine import places, startup
from pipeline.errors import ClusterError

PACKAGES = ("jieba", "numpy", "opencc", "pyarrow", "scipy", "selectolax", "snownlp", "tokenizers")
"""Packages that tasks of `prepare` compute with: other versions may give other bytes."""


@dataclass(frozen=True)
class Expected:
    """What every executor must have and see."""

    packages: Mapping[str, str]
    """Name -> version."""
    mark: str
    """A file in the output folder (pipeline/engine/places.py)."""
    files: Mapping[str, int]
    """URL of an input -> size."""


def versions() -> dict[str, str]:
    """Return the versions of PACKAGES here; empty for one that is not installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def run(expected: bytes, step: bytes, element: bytes) -> Any:
    """Run a step on an element; all three are pickled.

    Raises: what the step raised; ClusterError when this executor may not work for the run.
    """
    gc.freeze()  # PySpark collects garbage after each task: it shall not go through our modules and tables again
    check(expected)
    return pickle.loads(step)(pickle.loads(element))


@functools.cache
def check(expected: bytes) -> None:
    """Make sure, once in a process, that this executor has and sees what it must.

    Raises: ClusterError.
    """
    wanted: Expected = pickle.loads(expected)
    for name, version in versions().items():
        if version != wanted.packages[name]:
            there, here = (f"{name} {one}" if one else f"no {name}" for one in (version, wanted.packages[name]))
            raise ClusterError(
                f"the executor on {socket.gethostname()} has {there}, this machine {here}: install the same there"
                " (constraints.txt), or name a Python that has them: --runner-option spark.pyspark.python=PATH"
            )
    if problem := places.unseen(wanted.mark, wanted.files):
        raise ClusterError(f"{socket.gethostname()} does not see what this machine sees: {problem}; {places.WAY_ON}")
    startup.skip_pandas_in_arrow()
