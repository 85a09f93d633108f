"""The chain as Dagster assets: one asset a stage, its body a call of the stage.

Stages decide for themselves what is done (by manifest), so Dagster holds order, lineage, schedules and its pages, and no logic.
`nezha-pipe run` executes the assets in this process, without a server. `dagster dev -m workflows.definitions` serves the same.
"""

import time
from collections.abc import Callable
from typing import Any

import dagster as dg

from pipeline.engine.stages import Finished
from workflows.chain import Chain

Tell = Callable[[str, Finished, float], None]
"""Told of each step when it is through: its name, the finished stage, seconds."""


def nobody(name: str, done: Finished, seconds: float) -> None:
    """Tell nobody."""


def definitions(chain: Chain, tell: Tell = nobody) -> dg.Definitions:
    """One asset for each step of the chain, and a job over all of them."""
    assets = [_asset(chain, name, step, tell) for name, step in chain.steps().items()]
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("retrain", selection=dg.AssetSelection.all())])


def _asset(chain: Chain, name: str, step: Callable[[], Finished], tell: Tell) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=chain.upstream(name), group_name=chain.recipe.name.replace("-", "_"))
    def run_stage() -> dg.MaterializeResult[Any]:
        started = time.monotonic()
        done = step()
        tell(name, done, time.monotonic() - started)
        metadata: dict[str, Any] = {"url": done.url, "ran": done.fresh, "files": len(done.manifest["files"])}
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(done.digest))

    return run_stage


def execute(chain: Chain, tell: Tell = nobody) -> None:
    """Materialise every asset of the chain in this process. Errors of a stage come out as the stage raised them."""
    job = definitions(chain, tell).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}) as instance:
        # Its log of events is for its own pages; what a person wants to read, `tell` and the stages' reports say.
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        try:
            job.execute_in_process(instance=instance, run_config=quiet)
        except dg.DagsterExecutionInterruptedError:  # Dagster's name for Ctrl-C
            raise KeyboardInterrupt from None
