"""What each worker runs: the training as it is, and a line in a file of this machine for every step, whatever becomes of it.

Metrics would not do: those since the last checkpoint die with an attempt, and they do not say which examples a worker used.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

FOLDER = "NEZHA_LEDGER"
"""Variable with the folder of the notes; every host sees it."""


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """`cluster.worker.work`, with notes."""
    from cluster import worker

    note_steps(settings["run"]["output"])
    return worker.work(settings)


def note_steps(output: str) -> None:
    """Note every step of this process from now on."""
    from model.training import loop, workers

    counted = loop.record
    name = f"{output.rpartition('/')[2]}-{os.uname().nodename}-{os.getpid()}.jsonl"
    file = (Path(os.environ[FOLDER]) / name).open("a", buffering=1)

    def record(session: Any, step: Any, outcome: Any) -> Any:
        event = counted(session, step, outcome)
        row = {
            "time": time.time(),
            "rank": workers.rank(),
            "attempt": session.attempt.number,
            "phase": session.state.phase,
            "step": session.state.step,
            "start": step.start,
            "end": step.end,
            "loss": outcome.figures["loss"],
            "ids": [int(number) for batch in step.micro_batches for number in batch.example_ids],
        }
        print(json.dumps(row), file=file)
        return event

    loop.record = record
