"""A job of a few steps that do nothing, recorded in a history: `python -m tests.histories FOLDER TIMES`, as `run` records."""

import sys
import time

import dagster as dg

from workflows.orchestration.history import History

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
STEPS = 4


def trivial() -> dg.JobDefinition:
    """Return a job that makes a chain of assets."""

    def asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"step_{number}", deps=[f"step_{number - 1}"] if number else [])
        def step() -> dg.MaterializeResult[object]:
            return dg.MaterializeResult(metadata={"number": number})

        return step

    assets = [asset(number) for number in range(STEPS)]
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("trivial", "*")]).resolve_job_def("trivial")


def sleeping() -> dg.JobDefinition:
    """Return a job that does not end by itself."""

    @dg.op
    def sleep() -> None:
        time.sleep(3600)

    @dg.job(executor_def=dg.in_process_executor)
    def sleeper() -> None:
        sleep()

    return sleeper


def record(output: str, times: int) -> None:
    """Execute the job, opening the history anew each time."""
    history = History.of(output)
    for _ in range(times):
        with history.opened() as instance, history.running() as run_id:
            assert trivial().execute_in_process(instance=instance, run_id=run_id, run_config=QUIET).success


if __name__ == "__main__":
    record(sys.argv[1], int(sys.argv[2]))
