"""The chain as Dagster assets: one asset per step, which runs the step.

A stage knows by its manifest whether it is finished, and the chain decides what a failure ends, so Dagster adds order,
lineage, schedules and its web pages, but no logic. `nezha-pipe run` executes the assets in this process, without a server;
`nezha-pipe ui` serves them (workflows/definitions.py). Both write the same history (workflows/orchestration/history.py).
"""

import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import NoReturn

import dagster as dg

from pipeline.credentials import hidden_errors
from pipeline.engine.execution import SERIAL, Execution, silent
from pipeline.redaction import redact
from workflows.chain import Chain, OnFinish, ignore
from workflows.checks.outcome import Outcome
from workflows.checks.table import ChecksFailed, checks_of
from workflows.orchestration.history import OUTPUT_TAG, History, opened_or_empty
from workflows.orchestration.logs import log_of
from workflows.orchestration.metadata import metadata
from workflows.recipe import Recipe

OnFailure = Callable[[BaseException], None]
"""Called with what a step has raised. Dagster keeps its text only."""
SOURCE_TAG = "nezha-pipe/source"
TRIGGER = "NEZHA_PIPE_TRIGGER"
"""Environment variable of a run that a schedule started: its name and the number of the trigger, `tiny/3`."""


def nowhere(error: BaseException) -> None:
    """Do nothing when a step fails: Dagster skips those that need it."""


def job_name(recipe: Recipe) -> str:
    """Return a recipe's name for Dagster: of its job, of its group, and before the names of its assets."""
    return re.sub(r"[^A-Za-z0-9_]", lambda found: "_" if found[0].isascii() else f"{ord(found[0]):x}", recipe.name)


def definitions(
    chain: Chain, execution: Execution = SERIAL, on_finish: OnFinish = ignore, on_failure: OnFailure = nowhere
) -> dg.Definitions:
    """Return an asset for each step that leads to the report, with its checks, a job over all, and a job for each source.

    The job of a source has the steps of this source and what they need. All jobs run one step at a time in one process, as
    `nezha-pipe run` does: a step itself uses several processes, and the chain keeps in mind what has failed.
    """
    assets = {name: _asset(chain, name, execution, on_finish, on_failure) for name in chain.names()}
    recipe = job_name(chain.recipe)
    tags = {OUTPUT_TAG: redact(chain.root)}
    jobs = [dg.define_asset_job(recipe, selection=dg.AssetSelection.assets(*assets.values()), tags=tags)]
    for source in chain.recipe.source if len(chain.recipe.source) > 1 else ():
        own = [asset for name, asset in assets.items() if chain.steps[name].source == source.name]
        if own:
            selection = dg.AssetSelection.assets(*own).upstream()
            jobs.append(dg.define_asset_job(f"{recipe}__{source.name}", selection=selection, tags=tags))
    return dg.Definitions(assets=[*assets.values()], jobs=jobs, executor=dg.in_process_executor)


def _asset(chain: Chain, name: str, execution: Execution, on_finish: OnFinish, on_failure: OnFailure) -> dg.AssetsDefinition:
    recipe = job_name(chain.recipe)
    step = chain.steps[name]
    needs = [dg.AssetKey([recipe, needed]) for needed in step.needs]
    key = dg.AssetKey([recipe, name])
    specs = [dg.AssetCheckSpec(check.name, asset=key, blocking=True) for check in checks_of(step.kind)] if chain.checked else []
    tags, place = {SOURCE_TAG: step.source} if step.source else {}, {OUTPUT_TAG: redact(chain.root)}

    @dg.asset(key=key, deps=needs, group_name=recipe, kinds={step.kind}, check_specs=specs, tags=tags, metadata=place)
    def run_step(context) -> dg.MaterializeResult:  # type: ignore[type-arg, no-untyped-def]  # as Dagster knows them with checks
        started = time.monotonic()
        shown = execution if execution.report is not silent else replace(execution, report=log_of(context))
        with hidden_errors():  # Dagster stores them
            try:
                stage = chain.run(name, shown)
            except BaseException as error:
                on_failure(error)
                if not isinstance(error, ChecksFailed) or error.stage.name != name:  # of a step that this one needs
                    raise
                stage = error.stage
            seconds = time.monotonic() - started
            facts = metadata(stage, seconds)
        on_finish(name, stage, seconds)
        found = [_result(spec.name, chain.outcomes.get(name, {}).get(spec.name)) for spec in specs]
        return dg.MaterializeResult(metadata=facts, data_version=dg.DataVersion(stage.digest), check_results=found)

    return run_step


def _result(check: str, found: Outcome | None) -> dg.AssetCheckResult:
    """Return what Dagster records of a check. One that does not apply has passed."""
    if found is None:
        return dg.AssetCheckResult(passed=True, check_name=check, description="does not apply to this recipe")
    return dg.AssetCheckResult(
        passed=found.passed, check_name=check, description=redact(found.message), metadata=dict(found.figures)
    )


def execute(
    chain: Chain, execution: Execution = SERIAL, on_finish: OnFinish = ignore, *, history: History | None = None
) -> None:
    """Materialise every asset of the chain in this process. Errors of a stage are raised as they are, when all that does not
    need the stage is done.

    Args:
        history: where the run is recorded; None = nowhere.
    """
    failed: list[BaseException] = []
    job = definitions(chain, execution, on_finish, failed.append).resolve_job_def(job_name(chain.recipe))
    # Dagster's log repeats what the progress display shows.
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with ExitStack() as stack:
        instance = stack.enter_context(opened_or_empty(history, execution.report))
        run_id = stack.enter_context(history.running(chain.root)) if history and instance.is_persistent else None
        tags = {OUTPUT_TAG: redact(chain.root)}
        if trigger := os.environ.get(TRIGGER):
            tags["nezha-pipe/schedule"] = trigger
        try:
            done = job.execute_in_process(instance=instance, run_config=quiet, run_id=run_id, tags=tags, raise_on_error=False)
            if not done.success:
                _raise(chain, failed, done)
        except dg.DagsterExecutionInterruptedError:  # Dagster's name for Ctrl-C
            raise KeyboardInterrupt from None


def _raise(chain: Chain, failed: list[BaseException], done: dg.ExecuteInProcessResult) -> NoReturn:
    """Raise what ended a run: what the chain says of its steps, or what happened outside of them."""
    chain.raise_failed()
    if failed:
        raise failed[0]
    why = done.get_run_failure_event().job_failure_data.error
    if why and why.cls_name in ("KeyboardInterrupt", "DagsterExecutionInterruptedError"):
        raise KeyboardInterrupt
    raise RuntimeError(f"the run ended outside of its steps: {why.to_string() if why else 'Dagster does not say why'}")
