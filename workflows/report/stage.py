"""The stages `report` and `data_report`: the page on everything that other stages left, or on the data alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import storage
from pipeline.engine import processes, stages
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import Finished, Stage

STAGE_VERSION = 2
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
    execution: Execution = SERIAL,
) -> Finished:
    """Write a page about stages.

    Args:
        kind: `report` or `data_report`.
        name: name of the recipe.
        recipe: the complete recipe as JSON types.
        finished: the stages that the page is about; metrics and scores are shown if `checkpoint` and `scores` are among them.
    """
    stage = Stage(kind, STAGE_VERSION, {"recipe": recipe}, {done.name: _manifest_digest(done) for done in finished})

    def body(folder: str) -> dict[str, Any]:
        from workflows.evaluation.scores import read_scores
        from workflows.report.figures import ReportInputs
        from workflows.report.page import write_report

        def of(*kinds: str) -> list[Finished]:
            return [done for done in finished if done.kind in kinds]

        processes.pool.shutdown()
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
            metrics=[row for done in of("checkpoint") for row in _metrics(done)],
            scores=[score for done in of("scores") for score in read_scores(done.file("scores.jsonl"))],
        )
        return {"files": write_report(content, folder)}

    return stages.run(root, stage, body, execution)


def _metrics(checkpoint: Finished) -> list[dict[str, Any]]:
    from model.checkpoints.checkpoint import read_metrics

    return read_metrics(checkpoint.url)


def _manifest_digest(done: Finished) -> str:
    """Return a digest of a manifest: the page shows its counts, which may change although the files do not."""
    return storage.bytes_digest(storage.json_bytes(done.manifest))
