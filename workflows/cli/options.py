"""Options that several commands share."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from workflows.preparing import URL

Command = TypeVar("Command", bound=Callable[..., Any])


def recipe_options(command: Command) -> Command:
    """Add the argument RECIPE and the option --set."""
    setting = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a setting, e.g. encoder.hidden_size=256 or phase.0.steps=50; repeatable.",
    )
    return click.argument("recipe", default="tiny")(setting(command))


class FiniteRange(click.FloatRange):
    """Numbers in a range; nan, which is in none and which click lets through, and inf are refused."""

    def convert(self, value: Any, option: click.Parameter | None, context: click.Context | None) -> float:
        number = float(super().convert(value, option, context))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", option, context)
        return number


def not_empty(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Refuse an empty place, as `--output "$OUT"` gives without the variable: it would be the current folder."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("is empty; name a place, or . for this folder", context, option)
    return value


def output_option(default: str | None = None) -> Callable[[Command], Command]:
    """Return a decorator that adds --output; the option is required unless it has a default."""
    text = "Folder for the results: a path or any fsspec URL (s3://bucket/run)."
    return click.option(
        "--output",
        default=default,
        show_default=True,
        type=URL,
        help=text,
        required=default is None,
        callback=not_empty,
    )


recheck_option = click.option(
    "--recheck",
    is_flag=True,
    help="Read all input files again to see whether their content has changed, even if their times and sizes have not.",
)
reuse_option = click.option(
    "--reuse/--no-reuse",
    default=True,
    show_default=True,
    help="Take from earlier stages in --output what has not changed, or clean and tokenise all of a changed source again.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
workers_option = click.option("--workers", type=click.IntRange(1), default=None, metavar="N", help="Number of processes.")
