"""The results of an ablation: a table for the terminal, an HTML page, and Markdown for a document.

    results.json           all figures, with curves and single scores
    results.md             tables, with results_loss.svg and results_accuracy.svg
    results.html           one page with all curves

task    variant   metric    seeds   mean  deviation  difference  its deviation
ocnli   small     accuracy      3  0.431      0.006           -              -
ocnli   absolute  accuracy      3  0.425      0.009      -0.006          0.011
ocnli   none      accuracy      3  0.380      0.010      -0.051          0.012

With several pretrainings, the table has them and their deviation, a 95 % interval of each difference, and whether it holds.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline import storage
from workflows.report.languages.texts import ENGLISH, Texts, texts

if TYPE_CHECKING:
    from workflows.report.plots import Points

RESULTS = "results"
TEMPLATE = "comparison.html.jinja"
CURVE_ROWS = 8
"""Number of steps in the tables of loss and accuracy."""
HEADER = ("task", "variant", "metric", "seeds", "mean", "deviation", "difference", "its deviation")
HEADER_OF_SEVERAL = (
    *("task", "variant", "metric", "runs", "mean", "fine-tuning ±", "pretraining ±", "difference", "95 % interval", "holds"),
)
CURVES = {"loss": ("loss", "{:g}"), "validation": ("validation_loss", "{:g}"), "accuracy": ("validation_accuracy", "{:.0%}")}
"""Plots by name: the curve of each variant, and the format of its numbers."""
TITLES = {"loss": "Training loss", "validation": "Validation loss", "accuracy": "Masked accuracy in validation"}


def several(content: Mapping[str, Any]) -> bool:
    """Return whether variants were pretrained several times."""
    return bool(content.get("pretrainings", 1) > 1)


def header(content: Mapping[str, Any]) -> tuple[str, ...]:
    return HEADER_OF_SEVERAL if several(content) else HEADER


def cells(content: Mapping[str, Any], t: Texts = ENGLISH) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of scores, below its header."""
    for row in content["scores"]:
        names = (t(row["task"]), t(row["variant"]), t.name(row["metric"]))
        mean, deviation, difference = _number(row["mean"]), _number(row["deviation"]), _number(row["difference"], "+.3f")
        if not several(content):
            yield (*names, str(row["seeds"]), mean, deviation, difference, _number(row["difference_deviation"]))
            continue
        low_high = row["interval"]
        interval = "-" if low_high is None else t("{low:+.3f} to {high:+.3f}", low=low_high[0], high=low_high[1])
        holds = {True: t("yes"), False: t("no"), None: "-"}[row["holds"]]
        runs = f"{row['pretrainings']} × {row['seeds']}"
        yield (*names, runs, mean, deviation, _number(row["pretraining_deviation"]), difference, interval, holds)


def trained(content: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of pretraining: variant, changed settings, parameters, steps, best validation."""
    for row in content["variants"]:
        best = row["best"] or {"step": None, "loss": None, "masked_accuracy": None}
        numbers = (_number(best["loss"]), _number(best["masked_accuracy"], ".1%"), _number(best["step"], ","))
        yield (row["variant"], ", ".join(row["settings"]), f"{row['parameters']:,}", f"{row['steps']:,}", *numbers)


def points(content: Mapping[str, Any], kind: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table of curves: evenly spaced steps up to the last, and the value of each variant."""
    curves = [dict(curves[kind]) for curves in content["curves"].values()]
    steps = sorted({step for curve in curves for step in curve})
    chosen = [steps[-(-len(steps) * (n + 1) // CURVE_ROWS) - 1] for n in range(CURVE_ROWS)] if steps else []
    form = ".1%" if kind == "validation_accuracy" else ".3f"
    for step in dict.fromkeys(chosen):
        yield (f"{step:,}", *(_number(curve.get(step), form) for curve in curves))


def notes(content: Mapping[str, Any], t: Texts = ENGLISH) -> list[str]:
    """Return sentences that a reader needs to interpret the numbers."""
    sizes = {row["task"]: row["n"] for row in content["scores"]}
    examples = [f"{name} {size:,}" for name, size in sizes.items()]
    base, *others = ({one for one in row["settings"] if one.startswith("masking.")} for row in content["variants"])
    masks = [row["variant"] for row, own in zip(content["variants"][1:], others, strict=True) if own != base]
    limit = content["evaluation"]["train_examples"]
    sentences = []
    if sizes:
        trained_on = t("at most {n:,} training examples per task", n=limit) if limit else t("all training examples")
        sentences += [
            t(
                "Fine-tuning: {epochs} epochs, {trained_on}. Test examples: {examples}.",
                epochs=content["evaluation"]["epochs"],
                trained_on=trained_on,
                examples=t.listed(examples),
            ),
            *_variances(content, t),
            *_diverged(content, t),
            t(
                "The test examples are a sample too: an accuracy on them has a standard error of up to {error:.3f}.",
                error=max(0.5 / row["n"] ** 0.5 for row in content["scores"]),
            ),
        ]
    if masks:
        differing = t.listed(masks)
        sentences.append(t("Masks of {names} differ, in validation too: losses are not comparable.", names=differing))
    return sentences


def _variances(content: Mapping[str, Any], t: Texts) -> list[str]:
    """Return what the deviations and intervals of the table are of."""
    if not several(content):
        return [t("Deviations are over fine-tuning seeds (n - 1), with one pretraining each; differences are paired by seed.")]
    return [
        t(
            "Runs: pretrainings × fine-tuning seeds. The deviation of fine-tuning is that of seeds within a pretraining, that"
            " of pretraining that of the means of {n} pretrainings on the same data (n - 1).",
            n=content["pretrainings"],
        ),
        t(
            "Intervals are over pretrainings, which are paired by their seeds (Student's t); that of a network without"
            " pretraining is Welch's. A difference holds if its interval does not contain 0; of 20 differences that are none,"
            " about one will."
        ),
    ]


def table(content: Mapping[str, Any]) -> str:
    """Format the scores, or without scores the pretraining, as plain text for a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = list(cells(content)) or list(trained(content))
    names = header(content) if content["scores"] else TRAINED
    view = Table(*names[:3], box=box.SIMPLE_HEAD, pad_edge=False)
    for column in names[3:]:
        view.add_column(column, justify="right")
    for row in rows:
        view.add_row(*row)
    page = io.StringIO()
    Console(file=page, width=160, color_system=None, markup=False, highlight=False).print(view)
    return "\n".join([*(line.rstrip() for line in page.getvalue().split("\n") if line.strip()), *_diverged(content)])


def _diverged(content: Mapping[str, Any], t: Texts = ENGLISH) -> list[str]:
    """Return a sentence for each variant and task of which fine-tuning diverged."""
    runs: dict[tuple[str, str], list[str]] = {}
    for one in content["values"]:
        if one.get("diverged"):
            of = runs.setdefault((one["variant"], one["task"]), [])
            of += {f"{one['pretraining']}/{one['seed']}"} - {*of}
    return [
        t(
            "{variant} on {task}: fine-tuning diverged (the loss or a weight was no longer a number) in {n} of its runs"
            " (pretraining/seed {runs}); they count in the mean.",
            variant=variant,
            task=t(task),
            n=len(of),
            runs=t.listed(of),
        )
        for (variant, task), of in runs.items()
    ]


TRAINED = ("variant", "changes", "parameters", "steps", "best validation loss", "masked accuracy", "at step")


def markdown(content: Mapping[str, Any]) -> str:
    """Return Markdown with tables, notes and links to the plots."""
    names = tuple(content["curves"])
    parts = [*_table(header(content), cells(content), text=3)] if content["scores"] else []
    parts += [line for note in notes(content) for line in (note, "")]
    parts += _table(TRAINED, trained(content), text=2)
    for name, kind, title in (
        ("loss", "validation_loss", "Validation loss"),
        ("accuracy", "validation_accuracy", "Masked accuracy in validation"),
    ):
        if rows := list(points(content, kind)):
            parts += [f"![{title} over steps]({RESULTS}_{name}.svg)", "", f"{title}:", ""]
            parts += _table(("step", *names), iter(rows), text=0)
    return "\n".join(parts).rstrip() + "\n"


def _table(names: Sequence[str], rows: Iterator[tuple[str, ...]], text: int) -> list[str]:
    """Return a Markdown table; its first `text` columns are left-aligned, the others right-aligned."""
    line = "|" + "|".join("---" if column < text else "---:" for column in range(len(names))) + "|"
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (tuple(names), *rows)]
    return [body[0], line, *body[1:], ""]


def write(content: Mapping[str, Any], root: str) -> str:
    """Write results.json, .md, .html and the plots to `root`; return the URL of the page."""
    from workflows.report import plots

    t = texts(content.get("language", "en"))
    drawn = {}
    for name, (kind, form) in CURVES.items():
        curves = {variant: curves[kind] for variant, curves in content["curves"].items()}
        drawn[name] = plots.curves(curves, name, form=form, step=t("step"), label=_ends(t, t(TITLES[name]), curves, form))
    rows = [{**row, "model_id": row["variant"], "split": "test"} for row in content["scores"]]
    values = [{**value, "model_id": value["variant"]} for value in content["values"]]
    drawn["scores"] = plots.scores(
        rows,
        values,
        {row["variant"] for row in content["scores"]} - set(content["curves"]),
        label=t("The figures of the table below as bars, with their deviations and single runs."),
        words=t.name,
    )
    storage.write_json(storage.join(root, f"{RESULTS}.json"), content)
    storage.write_bytes(storage.join(root, f"{RESULTS}.md"), markdown(content).encode())
    for name, plot in (("loss", drawn["validation"]), ("accuracy", drawn["accuracy"])):
        if plot:
            storage.write_bytes(storage.join(root, f"{RESULTS}_{name}.svg"), plots.alone(plot).encode())
    url = storage.join(root, f"{RESULTS}.html")
    storage.write_bytes(url, page(content, drawn).encode())
    return url


def page(content: Mapping[str, Any], plots_by_name: Mapping[str, str]) -> str:
    """Render the page. All text is escaped, except our own plots."""
    import markupsafe

    from workflows.report.page import environment

    t = texts(content.get("language", "en"))
    plots = {name: markupsafe.Markup(svg) for name, svg in plots_by_name.items()}
    tables = {"header": header(content), "rows": cells(content, t), "trained_header": TRAINED, "trained": trained(content)}
    template = environment(t.language).get_template(TEMPLATE)
    return str(template.render(content, **tables, titles=TITLES, plots=plots, notes=notes(content, t)))


def _ends(t: Texts, what: str, curves: "Mapping[str, Points]", form: str) -> str:
    """Return the last value of each curve: what is read out instead of the plot."""
    ends = (
        t("{name} {value} at step {step:,}", name=name, value=form.format(points[-1][1]), step=points[-1][0])
        for name, points in curves.items()
        if points
    )
    return t("{what}: {ends}.", what=what, ends=t("; ").join(ends))


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)
