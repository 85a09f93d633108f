"""The figures of a report: every number and sentence on the page, worked out from manifests, metrics and scores.

    figures(inputs)["funnel"][0] -> {"source": "news", "read": 19484, "bad": 0, "empty": 3, "split_off": 2000,
                                     "documents": 17481, "dropped": {"too_short": 211, "duplicate": 96}, "kept": 17174, ...}
    figures(inputs)["captions"]["loss"] -> "Training loss: 8.912 at step 10, 4.377 at step 2,000. ..."

Nothing here is drawn: workflows/plots.py draws from these figures, and report.json holds them.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import storage
from pipeline.stages import Finished
from workflows.captions import captions, words
from workflows.scores import Score, summary

MOST_POINTS = 400
"""A curve of more points is thinned: means of equal stretches. A page has about so many pixels."""
MOST_SAMPLES = 40
"""Dropped documents shown."""
MOST_UNKNOWN = 50
"""Unknown characters shown."""
Points = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What a run left behind. Any of it may be empty: the page says what is missing."""

    recipe_name: str
    key: str
    """Of the whole run, as the pointer to it names it."""
    recipe: Mapping[str, Any]
    """The resolved recipe, as `workflows.recipe.as_dict` gives it."""
    documents: Sequence[Finished] = ()
    duplicates: Finished | None = None
    vocabulary: Finished | None = None
    shards: Sequence[Finished] = ()
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows of `model.checkpoint.read_metrics`."""
    scores: Sequence[Score] = ()
    other_stages: Sequence[Finished] = ()
    """Stages of which only the time is told: checkpoint, export, scores."""


def figures(inputs: ReportInputs) -> dict[str, Any]:
    """All figures, as JSON knows them."""
    funnel = [_funnel(stage, inputs.duplicates) for stage in inputs.documents]
    content = {
        "recipe_name": inputs.recipe_name,
        "key": inputs.key,
        "settings": [list(pair) for pair in _flat(inputs.recipe)],
        "funnel": [*funnel, _total(funnel)] if len(funnel) > 1 else funnel,
        "reasons": sorted({reason for row in funnel for reason in row["dropped"]}),
        "changed": {s.manifest["source"]: s.manifest.get("changed", {}) for s in inputs.documents if s.manifest.get("changed")},
        "samples": _samples(inputs)[:MOST_SAMPLES],
        "document_lengths": _document_lengths(inputs.documents),
        "vocabulary": _vocabulary(inputs.vocabulary),
        "shards": [row for stage in inputs.shards for row in _shard_rows(stage)],
        "row_lengths": _row_lengths(inputs.shards),
        "unknown_characters": _unknown_characters(inputs.shards),
        "training": _training(inputs.metrics),
        "scores": [asdict(row) for row in summary(inputs.scores)],
        "score_values": [
            {"model_id": s.model_id, "task": s.task, "split": s.split, "seed": s.seed, "n": s.n, "value": s.value}
            for s in inputs.scores
        ],
        "hyperparameters": _hyperparameters(inputs.scores),
        "stages": _stage_times(inputs),
        "licences": _licences(inputs.documents, funnel, inputs.recipe),
    }
    return {**content, "captions": captions(content)}


def _flat(table: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """Settings in the recipe's order: ("encoder.hidden_size", "128"), ("phase.1.steps", "500")."""
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


def _funnel(stage: Finished, duplicates: Finished | None) -> dict[str, Any]:
    """What became of a source's documents, from reading to training."""
    source, counts = stage.manifest["source"], stage.manifest["counts"]
    decided = duplicates.manifest["counts"].get(source, {}) if duplicates else {}
    row = {name: counts.get(name, 0) for name in ("read", "bad", "empty", "split_off")}
    kept = decided.get("kept", counts["kept"])
    return {
        "source": source,
        **row,
        "documents": counts["kept"],
        "dropped": dict(decided.get("dropped", {})),
        "kept": kept,
        "kept_share": _share(kept, counts.get("read", 0)),
        "characters": decided.get("characters_kept", counts.get("characters", 0)),
    }


def _total(funnel: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    dropped: dict[str, int] = {}
    for row in funnel:
        for reason, number in row["dropped"].items():
            dropped[reason] = dropped.get(reason, 0) + number
    numbers = ("read", "bad", "empty", "split_off", "documents", "kept", "characters")
    total = {name: sum(row[name] for row in funnel) for name in numbers}
    return {"source": "all", **total, "dropped": dropped, "kept_share": _share(total["kept"], total["read"])}


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _samples(inputs: ReportInputs) -> list[dict[str, str]]:
    """Documents that were left out, with the reason."""
    samples = []
    for stage in inputs.documents:
        for bad in stage.manifest.get("samples", {}).get("bad", []):
            told = bad if isinstance(bad, Mapping) else {"text": str(bad)}
            reason = told.get("reason", "cannot be read")
            samples.append({"source": stage.manifest["source"], "reason": reason, "text": str(told.get("text", ""))})
    decided = inputs.duplicates.manifest.get("samples", []) if inputs.duplicates else []
    return samples + [{name: str(sample[name]) for name in ("source", "reason", "text")} for sample in decided]


def _document_lengths(documents: Sequence[Finished]) -> dict[str, Any]:
    """Documents by length in characters: the lower bounds of the bins, and counts per source."""
    histograms = {stage.manifest["source"]: stage.manifest.get("characters_histogram", {}) for stage in documents}
    bins = sorted({int(bound) for histogram in histograms.values() for bound in histogram})
    counts = {source: [histogram.get(str(bound), 0) for bound in bins] for source, histogram in histograms.items()}
    return {"bins": bins, "counts": {source: numbers for source, numbers in counts.items() if any(numbers)}}


def _vocabulary(stage: Finished | None) -> dict[str, Any] | None:
    return {"size": stage.manifest["size"], "sha256": stage.manifest["sha256"]} if stage else None


def _shard_rows(stage: Finished) -> list[dict[str, Any]]:
    """One row for train and one for validation."""
    manifest = stage.manifest
    draws = manifest.get("masking", {}).get("static_draws", 1)
    return [
        {
            "source": manifest["source"],
            "sequence_length": manifest["sequence_length"],
            "split": split,
            **{name: counts.get(name, 0) for name in ("rows", "documents", "pieces", "unknown", "truncated")},
            # Every static draw masks the same pieces anew; without static draws masks are made while training.
            "masked_share": _share(counts.get("masked", 0), counts.get("pieces", 0) * draws),
            "unknown_share": _share(counts.get("unknown", 0), counts.get("pieces", 0)),
        }
        for split, counts in manifest["counts"].items()
    ]


def _row_lengths(shards: Sequence[Finished]) -> dict[str, Points]:
    """Share of training rows by length, per set of shards: (most pieces of the bin, share) for each eighth of the longest."""
    curves: dict[str, Points] = {}
    for stage in shards:
        histogram = stage.manifest.get("length_histogram", {}).get("train", {})
        longest = stage.manifest["sequence_length"]
        bins = [0] * 8
        for length, rows in histogram.items():
            bins[(int(length) * 8 - 1) // longest] += rows
        if total := sum(bins):
            name = f"{stage.manifest['source']} {longest}"
            curves[name] = [(longest * (number + 1) // 8, rows / total) for number, rows in enumerate(bins)]
    return curves


def _unknown_characters(shards: Sequence[Finished]) -> list[dict[str, Any]]:
    """Characters that became [UNK], most frequent first. Sets of shards of one source hold the same text: the larger count."""
    counts: dict[tuple[str, str], int] = {}
    for stage in shards:
        for character, number in stage.manifest.get("unknown_characters", {}).items():
            place = (stage.manifest["source"], character)
            counts[place] = max(counts.get(place, 0), number)
    total: dict[str, int] = {}
    for (_, character), number in counts.items():
        total[character] = total.get(character, 0) + number
    ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"character": character, "code": f"U+{ord(character[0]):04X}", "count": number} for character, number in ordered[:50]
    ]


def _training(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Curves over steps. Validation has one curve per source and one for all."""
    train = [row for row in metrics if row["kind"] == "train"]
    validation = [row for row in metrics if row["kind"] == "validation"]
    sources = list(dict.fromkeys(row.get("source", "all") for row in validation))
    everything = [row for row in validation if row.get("source", "all") == "all" and row["loss"] is not None]
    best = min(everything, key=lambda row: row["loss"], default=None)

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
    """First measured step of each phase after the first."""
    return [row["step"] for before, row in itertools.pairwise(train) if row.get("phase") != before.get("phase")]


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> Points:
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    stretch = -(-len(points) // MOST_POINTS)
    if stretch <= 1:
        return points
    groups = [points[begin : begin + stretch] for begin in range(0, len(points), stretch)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _hyperparameters(scores: Sequence[Score]) -> dict[str, list[str]]:
    """How the scores were made, and of which tasks."""
    made: dict[str, list[str]] = {}
    for score in scores:
        told = ", ".join(f"{words(name)} {value}" for name, value in sorted(score.hyperparameters.items()))
        tasks = made.setdefault(told, [])
        if score.task not in tasks:
            tasks.append(score.task)
    return made


def _stage_times(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Seconds of every stage that left a run.json, in the order they began."""
    chain = [*inputs.documents, inputs.duplicates, inputs.vocabulary, *inputs.shards, *inputs.other_stages]
    times = []
    for stage in chain:
        if stage and storage.exists(url := stage.file("run.json")):
            run = storage.read_json(url)
            times.append((run["started"], {"stage": stage.name, "seconds": run["seconds"]}))
    longest = max((entry["seconds"] for _, entry in times), default=0)
    return [{**entry, "share": _share(entry["seconds"], longest) or 0} for _, entry in sorted(times, key=lambda item: item[0])]


def _licences(
    documents: Sequence[Finished], funnel: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Whose text it is. Where it was read is the recipe's to say: a stage knows its input by digest alone."""
    inputs = {source["name"]: source.get("input", []) for source in recipe.get("source", [])}
    total = sum(row["characters"] for row in funnel)
    return [
        {
            "source": stage.manifest["source"],
            "kind": stage.manifest["kind"],
            "input": inputs.get(stage.manifest["source"], []),
            "licence": stage.manifest["licence"],
            "documents": row["kept"],
            "share": _share(row["characters"], total),
        }
        for stage, row in zip(documents, funnel, strict=True)
    ]
