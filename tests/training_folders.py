"""What a training folder has, for tests: its newest checkpoint, and the examples that its workers listed."""

import json
from collections import defaultdict

from model.checkpoints import checkpoint
from model.checkpoints.listing import ATTEMPT, attempt_name, attempts
from pipeline import storage


def newest_of(output: str) -> str | None:
    """Return the URL of the checkpoint that training resumes from."""
    found = checkpoint.load_newest(output)
    return found and found[0]


def listed(output: str) -> dict[int, list[int]]:
    """Return the sorted ids of the examples of each step, as the workers of all attempts have listed them (`log_examples`).

    A step that a later attempt repeated counts once, as the later attempt did it.
    """
    found: dict[int, list[int]] = {}
    for number in attempts(output):
        folder = storage.join(output, attempt_name(number))
        if ATTEMPT not in (names := storage.list_names(folder)):
            continue
        resumed = storage.read_json(storage.join(folder, ATTEMPT))["step"]
        own: dict[int, list[int]] = defaultdict(list)
        for name in names:
            if name.startswith("examples-"):
                for line in storage.read_bytes(storage.join(folder, name)).splitlines():
                    row = json.loads(line)
                    own[row["step"]] += row["examples"]
        found = {step: ids for step, ids in found.items() if step <= resumed}
        for step, ids in own.items():
            found[step] = found.get(step, []) + ids
    return {step: sorted(ids) for step, ids in found.items()}
