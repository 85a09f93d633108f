"""Relative positions: NEZHA's sines and cosines of the offset j - i from query i to key j. Nothing in them is learned.

Two forms, chosen by `EncoderConfig.relative_positions`:

    released   row p = clip(j - i, -m, m) + m of a table of 2m + 1 rows. Sine and cosine are of the SHIFTED index p:
               T[p, 2k] = sin(p / 10000^(2k/H)), T[p, 2k+1] = cos(p / 10000^(2k/H))       (Huawei's modeling.py, lines 742-765)
    paper      sin and cos of the offset j - i itself, never clipped                      (arXiv 1909.00204, equations 6 and 7)

Released weights need the released form: with the other one, the error in the context is as large as the context. In both, the
table has an odd number of rows, 2c + 1, and the pair (i, j) uses row clip(j - i, -c, c) + c, with c = m or c = L - 1.

    今 天 天 气, m = 2: row of the table for each pair       2 3 4 4      今 and 今: row m = 2
                                                           1 2 3 4      今 and the 天 beside it: row 3
                                                           0 1 2 3      今 and 气, three away: the last row
                                                           0 0 1 2

Kernels need no table: by the angle addition theorem q_i . a(j - i) = rotate(q_i, -i) . a(j), with the angles of `rotation`.

Shapes: L sequence length, R = 2c + 1 rows, H head width.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from model.config import EncoderConfig


def relative_table(config: EncoderConfig, length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the table for keys and values, (R, H) on the CPU; the same in all heads and layers.

    `released`: 2m + 1 rows whatever the length. `paper`: 2 * length - 1 rows, offsets -(length - 1) to length - 1.
    Computed in float64, as in Huawei's numpy code: float32 angles would be wrong by up to 4.5e-6.
    """
    if config.relative_positions == "released":
        angle = torch.arange(2 * config.max_relative_position + 1, dtype=torch.float64)
    else:
        angle = torch.arange(1 - length, length, dtype=torch.float64)
    return sinusoids(angle, config.head_size).to(dtype)


def relative_index(config: EncoderConfig, length: int, device: torch.device | None = None) -> Tensor:
    """Return the row of `relative_table` for each query i and key j, (L, L) int64: clip(j - i, -c, c) + c."""
    clip = Relative(config).clip
    clip = length - 1 if clip is None else clip
    position = torch.arange(length, device=device)
    return (position[None, :] - position[:, None]).clamp(-clip, clip) + clip


def sinusoids(angle: Tensor, width: int) -> Tensor:
    """Return interleaved sines and cosines of `angle` (R,) at frequencies 10000^(-2k/width): (R, width), in its type."""
    period = 10_000.0 ** (torch.arange(0, width, 2, dtype=angle.dtype) / width)
    radians = angle[:, None] / period
    return torch.stack((radians.sin(), radians.cos()), dim=-1).flatten(-2)


@dataclass(frozen=True, eq=False)
class Relative:
    """The relative positions of a layer: their form, and its learned tables if it has them."""

    config: EncoderConfig
    keys: Tensor | None = None
    """(2m + 1, H), learned (Shaw et al., arXiv 1803.02155)."""
    values: Tensor | None = None
    """(2m + 1, H), learned."""

    @property
    def functional(self) -> bool:
        """Whether they are sines and cosines."""
        return self.config.positions == "functional"

    @property
    def clip(self) -> int | None:
        """m; None if no offset is clipped, in the paper's form and without relative positions."""
        clipped = self.config.relative_positions == "released" if self.functional else self.config.positions == "relative"
        return self.config.max_relative_position if clipped else None

    def tables(self, device: torch.device) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return the tables for keys and for values, (2m + 1, H) each, functional ones in float64; None without a clip."""
        if self.keys is not None and self.values is not None:
            return self.keys, self.values
        if not self.functional or self.clip is None:
            return None, None
        table = _clipped(self.clip, self.config.head_size, device)
        return table, table


@lru_cache(maxsize=64)
def _clipped(clip: int, width: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return sinusoids(torch.arange(2 * clip + 1, dtype=torch.float64), width).to(device)


def rotate(x: Tensor, phases: Tensor) -> Tensor:
    """Rotate x so that rotate(x, phases of f) . a(j) == x . a(j + f). Conjugate phases turn sums of a(j) into sums of a(j + f).

    Each pair (x[2k], x[2k+1]) is multiplied, as a complex number, by exp(i w_k f): the angle addition theorem.

    x: (..., H) real; phases: (..., H/2) complex, of the same or a higher precision
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    turned = torch.view_as_complex(x.to(wide).view(*x.shape[:-1], -1, 2)) * phases
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


@lru_cache(maxsize=64)
def rotation(width: int, length: int, shift: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return phases exp(i w_k (shift - i)) of queries i, (L, H/2) complex, and encodings a(j) of keys j, (L, H) in `dtype`.

    rotate(q_i, phases[i]) . encodings[j] is q_i . a(j - i + shift). Angles are float64: at position 4,096 float32 would be
    wrong by 2e-4, by a different amount at every position.
    """
    with torch.inference_mode(False):
        position = torch.arange(length, dtype=torch.float64)
        sines, cosines = sinusoids(shift - position, width).view(length, -1, 2).unbind(-1)
        wide = torch.complex128 if dtype == torch.float64 else torch.complex64
        return torch.complex(cosines, sines).to(wide).to(device), sinusoids(position, width).to(dtype).to(device)


@lru_cache(maxsize=64)
def table_on(config: EncoderConfig, length: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return `relative_table` on a device, cached: the host would wait for a copy in each forward pass. Never write to it."""
    with torch.inference_mode(False):  # a table first created during inference must be usable in training
        return relative_table(config, length, dtype).to(device)
