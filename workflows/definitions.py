"""What `dagster dev -m workflows.definitions` serves: the chain of one recipe.

Environment variables: NEZHA_PIPE_RECIPE (default `tiny`), NEZHA_PIPE_OUTPUT (default `runs/<name of the recipe>`) and
NEZHA_PIPE_WORKERS (default 1).
"""

import os

from pipeline.engine.execution import Execution
from workflows import recipe
from workflows.assets import definitions
from workflows.chain import Chain

_recipe = recipe.load(os.environ.get("NEZHA_PIPE_RECIPE", "tiny"))
_output = os.environ.get("NEZHA_PIPE_OUTPUT") or f"runs/{_recipe.name}"
_workers = int(os.environ.get("NEZHA_PIPE_WORKERS", "1"))

defs = definitions(Chain(_recipe, _output), Execution(workers=_workers))
"""The definitions that Dagster loads."""
