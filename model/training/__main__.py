"""The training command. It needs torch, numpy, pyarrow and safetensors, nothing else.

    python -m model.training run.json
    torchrun --nproc-per-node 8 -m model.training run.json

`run.json` is a `PretrainRun` (model/training/run.py).
"""

import logging
import sys
from collections.abc import Sequence

from model.training import workers
from model.training.loop import train
from model.training.run import PretrainRun
from pipeline import storage
from pipeline.errors import UserError

STOPPED = 143
"""Exit code after SIGTERM (128 + 15): stopped in good order, but not finished."""


def main(arguments: Sequence[str]) -> int:
    """Train what the one argument, the URL of a run.json, describes. Returns the exit code: 0, 2 for an error, or `STOPPED`."""
    if len(arguments) != 1:
        print("Error: usage: python -m model.training RUN.json", file=sys.stderr)
        return 2
    try:
        run = PretrainRun.from_json(storage.read_json(arguments[0]))
        with workers.process_group():
            first = workers.rank() == 0
            logging.basicConfig(level=logging.INFO if first else logging.ERROR, format="%(message)s", stream=sys.stdout)
            result = train(run)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if first:
        print(f"{'done' if result.finished else 'stopped'} at step {result.step} of {result.steps}: {result.last_checkpoint}")
    return 0 if result.finished else STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
