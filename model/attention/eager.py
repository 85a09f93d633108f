"""Attention as it is defined, with the whole (L, L, H) table: the reference for the other implementations."""

# Shape suffixes: B batch, L query position, M key position (as many), T tokens of all sequences, N heads, H head width.

import torch
import torch.nn.functional as F
from torch import Tensor

from model.attention.packing import Packing
from model.attention.positions import Relative, relative_index, table_on


def attend_eager(q_TNH: Tensor, k_TNH: Tensor, v_TNH: Tensor, packing: Packing, relative: Relative, dropout_p: float) -> Tensor:
    """Return the context (T, N, H), computed on the padded batch."""
    q_BLNH, k_BMNH, v_BMNH = (packing.pad(x) for x in (q_TNH, k_TNH, v_TNH))
    keys_LMH, values_LMH = _expanded_tables(relative, packing.width, q_TNH)
    mask_BM = packing.mask()

    # Scores: q . k and q . T[i, j], then scaled.
    scores_BNLM = torch.einsum("BLNH,BMNH->BNLM", q_BLNH, k_BMNH)
    if keys_LMH is not None:
        scores_BNLM = scores_BNLM + torch.einsum("BLNH,LMH->BNLM", q_BLNH, keys_LMH)
    scores_BNLM = scores_BNLM * relative.config.head_size**-0.5
    if mask_BM is not None:
        # Not -inf: a row that is all padding would become NaN.
        scores_BNLM = scores_BNLM.masked_fill(~mask_BM[:, None, None, :], torch.finfo(scores_BNLM.dtype).min)
    # Weights, in float32 even under autocast: bfloat16 keeps three digits of a probability.
    wide = torch.promote_types(scores_BNLM.dtype, torch.float32)
    weights_BNLM = F.dropout(scores_BNLM.softmax(dim=-1, dtype=wide), dropout_p).to(v_BMNH.dtype)

    # Context: weighted sums of v and T[i, j].
    context_BLNH = torch.einsum("BNLM,BMNH->BLNH", weights_BNLM, v_BMNH)
    if values_LMH is not None:
        context_BLNH = context_BLNH + torch.einsum("BNLM,LMH->BLNH", weights_BNLM, values_LMH)
    return packing.pack(context_BLNH)


def _expanded_tables(relative: Relative, length: int, like: Tensor) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Return the encodings for keys and for values of each pair of positions, (L, L, H), in the type of `like`."""
    config, device = relative.config, like.device
    if config.positions == "absolute":
        return None, None
    index = relative_index(config, length, device)
    if relative.keys is not None and relative.values is not None:
        # The gradient of a row sums over tens of thousands of pairs: in float64, or rounding would dominate.
        return relative.keys.double()[index].to(like.dtype), relative.values.double()[index].to(like.dtype)
    rows = table_on(config, length, device, torch.promote_types(like.dtype, torch.float32)).to(like.dtype)[index]
    return rows, rows
