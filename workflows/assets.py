"""The chain as Dagster assets: one asset per step, which runs the step.

A stage knows by its manifest whether it is finished, so Dagster adds order, lineage, schedules and its web pages, but no logic.
`nezha-pipe run` executes the assets in this process, without a server; `dagster dev -m workflows.definitions` serves them.
"""

import time
from collections.abc import Callable
from typing import Any

import dagster as dg

from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import Finished
from workflows.chain import Chain

OnFinish = Callable[[str, Finished, float], None]
"""Called after each step with its name, its stage and the seconds it took."""


def ignore(name: str, stage: Finished, seconds: float) -> None:
    """Do nothing after a step."""


def definitions(chain: Chain, execution: Execution = SERIAL, on_finish: OnFinish = ignore) -> dg.Definitions:
    """Return one asset for each step that leads to the report, and a job over all of them."""
    assets = [_asset(chain, name, execution, on_finish) for name in chain.names()]
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("retrain", selection=dg.AssetSelection.all())])


def _asset(chain: Chain, name: str, execution: Execution, on_finish: OnFinish) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=chain.steps[name].needs, group_name=chain.recipe.name.replace("-", "_"))
    def run_step() -> dg.MaterializeResult[Any]:
        started = time.monotonic()
        stage = chain.run(name, execution)
        on_finish(name, stage, time.monotonic() - started)
        metadata: dict[str, Any] = {"url": stage.url, "ran": stage.fresh, "files": len(stage.manifest["files"])}
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(stage.digest))

    return run_step


def execute(chain: Chain, execution: Execution = SERIAL, on_finish: OnFinish = ignore) -> None:
    """Materialise every asset of the chain in this process. Errors of a stage are raised as they are."""
    job = definitions(chain, execution, on_finish).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}) as instance:
        # Dagster's log repeats what the progress display shows.
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        try:
            job.execute_in_process(instance=instance, run_config=quiet)
        except dg.DagsterExecutionInterruptedError:  # Dagster's name for Ctrl-C
            raise KeyboardInterrupt from None
