"""The stage `promotion`: an export with its scores is registered, and held against the champion by the gate.

It runs once for each export and its scores. So a model that was refused stays refused, and one that a rollback took out of use
is not promoted again by the next run of the same recipe.
"""

from collections.abc import Callable
from typing import Any, Literal

from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import Finished, Stage
from pipeline.errors import RegistryError
from workflows.registry import entries, history
from workflows.registry.config import GateConfig
from workflows.registry.entries import Entry
from workflows.registry.history import Record
from workflows.registry.promotion import promote

STAGE_VERSION = 1
Event = Literal["promoted", "refused"]
VERDICT = "verdict.json"
TRIES = 3
"""When other processes change the champion meanwhile."""


def promotion(
    config: GateConfig,
    export: Finished,
    scores: Finished,
    tell: Callable[[Event, str], object],
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """Register an export in the registry of `config`, and make it the champion there if it passes.

    Args:
        tell: called with `promoted` or `refused` and a line, before the stage is finished: at least once.

    Raises: RegistryError, DamagedError if the registry cannot be used.
    """
    registry = storage.absolute(config.promote_to)
    settings = {"gate": stages.plain(config), "registry": registry}
    stage = Stage("promotion", STAGE_VERSION, settings, {"export": export.digest, "scores": scores.digest})

    def body(folder: str) -> dict[str, Any]:
        entry, files = entries.collect(export.url, scores.url)
        entry = entries.register(registry, entry, files)
        record = _judged(registry, entry, config) or _promoted(registry, entry, config)
        verdict = record.content["verdict"] or {}
        event: Event = "refused" if record.content["event"] == "refused" else "promoted"
        message = f"{entry.name}: {event} in place of {record.content['previous'] or 'nobody'}"
        if event == "refused":
            message = f"{entry.name}: refused: {'; '.join(verdict.get('reasons', ())) or verdict.get('verdict', '')}"
        storage.write_json(storage.join(folder, VERDICT), dict(record.content))
        tell(event, message)
        facts = {"event": event, "model": entry.name, "record": record.number, "message": message}
        return {"files": [stages.FileEntry.of(folder, VERDICT)], **facts}

    return stages.run(root, stage, body, execution)


def _judged(registry: str, entry: Entry, config: GateConfig) -> Record | None:
    """Return what the same gate said of the model before: a process that was killed after its verdict was recorded."""
    gate = stages.plain(config)
    for record in history.backwards(registry):
        content = record.content
        if content["model"] == entry.name and content["event"] != "rolled back":
            asked = (content["verdict"] or {}).get("gate")
            return record if record.champion == entry.name or asked == gate else None
    return None


def _promoted(registry: str, entry: Entry, config: GateConfig) -> Record:
    for _ in range(TRIES - 1):
        before = history.last(registry)
        try:
            return promote(registry, entry, config)
        except RegistryError:
            after = history.last(registry)
            if (after and after.champion) == (before and before.champion):  # nobody was faster
                raise
    return promote(registry, entry, config)
