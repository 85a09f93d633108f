"""torch.compile: fused kernels for parts of the network, compiled once and cached.

    compile_network(network, "auto", device)      on a GPU with Triton True; on a CPU False: whether it helps was not measured

Compiled are the parts that treat each token alone: linear layers with their activation, dropout, residual and LayerNorm. Blocks
share their code. The number of tokens is a variable in it, so batches of any shape use the same code. Attention is not
compiled: it has kernels of its own, and as it depends on lengths it would be recompiled for each batch. Code is kept in
~/.cache/nezha-pipe/torchinductor (or TORCHINDUCTOR_CACHE_DIR), so a run that is started again does not wait for it.
"""

import importlib.util
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from model.encoder import Dense, Embeddings, Residual
from model.heads import Transform
from pipeline.errors import RecipeError

TORCH_DEFAULT = os.path.join(tempfile.gettempdir(), "torchinductor_")
"""Start of torch's own cache folder, to which it sets the variable: it is lost when the machine restarts."""
log = logging.getLogger(__name__)


def compile_network(network: nn.Module, setting: Literal["auto", "on", "off"], device: torch.device) -> bool:
    """Make parts of a network compile at their first call; names and weights stay. Returns whether they will.

    Raises: `RecipeError` when the setting is `on` and something needed is missing.
    """
    missing = missing_compiler(device)
    if setting == "on" and missing:
        raise RecipeError(f'training.compile = "on" needs {missing} on this machine; install it, or set compile = "off"')
    if setting == "off" or missing or (setting == "auto" and device.type != "cuda"):
        return False
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nezha-pipe" / "torchinductor"
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")
    if not folder or folder.startswith(TORCH_DEFAULT):
        folder = os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    for part in network.modules():
        if isinstance(part, Embeddings | Dense | Residual | Transform):
            part.compile(dynamic=True, options={"deterministic": True})
    log.info("torch.compile is on; its code is kept in %s", folder)
    return True


def missing_compiler(device: torch.device) -> str | None:
    """What torch.compile needs and cannot find: a C++ compiler, on GPUs Triton and a C compiler. None: all is there."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "the package triton"
        return None if _command("CC", "cc", "gcc", "clang") else "a C compiler (CC, or gcc)"
    return None if _command("CXX", "c++", "g++", "clang++") else "a C++ compiler (CXX, or g++)"


def _command(variable: str, *names: str) -> str | None:
    given = os.environ.get(variable)
    return shutil.which(given) if given else next(filter(None, map(shutil.which, names)), None)
