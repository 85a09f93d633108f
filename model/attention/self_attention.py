"""Multi-head self-attention of a layer, and the dispatch to one of the implementations."""

# Shape suffixes: T tokens of all sequences, N heads, H head width, D = N * H hidden size.

from torch import Tensor, nn

from model.attention import dropout
from model.attention.banded import attend_banded
from model.attention.choice import SHORT, choose
from model.attention.eager import attend_eager
from model.attention.packing import Packing
from model.attention.positions import Relative
from model.attention.sdpa import attend_sdpa
from model.config import EncoderConfig


class SelfAttention(nn.Module):
    """Multi-head self-attention: projections to queries, keys and values, and learned relative tables if there are any."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        if config.positions == "relative":
            rows = 2 * config.max_relative_position + 1
            self.relative_keys = nn.Embedding(rows, config.head_size)
            self.relative_values = nn.Embedding(rows, config.head_size)
        self.implementation = "auto"

    def forward(self, hidden_TD: Tensor, packing: Packing) -> Tensor:
        """Return the context (T, D) of packed sequences."""
        heads = (self.config.num_attention_heads, self.config.head_size)
        q_TNH, k_TNH, v_TNH = (project(hidden_TD).unflatten(-1, heads) for project in (self.query, self.key, self.value))
        relative = Relative(self.config)
        if self.config.positions == "relative":
            relative = Relative(self.config, self.relative_keys.weight, self.relative_values.weight)
        dropout_p = self.config.attention_probs_dropout_prob if self.training else 0.0
        return attend(q_TNH, k_TNH, v_TNH, packing, relative, dropout_p, self.implementation).flatten(-2)


def attend(
    q_TNH: Tensor,
    k_TNH: Tensor,
    v_TNH: Tensor,
    packing: Packing,
    relative: Relative,
    dropout_p: float = 0.0,
    implementation: str = "auto",
) -> Tensor:
    """Return the context (T, N, H) of packed sequences.

    Raises: RecipeError where the requested implementation cannot be used.
    """
    clip = relative.clip
    unclipped = clip is None or packing.longest <= clip + 1
    batch = {"unclipped": unclipped, "short": packing.longest <= SHORT, "gaps": packing.gaps is not None}
    chosen = choose(implementation, q_TNH.device, q_TNH.dtype, relative.config, **batch)
    if chosen == "eager":
        return attend_eager(q_TNH, k_TNH, v_TNH, packing, relative, dropout_p)
    if chosen == "sdpa":
        return attend_sdpa(q_TNH, k_TNH, v_TNH, packing, relative, dropout_p)
    if chosen == "banded":
        return attend_banded(q_TNH, k_TNH, v_TNH, packing, relative, dropout_p)
    from model.attention.varlen import attend_varlen

    return attend_varlen(
        q_TNH,
        k_TNH,
        v_TNH,
        packing.cu_seqlens,
        packing.longest,
        clip=clip,
        shift=clip or 0,
        dropout_p=dropout_p,
        seed=dropout.new_seed() if dropout_p else 0,
        scale=relative.config.head_size**-0.5,
    )
