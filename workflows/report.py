"""The report of a run: one HTML page that needs nothing else, and the same figures as JSON.

    report.html    what was run, what became of the documents, shards, training, scores, time, whose text it is
    report.json    `workflows.figures.figures`, everything that the page shows

The same inputs give the same bytes: no date of its own, no link to anything outside.
"""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from pipeline import storage
from pipeline.stages import FileEntry
from workflows.captions import words
from workflows.figures import ReportInputs, figures

PAGE, DATA = "report.html", "report.json"


def write_report(inputs: ReportInputs, output_folder: str) -> list[FileEntry]:
    """Write both files; entries for the stage's manifest come back."""
    content = figures(inputs)
    storage.write_bytes(storage.join(output_folder, PAGE), page(content).encode())
    storage.write_json(storage.join(output_folder, DATA), content)
    return [FileEntry.of(output_folder, name) for name in (PAGE, DATA)]


def page(content: Mapping[str, Any]) -> str:
    """The page of these figures. Everything from outside is escaped; only our own plots enter as markup."""
    import jinja2
    import markupsafe

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "percent": percent, "duration": duration, "words": words}
    template = environment.from_string((resources.files("workflows") / "report.html.jinja").read_text(encoding="utf-8"))
    plots = {name: markupsafe.Markup(svg) for name, svg in drawn(content).items()}
    return template.render(content, plots=plots)


def drawn(content: Mapping[str, Any]) -> dict[str, str]:
    """The plots by name, as SVG; empty where there is nothing to draw."""
    from workflows import plots

    training = content["training"]
    starts = training["phase_starts"]
    lengths = content["document_lengths"]
    # One source and "all" are the same curve.
    loss, accuracy = (
        {f"validation {source}": points for source, points in by_source.items() if source != "all" or len(by_source) != 2}
        for by_source in (training["validation_loss"], training["validation_accuracy"])
    )
    return {
        "funnel": plots.funnel([row for row in content["funnel"] if row["source"] != "all"], content["reasons"]),
        "document_lengths": plots.histogram(lengths["bins"], lengths["counts"], "documents", "characters, at least"),
        "row_lengths": plots.curves(content["row_lengths"], "rows", form="{:.0%}", xlabel="pieces, at most"),
        "loss": plots.curves({"training": training["loss"], **loss}, "loss", phase_starts=starts),
        "masked_accuracy": plots.curves(
            {"training": training["masked_accuracy"], **accuracy}, "accuracy", phase_starts=starts, form="{:.0%}"
        ),
        "learning_rate": plots.curves({"learning rate": training["learning_rate"]}, "rate", phase_starts=starts),
        "tokens_per_second": plots.curves(
            {"pieces a second": training["tokens_per_second"]}, "speed", phase_starts=starts, form="{:,.0f}"
        ),
        "scores": plots.scores(content["scores"], content["score_values"]),
    }


def number(value: float | None, digits: int = 0) -> str:
    """`1234567` -> `1,234,567`; nothing known -> a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """`0.1503` -> `15.0%`."""
    return "–" if value is None else f"{value:.{digits}%}"


def duration(seconds: float) -> str:
    """`0.42` -> `0.4 s`; `75` -> `1 min 15 s`; `7300` -> `2 h 1 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
