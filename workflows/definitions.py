"""What `dagster dev -m workflows.definitions` loads: the chain of one recipe.

The recipe and the output folder come from the environment: NEZHA_PIPE_RECIPE (default `tiny`), NEZHA_PIPE_OUTPUT (default
`runs/<name of the recipe>`), NEZHA_PIPE_WORKERS (default 1).
"""

import os

from workflows import recipe
from workflows.assets import definitions
from workflows.chain import Chain

_recipe = recipe.load(os.environ.get("NEZHA_PIPE_RECIPE", "tiny"))
_output = os.environ.get("NEZHA_PIPE_OUTPUT") or f"runs/{_recipe.name}"

defs = definitions(Chain(_recipe, _output, workers=int(os.environ.get("NEZHA_PIPE_WORKERS", "1"))))
