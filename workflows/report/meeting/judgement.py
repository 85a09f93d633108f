"""How good a model is: the verdict beside the champion, the intervals of its scores, its errors by kind.

judged(own, champion, gate)     the verdict of `nezha-pipe promote`, which records nothing here
intervals(own, gate)            {"sentiment accuracy": [0.858, 0.883]}
errors(own, champion, ...)      [{"task": "sentiment", "wrong": 131, "examples": 1_000, "cuts": [...]}]
"""

import functools
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.engine import integrity
from pipeline.engine.stages import Finished
from pipeline.errors import DamagedError, TaskError
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.scores import UNTRAINED, Score, read_scores
from workflows.registry import entries, gate, lineage
from workflows.registry.comparison import score_interval_of
from workflows.registry.config import GateConfig
from workflows.registry.contaminated import contaminated
from workflows.registry.entries import Entry
from workflows.report.errors.page import Predictions, predictions, task_errors

MOST_KINDS = 5
"""Kinds of errors shown of a cut."""
MOST_CUTS = 3
"""Cuts shown of a task."""


@dataclass(frozen=True)
class Scored:
    """The scores of a run, and its model as an entry of a registry would have it."""

    stage: Finished
    scores: Sequence[Score]
    entry: Entry

    @staticmethod
    def of(export: Finished, stage: Finished) -> "Scored":
        """Return the scores of an export, without reading its weights: the stage was made from it."""
        scores = read_scores(stage.file("scores.jsonl"))
        own = [score for score in scores if score.model_id != UNTRAINED]
        uris = {score.predictions_uri: score.predictions_uri for score in own}
        name = str(export.manifest.get("name", ""))
        content = {
            "name": name,
            "model": {"url": export.url, "files": []},
            "licences": dict(export.manifest.get("licences", {})),
            "scores": {
                "lines": [score.to_dict() for score in own],
                "files": uris,
                "grid": entries.grid(stage.url, own[0].model_id),
            },
            "contaminated": contaminated(lineage.made_from(export)),
        }
        return Scored(stage, scores, Entry(name, content, lambda uri: gzip.compress(integrity.read_bytes(stage.file(uri)))))


def judged(own: Scored, champion: Entry | None, config: GateConfig) -> dict[str, Any]:
    """Return the verdict on a model as JSON types. Raises: TaskError, DamagedError for scores that cannot be used."""
    return gate.judge(own.entry, champion, config).to_json()


def intervals(own: Scored, config: GateConfig) -> dict[str, list[float] | None]:
    """Return the interval of each test score, by `task metric`; None with a single seed."""
    found = {}
    for (task, metric), scored in own.entry.scores.items():
        interval = score_interval_of(scored, config)
        found[f"{task} {metric}"] = list(interval) if interval else None
    return found


def errors(own: Scored, champion: Entry | None, data_url: str, config: EvaluationConfig) -> list[dict[str, Any]]:
    """Return the most informative kinds of errors of each task, beside the champion's or the untrained network's.

    A task whose texts are no longer at hand has `problem` instead: what is missing.
    """
    ours = [score for score in own.scores if score.model_id != UNTRAINED]
    found = []
    for task in dict.fromkeys(score.task for score in ours):
        said = predictions(ours, task, functools.partial(_read, own.stage))
        assert said is not None or not [score for score in ours if score.task == task and score.split == "test"]
        if said is None:
            continue
        try:
            one = task_errors(task, said, _theirs(task, own, champion), data_url, config)
        except (TaskError, DamagedError) as error:
            found.append({"task": task, "problem": str(error)})
            continue
        found.append(_shown(task, one))
    return found


def _read(stage: Finished, uri: str) -> bytes:
    return integrity.read_bytes(stage.file(uri))


def _theirs(task: str, own: Scored, champion: Entry | None) -> Predictions | None:
    """Return what the champion said, or the untrained network."""
    if champion is not None:
        recorded = champion.content["scores"]
        lines = [Score(**line) for line in recorded["lines"]]
        found = predictions(lines, task, lambda uri: gzip.decompress(champion.fetch(recorded["files"][uri])))
        if found is not None:
            return Predictions(champion.name, found.by_seed)
    untrained = [score for score in own.scores if score.model_id == UNTRAINED]
    return predictions(untrained, task, functools.partial(_read, own.stage))


def _shown(task: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts and the first kinds of each cut, without texts."""
    counts = ("examples", "wrong", "other", "other_wrong", "both_wrong", "not_asked", "seed", "seeds")
    names = ("name", "wrong", "n", "other_wrong")
    cuts = [
        {
            "cut": cut,
            "wrong": sum(kind.wrong for kind in kinds),
            "rarer": max(0, len(kinds) - MOST_KINDS),
            "kinds": [{name: getattr(kind, name) for name in names} for kind in kinds[:MOST_KINDS]],
        }
        for cut, kinds in one["cuts"][:MOST_CUTS]
    ]
    return {"task": task, "problem": "", **{name: one[name] for name in counts}, "cuts": cuts}
