"""Helpers of the commands: build the chain of a recipe and run its steps behind a progress display."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.engine.execution import Execution
    from pipeline.engine.stages import Finished
    from workflows.chain import Chain

OnFinish = Callable[[str, "Finished", float], None]
"""Called after each step with its name, its stage and the seconds it took."""


def build_chain(recipe: str, settings: Sequence[str], output: str | None) -> "Chain":
    """Return the chain of a recipe; its results go to runs/<recipe> unless `output` is given."""
    from workflows import recipe as recipes
    from workflows.chain import Chain

    loaded = recipes.load(recipe, settings)
    return Chain(loaded, output or f"runs/{loaded.name}")


def run_steps(names: list[str], execution: "Execution", run: Callable[["Execution", OnFinish], None]) -> list[str]:
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


def call_steps(chain: "Chain", names: list[str], execution: "Execution", on_finish: OnFinish) -> None:
    """Run steps one after another, without Dagster."""
    for name in names:
        started = time.monotonic()
        stage = chain.run(name, execution)
        on_finish(name, stage, time.monotonic() - started)
