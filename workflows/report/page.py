"""The report of a run: one HTML page that needs nothing else, and the same figures as JSON.

    report.html    from raw to kept, sources, what was changed, copies, tokens, masks, training, scores, time, settings
    report.json    `workflows.report.figures.figures`, everything that the page shows

The same inputs give the same bytes: no date of its own, no link to anything outside. Pictures of data are HTML and CSS, which
fit any screen (charts.html.jinja); curves of training are drawn by plots.py.
"""

import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.engine.stages import FileEntry
from workflows.report.display_names import words
from workflows.report.figures import ReportInputs, figures
from workflows.report.shard_figures import PAIR_COUNTS

if TYPE_CHECKING:
    import jinja2

PAGE, DATA = "report.html", "report.json"
TEMPLATE = "report.html.jinja"


def write_report(inputs: ReportInputs, output_folder: str) -> list[FileEntry]:
    """Write both files; entries for the stage's manifest come back."""
    content = figures(inputs)
    storage.write_bytes(storage.join(output_folder, PAGE), page(content).encode())
    storage.write_json(storage.join(output_folder, DATA), content)
    return [FileEntry.of(output_folder, name) for name in (PAGE, DATA)]


def page(content: Mapping[str, Any]) -> str:
    """The page of these figures. Everything from outside is escaped; only our own plots and marks enter as markup."""
    import markupsafe

    plots = {name: markupsafe.Markup(svg) for name, svg in drawn(content).items()}
    return str(environment().get_template(TEMPLATE).render(content, plots=plots, pair_counts=PAIR_COUNTS))


@functools.cache
def environment() -> "jinja2.Environment":
    """The templates of this folder and what they call."""
    import jinja2

    from workflows.report.diffs import difference, visible

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (resources.files("workflows.report") / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "width": width, "duration": duration, "words": words}
    environment.filters |= {"short": short, "megabytes": megabytes, "visible": visible, "headings": headings}
    environment.globals["difference"] = difference
    return environment


def drawn(content: Mapping[str, Any]) -> dict[str, str]:
    """The plots of training and scores by name, as SVG; none where nothing was trained."""
    training = content["training"]
    if not (training["steps"] or training["validation_loss"] or content["scores"]):
        return {}
    from workflows.report import plots

    starts = training["phase_starts"]
    # One source and "all" are the same curve.
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
            {"tokens a second": training["tokens_per_second"]}, "speed", phase_starts=starts, form="{:,.0f}"
        ),
        "scores": plots.scores(content["scores"], content["score_values"]),
    }


def headings(body: str) -> list[tuple[str, str]]:
    """The ids and titles of a page's sections; titles are markup already."""
    from markupsafe import Markup

    return [(name, Markup(title)) for name, title in re.findall(r'<h2 id="([\w-]+)">(.*?)</h2>', str(body))]


def number(value: float | None, digits: int = 0) -> str:
    """`1234567` -> `1,234,567`; nothing known -> a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """`0.1503` -> `15.0%`."""
    return "–" if value is None else f"{value:.{digits}%}"


def width(share: float) -> str:
    """A share as a length of CSS, never outside of its bar: `0.1503` -> `15.03%`."""
    return f"{100 * min(max(share, 0), 1):.2f}%"


def short(value: int) -> str:
    """A power of two under a small bar: `64` -> `64`, `4096` -> `4k`, `1048576` -> `1M`."""
    return f"{value >> 20}M" if value >= 1 << 20 else f"{value >> 10}k" if value >= 1 << 10 else str(value)


def megabytes(value: float) -> str:
    """`4321987` -> `4.32`; nothing -> nothing."""
    return f"{value / 1e6:,.2f}" if value else ""


def duration(seconds: float) -> str:
    """`0.42` -> `0.4 s`; `75` -> `1 min 15 s`; `7300` -> `2 h 1 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
