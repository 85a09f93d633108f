"""What a training folder contains: attempts, and checkpoints that are whole. Needs no torch, for processes that only watch."""

import json
import math
import re
from collections.abc import Iterator

from pipeline import storage

MARKER = "checkpoint.json"
"""Name of the file that commits a checkpoint; written last."""
ATTEMPT = "attempt.json"
"""Name of the file in the folder of an attempt that says who began it, and at which step."""


def committed(output: str) -> Iterator[str]:
    """URLs of all checkpoints that have a marker: newest attempt first, within it highest step first.

    Those of a later step than one that a later attempt resumed at do not count. Their attempt had been replaced, and its last
    write to a store arrived late: the steps would be missing in the metrics.
    """
    last = math.inf
    for attempt in reversed(attempts(output)):
        folder = storage.join(output, attempt_name(attempt))
        for name in reversed(storage.list_names(folder)):
            if is_checkpoint(name) and storage.exists(storage.join(folder, name, MARKER)) and step_of(name) <= last:
                yield storage.join(folder, name)
        last = min(last, _resumed_at(folder))


def _resumed_at(attempt: str) -> float:
    """The step that an attempt resumed at; infinite if it died before it could write that down."""
    facts = storage.join(attempt, ATTEMPT)
    if not storage.exists(facts):
        return math.inf
    try:
        return float(json.loads(storage.read_bytes(facts))["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def attempt_name(number: int) -> str:
    """Folder name of an attempt."""
    return f"attempt-{number:04d}"


def checkpoint_name(step: int) -> str:
    """Folder name of a checkpoint."""
    return f"checkpoint-{step:08d}"


def is_checkpoint(name: str) -> bool:
    """Whether a folder of an attempt is named as a checkpoint is; `checkpoint-00000300.bak`, which a user made, is not."""
    return re.fullmatch(r"checkpoint-\d{8,}", name) is not None


def attempts(output: str) -> list[int]:
    """Numbers of the attempts in a training folder, ascending."""
    return sorted(int(m[1]) for name in storage.list_names(output) if (m := re.fullmatch(r"attempt-(\d{4,})", name)))


def step_of(checkpoint: str | None) -> int:
    """The step of a checkpoint, by its URL; 0 for none."""
    return int(storage.base_name(checkpoint).removeprefix("checkpoint-")) if checkpoint else 0
