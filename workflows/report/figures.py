"""The figures of a report: every number and caption on the page, computed from manifests, metrics and scores.

    figures(inputs)["funnel"][0] -> {"source": "news", "read": 19484, "skipped": {"split_off": 2000}, "bad": {}, "empty": 3,
                                     "documents": 17481, "dropped": {"too_short": 211, "duplicate": 96}, "kept": 17174, ...}
    figures(inputs)["captions"]["loss"] -> "Training loss: 8.912 at step 10, 4.377 at step 2,000. ..."

Nothing is drawn here: the templates and plots.py draw these figures, and report.json contains them. Figures on data come from
funnel.py, data_figures.py, shard_figures.py and timings.py; those on training and scores are computed here.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.engine.stages import Finished
from workflows.evaluation.scores import Score, summary
from workflows.report import data_figures, shard_figures, timings
from workflows.report.captions import captions
from workflows.report.display_names import display_name
from workflows.report.funnel import funnel, ledger, total

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


def figures(inputs: ReportInputs) -> dict[str, Any]:
    """Return all figures as JSON types."""
    content = {
        "recipe_name": inputs.recipe_name,
        "key": inputs.key,
        "settings": [list(pair) for pair in _flat(inputs.recipe)],
        **_data(inputs),
        "training": training(inputs.metrics),
        "scores": [asdict(row) for row in summary(inputs.scores)],
        "score_values": [
            {"model_id": s.model_id, "task": s.task, "split": s.split, "seed": s.seed, "n": s.n, "value": s.value}
            for s in inputs.scores
        ],
        "hyperparameters": _hyperparameters(inputs.scores),
    }
    return {**content, "captions": captions(content)}


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
    sources = list(dict.fromkeys(row.get("source", "all") for row in validation))
    overall = [row for row in validation if row.get("source", "all") == "all" and row["loss"] is not None]
    best = min(overall, key=lambda row: row["loss"], default=None)

    def of(source: str, name: str) -> Points:
        return _curve([row for row in validation if row.get("source", "all") == source], name)

    return {
        "steps": max((row["step"] for row in train), default=0),
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


def _hyperparameters(scores: Sequence[Score]) -> dict[str, list[str]]:
    """Return the hyperparameters of the scores, each with the tasks that used them."""
    used_by: dict[str, list[str]] = {}
    for score in scores:
        settings = ", ".join(f"{display_name(name)} {value}" for name, value in sorted(score.hyperparameters.items()))
        tasks = used_by.setdefault(settings, [])
        if score.task not in tasks:
            tasks.append(score.task)
    return used_by
