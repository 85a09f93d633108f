"""The captions of a report's plots. They state numbers and do not interpret them.

Training loss: 8.912 at step 10, 4.377 at step 2,000. The lowest validation loss over all sources is 4.412, at step 1,800.
sentiment on test: 0.871 ± 0.004 with pretraining, 0.803 ± 0.010 without; difference +0.068 (3 seeds).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workflows.evaluation.scores import UNTRAINED, Summary
from workflows.report import data_captions
from workflows.report.languages.texts import ENGLISH, Texts

Points = Sequence[tuple[float, float]]


def captions(content: Mapping[str, Any], t: Texts = ENGLISH) -> dict[str, str]:
    """Return the caption of each plot, in the language of `t`."""
    training = content["training"]
    result = {
        **data_captions.captions(content, t),
        "loss": _ends(t, t("Training loss"), training["loss"], ".3f"),
        "masked_accuracy": _ends(t, t("Masked tokens predicted correctly in training"), training["masked_accuracy"], ".1%"),
        "learning_rate": _peak(t, training["learning_rate"]),
        "tokens_per_second": _median(t, training["tokens_per_second"]),
        "scores": " ".join(_compared(t, [Summary(**row) for row in content["scores"]])),
    }
    if best := training["best"]:
        lowest = t("The lowest validation loss over all sources is {loss:.3f}, at step {step:,}.", **_of(best, "loss", "step"))
        result["loss"] += f" {lowest}"
        if best["masked_accuracy"] is not None:
            reached = t("In validation, at the lowest loss: {accuracy:.1%}.", accuracy=best["masked_accuracy"])
            result["masked_accuracy"] += f" {reached}"
    result["loss"] += _lost(t, training.get("lost", ()))
    return result


def _of(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _lost(t: Texts, lost: Iterable[Mapping[str, Any]]) -> str:
    """Return which metrics are missing; empty if none are."""
    parts = [
        t(
            "of steps {first:,} to {last:,} ({file} {problem})",
            first=row["from"] + 1,
            last=row["step"],
            **_of(row, "file", "problem"),
        )
        for row in lost
    ]
    return " " + t("Metrics are lost: those {parts}.", parts=t.listed(parts)) if parts else ""


def _ends(t: Texts, what: str, points: Points, form: str) -> str:
    if not points:
        return t("Nothing was measured.")
    (first, begin), (last, end) = points[0], points[-1]
    values = {"what": what, "begin": format(begin, form), "first": first}
    if len(points) == 1:
        return t("{what}: {begin} at step {first:,}, the only measurement.", **values)
    return t("{what}: {begin} at step {first:,}, {end} at step {last:,}.", **values, end=format(end, form), last=last)


def _peak(t: Texts, points: Points) -> str:
    if not points:
        return t("Nothing was measured.")
    step, value = max(points, key=lambda point: point[1])
    return t(
        "The highest measured is {value:.3g}, at step {step:,}; the last is {last:.3g}.",
        value=value,
        step=step,
        last=points[-1][1],
    )


def _median(t: Texts, points: Points) -> str:
    if not points:
        return t("Nothing was measured.")
    values = sorted(value for _, value in points)
    return t(
        "Median: {middle:,.0f} tokens per second; slowest: {slowest:,.0f}; fastest: {fastest:,.0f}.",
        middle=values[len(values) // 2],
        slowest=values[0],
        fastest=values[-1],
    )


def _compared(t: Texts, rows: Sequence[Summary]) -> Iterable[str]:
    """`sentiment on test: 0.871 ± 0.004 with pretraining, 0.803 ± 0.010 without; difference +0.068 (3 seeds).`"""
    for row in rows:
        if row.model_id == UNTRAINED or row.split != "test":
            continue
        several = len({other.metric for other in rows if other.task == row.task}) > 1
        values = {
            "what": _scored(t, row, several),
            "trained": _spread(row),
            "seeds": t.count("{n} seed", "{n} seeds", row.seeds),
        }
        scored = (UNTRAINED, row.task, row.metric, row.split)
        baseline = next((r for r in rows if (r.model_id, r.task, r.metric, r.split) == scored), None)
        if baseline is None:
            yield t("{what}: {trained} with pretraining ({seeds}).", **values)
            continue
        yield t(
            "{what}: {trained} with pretraining, {untrained} without; difference {difference:+.3f} ({seeds}).",
            **values,
            untrained=_spread(baseline),
            difference=row.mean - baseline.mean,
        )
    for row in {(row.model_id, row.task): row for row in rows if row.diverged}.values():
        names = {"model": t(row.model_id), "task": t(row.task)}
        yield t("{model}, {task}: {n} of {seeds} fine-tuning runs diverged.", **names, n=row.diverged, seeds=row.seeds)


def _scored(t: Texts, row: Summary, several: bool) -> str:
    """Return what was scored; with several metrics, also by which."""
    values = {"task": t(row.task), "split": t(row.split)}
    if several:
        return t("{task} on {split}, {metric}", **values, metric=t.name(row.metric))
    return t("{task} on {split}", **values)


def _spread(row: Summary) -> str:
    return f"{row.mean:.3f}" + ("" if row.deviation is None else f" ± {row.deviation:.3f}")
