"""What Dagster's page shows: the chains of one or several recipes.

`nezha-pipe ui` serves it, and so does `dagster dev -m workflows.definitions`.

Environment variables: NEZHA_PIPE_RECIPE (default `tiny`; several are separated by `:`), NEZHA_PIPE_OUTPUT (default
`runs/<name of the recipe>`; for one recipe) and NEZHA_PIPE_WORKERS (default 1).

A recipe that cannot be loaded is one asset that says why, and the others are there.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath

import dagster as dg

from pipeline.credentials import hide
from pipeline.engine.execution import SERIAL, Execution
from pipeline.errors import UserError
from workflows import recipe as recipes
from workflows.assets import definitions, job_name
from workflows.chain import Chain
from workflows.orchestration.history import History
from workflows.scheduling.automation import Job, automation

RECIPES, OUTPUT, WORKERS = "NEZHA_PIPE_RECIPE", "NEZHA_PIPE_OUTPUT", "NEZHA_PIPE_WORKERS"


def of_recipes(
    names: Sequence[str], output: str = "", execution: Execution = SERIAL, history: History | None = None
) -> dg.Definitions:
    """Return the definitions of several recipes, each with a group of assets and a job, and the schedules of a history.

    Args:
        names: paths, or names of recipes that come with the program.
        output: the output folder of the only recipe; default: runs/<name of the recipe>.
    """
    found: dict[str, dg.Definitions] = {}
    jobs: dict[str, Job] = {}
    for name in dict.fromkeys(names):
        try:
            loaded = recipes.load(name)
            key = job_name(loaded)
            if key in found:
                raise UserError(f"another recipe is named {loaded.name!r} too; rename one")
            found[key] = definitions(Chain(loaded, output or f"runs/{loaded.name}", checked=True), execution)
            jobs[os.path.abspath(name) if name.endswith(".toml") else name] = Job(key, loaded)
        except UserError as error:
            key = re.sub("[^A-Za-z0-9_]", "_", PurePath(name).stem)
            found[f"{len(found)} {name}"] = dg.Definitions(assets=[_failed(key, len(found), f"{name}: {error}")])
    scheduled = [automation(history, jobs)] if history else []
    return dg.Definitions.merge(*found.values(), *scheduled)


def _failed(group: str, number: int, error: str) -> dg.AssetSpec:
    """Return an asset in the place of a recipe: nothing can be run, and its description says why."""
    key = [f"recipe_{number}_{group}", "cannot_be_loaded"]
    return dg.AssetSpec(key, description=" ".join(hide(error).split()), group_name=f"cannot_be_loaded_{group}")


_names = [name for name in os.environ.get(RECIPES, "tiny").split(os.pathsep) if name]

_home = os.environ.get("DAGSTER_HOME")
defs = of_recipes(
    _names,
    os.environ.get(OUTPUT, ""),
    Execution(workers=int(os.environ.get(WORKERS, "1"))),
    History(Path(_home)) if _home else None,
)
"""The definitions that Dagster loads."""
