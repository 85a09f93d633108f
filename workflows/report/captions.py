"""The captions of a report's plots. They state numbers and do not interpret them.

Training loss: 8.912 at step 10, 4.377 at step 2,000. The lowest validation loss over all sources is 4.412, at step 1,800.
sentiment on test: 0.871 ± 0.004 with pretraining, 0.803 ± 0.010 without; difference +0.068 (3 seeds).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workflows.evaluation.scores import UNTRAINED, Summary
from workflows.report import data_captions

Points = Sequence[tuple[float, float]]


def captions(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the caption of each plot."""
    training = content["training"]
    result = {
        **data_captions.captions(content),
        "loss": _ends("Training loss", training["loss"], ".3f"),
        "masked_accuracy": _ends("Masked tokens predicted correctly in training", training["masked_accuracy"], ".1%"),
        "learning_rate": _peak(training["learning_rate"]),
        "tokens_per_second": _median(training["tokens_per_second"]),
        "scores": " ".join(_compared([Summary(**row) for row in content["scores"]])),
    }
    if best := training["best"]:
        result["loss"] += f" The lowest validation loss over all sources is {best['loss']:.3f}, at step {best['step']:,}."
        if best["masked_accuracy"] is not None:
            result["masked_accuracy"] += f" In validation, at the lowest loss: {best['masked_accuracy']:.1%}."
    return result


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
    return f"Median: {middle:,.0f} tokens per second; slowest: {values[0]:,.0f}; fastest: {values[-1]:,.0f}."


def _compared(rows: Sequence[Summary]) -> Iterable[str]:
    """`sentiment on test: 0.871 ± 0.004 with pretraining, 0.803 ± 0.010 without; difference +0.068 (3 seeds).`"""
    for row in rows:
        if row.model_id == UNTRAINED or row.split != "test":
            continue
        sentence = f"{row.task} on {row.split}: {_spread(row)} with pretraining"
        baseline = next((r for r in rows if (r.model_id, r.task, r.split) == (UNTRAINED, row.task, row.split)), None)
        if baseline:
            sentence += f", {_spread(baseline)} without; difference {row.mean - baseline.mean:+.3f}"
        yield f"{sentence} ({row.seeds} seed{'s' if row.seeds > 1 else ''})."


def _spread(row: Summary) -> str:
    return f"{row.mean:.3f}" + ("" if row.deviation is None else f" ± {row.deviation:.3f}")
