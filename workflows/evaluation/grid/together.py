"""How far runs are that run elsewhere: each writes it to a small file now and then, which the driver reads.

    work/my-nezha-ocnli-0-5d0c.steps        {"done": 1200, "total": 9600, "what": "epoch 1 of 3"}

What is in these files is shown, and decides nothing: one that is missing, or of a process that was killed, says that its run
has just begun, and what is finished is known from the scores alone. They are removed with `work/`.
"""

import contextlib
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

from pipeline import storage
from pipeline.engine.execution import Report
from pipeline.errors import UserError

WRITE_SECONDS = 5.0
"""Time between two writes of a run: a store takes a while for each."""
READ_SECONDS = 2.0
"""Time between two looks at all runs under way."""


class Running(Protocol):
    """A run, as far as its progress is concerned."""

    @property
    def name(self) -> str: ...
    @property
    def part(self) -> str: ...
    @property
    def cost(self) -> int: ...


def steps_file(run: Running) -> str:
    """Return the URL of the file that says how far a run is."""
    return f"{run.part.removesuffix('.jsonl')}.steps"


def steps_written(run: Running) -> Report:
    """Return a report of a run's progress that writes it now and then, first when the run begins, after a kill too."""
    last = -WRITE_SECONDS

    def report(done: int, total: int, what: str) -> None:
        nonlocal last
        if time.monotonic() - last >= WRITE_SECONDS:
            last = time.monotonic()
            with contextlib.suppress(OSError, UserError):  # the scores, which are needed, say what is wrong with the folder
                storage.write_json(steps_file(run), {"done": done, "total": total, "what": what})

    return report


class Together:
    """Reports the progress of all runs of an evaluation, several of which are under way."""

    def __init__(self, runs: Sequence[Running], finished: Collection[Running], report: Report) -> None:
        self._runs, self._finished, self._report = runs, finished, report
        self._total = sum(run.cost for run in runs)
        self._most = 0
        self._lock = threading.Lock()

    def report(self, what: str) -> None:
        """Report what is finished and under way. What a killed process had done is done again: it is counted once."""
        with self._lock:
            under_way, _ = self._under_way()
            self._report(self._counted(under_way), self._total, what)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Report every few seconds while the runs run."""
        over = threading.Event()
        for run in self._with_steps():  # of an evaluation that was killed
            storage.remove(steps_file(run))

        def watch() -> None:
            while not over.wait(READ_SECONDS):
                with self._lock:
                    under_way, shown = self._under_way()
                    if shown and not over.is_set():
                        self._report(self._counted(under_way), self._total, ", ".join(shown))

        thread = threading.Thread(target=watch, name="progress of runs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _counted(self, under_way: float) -> int:
        done = sum(run.cost for run in [*self._finished])
        self._most = max(self._most, min(self._total, int(done + under_way)))
        return self._most

    def _with_steps(self) -> list[Running]:
        """Return the runs that have a file of steps: a list of the folder, not a question for each run."""
        try:
            names = {*storage.list_names(storage.parent(self._runs[0].part))}
        except (OSError, UserError):  # no run has begun, or the store is away
            return []
        return [run for run in self._runs if storage.base_name(steps_file(run)) in names]

    def _under_way(self) -> tuple[float, list[str]]:
        """Return the cost of what is done of the runs under way, and a text for each of these runs."""
        cost, shown = 0.0, []
        finished = {run.name for run in [*self._finished]}
        for run in self._with_steps():
            if run.name not in finished and (steps := _read(steps_file(run))):
                cost += run.cost * min(1.0, steps["done"] / max(1, steps["total"]))
                shown.append(f"{run.name}, {steps['what']}")
        return cost, shown


def _read(url: str) -> dict[str, Any] | None:
    try:
        steps = storage.read_json(url)
    except (OSError, UserError):  # just being written or removed, or the store is away: the next look will tell
        return None
    return steps if isinstance(steps, dict) and {"done", "total", "what"} <= steps.keys() else None
