"""torch.compile: one kernel for what would be many, from code that is made once and kept.

    compiled(network, "auto", device)      on a GPU with Triton True; on a processor False: if it helps there was not measured

Compiled are the parts that see tokens one by one: linear layers with their activation, dropout, residual and LayerNorm. Blocks
share their code. How many tokens there are is a variable in it, so batches of any shape use the same; attention has kernels of
its own, and what it needs to know of lengths would be compiled anew for each batch. Code is kept in
~/.cache/nezha-pipe/torchinductor (or TORCHINDUCTOR_CACHE_DIR): a run that is started again does not wait for it.
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

TORCHS_OWN = os.path.join(tempfile.gettempdir(), "torchinductor_")
"""Where torch keeps its code by itself, and sets the variable to: a place that is emptied when a machine starts."""
log = logging.getLogger(__name__)


def compiled(network: nn.Module, setting: Literal["auto", "on", "off"], device: torch.device) -> bool:
    """Let parts of a network compile themselves at their first call; names and weights stay. Says whether they will.

    `RecipeError` when it is to be `on` where something needed is missing.
    """
    missing = lacking(device)
    if setting == "on" and missing:
        raise RecipeError(f'training.compile = "on" needs {missing} on this machine; install it, or set compile = "off"')
    if setting == "off" or missing or (setting == "auto" and device.type != "cuda"):
        return False
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nezha-pipe" / "torchinductor"
    kept = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")
    if not kept or kept.startswith(TORCHS_OWN):
        kept = os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    for part in network.modules():
        if isinstance(part, Embeddings | Dense | Residual | Transform):
            part.compile(dynamic=True)
    log.info("torch.compile is on; its code is kept in %s", kept)
    return True


def lacking(device: torch.device) -> str | None:
    """What torch.compile would need and does not find: a C++ compiler, on GPUs Triton and a C compiler."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "the package triton"
        return None if _command("CC", "cc", "gcc", "clang") else "a C compiler (CC, or gcc)"
    return None if _command("CXX", "c++", "g++", "clang++") else "a C++ compiler (CXX, or g++)"


def _command(variable: str, *names: str) -> str | None:
    given = os.environ.get(variable)
    return shutil.which(given) if given else next(filter(None, map(shutil.which, names)), None)
