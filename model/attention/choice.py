"""Which implementation of attention is used. It says so once in the log:

attention: banded (cpu, float32, released form): the fastest here
"""

import importlib.util
import logging
from functools import lru_cache

import torch

from model.config import EncoderConfig
from pipeline.errors import RecipeError

SHORT = 128
"""Tokens of sequences for which a processor computes the definition fastest: the written-out table is small, and one product of
matrices does more than many small ones. Measured at widths of 128 to 768 (docs/attention.md)."""
IMPLEMENTATIONS = ("auto", "eager", "sdpa", "banded", "triton")
log = logging.getLogger(__name__)


@lru_cache(maxsize=256)  # asked for in every layer
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
    """The implementation to use, by device, type and positions; `auto` takes the fastest that serves.

    `unclipped`: no offset in the batch reaches the clip. `short`: no sequence has more than SHORT tokens. `gaps`: some row of
    the batch has padding before its last token.
    """
    form = config.positions if config.positions != "functional" else f"{config.relative_positions} form"
    about = f"{device.type}, {str(dtype).removeprefix('torch.')}, {form}"
    if requested not in IMPLEMENTATIONS:
        raise RecipeError(f"attention {requested!r} is not known; take one of {', '.join(IMPLEMENTATIONS)}")
    if requested != "auto":
        if reason := _refusal(requested, device, dtype, config, unclipped, gaps):
            raise RecipeError(f'attention = "{requested}" cannot serve here ({about}): {reason}; take "auto"')
        _say(requested, "as asked for", about)
        return requested
    order: tuple[str, ...] = ("triton", "sdpa", "banded", "eager")
    if device.type == "cpu":
        order = ("eager",) if short else ("banded", "eager")
    passed = []
    for name in order:
        if not (reason := _refusal(name, device, dtype, config, unclipped, gaps)):
            break
        passed.append(f"{name}: {reason}")
    _say(name, "; ".join(passed) or (f"the fastest up to {SHORT} tokens" if name == "eager" else "the fastest here"), about)
    return name


def _refusal(
    name: str, device: torch.device, dtype: torch.dtype, config: EncoderConfig, unclipped: bool, gaps: bool
) -> str | None:
    """Why this implementation cannot serve; None: it can."""
    if name == "eager":
        return None
    if gaps:
        return "rows have padding before their last token, which only eager knows"
    if name == "sdpa" and config.positions == "relative":
        return "learned relative positions are no rotation"
    if name == "sdpa" and not unclipped:
        return f"exact only up to {config.max_relative_position + 1} tokens, where nothing is clipped"
    if name == "triton":
        if device.type != "cuda":
            return "it needs a GPU"
        if importlib.util.find_spec("triton") is None:
            return "the package triton is not installed"
        if config.positions != "functional":
            return "only functional positions"
        from model.attention.varlen import supports

        if not supports(config.head_size, dtype, device):
            return "this GPU, type or head width is not supported"
    return None


@lru_cache(maxsize=256)
def _say(name: str, reason: str, about: str) -> None:
    """Once for each different choice."""
    log.info("attention: %s (%s): %s", name, about, reason)
