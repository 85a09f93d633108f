"""What `submit` sends: the command with its options, checked here as the command itself would check them, and the recipe."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cluster.config import ClusterConfig
from cluster.jobs.submission import Submission
from pipeline import storage
from pipeline.errors import RecipeError
from workflows.cli import data, evaluating, recipes, weights

COMMANDS: dict[str, click.Command] = {
    "pretrain": weights.pretrain,
    "prepare": data.prepare,
    "evaluate": evaluating.evaluate,
    "run": recipes.run,
}
PLACES = ("data", "inputs", "vocab", "beside")
"""Parameters of these commands that name what is read."""


@dataclass(frozen=True)
class Work:
    """A submission, and what else there is to know of it."""

    submission: Submission
    cluster: ClusterConfig
    places: Sequence[str]
    """What is read and written that is no URL: paths, which the machines of the cluster must share."""


def work(first: str, command: Sequence[str], settings: Sequence[str], output: str) -> Work:
    """Return what to submit.

    Args:
        first: the recipe, or the model to evaluate.
        command: name of the command, and its own options; empty for `run`.

    Raises: RecipeError for an invalid recipe, and for paths that mean nothing on another machine; click's errors for options
    that the command does not have.
    """
    name, *options = command or ["run"]
    if name not in COMMANDS:
        raise RecipeError(f"submit: no command {name!r}; after the recipe comes one of {', '.join(COMMANDS)}, then its options")
    made = _evaluation(first, settings) if name == "evaluate" else _of_recipe(name, first, settings)
    arguments = [name, *made.submission.arguments, "--output", output, *options]
    parameters, given = _parsed(name, arguments[1:])
    own_tasks = [one.strip() for one in (parameters.get("tasks") or "").split(",") if one.strip().endswith(".toml")]
    places = [output, *made.places, *own_tasks, *_flat(parameters.get(place) for place in PLACES)]
    if relative := [place for place in places if storage.is_local(place) and not storage.local_path(place).is_absolute()]:
        raise RecipeError(
            f"{', '.join(relative)}: a relative path means nothing on the cluster: give an absolute one, which its machines"
            " share, or a URL (s3://bucket/run)"
        )
    if name == "prepare" and "runner" not in given:
        arguments += ["--runner", "ray", "--runner-option", "address=auto"]
        arguments += [] if "workers" in given else ["--workers", str(made.cluster.max_workers)]
    elif name in ("pretrain", "run"):
        arguments += ["--set", "cluster.address=auto"]  # in a job, that is the cluster it runs on
    submission = replace(made.submission, command=name, arguments=arguments, output=storage.absolute(output))
    return Work(submission, made.cluster, [place for place in places if storage.is_local(place)])


def _of_recipe(name: str, recipe: str, settings: Sequence[str]) -> Work:
    """Return what follows from a recipe; a file becomes part of the package."""
    from workflows import recipe as recipe_files

    loaded = recipe_files.load(recipe, settings)
    if name in ("prepare", "run") and (missing := loaded.missing()):
        raise RecipeError(f"{recipe}: {missing}")
    files: Mapping[str, bytes] = {}
    if recipe.endswith(".toml"):
        files = {Path(recipe).name: Path(recipe).read_bytes()}
    arguments = [*(files or [recipe]), *(word for setting in settings for word in ("--set", setting))]
    identity = {table: content for table, content in recipe_files.as_dict(loaded).items() if table != "cluster"}
    return Work(Submission("", loaded.name, arguments, "", identity, files), loaded.cluster, loaded.places())


def _evaluation(model: str, settings: Sequence[str]) -> Work:
    """Return what follows from a model to evaluate."""
    if settings:
        raise RecipeError("--set changes a recipe, and evaluate takes a model: it has options instead")
    return Work(Submission("", storage.base_name(model), [model], "", model, {}), ClusterConfig(), [model])


def _parsed(name: str, arguments: Sequence[str]) -> tuple[dict[str, Any], set[str]]:
    """Return the parameters of a command, and the names of those that are given.

    Raises: click's errors, as the command does.
    """
    with COMMANDS[name].make_context(f"nezha-pipe {name}", list(arguments)) as context:
        given = {one for one in context.params if context.get_parameter_source(one) is not ParameterSource.DEFAULT}
        return context.params, given


def _flat(values: Iterable[Any]) -> list[str]:
    """The texts among values and in lists of them."""
    return [text for value in values for text in ([value] if isinstance(value, str) else value or ()) if text]
