"""Helpers of the commands: build the chain of a recipe and run its steps behind a progress display."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.engine.execution import Execution
    from pipeline.engine.stages import Finished
    from workflows.chain import Chain, OnFinish
    from workflows.recipe import Recipe


def build_chain(recipe: str, settings: Sequence[str], output: str | None, checked: bool = False) -> "Chain":
    """Return the chain of a recipe; its results go to runs/<recipe> unless `output` is given. `checked`: as for `Chain`."""
    from workflows import recipe as recipes
    from workflows.chain import Chain

    loaded = recipes.load(recipe, settings)
    return Chain(loaded, output or f"runs/{loaded.name}", checked=checked)


def local_workers(recipe: "Recipe") -> int:
    """Return how many processes prepare data and evaluate here: as many as train, unless those are on other machines."""
    from pipeline.engine.execution import cpus

    return min(recipe.cluster.max_workers, cpus())


def run_steps(names: list[str], execution: "Execution", run: Callable[["Execution", "OnFinish"], None]) -> list[str]:
    """Show the progress of steps while `run` runs them, and return the names of those that were not finished before."""
    from workflows.progress import Display

    fresh = []
    with Display(names) as display:

        def on_finish(name: str, stage: "Finished", seconds: float) -> None:
            display.finish(name, stage, seconds)
            if stage.fresh:
                fresh.append(name)

        run(replace(execution, report=display.report), on_finish)
    return fresh
