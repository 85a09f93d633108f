"""The training command. It needs torch, numpy, pyarrow and safetensors, nothing else.

    python -m model.training run.json
    torchrun --nproc-per-node 8 -m model.training run.json

`run.json` is a `PretrainRun` (model/training/run.py).
"""

import logging
import sys
from collections.abc import Sequence

from model.training import workers
from model.training.health import watchdog
from model.training.loop import train
from model.training.run import PretrainRun
from model.training.stopping import SIGTERM_CODE, StopReason
from pipeline import storage
from pipeline.credentials import formatter, hide_in_this_process
from pipeline.errors import UserError


def main(arguments: Sequence[str]) -> int:
    """Train what the one argument, the URL of a run.json, describes. Returns the exit code: 0, 2 on errors, 143 on SIGTERM."""
    if len(arguments) != 1:
        print("Error: usage: python -m model.training RUN.json", file=sys.stderr)
        return 2
    hide_in_this_process()
    try:
        run = PretrainRun.from_json(storage.read_json(arguments[0]))
        with workers.process_group():
            first = workers.rank() == 0
            handler = logging.StreamHandler(sys.stdout)
            handler.setFormatter(formatter("%(message)s"))
            logging.basicConfig(level=logging.INFO if first else logging.ERROR, handlers=[handler])
            result = train(run, on_hang=watchdog.end_process)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if first:
        print(f"{'done' if result.finished else 'stopped'} at step {result.step} of {result.steps}: {result.last_checkpoint}")
    return SIGTERM_CODE if result.stopped_by is StopReason.SIGTERM else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
