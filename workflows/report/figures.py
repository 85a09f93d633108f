"""The figures of a report: every number and caption on the page, computed from manifests, metrics and scores.

    figures(inputs)["funnel"][0] -> {"source": "news", "read": 19484, "skipped": {"split_off": 2000}, "bad": {}, "empty": 3,
                                     "documents": 17481, "dropped": {"too_short": 211, "duplicate": 96}, "kept": 17174, ...}
    figures(inputs)["captions"]["loss"] -> "Training loss: 8.912 at step 10, 4.377 at step 2,000. ..."

Nothing is drawn here: the templates and plots.py draw these figures, and report.json contains them. Figures on data come from
funnel.py, data_figures.py, kept_figures.py, shard_figures.py and timings.py; those on training and scores are computed here.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.engine.stages import Finished
from workflows.evaluation.beside import beside
from workflows.evaluation.scores import Score, summary
from workflows.registry.licences import judged
from workflows.report import data_figures, kept_figures, shard_figures, timings
from workflows.report.captions import captions
from workflows.report.funnel import funnel, ledger, total
from workflows.report.languages.texts import Texts, texts
from workflows.report.meeting import changes, sentences
from workflows.report.meeting.advice import advice
from workflows.report.meeting.costs import costs
from workflows.report.meeting.recoveries import recoveries

MOST_POINTS = 400
"""Points per curve, about as many as a page has pixels. Longer curves are averaged over stretches of equal length."""
Points = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """The output of a run. Any of it may be missing; the page shows what there is."""

    recipe_name: str
    key: str
    """Key of the report's stage."""
    recipe: Mapping[str, Any]
    """The complete recipe, from `workflows.recipe.as_dict`."""
    documents: Sequence[Finished] = ()
    dedup: Finished | None = None
    vocabulary: Finished | None = None
    tokens: Sequence[Finished] = ()
    shards: Sequence[Finished] = ()
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows of `model.checkpoints.checkpoint.read_metrics`."""
    scores: Sequence[Score] = ()
    other_stages: Sequence[Finished] = ()
    """Stages of which only the time is shown: signatures, contamination, checkpoint, export, scores."""
    data_stages: Sequence[Finished] = ()
    """Documents and decisions, which are compared with those of another run."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What `workflows.report.meeting.gathering.gathered` found."""


def figures(inputs: ReportInputs) -> dict[str, Any]:
    """Return all figures as JSON types."""
    t = texts(str(inputs.recipe.get("report", {}).get("language", "en")))
    content = {
        "language": t.language,
        "recipe_name": inputs.recipe_name,
        "key": inputs.key,
        "settings": [list(pair) for pair in _flat(inputs.recipe)],
        **_data(inputs),
        "training": training(inputs.metrics),
        "scores": [row.to_dict() for row in summary(inputs.scores)],
        "score_values": [
            {
                **{"model_id": s.model_id, "task": s.task, "metric": s.metric, "split": s.split},
                **{"seed": s.seed, "n": s.n, "value": s.value},
            }
            for s in inputs.scores
        ],
        "published": beside(inputs.scores),
        "hyperparameters": _hyperparameters(inputs.scores, t),
    }
    content["meeting"] = meeting(inputs, content)
    words = {"captions": captions(content, t), "sentences": sentences.sentences(content, t)}
    return {**content, **t.joined(words)}


def meeting(inputs: ReportInputs, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a meeting asks: what to decide, what changed, what failed, what it cost. No words."""
    more, recipe = inputs.more, inputs.recipe
    spent, before = more.get("spent"), more.get("before") or {}
    verdict = more.get("verdict")
    pretraining = {"seconds": spent.total if spent else 0.0, "machines": more.get("machines", 1)}
    use = recipe.get("gate", {}).get("use", "")
    licences = {row["source"]: row["licence"] for row in content["sources"]}
    forbidden = {one["source"] for one in judged(licences, use) if one["forbids"]}
    trained = any(done.kind == "checkpoint" for done in inputs.other_stages)
    return {
        **({"advice": advice(verdict, content["scores"])} if trained else {"advice": None}),
        "verdict": verdict,
        "intervals": more.get("intervals", {}),
        "errors": more.get("errors", []),
        "champion": more.get("champion", ""),
        "champion_cost": more.get("champion_cost", {}),
        "export": more.get("export", ""),
        "changes": _changes(inputs, content, before) if before else None,
        "recoveries": recoveries(inputs.metrics, spent),
        "costs": costs(content["time"], pretraining, recipe.get("report", {})),
        "licences": [
            {"source": source, "licence": licence, "forbids": source in forbidden} for source, licence in licences.items()
        ],
        "use": use,
        "start_from": recipe.get("training", {}).get("start_from", ""),
    }


def _changes(inputs: ReportInputs, content: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    figures = before["figures"]
    return {
        "kind": before["kind"],
        "name": before["name"],
        **changes.changes(content["funnel"], figures, inputs.data_stages, before["stages"]),
        "settings": changes.settings(content["settings"], figures["settings"]) if before["whole"] else None,
    }


def _data(inputs: ReportInputs) -> dict[str, Any]:
    """Return the figures on the text, from files to shards, and on the time that took."""
    documents, recipe = inputs.documents, inputs.recipe
    rows = funnel(documents, inputs.dedup)
    summed = total(rows)
    read = data_figures.sources(documents, inputs.tokens, rows, recipe)
    sets = shard_figures.shards(inputs.shards)
    chain = [*documents, inputs.dedup, inputs.vocabulary, *inputs.tokens, *inputs.shards, *inputs.other_stages]
    return {
        "funnel": rows,
        "total": summed,
        "ledger": ledger(rows),
        "outcomes": data_figures.outcomes(rows),
        "sources": read,
        "mixture": data_figures.mixture(read, recipe),
        "left_out": data_figures.left_out(documents, inputs.dedup, summed),
        "changes": data_figures.changes(documents),
        "duplicates": data_figures.duplicates(inputs.dedup, rows),
        "kept_samples": kept_figures.samples(inputs.dedup),
        "frequent": kept_figures.frequent(inputs.dedup),
        "thresholds": kept_figures.thresholds(inputs.dedup),
        "document_lengths": data_figures.document_lengths(documents),
        **data_figures.writing(documents),
        "wikis": data_figures.wikis(documents),
        "vocabulary": shard_figures.vocabulary(inputs.vocabulary),
        "tokens": shard_figures.tokens(inputs.tokens, rows),
        "unknown_characters": shard_figures.unknown_characters(inputs.tokens, inputs.shards),
        "shards": sets,
        "masked_ratio": shard_figures.masked_ratio(sets),
        "masks": shard_figures.masks(inputs.shards),
        "row_lengths": shard_figures.row_lengths(inputs.shards),
        "time": timings.timings([stage for stage in chain if stage], rows),
    }


def _flat(table: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Yield the settings in the order of the recipe: ("encoder.hidden_size", "128"), ("phase.1.steps", "500")."""
    if isinstance(table, Mapping):
        for key, value in table.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(table, list | tuple) and any(isinstance(item, Mapping) for item in table):
        for number, item in enumerate(table, start=1):
            yield from _flat(item, f"{path}.{number}")
    elif isinstance(table, list | tuple):
        yield path, ", ".join(map(str, table))
    else:
        yield path, str(table)


def training(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return curves over steps. Validation has one curve per source and one for all."""
    train = [row for row in metrics if row["kind"] == "train"]
    validation = [row for row in metrics if row["kind"] == "validation"]
    lost = [{name: row[name] for name in ("from", "step", "file", "problem")} for row in metrics if row["kind"] == "lost"]
    sources = list(dict.fromkeys(row.get("source", "all") for row in validation))
    overall = [row for row in validation if row.get("source", "all") == "all" and row["loss"] is not None]
    best = min(overall, key=lambda row: row["loss"], default=None)

    def of(source: str, name: str) -> Points:
        return _curve([row for row in validation if row.get("source", "all") == source], name)

    return {
        "steps": max((row["step"] for row in train), default=0),
        "lost": lost,
        "phase_starts": _phase_starts(train),
        "loss": _curve(train, "loss"),
        "mlm_loss": _curve(train, "mlm_loss"),
        "pair_loss": _curve(train, "pair_loss"),
        "masked_accuracy": _curve(train, "masked_accuracy"),
        "learning_rate": _curve(train, "learning_rate"),
        "tokens_per_second": _curve(train, "tokens_per_second"),
        "validation_loss": {source: of(source, "loss") for source in sources},
        "validation_accuracy": {source: of(source, "masked_accuracy") for source in sources},
        "best": {"step": best["step"], "loss": best["loss"], "masked_accuracy": best.get("masked_accuracy")} if best else None,
    }


def _phase_starts(train: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the first measured step of each phase after the first."""
    return [row["step"] for before, row in itertools.pairwise(train) if row.get("phase") != before.get("phase")]


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> Points:
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    stretch = -(-len(points) // MOST_POINTS)
    if stretch <= 1:
        return points
    groups = [points[begin : begin + stretch] for begin in range(0, len(points), stretch)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _hyperparameters(scores: Sequence[Score], t: Texts) -> dict[str, list[str]]:
    """Return the hyperparameters of the scores, each with the tasks that used them."""
    used_by: dict[str, list[str]] = {}
    for score in scores:
        settings = t.listed(f"{t.name(name)} {value}" for name, value in sorted(score.hyperparameters.items()))
        tasks = used_by.setdefault(settings, [])
        if score.task not in tasks:
            tasks.append(score.task)
    return used_by
