"""The report of a run: one self-contained HTML page, and the same figures as JSON.

    report.html    records to documents, sources, changes, duplicates, tokens, masks, training, scores, time, settings
    report.json    `workflows.report.figures.figures`: everything on the page

The same inputs give the same bytes: the page has no date and no external links. Charts of data are HTML and CSS, which fit any
screen (charts.html.jinja); training curves are drawn by plots.py.
"""

import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.engine.stages import FileEntry
from workflows.report.display_names import display_name
from workflows.report.figures import ReportInputs, figures
from workflows.report.shard_figures import PAIR_COUNTS

if TYPE_CHECKING:
    import jinja2

PAGE, DATA = "report.html", "report.json"
TEMPLATE = "report.html.jinja"


def write_report(inputs: ReportInputs, output_folder: str) -> list[FileEntry]:
    """Write both files and return their entries for the stage's manifest."""
    content = figures(inputs)
    storage.write_bytes(storage.join(output_folder, PAGE), page(content).encode())
    storage.write_json(storage.join(output_folder, DATA), content)
    return [FileEntry.of(output_folder, name) for name in (PAGE, DATA)]


def page(content: Mapping[str, Any]) -> str:
    """Render the page. All text is escaped, except our own plots and diffs."""
    import markupsafe

    plots = {name: markupsafe.Markup(svg) for name, svg in draw_plots(content).items()}
    return str(environment().get_template(TEMPLATE).render(content, plots=plots, pair_counts=PAIR_COUNTS))


@functools.cache
def environment() -> "jinja2.Environment":
    """Return the environment of the templates, with their filters."""
    import jinja2

    from workflows.report.diffs import difference, visible

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (resources.files("workflows.report") / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "megabytes": megabytes, "duration": duration, "short": short}
    environment.filters |= {"width": width, "display_name": display_name, "visible": visible, "headings": headings}
    environment.globals["difference"] = difference
    return environment


def draw_plots(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the plots of training and scores by name, as SVG; empty if nothing was trained."""
    training = content["training"]
    if not (training["steps"] or training["validation_loss"] or content["scores"]):
        return {}
    from workflows.report import plots

    starts = training["phase_starts"]
    # With a single source, "all" is the same curve.
    loss, accuracy = (
        {f"validation {source}": points for source, points in by_source.items() if source != "all" or len(by_source) != 2}
        for by_source in (training["validation_loss"], training["validation_accuracy"])
    )
    return {
        "loss": plots.curves({"training": training["loss"], **loss}, "loss", phase_starts=starts),
        "masked_accuracy": plots.curves(
            {"training": training["masked_accuracy"], **accuracy}, "accuracy", phase_starts=starts, form="{:.0%}"
        ),
        "learning_rate": plots.curves({"learning rate": training["learning_rate"]}, "rate", phase_starts=starts),
        "tokens_per_second": plots.curves(
            {"tokens per second": training["tokens_per_second"]}, "speed", phase_starts=starts, form="{:,.0f}"
        ),
        "scores": plots.scores(content["scores"], content["score_values"]),
    }


def headings(body: str) -> list[tuple[str, str]]:
    """Return the ids and titles of a page's sections; titles are already escaped."""
    from markupsafe import Markup

    return [(name, Markup(title)) for name, title in re.findall(r'<h2 id="([\w-]+)">(.*?)</h2>', str(body))]


def number(value: float | None, digits: int = 0) -> str:
    """`1234567` -> `1,234,567`; None -> a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """`0.1503` -> `15.0%`."""
    return "–" if value is None else f"{value:.{digits}%}"


def width(fraction: float) -> str:
    """Format a fraction as a CSS length between 0 and 100 %: `0.1503` -> `15.03%`."""
    return f"{100 * min(max(fraction, 0), 1):.2f}%"


def short(value: int) -> str:
    """Format a power of two as a short label: `64` -> `64`, `4096` -> `4k`, `1048576` -> `1M`."""
    return f"{value >> 20}M" if value >= 1 << 20 else f"{value >> 10}k" if value >= 1 << 10 else str(value)


def megabytes(value: float) -> str:
    """`4321987` -> `4.32`; 0 -> an empty string."""
    return f"{value / 1e6:,.2f}" if value else ""


def duration(seconds: float) -> str:
    """`0.42` -> `0.4 s`; `75` -> `1 min 15 s`; `7300` -> `2 h 1 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
