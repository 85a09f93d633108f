"""Attention with torch's own scaled_dot_product_attention, on heads of twice the width."""

# Shape suffixes: B batch, M key position, T tokens of all sequences, N heads, H head width.

import importlib.util
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from model.attention.packing import Packing
from model.attention.positions import Relative, rotate, rotation


def attend_sdpa(q_TNH: Tensor, k_TNH: Tensor, v_TNH: Tensor, packing: Packing, relative: Relative, dropout_p: float) -> Tensor:
    """Return the context (T, N, H): plain attention of twice the width for unclipped functional positions.

    For absolute positions it is plain attention of the same width.
    """
    if not relative.functional:
        return _plain(q_TNH, k_TNH, v_TNH, packing, dropout_p)
    # Phases of the queries (T, 1, H/2) and encodings of the keys (T, N, H).
    config, positions = relative.config, packing.positions
    phases, encodings = rotation(config.head_size, packing.longest, relative.clip or 0, q_TNH.dtype, q_TNH.device)
    phases, encodings = phases[positions][:, None], encodings[positions][:, None].expand_as(k_TNH)
    # [q; rotate(q)] . [k; a] = q . (k + a), and the weights sum [v; a].
    doubled = (
        torch.cat((q_TNH, rotate(q_TNH, phases)), -1),
        torch.cat((k_TNH, encodings), -1),
        torch.cat((v_TNH, encodings), -1),
    )
    # The half that summed encodings is rotated back.
    context_TNH, relative_TNH = _plain(*doubled, packing, dropout_p, config.head_size).chunk(2, -1)
    return context_TNH + rotate(relative_TNH, phases.conj())


def _plain(
    q_TNH: Tensor, k_TNH: Tensor, v_TNH: Tensor, packing: Packing, dropout_p: float, head_size: int | None = None
) -> Tensor:
    """Run torch's own attention, on packed sequences where torch supports that, otherwise on the padded batch."""
    scale = (head_size or q_TNH.shape[-1]) ** -0.5
    if not packing.dense and dropout_p == 0 and _varlen(q_TNH.device, q_TNH.dtype):
        from torch.nn.attention.varlen import varlen_attn

        ends, longest = packing.cu_seqlens, packing.longest
        packed = varlen_attn(q_TNH, k_TNH, v_TNH, ends, ends, longest, longest, scale=scale)
        assert isinstance(packed, Tensor)
        return packed
    q, k, v = (packing.pad(x).transpose(1, 2) for x in (q_TNH, k_TNH, v_TNH))
    mask_BM = packing.mask()
    mask = None if mask_BM is None else mask_BM[:, None, None, :]
    return packing.pack(F.scaled_dot_product_attention(q, k, v, mask, dropout_p, scale=scale).transpose(1, 2))


@lru_cache(maxsize=16)
def _varlen(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether torch has flash attention for packed sequences here: half precision, compute capability 8.0 or above."""
    if device.type != "cuda" or dtype.itemsize != 2 or torch.version.cuda is None:
        return False
    return (
        torch.cuda.get_device_capability(device) >= (8, 0) and importlib.util.find_spec("torch.nn.attention.varlen") is not None
    )
