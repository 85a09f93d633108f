"""NEZHA's functional relative positions: sines and cosines of how far key j stands from query i. Nothing is learned.

Two forms, chosen by `EncoderConfig.relative_positions`:

    released   row p = clip(j - i, -m, m) + m of a table of 2m + 1 rows, and the SHIFTED index p is what enters sine and cosine:
               T[p, 2k] = sin(p / 10000^(2k/H)), T[p, 2k+1] = cos(p / 10000^(2k/H))       (Huawei's modeling.py, lines 742-765)
    paper      sin and cos of the offset j - i itself, never clipped                      (arXiv 1909.00204, equations 6 and 7)

Released weights need the released form: the other one changes what attention gives by as much as its own size. In both, the
table has an odd number of rows 2c + 1 and the pair (i, j) takes row clip(j - i, -c, c) + c, with c = m or c = L - 1.

    今 天 天 气, m = 2: row of the table for each pair       2 3 4 4      今 looks at itself with row m = 2,
                                                           1 2 3 4      at 天 beside it with row 3,
                                                           0 1 2 3      at 气, three away, with the last row
                                                           0 0 1 2

Shapes: L sequence length, R = 2c + 1 rows, H head width.
"""

from functools import lru_cache

import torch
from torch import Tensor

from model.config import EncoderConfig


def relative_table(config: EncoderConfig, length: int) -> Tensor:
    """The table of both keys and values, (R, H), float32 on the CPU; the same for all heads and layers.

    `released`: 2m + 1 rows whatever the length. `paper`: 2 * length - 1 rows, offsets -(length - 1) to length - 1.
    The mathematics is float64, as in Huawei's numpy: float32 angles would be wrong by up to 4.5e-6.
    """
    if config.relative_positions == "released":
        angle = torch.arange(2 * config.max_relative_position + 1, dtype=torch.float64)
    else:
        angle = torch.arange(1 - length, length, dtype=torch.float64)
    return sinusoids(angle, config.head_size).float()


def relative_index(config: EncoderConfig, length: int, device: torch.device | None = None) -> Tensor:
    """The row of `relative_table` that key j seen from query i takes, (L, L) int64: clip(j - i, -c, c) + c."""
    clip = config.max_relative_position if config.relative_positions == "released" else length - 1
    position = torch.arange(length, device=device)
    return (position[None, :] - position[:, None]).clamp(-clip, clip) + clip


def sinusoids(angle: Tensor, width: int) -> Tensor:
    """Interleaved sine and cosine of `angle` (R,) at frequencies 10000^(-2k/width): (R, width), in the type of `angle`."""
    period = 10_000.0 ** (torch.arange(0, width, 2, dtype=angle.dtype) / width)
    radians = angle[:, None] / period
    return torch.stack((radians.sin(), radians.cos()), dim=-1).flatten(-2)


@lru_cache(maxsize=64)
def table_on(config: EncoderConfig, length: int, device: torch.device) -> Tensor:
    """`relative_table` on a device, kept: a copy to a GPU in each forward would make the host wait. Never write into it."""
    with torch.inference_mode(False):  # a table first made during inference must still serve training
        return relative_table(config, length).to(device)
