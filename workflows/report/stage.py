"""The stages `report` and `data_report`: the page on everything that other stages left, or on the data alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.engine import integrity, processes, stages
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import Finished, Stage
from pipeline.redaction import public
from workflows.report.meeting.gathering import UNASKED, Asked
from workflows.report.meeting.references import references

STAGE_VERSION = 5
_SECTIONS = ("documents", "dedup", "vocabulary", "tokens", "shards")
"""Kinds of stages that have figures of their own; of the others only the time is shown."""
_UNTIMED = ("tasks",)


def report(
    kind: str,
    name: str,
    recipe: Mapping[str, Any],
    finished: Sequence[Finished],
    root: str,
    *,
    asked: Asked = UNASKED,
    execution: Execution = SERIAL,
) -> Finished:
    """Write a page about stages.

    Args:
        kind: `report` or `data_report`.
        name: name of the recipe.
        recipe: the complete recipe as JSON types.
        finished: the stages that the page is about; metrics and scores are shown if `checkpoint` and `scores` are among them.
        asked: what the scores are held against.

    Raises: StorageError when the registry cannot be read now.
    """
    recipe = public(recipe)
    found = references(asked.registry, recipe, finished, root)
    inputs = {done.name: integrity.manifest_digest(done.manifest) for done in finished}
    stage = Stage(kind, STAGE_VERSION, {"recipe": recipe}, {**inputs, **found.inputs})

    def body(folder: str) -> dict[str, Any]:
        from workflows.report.figures import ReportInputs
        from workflows.report.meeting.gathering import data_stages, gathered
        from workflows.report.page import write_report

        def of(*kinds: str) -> list[Finished]:
            return [done for done in finished if done.kind in kinds]

        processes.pool.shutdown()
        more = gathered(finished, found, asked)
        content = ReportInputs(
            recipe_name=name,
            key=stage.key,
            recipe=recipe,
            documents=of("documents"),
            dedup=next(iter(of("dedup")), None),
            vocabulary=next(iter(of("vocabulary")), None),
            tokens=of("tokens"),
            shards=of("shards"),
            other_stages=[done for done in finished if done.kind not in (*_SECTIONS, *_UNTIMED)],
            metrics=more.pop("metrics"),
            scores=more.pop("scores", ()),
            data_stages=data_stages(finished),
            more=more,
        )
        return {"files": write_report(content, folder)}

    return stages.run(root, stage, body, execution)
