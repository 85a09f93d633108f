"""What a run is compared with: the champion of a registry, and the run before it on other data.

The champion is the last that is not this run's own model: a report stays as it is when its model is promoted. The run before is
the last one in the output folder with a report, the same name and other documents; a report that is finished stays, whatever
runs after it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import storage
from pipeline.engine import integrity, stages
from pipeline.engine.stages import MANIFEST, RUN, Finished

DATA = ("documents", "dedup")
"""Kinds of stages that say which documents a run was made from."""
REFERENCES = ("champion", "before")
"""Inputs of a report that are no stages."""


@dataclass(frozen=True)
class References:
    """The champion by its name, and the report of the run before."""

    registry: str = ""
    champion: str = ""
    before: Finished | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What decides the content of the report, for its key."""


def references(registry: str, recipe: Mapping[str, Any], finished: Sequence[Finished], root: str) -> References:
    """Find what to compare a run with.

    Args:
        registry: URL of the registry; "" for none.
        recipe: the recipe as the report's manifest has it.
        finished: the stages of the run.

    Raises: StorageError when the registry cannot be read now.
    """
    export = next((done for done in finished if done.kind == "export"), None)
    champion = _champion(registry, export) if registry and export else ""
    before = _before(recipe, finished, root)
    inputs = {"champion": champion} if champion else {}
    if before:
        inputs["before"] = _digest(before)
    return References(registry, champion, before, inputs)


def _champion(registry: str, export: Finished) -> str:
    """Return the last champion that is not this export; "" if there is none."""
    from workflows.registry import history

    for record in history.backwards(registry):
        pointer = record.content["champion"] or {}
        if pointer.get("name") and pointer.get("url") != export.url:
            return str(pointer["name"])
    return ""


def data_inputs(finished: Sequence[Finished]) -> dict[str, str]:
    """Return the digests of a run's documents, as its report has them."""
    return {done.name: integrity.manifest_digest(done.manifest) for done in finished if done.kind in DATA}


def _data_of(report: Finished) -> dict[str, str]:
    return {name: digest for name, digest in report.manifest["inputs"].items() if name.partition("_")[0] in DATA}


def _before(recipe: Mapping[str, Any], finished: Sequence[Finished], root: str) -> Finished | None:
    """Return the last report of a recipe on other documents; for a run that has a report, the one that it was held against."""
    own = data_inputs(finished)
    if not own or not any(done.kind == "checkpoint" for done in finished):
        return None
    stages_now = {done.name: integrity.manifest_digest(done.manifest) for done in finished}
    others: list[tuple[float, Finished]] = []
    noted: list[str] = []
    for started, report in _reports(root):
        then = report.manifest["settings"].get("recipe", {})
        if then == recipe and _stages(report) == stages_now:
            noted.append(report.manifest["inputs"].get("before", ""))
        if then.get("name") == recipe.get("name") and _data_of(report) != own:
            others.append((started, report))
    if noted:
        return next((report for _, report in others if _digest(report) == noted[-1]), None)
    return others[-1][1] if others else None


def _reports(root: str) -> list[tuple[float, Finished]]:
    """Return the reports in a folder by the time that they were written."""
    found = []
    for folder in storage.list_names(root):
        url = storage.join(root, folder)
        if folder.partition("-")[0] == "report" and storage.exists(storage.join(url, MANIFEST)):
            report = stages.load(url)
            if storage.exists(report.file(RUN)):
                found.append((float(storage.read_json(report.file(RUN))["started"]), report))
    return sorted(found, key=lambda one: one[0])


def _stages(report: Finished) -> dict[str, str]:
    return {name: digest for name, digest in report.manifest["inputs"].items() if name not in REFERENCES}


def _digest(report: Finished) -> str:
    return storage.bytes_digest(storage.json_bytes(_data_of(report)))


def report_of(export_url: str) -> Finished | None:
    """Return the report of the run that an export belongs to; None if its folder is gone, or has none."""
    if not storage.exists(storage.join(export_url, MANIFEST)):
        return None
    digest = integrity.manifest_digest(stages.load(export_url).manifest)
    for stage in stages.load_all(storage.parent(export_url)):
        if stage.kind == "report" and stage.manifest["inputs"].get("export") == digest:
            return stage
    return None


def stages_of(report: Finished, kinds: Sequence[str] = DATA) -> list[Finished]:
    """Return the stages of some kinds that a report was made from, as far as they are still beside it."""
    wanted = set(report.manifest["inputs"].values())
    beside = stages.load_all(storage.parent(report.url))
    return [stage for stage in beside if stage.kind in kinds and integrity.manifest_digest(stage.manifest) in wanted]


def figures_of(report: Finished) -> dict[str, Any]:
    """Return the figures of an earlier report. Raises: DamagedError when they are no longer what they were."""
    return dict(json.loads(integrity.read_bytes(report.file("report.json"))))
