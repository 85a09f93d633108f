"""The sentences under a report's plots, made from its figures. They tell the numbers and claim nothing.

Training loss: 8.912 at step 10, 4.377 at step 2,000. The lowest validation loss over all sources is 4.412, at step 1,800.
sentiment on test: 0.871 ± 0.004 with pretraining, 0.803 ± 0.010 without; difference +0.068 (3 seeds).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workflows.scores import UNTRAINED, Summary

Points = Sequence[tuple[float, float]]
WORDS = {
    "bad": "unreadable",
    "split_off": "kept out for tasks",
    "not_chinese": "not Chinese",
    "entity_f1": "entity F1",
    "html": "HTML",
}
"""What a name in a manifest is called on the page, where it is not just the name without its underscores."""


def words(name: str) -> str:
    """`too_short` -> `too short`, `not_chinese` -> `not Chinese`."""
    return WORDS.get(name, name.replace("_", " "))


def captions(content: Mapping[str, Any]) -> dict[str, str]:
    """A sentence or two under each plot: what the numbers are, no more."""
    training = content["training"]
    told = {
        "funnel": _funnel_caption(content["funnel"]),
        "document_lengths": _fullest(content["document_lengths"]),
        "row_lengths": _longest(content["row_lengths"]),
        "loss": _ends("Training loss", training["loss"], ".3f"),
        "masked_accuracy": _ends("Share of masked pieces found in training", training["masked_accuracy"], ".1%"),
        "learning_rate": _peak(training["learning_rate"]),
        "tokens_per_second": _median(training["tokens_per_second"]),
        "scores": " ".join(_compared([Summary(**row) for row in content["scores"]])),
    }
    if best := training["best"]:
        told["loss"] += f" The lowest validation loss over all sources is {best['loss']:.3f}, at step {best['step']:,}."
        if best["masked_accuracy"] is not None:
            told["masked_accuracy"] += f" At the lowest validation loss it is {best['masked_accuracy']:.1%} of validation."
    return told


def _funnel_caption(funnel: Sequence[Mapping[str, Any]]) -> str:
    if not funnel or funnel[-1]["kept_share"] is None:
        return "No document was read."
    last = funnel[-1]
    dropped = ", ".join(f"{number:,} {words(reason)}" for reason, number in sorted(last["dropped"].items()))
    kept = f"{last['kept']:,} of {last['read']:,} documents are kept ({last['kept_share']:.1%})"
    told = f"{kept}, {last['characters']:,} characters."
    return told + (f" Dropped: {dropped}." if dropped else " No filter dropped any.")


def _fullest(lengths: Mapping[str, Any]) -> str:
    told = "Documents by number of characters, as shares of each source; a bin ends where the next begins."
    for source, counts in lengths["counts"].items():
        most = max(range(len(counts)), key=counts.__getitem__)
        told += f" Fullest bin of {source}: from {lengths['bins'][most]:,} on, {counts[most] / sum(counts):.1%}."
    return told


def _longest(curves: Mapping[str, Points]) -> str:
    told = "Training rows by number of pieces, in eighths of the longest, as shares of each set of shards."
    for name, points in curves.items():
        told += f" Last eighth of {name}: {points[-1][1]:.1%}."
    return told


def _ends(what: str, points: Points, form: str) -> str:
    if not points:
        return "Nothing was measured."
    (first, begin), (last, end) = points[0], points[-1]
    if len(points) == 1:
        return f"{what}: {begin:{form}} at step {first:,}, the only measurement."
    return f"{what}: {begin:{form}} at step {first:,}, {end:{form}} at step {last:,}."


def _peak(points: Points) -> str:
    if not points:
        return "Nothing was measured."
    step, value = max(points, key=lambda point: point[1])
    return f"The highest measured is {value:.3g}, at step {step:,}; the last is {points[-1][1]:.3g}."


def _median(points: Points) -> str:
    if not points:
        return "Nothing was measured."
    values = sorted(value for _, value in points)
    middle = values[len(values) // 2]
    return f"Median: {middle:,.0f} pieces a second; slowest: {values[0]:,.0f}; fastest: {values[-1]:,.0f}."


def _compared(rows: Sequence[Summary]) -> Iterable[str]:
    """`sentiment on test: 0.871 ± 0.004 with pretraining, 0.803 ± 0.010 without; difference +0.068 (3 seeds).`"""
    for row in rows:
        if row.model_id == UNTRAINED or row.split != "test":
            continue
        told = f"{row.task} on {row.split}: {_spread(row)} with pretraining"
        baseline = next((r for r in rows if (r.model_id, r.task, r.split) == (UNTRAINED, row.task, row.split)), None)
        if baseline:
            told += f", {_spread(baseline)} without; difference {row.mean - baseline.mean:+.3f}"
        yield f"{told} ({row.seeds} seed{'s' if row.seeds > 1 else ''})."


def _spread(row: Summary) -> str:
    return f"{row.mean:.3f}" + ("" if row.deviation is None else f" ± {row.deviation:.3f}")
