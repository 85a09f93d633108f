"""A run under its supervisor, as by `nezha-pipe pretrain`, whose workers note their steps:

    python -m benchmarks.chaos.driver supervise      the supervisor; input: the run and the cluster as JSON
    python -m benchmarks.chaos.driver                the driver that it starts

Workers, and the driver, are those of cluster/ but for these notes.
"""

import json
import sys

SUPERVISE = "supervise"


def supervise() -> None:
    from cluster import supervisor
    from cluster.config import ClusterConfig
    from model.training.run import PretrainRun
    from pipeline.errors import UserError

    supervisor.Driver.module = "benchmarks.chaos.driver"
    run, settings = json.load(sys.stdin)
    try:
        supervisor.pretrain(
            PretrainRun.from_json(run), ClusterConfig(**settings), lambda *words: print(*words, file=sys.stderr, flush=True)
        )
    except UserError as error:
        sys.exit(f"Error: {error}")


def drive() -> None:
    from benchmarks.chaos.worker import work
    from cluster import driver, worker

    worker.work = work  # what workers run; Ray sends them its name
    driver.main()


if __name__ == "__main__":
    supervise() if sys.argv[1:] == [SUPERVISE] else drive()
