"""Everything that a meeting asks, from the folders of stages, the registry and the run before: figures without words.

gathered(finished, found, asked)  ->  {"verdict": {...}, "errors": [...], "before": {...}, "spent": Spent(...), ...}
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.engine.stages import Finished
from pipeline.errors import DamagedError, StorageError
from workflows.evaluation.config import EvaluationConfig
from workflows.registry.config import GateConfig
from workflows.report.meeting.references import DATA, References, figures_of, report_of, stages_of

if TYPE_CHECKING:
    from workflows.registry.entries import Entry


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The settings of a recipe that a meeting's figures depend on."""

    registry: str = ""
    """URL of a registry, from `[checks]`."""
    gate: GateConfig = field(default_factory=GateConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


UNASKED = Asked()


def gathered(finished: Sequence[Finished], found: References, asked: Asked) -> dict[str, Any]:
    """Return what is known beside manifests, metrics and scores. Anything may be missing."""

    def one(kind: str) -> Finished | None:
        return next((done for done in finished if done.kind == kind), None)

    checkpoint, export, scored, tasks = (one(kind) for kind in ("checkpoint", "export", "scores", "tasks"))
    champion = _champion(found)
    return {
        **_training(checkpoint),
        **(_scored(export, scored, tasks, champion, asked) if export and scored else {}),
        "champion": champion.name if champion else "",
        "champion_cost": dict(champion.content["cost"]) if champion else {},
        "before": _before(finished, found, champion),
        "export": export.url if export else "",
    }


def _champion(found: References) -> "Entry | None":
    if not found.champion:
        return None
    from workflows.registry import entries

    return entries.read(found.registry, found.champion)


def _training(checkpoint: Finished | None) -> dict[str, Any]:
    """Return the metrics of pretraining, where its time went, and on how many machines."""
    if checkpoint is None:
        return {"metrics": [], "spent": None, "machines": 1}
    from model.checkpoints.rows import read_metrics
    from model.training.tracking import events
    from model.training.tracking.spent import where_time_went
    from workflows.report.meeting.costs import machines

    return {
        "metrics": read_metrics(checkpoint.url),
        "spent": where_time_went(checkpoint.url),
        "machines": machines(events.read(checkpoint.url)),
    }


def _scored(
    export: Finished, scored: Finished, tasks: Finished | None, champion: "Entry | None", asked: Asked
) -> dict[str, Any]:
    from workflows.report.meeting import judgement

    own = judgement.Scored.of(export, scored)
    data_url = asked.evaluation.data or (tasks.url if tasks else "")
    return {
        "scores": own.scores,
        "verdict": judgement.judged(own, champion, asked.gate),
        "intervals": judgement.intervals(own, asked.gate),
        "errors": judgement.errors(own, champion, data_url, asked.evaluation) if data_url else [],
    }


def _before(finished: Sequence[Finished], found: References, champion: "Entry | None") -> dict[str, Any]:
    """Return the figures and stages of the run to compare with: the champion's; else the run before.

    Of a champion whose folders are gone, its entry still says documents and characters by source.
    """
    if champion is not None:
        report = _readable(champion.url)
        if report is not None:
            return _of_report(report, "champion", champion.name)
        rows = [
            {"source": one["source"], "kept": one["documents"], "characters": {"kept": one["characters"]}}
            for one in champion.content["data"]
        ]
        return {"kind": "champion", "name": champion.name, "figures": {"funnel": rows}, "stages": [], "whole": False}
    if found.before is not None:
        return _of_report(found.before, "run", storage.base_name(found.before.url))
    return {}


def _readable(export_url: str) -> Finished | None:
    """Return the report of another run; None if it is gone, or cannot be read from here: it is only compared with."""
    try:
        return report_of(export_url)
    except (StorageError, DamagedError):
        return None


def _of_report(report: Finished, kind: str, name: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "figures": figures_of(report),
        "stages": stages_of(report),
        "whole": True,
    }


def data_stages(finished: Sequence[Finished]) -> list[Finished]:
    """Return the stages that say which documents a run was made from."""
    return [done for done in finished if done.kind in DATA]
