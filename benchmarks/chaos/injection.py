"""Makes planned faults happen, and ends those that pass.

A fault that finds nothing to break yet (no worker trains, there is no second checkpoint) waits for it.
"""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos.plan import BLIP, CUT, DAMAGE, DRIVER, FREEZE, HEAD, KILL, MACHINE, REFUSE, SLOW, STORE, Fault, what
from tests.machines import STORE as STORE_HOST
from tests.machines import Machines

Find = Callable[[], dict[int, str]]
"""Returns the processes that train, and the hosts they are on."""
SLOW_MEGABITS = 4.0
"""Limit of a slow store's link: a checkpoint takes about 20 s."""


@dataclass
class Injector:
    """Injects the faults of a plan. `find`: the processes that train now."""

    cluster: Machines
    faults: Sequence[Fault]
    find: Find
    damage: Callable[[], bool]
    """Damages the newest checkpoint; False if there is none that could be."""
    revive: Callable[[str], Any]
    """Starts a machine that was lost."""
    drivers: Callable[[], list[int]] = list
    """Returns the driver's process."""
    injected: list[tuple[float, Fault]] = field(default_factory=list)
    """What has happened so far, and when (`time.time()`)."""
    _passing: list[tuple[float, Callable[[], Any]]] = field(default_factory=list)
    """What is to be undone, and when."""

    def advance(self, seconds: float) -> None:
        """Do what is due so many seconds after the first step. Call this often."""
        for moment, undo in [each for each in self._passing if each[0] <= seconds]:
            self._passing.remove((moment, undo))
            undo()
        if len(self.injected) < len(self.faults):
            fault = self.faults[len(self.injected)]
            if fault.moment <= seconds and self._inject(fault, seconds):
                self.injected.append((time.time(), fault))
                print(f"{seconds:8.1f} s  {what(fault)}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """End all faults that are still there."""
        for _, undo in self._passing:
            undo()
        self._passing.clear()

    def _inject(self, fault: Fault, seconds: float) -> bool:
        """Make a fault happen; False if it cannot yet."""
        processes = self.find()
        if not processes:
            return False
        pid = sorted(processes)[int(fault.choice * len(processes))]
        host = processes[pid]
        undo: Callable[[], Any] | None = None
        if fault.kind == DAMAGE and not self.damage():
            return False
        if fault.kind == DRIVER:
            if not (drivers := self.drivers()):
                return False
            _signal(drivers[0], signal.SIGKILL)
        elif fault.kind == HEAD:
            self.cluster.restart_head(wait=False)
        elif fault.kind == REFUSE:
            self.cluster.refuse(True)
            undo = lambda: self.cluster.refuse(False)  # noqa: E731
        elif fault.kind == SLOW:
            self.cluster.limit(STORE_HOST, SLOW_MEGABITS)
            undo = lambda: self.cluster.unlimit(STORE_HOST)  # noqa: E731
        elif fault.kind in (KILL, DAMAGE):
            _signal(pid, signal.SIGKILL)
        elif fault.kind == MACHINE:
            self.cluster.lose(host)
            undo = lambda: self.revive(host)  # noqa: E731
        elif fault.kind in (CUT, BLIP, STORE):
            cut = STORE_HOST if fault.kind == STORE else host
            self.cluster.cut(cut)
            undo = lambda: self.cluster.join(cut)  # noqa: E731
        elif fault.kind == FREEZE:
            _signal(pid, signal.SIGSTOP)
            undo = lambda: _signal(pid, signal.SIGCONT)  # noqa: E731
        if undo:
            self._passing.append((seconds + fault.seconds, undo))
        return True


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Store:
    """The bucket of a cluster, as the one who damages it sees it."""

    def __init__(self, cluster: Machines) -> None:
        import boto3

        self.bucket = cluster.store_url.removeprefix("s3://")
        self.client = boto3.client(
            "s3",
            endpoint_url=cluster.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=cluster.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=cluster.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=cluster.environment["AWS_DEFAULT_REGION"],
        )

    def keys(self, prefix: str) -> list[str]:
        """Return the names of all objects below a folder."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{prefix}/")
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))

    def damage(self, prefix: str, commit: str, file: str) -> bool:
        """Cut the newest committed checkpoint's file in half; False unless there is an older checkpoint too.

        `commit`: pattern of the object that commits a checkpoint. `file`: the name beside it that is damaged.
        """
        committed = [key for key in self.keys(prefix) if re.search(commit, key)]
        if len(committed) < 2:
            return False
        key = f"{committed[-1].rpartition('/')[0]}/{file}"
        whole = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        self.client.put_object(Bucket=self.bucket, Key=key, Body=whole[: len(whole) // 2])
        return True
