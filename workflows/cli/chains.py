"""Helpers of the commands: build the chain of a recipe and run its steps behind a progress display."""

import time
from collections.abc import Callable, Sequence
from typing import Any


def build_chain(recipe: str, settings: Sequence[str], output: str | None, workers: int | None) -> Any:
    """Return the chain of a recipe; its results go to runs/<recipe> unless `output` is given."""
    from workflows import recipe as recipes
    from workflows.chain import Chain

    loaded = recipes.load(recipe, settings)
    return Chain(loaded, output or f"runs/{loaded.name}", workers=workers or loaded.cluster.workers)


def run_steps(chain: Any, steps: list[str], execute: Callable[..., None]) -> list[str]:
    """Run steps behind a progress display and return the names of those that were not finished before."""
    from workflows.progress import Display

    fresh = []
    with Display(steps) as display:
        chain.report = display.report

        def finished(name: str, done: Any, seconds: float) -> None:
            display.tell(name, done, seconds)
            if done.fresh:
                fresh.append(name)

        execute(chain, finished)
    return fresh


def call_steps(chain: Any, names: list[str], finished: Callable[..., None]) -> None:
    """Run steps one after another, without Dagster."""
    steps = chain.steps()
    for name in names:
        started = time.monotonic()
        done = steps[name]()
        finished(name, done, time.monotonic() - started)
