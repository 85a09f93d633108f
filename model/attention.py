"""Self-attention with NEZHA's functional relative positions on keys and on values.

With a row T[i, j] of the table of model/positions.py for each pair of query i and key j, in each head:

    score(i, j)  = (q_i . k_j + q_i . T[i, j]) / sqrt(H)      the relative term comes before the scaling
    weight(i, j) = dropout(softmax_j(score(i, j)))            padded keys get no weight
    context(i)   = sum_j weight(i, j) (v_j + T[i, j])         the same table, and the weights after dropout

(arXiv 1909.00204, equations 4 to 7; Huawei's modeling.py, lines 941-1013.) The query side gets nothing, and [CLS] and [SEP] are
ordinary positions.

The table is written out once a forward pass, (L, M, H), and shared by all layers. On a CPU no exact form was quicker. Measured
in float32 with one thread, forward and backward, in units of plain attention of the same size, released form:

    length       written out     gather and scatter of 2m + 1 rows     shifted views of 2m + 1 rows
    64           1.3             2.2                                   1.6
    128          1.7             2.0                                   2.8
    512          1.8             1.8                                   2.2
"""

# Shape suffixes: B batch, L query position, M key position (as many), N heads, H head width, D = N * H hidden size.

import torch
from torch import Tensor, nn

from model.config import EncoderConfig


class SelfAttention(nn.Module):
    """Queries, keys and values of a layer, and what each position takes from the others."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.heads = (config.num_attention_heads, config.head_size)

    def forward(self, hidden_BLD: Tensor, relative_LMH: Tensor, mask_BM: Tensor | None = None) -> Tensor:
        """Context (B, L, D). `relative_LMH`: the table's row of each pair; `mask_BM`: True where a key is a real piece."""
        q_BLNH = self.query(hidden_BLD).unflatten(-1, self.heads)
        k_BMNH = self.key(hidden_BLD).unflatten(-1, self.heads)
        v_BMNH = self.value(hidden_BLD).unflatten(-1, self.heads)

        scores_BNLM = torch.einsum("BLNH,BMNH->BNLM", q_BLNH, k_BMNH)
        scores_BNLM = scores_BNLM + torch.einsum("BLNH,LMH->BNLM", q_BLNH, relative_LMH)
        scores_BNLM = scores_BNLM * self.heads[1] ** -0.5
        if mask_BM is not None:
            # Not -inf: a row of nothing but padding would become NaN.
            scores_BNLM = scores_BNLM.masked_fill(~mask_BM[:, None, None, :], torch.finfo(scores_BNLM.dtype).min)
        # float32 under autocast too: bfloat16 keeps three digits of a probability.
        wide = torch.promote_types(scores_BNLM.dtype, torch.float32)
        weights_BNLM = self.dropout(scores_BNLM.softmax(dim=-1, dtype=wide)).to(v_BMNH.dtype)

        context_BLNH = torch.einsum("BNLM,BMNH->BLNH", weights_BNLM, v_BMNH)
        context_BLNH = context_BLNH + torch.einsum("BNLM,LMH->BLNH", weights_BNLM, relative_LMH)
        return context_BLNH.flatten(-2)
