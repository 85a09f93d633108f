"""Plots of training and scores, as SVG inside an HTML page. They take the colours of the page, light or dark.

matplotlib draws with placeholder colours that are then replaced by CSS: `#000001` by `currentColor`, `#000101` by
`var(--series-1)`. Text stays text (svg.fonttype none), so that the browser's fonts draw Chinese. The same figures give the same
bytes.
"""

import html
import io
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from workflows.evaluation.scores import UNTRAINED
from workflows.report.display_names import display_name

Points = Sequence[tuple[float, float]]
TEXT, GRID, GAP = "#000001", "#000002", "#000003"
SERIES = tuple(f"#0001{number:02x}" for number in range(1, 9))
MARKERS, HATCHES = "osD^vPX*", ("", "///", "...", "|||", "\\\\\\", "---", "xxx", "ooo")
"""Of each series, so that they can be told apart without colours."""
_CSS = {
    TEXT: "currentColor",
    GRID: "var(--grid)",
    GAP: "var(--card)",
    **{c: f"var(--series-{n})" for n, c in enumerate(SERIES, start=1)},
}
_LIGHT = {TEXT: "#23272b", GRID: "#dcdfe3", GAP: "#ffffff"} | dict(
    zip(SERIES, ("#31688e", "#a9601f", "#3c7a51", "#a65a8a", "#7a6f2a", "#b4544c", "#4f70b3", "#6c7178"), strict=True)
)
"""The colours of the light page (style.html.jinja)."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nezha-pipe",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": GRID,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
SCORED = ("model_id", "task", "metric", "split")
"""What a score is of."""
WIDTH, HEIGHT = 7.6, 2.9
"""Inches; the page scales a plot to its width."""


def curves(
    lines: Mapping[str, Points],
    prefix: str,
    *,
    phase_starts: Sequence[int] = (),
    form: str = "{:g}",
    step: str = "step",
    label: str = "",
) -> str:
    """Plot lines over steps. The first is plain if it has many points; the others have marks.

    Args:
        prefix: of the ids in the SVG.
        step: the word below the axis.
        label: what is read out instead of the picture.
    """
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        for number, (name, points) in enumerate(lines.items()):
            xs, ys = zip(*points, strict=True)
            place = number % len(SERIES)
            marker = MARKERS[place] if number or len(points) <= 30 else None
            axes.plot(xs, ys, color=SERIES[place], label=name, marker=marker, markevery=-(-len(points) // 30))
        for start in phase_starts:
            axes.axvline(start, color=TEXT, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.6)
        axes.set_xlabel(step)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: form.format(value)))
        if len(lines) > 1:
            _legend(axes)
        return _svg(figure, prefix, label)


def scores(
    rows: Sequence[Mapping[str, Any]],
    values: Sequence[Mapping[str, Any]],
    untrained: Collection[str] = (UNTRAINED,),
    *,
    label: str = "",
    words: Callable[[str], str] = display_name,
) -> str:
    """Plot the mean test score per task, metric and model, with the standard deviation as a line and every seed as a dot.

    Pretrained models have the colours of their curves if curves are drawn in the same order.
    """
    rows = [row for row in rows if row["split"] == "test"]
    if not rows:
        return ""
    scored = list(dict.fromkeys((row["task"], row["metric"]) for row in rows))
    models = list(dict.fromkeys(row["model_id"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        width = min(0.36, 0.8 / len(models))
        trained = [model for model in models if model not in untrained]
        for number, model in enumerate(models):
            shown = [row for row in rows if row["model_id"] == model]
            places = [scored.index((row["task"], row["metric"])) + (number - (len(models) - 1) / 2) * width for row in shown]
            heights, spread = [row["mean"] for row in shown], [row["deviation"] or 0.0 for row in shown]
            place = trained.index(model) % len(SERIES) if model in trained else len(SERIES) - 1
            name, colour, hatch = words(model) if model in untrained else model, SERIES[place], HATCHES[place]
            axes.bar(places, heights, width * 0.88, label=name, color=colour, hatch=hatch, edgecolor=GAP, linewidth=0)
            axes.errorbar(places, heights, spread, fmt="none", ecolor=TEXT, elinewidth=1.1, capsize=4)
            for middle, row in zip(places, shown, strict=True):
                seeds = [v["value"] for v in values if all(v[name] == row[name] for name in SCORED)]
                axes.plot([middle + width * 0.27] * len(seeds), seeds, ".", color=TEXT, markersize=4, alpha=0.7)
                top = row["mean"] + (row["deviation"] or 0.0)
                axes.annotate(f"{row['mean']:.3f}", (middle, top), (0, 5), textcoords="offset points", ha="center")
        axes.set_xticks(range(len(scored)), [f"{words(task)}\n{words(metric)}" for task, metric in scored])
        axes.set_xlim(-0.6, len(scored) - 0.4)
        axes.set_ylim(0, 1.1)
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        axes.grid(visible=False, axis="x")
        _legend(axes)
        return _svg(figure, "scores", label)


def _axes(height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _legend(axes: Axes) -> None:
    """Put the legend above the plot, in one row if it fits."""
    labels = axes.get_legend_handles_labels()[1]
    columns = len(labels) if sum(len(label) + 5 for label in labels) < 90 else 4
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, handlelength=1.2, columnspacing=1.4
    )


def alone(svg: str) -> str:
    """Turn a plot of a page into an SVG file for documents: on white, with fixed colours."""
    colours = {_CSS[name]: colour for name, colour in _LIGHT.items()}
    svg = re.sub("|".join(map(re.escape, colours)), lambda match: colours[match[0]], svg)
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return svg.replace("<svg ", f'<svg {names} style="background: white" ', 1)


def _svg(figure: Figure, name: str, label: str = "") -> str:
    """Return the figure as an `<svg>` element. Its ids get the prefix `name`, to be unique on a page with several plots."""
    page = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with warnings.catch_warnings():
        # matplotlib's font lacks Chinese characters, the browser's has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(page, format="svg", transparent=True, metadata=metadata)
    svg = page.getvalue()
    svg = svg[svg.index("<svg") :]
    spoken = f' aria-label="{html.escape(label)}"' if label else ""
    opening = re.compile(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>')
    svg = opening.sub(lambda match: f'<svg viewBox="{match[1]}" role="img"{spoken}>', svg, count=1)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", svg)
    return re.sub("|".join(_CSS), lambda match: _CSS[match[0]], svg)
