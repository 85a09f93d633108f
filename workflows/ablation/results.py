"""All figures of a finished ablation, as JSON types."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pipeline import storage
from pipeline.facts import VocabularyFacts
from workflows.ablation.variants import NONE, Cell
from workflows.chain import Chain
from workflows.evaluation.scores import UNTRAINED, read_scores
from workflows.report.intervals import Scored, compared


def results(chains: Sequence[tuple[Cell, Chain]]) -> dict[str, Any]:
    """Return all figures of finished chains. The others are compared with the first variant."""
    from model.checkpoints.checkpoint import read_metrics
    from workflows.report.figures import training

    scores: list[Scored] = []
    figures: dict[str, list[dict[str, Any]]] = {}
    for cell, chain in chains:
        name = cell.variant.name
        figures.setdefault(name, []).append(training(read_metrics(chain.run("checkpoint").url)))
        if "scores" in chain.steps:
            for one in read_scores(chain.run("scores").file("scores.jsonl")):
                own = replace(one, model_id=NONE if one.model_id == UNTRAINED else name)
                scores.append(Scored(own, cell.pretraining))
    base = chains[0][0].variant
    return {
        "recipe": base.recipe.name,
        "language": base.recipe.report.language,
        "evaluation": asdict(replace(base.recipe.evaluation, data="")),
        "pretrainings": max(len(found) for found in figures.values()),
        "variants": [_row(cell, chain, chains, figures) for cell, chain in chains if not cell.pretraining],
        "scores": compared(scores, base.name),
        "values": [
            {
                **{"variant": one.score.model_id, "task": one.score.task, "metric": one.score.metric, "split": one.score.split},
                **{"seed": one.score.seed, "pretraining": one.pretraining, "n": one.score.n, "value": one.score.value},
                **({"diverged": one.score.diverged} if one.score.diverged else {}),
            }
            for one in scores
        ],
        "curves": {name: _curves(found) for name, found in figures.items()},
    }


def _row(
    cell: Cell, chain: Chain, chains: Sequence[tuple[Cell, Chain]], figures: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    from model.sizes import parameters

    found = figures[cell.variant.name]
    pages = [other.run("report").url for one, other in chains if one.variant.name == cell.variant.name]
    reports = [f"{storage.base_name(url)}/report.html" for url in pages]
    return {
        "variant": cell.variant.name,
        "settings": list(cell.variant.settings),
        "parameters": parameters(chain.recipe.encoder, VocabularyFacts.of(chain.run("vocabulary")).size),
        "steps": found[0]["steps"],
        "best": _mean_best([one["best"] for one in found]),
        "report": reports[0],
        "reports": reports,
    }


def _mean_best(found: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Return the mean of the best validations of several pretrainings; of one, that."""
    known = [one for one in found if one is not None]
    if len(known) < 2:
        return dict(known[0]) if known else None
    accuracies = [one["masked_accuracy"] for one in known if one["masked_accuracy"] is not None]
    return {
        "step": round(statistics.fmean(one["step"] for one in known)),
        "loss": statistics.fmean(one["loss"] for one in known),
        "masked_accuracy": statistics.fmean(accuracies) if accuracies else None,
    }


def _curves(found: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return the mean curves of several pretrainings, where all have a point; of one, its curves."""
    return {
        "loss": _mean_curve([one["loss"] for one in found]),
        "validation_loss": _mean_curve([one["validation_loss"].get("all", []) for one in found]),
        "validation_accuracy": _mean_curve([one["validation_accuracy"].get("all", []) for one in found]),
    }


def _mean_curve(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    by_step = [dict(curve) for curve in curves]
    return [
        (step, statistics.fmean(one[step] for one in by_step)) for step in by_step[0] if all(step in one for one in by_step)
    ]
