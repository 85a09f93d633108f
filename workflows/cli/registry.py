"""The commands of the registry: models, compare, promote, rollback."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline import storage
from workflows.cli.console import echo, echo_json, echo_url
from workflows.cli.errors import UserMistake
from workflows.cli.options import json_option
from workflows.preparing import URL

if TYPE_CHECKING:
    from workflows.registry.config import GateConfig
    from workflows.registry.entries import Entry

REFUSED = 1
"""Exit code of `promote` for a model that does not pass."""

registry_option = click.option(
    "--registry",
    envvar="NEZHA_PIPE_REGISTRY",
    default="registry",
    show_default=True,
    type=URL,
    help="Folder of the registry: a path or any fsspec URL; default also by the variable NEZHA_PIPE_REGISTRY.",
)
scores_option = click.option(
    "--scores",
    default="",
    type=URL,
    help="Folder that `nezha-pipe evaluate` wrote for the model. Default: the scores beside an export of `nezha-pipe run`.",
)
name_option = click.option(
    "--name", default="", metavar="NAME", help="Name of the model. Default: that of its recipe or folder."
)
recipe_option = click.option(
    "--recipe", default="", metavar="RECIPE", help="Recipe whose [gate] is used. Default: its defaults."
)
set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting, e.g. gate.margin=0.005; repeatable."
)


@click.command()
@click.argument("model", required=False, default="")
@click.option("--add", default="", type=URL, help="Register an exported model with its scores, and print its name.")
@scores_option
@name_option
@click.option("--champion", is_flag=True, help="Print the folder of the champion only.")
@click.option("--history", "as_history", is_flag=True, help="List every promotion, refusal and rollback.")
@registry_option
@json_option
def models(
    model: str, add: str, scores: str, name: str, champion: bool, as_history: bool, registry: str, as_json: bool
) -> None:
    """List registered models, or show one: its data, licences, parents, cost and scores.

    \b
    Examples:
      nezha-pipe models
      nezha-pipe models --add runs/tiny/export-5d0c1b2d4e3f
      nezha-pipe models --champion
      nezha-pipe models tiny-5d0c
    """
    from workflows.registry import entries, history, tables

    registry = storage.absolute(registry)
    if sum(map(bool, (model, add, champion, as_history))) > 1:
        raise UserMistake("give one of a model, --add, --champion and --history")
    if add:
        entry = _registered(registry, add, scores, name)
        _show(as_json, {"name": entry.name, **entry.content}, entry.name)
    elif as_history:
        found = history.records(registry)
        _show(as_json, [dict(record.content) for record in found], tables.history(found) if found else "no history yet")
    elif champion:
        last = history.last(registry)
        if last is None or not last.champion:
            raise UserMistake(f"{registry}: no model was promoted here yet")
        _show_url(as_json, last.content["champion"])
    elif model:
        entry = entries.find(registry, model)
        _show(as_json, {"name": entry.name, **entry.content, "registered": entry.registered}, tables.model(entry))
    else:
        last = history.last(registry)
        known = [entries.read(registry, one) for one in entries.names(registry)]
        now = last.champion if last else ""
        listed = [{"name": one.name, "url": one.url, "champion": one.name == now, **one.registered} for one in known]
        _show(as_json, listed, tables.models(known, now) if known else f"{registry}: no models are registered here yet")


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@registry_option
@recipe_option
@set_option
@json_option
def compare(first: str, second: str, registry: str, recipe: str, settings: Sequence[str], as_json: bool) -> None:
    """Compare two models on every task: scores, their difference with its interval, and what was not the same.

    A and B are names of registered models (`champion` is one), exported models of `nezha-pipe run`, or folders that
    `nezha-pipe evaluate` wrote. Nothing is recorded.

    \b
    Examples:
      nezha-pipe compare wide champion
      nezha-pipe compare scores-a scores-b
    """
    from workflows.registry import tables
    from workflows.registry.comparison import compared

    registry = storage.absolute(registry)
    pair = _known(registry, first), _known(registry, second)
    rows = compared(*pair, _gate(recipe, settings))
    names = pair[0].name, pair[1].name
    _show(as_json, {"models": list(names), "tasks": [row.to_json() for row in rows]}, tables.comparison(rows, names))


@click.command()
@click.argument("model")
@scores_option
@name_option
@recipe_option
@set_option
@click.option("--override", default="", metavar="REASON", help="Promote a model that does not pass, and record why.")
@registry_option
@json_option
def promote(
    model: str,
    scores: str,
    name: str,
    recipe: str,
    settings: Sequence[str],
    override: str,
    registry: str,
    as_json: bool,
) -> None:
    """Compare MODEL with the champion; it becomes the champion if it is better, and nowhere worse than the margin.

    MODEL is the name of a registered model, or an exported model, which is registered first. The verdict is recorded in any
    case. Exit code 1: it does not pass; 2: it could not be judged.

    \b
    Examples:
      nezha-pipe promote runs/tiny/export-5d0c1b2d4e3f --recipe tiny
      nezha-pipe promote wide --set gate.margin=0.005 --set gate.use=commercial
      nezha-pipe promote wide --override 'half the size, agreed with search'
    """
    from workflows.registry import entries, promotion, tables
    from workflows.registry.gate import Verdict

    registry = storage.absolute(registry)
    config = _gate(recipe, settings)
    entry = _registered(registry, model, scores, name) if _is_folder(model) else entries.find(registry, model)

    def say(verdict: Verdict) -> None:
        if not as_json:
            echo(tables.verdict(verdict, entry.name))

    record = promotion.promote(registry, entry, config, override.strip(), say)
    reasons = "; ".join(record.content["verdict"]["reasons"])
    event = record.content["event"]
    text = f"{entry.name}: refused: {reasons}" if event == "refused" else f"{entry.name} is the champion"
    _show(as_json, record.content, text + (f", although: {reasons}" if event == "overridden" else ""))
    if event == "refused":
        click.get_current_context().exit(REFUSED)


@click.command()
@click.option("--to", default="", metavar="NAME", help="Which earlier champion. Default: the one before.")
@click.option("--reason", default="", metavar="REASON", help="Why; kept in the history.")
@registry_option
@json_option
def rollback(to: str, reason: str, registry: str, as_json: bool) -> None:
    """Make an earlier champion the champion again, without judging it. A second rollback undoes the first.

    \b
    Examples:
      nezha-pipe rollback --reason 'slower in production'
      nezha-pipe rollback --to tiny-5d0c
    """
    from workflows.registry import promotion

    record = promotion.rollback(storage.absolute(registry), to, reason)
    text = f"{record.champion} is the champion again, after {record.content['previous']}"
    _show(as_json, record.content, text)


def _is_folder(model: str) -> bool:
    """Return whether a model is named by its place rather than by its name."""
    return "/" in model or ":" in model or storage.exists(model)


def _registered(registry: str, model: str, scores: str, name: str) -> "Entry":
    from workflows.evaluation import encoders
    from workflows.registry import entries

    entry, files = entries.collect(encoders.absolute(model), storage.absolute(scores) if scores else "", name)
    return entries.register(registry, entry, files)


def _known(registry: str, model: str) -> "Entry":
    """Return a registered model, the champion, or the entry that a folder would have."""
    from workflows.evaluation import encoders
    from workflows.registry import entries, history

    if model == "champion":
        last = history.last(registry)
        if last is None or not last.champion:
            raise UserMistake(f"{registry}: no model was promoted here yet")
        return entries.read(registry, last.champion)
    return entries.collect(encoders.absolute(model))[0] if _is_folder(model) else entries.find(registry, model)


def _gate(recipe: str, settings: Sequence[str]) -> "GateConfig":
    """Return `[gate]` of a recipe, or the defaults, with `settings` applied."""
    from workflows import recipe as recipes
    from workflows import toml_settings
    from workflows.registry.config import GateConfig, GateSettings

    if recipe:
        return recipes.load(recipe, settings).gate
    content: dict[str, Any] = {}
    for setting in settings:
        toml_settings.change(content, setting)
    return toml_settings.build(GateSettings, content, "--set").gate if content else GateConfig()


def _show(as_json: bool, value: Any, text: str) -> None:
    if as_json:
        echo_json(value)
    else:
        echo(text)


def _show_url(as_json: bool, champion: Any) -> None:
    if as_json:
        echo_json(champion)
    else:
        echo_url(champion["url"])
