"""The report of a run: one self-contained HTML page, and the same figures as JSON.

    report.html      what a meeting asks (meeting.html.jinja), then data in detail, tokens, shards, time, settings
    report.json      `workflows.report.figures.figures`: everything on the page
    model_card.md    the card of the export with the same figures (workflows/report/meeting/card.py)

The same inputs give the same bytes: the page needs no network and no script. Charts of data are HTML and CSS, which fit any
screen (charts.html.jinja); training curves are drawn by plots.py. All pages have the frame of base.html.jinja.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.engine.stages import FileEntry
from workflows.report.figures import ReportInputs, figures
from workflows.report.languages.texts import ENGLISH, Texts, texts
from workflows.report.meeting.card import CARD, card
from workflows.report.shard_figures import PAIR_COUNTS

if TYPE_CHECKING:
    import jinja2

PAGE, DATA = "report.html", "report.json"
TEMPLATE = "report.html.jinja"
TWINS = {"duplicate": "equal to", "near_duplicate": "similar to", "contained": "part of"}
"""By reason, what a dropped document is to the one beside it."""


def write_report(inputs: ReportInputs, output_folder: str) -> list[FileEntry]:
    """Write the page, its figures and the model card; return their entries for the stage's manifest."""
    content = figures(inputs)
    storage.write_bytes(storage.join(output_folder, PAGE), page(content).encode())
    storage.write_json(storage.join(output_folder, DATA), content)
    names = [PAGE, DATA]
    if text := card(content, texts(content["language"])):
        storage.write_bytes(storage.join(output_folder, CARD), text.encode())
        names.append(CARD)
    return [FileEntry.of(output_folder, name) for name in names]


def page(content: Mapping[str, Any]) -> str:
    """Render the page. All text is escaped, except our own plots and diffs."""
    import markupsafe

    t = texts(content["language"])
    plots = {name: markupsafe.Markup(svg) for name, svg in draw_plots(content, t).items()}
    template = environment(t.language).get_template(TEMPLATE)
    return str(template.render(content, plots=plots, pair_counts=PAIR_COUNTS, twins=TWINS))


@functools.cache
def environment(language: str = "en") -> "jinja2.Environment":
    """Return the environment of the templates in a language, with their filters."""
    import jinja2

    from workflows.evaluation import beside
    from workflows.report.diffs import difference, visible

    t = texts(language)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (resources.files("workflows.report") / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "megabytes": megabytes,
        "duration": t.duration,
        "interval": interval,
        "short": short,
        "signed": signed,
    }
    environment.filters |= {"width": width, "display_name": t.name, "phrase": t.phrase, "visible": visible}
    environment.filters |= {"headings": headings, "spoken": functools.partial(spoken, t=t)}
    environment.filters |= {
        "beside_cells": functools.partial(beside.cells, say=t),
        "beside_notes": functools.partial(beside.notes, say=t),
    }
    environment.globals |= {"difference": difference, "beside_header": beside.HEADER, "t": t}
    return environment


def draw_plots(content: Mapping[str, Any], t: Texts = ENGLISH) -> dict[str, str]:
    """Return the plots of training and scores by name, as SVG; empty if nothing was trained."""
    training = content["training"]
    if not (training["steps"] or training["validation_loss"] or content["scores"]):
        return {}
    from workflows.report import plots

    starts, step = training["phase_starts"], t("step")

    def of_sources(by_source: Mapping[str, Any]) -> dict[str, Any]:
        """Return the curves of validation; with a single source, "all" is the same curve."""
        shown = {source: points for source, points in by_source.items() if source != "all" or len(by_source) != 2}
        return {t("validation {source}", source=t(source) if source == "all" else source): shown[source] for source in shown}

    loss, accuracy = of_sources(training["validation_loss"]), of_sources(training["validation_accuracy"])
    lines = {
        "loss": ({t("training"): training["loss"], **loss}, "loss", "{:g}"),
        "masked_accuracy": ({t("training"): training["masked_accuracy"], **accuracy}, "accuracy", "{:.0%}"),
        "learning_rate": ({t("learning rate"): training["learning_rate"]}, "rate", "{:g}"),
        "tokens_per_second": ({t("tokens per second"): training["tokens_per_second"]}, "speed", "{:,.0f}"),
    }
    labelled = {name: content["captions"][name] for name in (*lines, "scores")}
    drawn = {
        name: plots.curves(curves, prefix, phase_starts=starts, form=form, step=step, label=labelled[name])
        for name, (curves, prefix, form) in lines.items()
    }
    return {**drawn, "scores": plots.scores(content["scores"], content["score_values"], label=labelled["scores"], words=t.name)}


def headings(body: str) -> list[tuple[str, str]]:
    """Return the ids and titles of a page's sections; titles are already escaped."""
    from markupsafe import Markup

    return [(name, Markup(title)) for name, title in re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', str(body))]


def spoken(labels: Iterable[str], fractions: Iterable[float], t: Texts = ENGLISH) -> str:
    """Return what is read out instead of a chart: `news 80.0%; laws 20.0%`. Parts that are empty are left out."""
    parts = (f"{label} {percent(fraction)}" for label, fraction in zip(labels, fractions, strict=True) if fraction)
    return t("; ").join(parts)


def number(value: float | None, digits: int = 0) -> str:
    """`1234567` -> `1,234,567`; None -> a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def signed(value: int) -> str:
    """`1234` -> `+1,234`; `-5` -> `−5`; 0 -> `0`."""
    return f"{value:+,}".replace("-", "−") if value else "0"


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


def interval(bounds: Sequence[float], signs: bool = False) -> str:
    """`(0.858, 0.883)` -> `0.858–0.883`; of a difference, with signs: `+0.004 … +0.022`."""
    low, high = bounds
    return f"{low:+.3f} … {high:+.3f}" if signs else f"{low:.3f}–{high:.3f}"
