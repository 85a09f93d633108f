"""Our scores beside published ones: a row for each model, in percent.

task  metric    model        runs  dev best   mean    single  test best   mean    single  source
xnli  accuracy  export-5d0c     3      71.2   70.9 ±0.3            70.4   70.1 ±0.2       here
                BERT           10      77.8   77.4                 77.8   77.5            Chinese-BERT-wwm, README
                NEZHA           1                       81.37                      79.32  NEZHA, table 4

Where the labels of a published test set are not to be had, dev is scored as test, and stands under dev here.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workflows.evaluation import published
from workflows.evaluation.scores import Score, summary

HERE = "here"
NOT_COMPARABLE = ("train_examples", "test_examples")
"""Settings above 0 that leave out examples."""


@dataclass
class Figures:
    """A score on one split, in percent, or a published one."""

    best: float | None = None
    mean: float | None = None
    deviation: float | None = None
    single: float | None = None


@dataclass
class Row:
    """A model beside others on one task and metric."""

    task: str
    metric: str
    model: str
    size: str
    """`base` or `large`; "" for our own."""
    runs: int | None
    source: str
    dev: Figures = field(default_factory=Figures)
    test: Figures = field(default_factory=Figures)
    note: str = ""
    """Why it is not comparable."""


def beside(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return our rows and those that are published, by task and metric; none for tasks of which nothing is published."""
    found: list[Row] = []
    for task in dict.fromkeys(score.task for score in scores):
        theirs = _published(task)
        ours = _ours([score for score in scores if score.task == task], {row.metric for row in theirs})
        for metric in dict.fromkeys(row.metric for row in ours):
            found += (row for row in (*ours, *theirs) if row.metric == metric)
    return [asdict(row) for row in found]


def _ours(scores: Sequence[Score], metrics: set[str]) -> list[Row]:
    rows: dict[tuple[str, str], Row] = {}
    for one in summary(scores):
        first = next(s for s in scores if (s.model_id, s.metric, s.split) == (one.model_id, one.metric, one.split))
        replaced = [part.strip() for part in str(first.hyperparameters.get("splits", "")).split(";")]
        # `test: dev.json`: what is scored is the published dev.
        dev_is_test = any(part.startswith("test:") and not _is_part(part, "test:") for part in replaced)
        if one.metric not in metrics or (dev_is_test and one.split == "dev"):
            continue
        row = rows.setdefault(
            (one.metric, one.model_id), Row(one.task, one.metric, one.model_id, "", one.seeds, HERE, note=_why(first, replaced))
        )
        deviation = None if one.deviation is None else 100 * one.deviation
        setattr(row, "dev" if dev_is_test else one.split, Figures(100 * one.best, 100 * one.mean, deviation))
    return list(rows.values())


def _is_part(note: str, split: str) -> bool:
    """Return whether a split is a part of another: `train: 90% of dev.tsv`."""
    return note.startswith(split) and "% of " in note


def _why(score: Score, replaced: Sequence[str]) -> str:
    """Return why a score is not comparable with published ones; "" if it is."""
    reasons = [note for note in replaced if _is_part(note, "train:") or _is_part(note, "test:")]
    limits = {name: score.hyperparameters.get(name) for name in NOT_COMPARABLE}
    reasons += [f"at most {limit:,} {name.replace('_', ' ')}" for name, limit in limits.items() if limit]
    return ", ".join(reasons)


def _published(task: str) -> list[Row]:
    rows: dict[tuple[str, str], Row] = {}
    for one in published.rows(task):
        source = published.SOURCES[one.source]
        row = rows.setdefault(
            (one.metric, one.model), Row(task, one.metric, one.model, one.size, one.runs, f"{source.title}, {source.url}")
        )
        setattr(row, one.split, Figures(one.best, one.mean, None, one.single))
    return list(rows.values())


HEADER = ("task", "metric", "model", "runs", "dev best", "mean", "single", "test best", "mean", "single", "source")


def cells(
    rows: Sequence[Mapping[str, Any]], size: str = "all", say: Callable[..., str] = str.format
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table below `HEADER`: our own and the published ones of a size, or of all.

    Args:
        say: translates a text and fills it in.
    """
    before = ("", "")
    for row in rows:
        if row["source"] != HERE and size not in ("all", row["size"]):
            continue
        names = (say(row["task"]), say(row["metric"].replace("_", " ")))
        model = row["model"] + (" *" if row["note"] else "")
        runs = say("several") if row["runs"] is None else str(row["runs"])
        shown = names if names != before else ("", "")
        source = say("here") if row["source"] == HERE else row["source"]
        yield (*shown, model, runs, *_figures(row, "dev"), *_figures(row, "test"), source)
        before = names


def _figures(row: Mapping[str, Any], split: str) -> tuple[str, str, str]:
    figures, digits = row[split], 1 if row["source"] == HERE else 2
    deviation = "" if figures["deviation"] is None else f" ±{figures['deviation']:.1f}"
    best, mean, single = (_percent(figures[name], digits) for name in ("best", "mean", "single"))
    return best, mean + deviation, single


def _percent(value: float | None, digits: int) -> str:
    """Return a figure with the digits of its source, at most so many, and one at least: 77.8, 81.37."""
    text = "" if value is None else f"{value:.{digits}f}"
    return text[:-1] if digits == 2 and text.endswith("0") else text


def notes(rows: Sequence[Mapping[str, Any]], say: Callable[..., str] = str.format) -> list[str]:
    """Return sentences that a reader needs to compare the rows. `say` translates a text and fills it in."""
    found = [say("Published figures: best and mean of so many runs, or the single figure that is reported; in percent.")]
    reasons = dict.fromkeys((row["task"], row["note"]) for row in rows if row["note"])
    found += [say("* {task} is not comparable: {reason}.", task=task, reason=reason) for task, reason in reasons]
    if any(row["task"] == "peoples_daily_ner" for row in rows):
        found.append(say("Published figures of People's Daily are of other copies of it."))
    return found


def table(rows: Sequence[Mapping[str, Any]], size: str = "all") -> str:
    """Format the rows as plain text for a terminal; "" if nothing is published of any task."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return ""
    view = Table(*HEADER[:3], box=box.SIMPLE_HEAD, pad_edge=False)
    for column in HEADER[3:-1]:
        view.add_column(column, justify="right")
    view.add_column(HEADER[-1])
    for row in cells(rows, size):
        view.add_row(*row[:-1], row[-1].split(", http")[0])
    page = io.StringIO()
    Console(file=page, width=200, color_system=None, markup=False, highlight=False).print(view)
    return "\n".join([*(line.rstrip() for line in page.getvalue().split("\n") if line.strip()), *notes(rows)])
