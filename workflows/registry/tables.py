"""Entries, comparisons, verdicts and the history as text for a terminal.

task           metric     tiny-5d0c           wide-77ab           difference  interval          without contaminated
chnsenticorp   accuracy   0.871 0.858..0.883  0.858 0.845..0.871  +0.013      +0.004..+0.022    12 of 1,200: +0.012
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workflows.registry.comparison import Comparison
from workflows.registry.entries import Entry
from workflows.registry.gate import Verdict
from workflows.registry.history import Record
from workflows.registry.predictions import SPLIT


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format columns, left-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    view = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        view.add_row(*row)
    page = io.StringIO()
    Console(file=page, width=240, color_system=None, markup=False, highlight=False, emoji=False).print(view)
    return "\n".join(line.rstrip() for line in page.getvalue().split("\n") if line.strip())


def models(entries: Sequence[Entry], champion: str) -> str:
    """Return a row for each entry."""
    rows = []
    for entry in entries:
        scores = ", ".join(f"{row.task} {row.mean:.3f}" for row in entry.summary if row.split == SPLIT)
        at = str(entry.registered.get("at", ""))[:16].replace("T", " ")
        rows.append((entry.name + (" *" if entry.name == champion else ""), at, scores, entry.url))
    return table(("model", "registered", "test scores", "folder"), rows) + ("\n* the champion" if champion else "")


def model(entry: Entry) -> str:
    """Return what an entry says, without its recipe and files."""
    content, seen = entry.content, entry.contaminated
    files = content["model"]["files"]
    cost = content["cost"]
    lines = [
        entry.name,
        f"folder: {entry.url}, {len(files)} files, {sum(file['bytes'] for file in files):,} bytes",
        f"registered: {entry.registered.get('at', 'not yet')}, by nezha-pipe {entry.registered.get('version', '')}"
        f" {str(entry.registered.get('revision', ''))[:12]}".rstrip(),
        *(
            f"data: {one['source']}, {one['documents']:,} documents, {one['characters']:,} characters, digest {one['digest']}"
            for one in content["data"]
        ),
        *(f"licence: {source}: {licence}" for source, licence in content["licences"].items()),
        *("parent: " + ", ".join(f"{key} {value}" for key, value in one.items()) for one in content["parents"]),
        f"cost: {_cost(cost)}",
        "contaminated texts: " + ("unknown" if seen is None else f"{len(seen):,}"),
    ]
    rows = [
        (one.task, one.metric, str(len(one.seeds)), f"{len(one.keys):,}", f"{one.mean:.4f}") for one in entry.scores.values()
    ]
    return "\n".join(lines) + "\n" + table(("task", "metric", "seeds", "examples", "test score"), rows)


def _cost(cost: Mapping[str, Any]) -> str:
    if not cost:
        return "not recorded"
    gpus = f", {cost['gpus']} GPUs" if cost.get("gpus") else ""
    workers = f", {cost['workers']} workers{gpus} for pretraining" if cost.get("workers") else ""
    return f"{cost['seconds']:,.0f} s in {len(cost['stages'])} stages{workers}"


def comparison(rows: Sequence[Comparison], names: tuple[str, str]) -> str:
    """Return a row for each task and metric, and what was not the same."""
    cells = [
        (
            row.task,
            row.metric,
            _score(row, 0),
            _score(row, 1),
            "-" if row.difference is None else f"{row.difference.value:+.4f}",
            _range(row.interval, "+.4f"),
            _clean(row),
        )
        for row in rows
    ]
    header = ("task", "metric", names[0], names[1], "difference", "interval", "without contaminated")
    notes = [f"{row.task} {row.metric}: {note}" for row in rows for note in row.differs]
    return "\n".join((table(header, cells), *dict.fromkeys(notes)))


def verdict(found: Verdict, name: str) -> str:
    """Return licences first, then the tasks and the verdict."""
    lines = list(_licences(found))
    if found.champion:
        cells = []
        for task in found.tasks:
            row = task.comparison
            cells.append(
                (
                    row.task,
                    row.metric,
                    *(_mean(row, which) for which in (0, 1)),
                    "-" if row.difference is None else f"{row.difference.value:+.4f}",
                    _range(row.interval, "+.4f"),
                    f"{task.margin:g}",
                    task.verdict,
                    _clean(row),
                )
            )
        header = ("task", "metric", name, found.champion, "difference", "interval", "margin", "verdict", "without contaminated")
        lines.append(table(header, cells))
    else:
        lines.append("no champion yet: nothing to compare with")
    return "\n".join(lines)


def _licences(found: Verdict) -> Iterator[str]:
    for one in found.licences:
        says = "forbids" if one["forbids"] else "does not say whether it allows"
        yield f"licence of {one['source']} {says} {found.config.use} use: {one['licence']}"


def history(records: Sequence[Record]) -> str:
    """Return a row for each record, the last one last."""
    rows = []
    for record in records:
        content = record.content
        verdict = content.get("verdict") or {}
        word = verdict["verdict"] if verdict.get("tasks") else "-"  # a rollback, or nothing to compare with
        at = str(content.get("at", ""))[:16].replace("T", " ")
        reason = str(content.get("reason") or "")
        rows.append((str(record.number), at, str(content["event"]), str(content["model"]), word, record.champion, reason))
    return table(("number", "at", "event", "model", "verdict", "champion then", "reason"), rows)


def _mean(row: Comparison, which: int) -> str:
    """`0.8711 (5)`: the mean, and of how many seeds."""
    mean = row.means[which]
    return "-" if mean is None else f"{mean:.4f} ({row.seeds[which]})"


def _score(row: Comparison, which: int) -> str:
    interval = row.intervals[which]
    return _mean(row, which) + ("" if interval is None else f" {_range(interval, '.3f')}")


def _range(interval: tuple[float, float] | None, form: str) -> str:
    return "-" if interval is None else f"{interval[0]:{form}}..{interval[1]:{form}}"


def _clean(row: Comparison) -> str:
    """`12 of 1,200 left out: 0.8711 0.8590 +0.0121`"""
    if row.contaminated is None:
        return "unknown"
    if row.clean is None or row.clean.difference is None:
        return f"{row.contaminated:,} of {row.examples[0]:,}"
    scores = " ".join(f"{mean:.4f}" for mean in row.clean.means if mean is not None)
    return f"{row.contaminated:,} of {row.examples[0]:,} left out: {scores} {row.clean.difference.value:+.4f}"
