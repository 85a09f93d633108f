"""The choice of an implementation of attention. Each different choice is logged once:

attention: banded (cpu, float32, released form): the fastest here
"""

import importlib.util
import logging
from functools import lru_cache

import torch

from model.config import EncoderConfig
from pipeline.errors import RecipeError

SHORT = 128
"""Sequence length up to which `eager` is the fastest on CPUs: its table is small, and a few large matrix products beat many
small ones. Measured at hidden sizes of 128 to 768 (docs/attention.md)."""
IMPLEMENTATIONS = ("auto", "eager", "sdpa", "banded", "triton")
log = logging.getLogger(__name__)


@lru_cache(maxsize=256)  # called in every layer
def choose(
    requested: str,
    device: torch.device,
    dtype: torch.dtype,
    config: EncoderConfig,
    *,
    unclipped: bool,
    short: bool = False,
    gaps: bool = False,
) -> str:
    """Return the implementation to use, given device, type and positions; `auto` is the fastest that supports them.

    `unclipped`: no offset in the batch is clipped. `short`: no sequence has more than SHORT tokens. `gaps`: some row of the
    batch has padding before its last token. Raises: RecipeError where the requested implementation does not support this.
    """
    form = config.positions if config.positions != "functional" else f"{config.relative_positions} form"
    setting = f"{device.type}, {str(dtype).removeprefix('torch.')}, {form}"
    if requested not in IMPLEMENTATIONS:
        raise RecipeError(f"unknown attention {requested!r}; use one of {', '.join(IMPLEMENTATIONS)}")
    if requested != "auto":
        if reason := _refusal(requested, device, dtype, config, unclipped, gaps):
            raise RecipeError(f'attention = "{requested}" cannot be used here ({setting}): {reason}; use "auto"')
        _log_once(requested, "as requested", setting)
        return requested
    order: tuple[str, ...] = ("triton", "sdpa", "banded", "eager")
    if device.type == "cpu":
        order = ("eager",) if short else ("banded", "eager")
    rejected = []
    for name in order:
        if not (reason := _refusal(name, device, dtype, config, unclipped, gaps)):
            break
        rejected.append(f"{name}: {reason}")
    fastest = f"the fastest up to {SHORT} tokens" if name == "eager" else "the fastest here"
    _log_once(name, "; ".join(rejected) or fastest, setting)
    return name


def _refusal(
    name: str, device: torch.device, dtype: torch.dtype, config: EncoderConfig, unclipped: bool, gaps: bool
) -> str | None:
    """Return why this implementation cannot be used, or None if it can."""
    if name == "eager":
        return None
    if gaps:
        return "rows have padding before their last token, which only eager supports"
    if name == "sdpa" and config.positions == "relative":
        return "learned relative positions are not a rotation"
    if name == "sdpa" and not unclipped:
        return f"exact only up to {config.max_relative_position + 1} tokens, where nothing is clipped"
    if name == "triton":
        if device.type != "cuda":
            return "it needs a GPU"
        if importlib.util.find_spec("triton") is None:
            return "the package triton is not installed"
        if config.positions != "functional":
            return "it supports functional positions only"
        from model.attention.varlen import supports

        if not supports(config.head_size, dtype, device):
            return "this GPU, type or head width is not supported"
    return None


@lru_cache(maxsize=256)
def _log_once(name: str, reason: str, setting: str) -> None:
    """Log a choice; the cache keeps equal choices from being logged again."""
    log.info("attention: %s (%s): %s", name, setting, reason)
