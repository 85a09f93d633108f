"""What the page of an asset shows of a finished stage. Numbers are drawn over the runs, so that a loss of text is seen at once.

metadata(stage)     {"summary": "1,024 examples, 65,536 tokens", "counts/train/rows": 1024, "folder": ..., "files": 3, ...}
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from pipeline import storage
from pipeline.engine.stages import Finished
from pipeline.errors import UserError
from pipeline.redaction import redact
from workflows.kinds import summary

PAGES = ("report.html",)
"""Pages in the folders of stages."""
_COUNTED = ("counts", "skipped", "dropped")
"""Facts of manifests that count something."""
_MOST = 60
"""Numbers of one asset."""


def metadata(stage: Finished, seconds: float) -> dict[str, Any]:
    """Return what Dagster records of a step that has run or was finished already.

    Args:
        seconds: how long the step took in this run.
    """
    names = [entry["name"] for entry in stage.manifest["files"]]
    shown: dict[str, Any] = {
        "summary": summary(stage),
        "folder": _place(stage.url),
        "ran": stage.fresh,
        "seconds": round(seconds, 3),
        "files": len(names),
        "bytes": sum(entry["bytes"] for entry in stage.manifest["files"]),
        **{name: _place(stage.file(name)) for name in PAGES if name in names},
        **dict(list(_numbers(stage.manifest))[:_MOST]),
    }
    if stage.kind == "scores":
        shown |= _scores(stage)
    if stage.kind == "checkpoint" and stage.fresh:  # drawing takes a second
        shown |= _training(stage)
    return shown


def _numbers(manifest: Mapping[str, Any]) -> Iterator[tuple[str, int | float]]:
    """Yield the numbers among the facts of a manifest that count something: `counts/news/kept`."""
    for name, fact in manifest.items():
        if name in _COUNTED:
            yield from _leaves(name, fact)
        elif name not in ("version", "sequence_length") and _is_number(fact):
            yield name, fact


def _leaves(path: str, fact: Any) -> Iterator[tuple[str, int | float]]:
    if isinstance(fact, Mapping):
        for name, inner in fact.items():
            yield from _leaves(f"{path}/{name}", inner)
    elif _is_number(fact):
        yield path, fact


def _is_number(fact: Any) -> bool:
    return isinstance(fact, int | float) and not isinstance(fact, bool)


def _place(url: str) -> Any:
    """Return a path to copy, or a link: from the page of a server, browsers open no files of this machine."""
    shown = redact(url)
    return dg.MetadataValue.path(shown) if storage.is_local(url) else dg.MetadataValue.url(shown)


def _scores(stage: Finished) -> dict[str, Any]:
    """Return the mean of each task and metric, for the pretrained model."""
    from workflows.evaluation.run import SCORES
    from workflows.evaluation.scores import UNTRAINED, read_scores, summary

    try:
        rows = summary(read_scores(stage.file(SCORES)))
    except UserError as error:  # what runs next reads the file too, and fails with this line
        return {"scores": str(error)}
    return {f"{row.task}/{row.metric}": float(row.mean) for row in rows if row.model_id != UNTRAINED and row.split == "test"}


def _training(stage: Finished) -> dict[str, Any]:
    """Return curves of the loss, as a picture inside Markdown."""
    from model.checkpoints.rows import read_metrics
    from workflows.report import plots
    from workflows.report.figures import training

    try:
        figures = training(read_metrics(stage.url))
    except UserError as error:
        return {"loss": str(error)}
    lines = {"training": figures["loss"], "validation": figures["validation_loss"].get("all", [])}
    if not (drawn := plots.curves(lines, "loss", phase_starts=figures["phase_starts"])):
        return {}
    picture = base64.b64encode(plots.alone(drawn).encode()).decode()
    return {"loss": dg.MetadataValue.md(f"![loss](data:image/svg+xml;base64,{picture})")}
