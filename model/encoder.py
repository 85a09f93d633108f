"""The NEZHA encoder: BERT's post-LN blocks without absolute positions; every layer's attention sees relative ones.

    今天天气 -> [CLS] 今 天 天 气 [SEP] -> input_ids (1, 6) -> hidden states (1, 6, D) -> pool: one vector a sequence (1, D)

    x = dropout(LayerNorm(word[id] + token_type[segment]))
    for each layer:
        x = LayerNorm(x + dropout(dense(attention(x))))
        x = LayerNorm(x + dropout(dense(gelu(dense(x)))))

Modules are named so that the keys of `state_dict` are those of Hugging Face's NEZHA without its "nezha." in front.
Sources: arXiv 1909.00204, section 3; Huawei's modeling.py, lines 165-245 and 1140-1165.
Shapes: B batch, L sequence length, D hidden size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention import SelfAttention
from model.config import EncoderConfig
from model.positions import relative_index, table_on


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in float32 at least, whatever the type of its input: epsilon 1e-12 is nothing in half precision."""

    def forward(self, input: Tensor) -> Tensor:
        wide = torch.promote_types(input.dtype, torch.float32)
        normal = F.layer_norm(input.to(wide), self.normalized_shape, self.weight.to(wide), self.bias.to(wide), self.eps)
        return normal.to(input.dtype)


class Embeddings(nn.Module):
    """Pieces and segments become vectors. [PAD] is a row like any other, as in the code of the release."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, L) ids and segments to (B, L, D); without segments, all is the first one."""
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        words, segments = self.word_embeddings(input_ids), self.token_type_embeddings(token_type_ids)
        embedded: Tensor = self.dropout(self.LayerNorm(words + segments))
        return embedded


class Residual(nn.Module):
    """The end of both halves of a block: LayerNorm(residual + dropout(dense(x)))."""

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        normal: Tensor = self.LayerNorm(residual + self.dropout(self.dense(x)))
        return normal


class Dense(nn.Module):
    """A linear layer and its activation: GELU (hidden_act) inside a block and the masked-word head, tanh in the pooler."""

    def __init__(self, width: int, out: int, activation: nn.Module) -> None:
        super().__init__()
        self.dense = nn.Linear(width, out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.activation(self.dense(x))
        return activated


class Attention(nn.Module):
    """The first half of a block."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Residual(config, config.hidden_size)

    def forward(self, hidden: Tensor, relative: Tensor, mask: Tensor | None) -> Tensor:
        attended: Tensor = self.output(self.self(hidden, relative, mask), hidden)
        return attended


class Block(nn.Module):
    """Attention, then the feed-forward network."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Dense(config.hidden_size, config.intermediate_size, gelu(config))
        self.output = Residual(config, config.intermediate_size)

    def forward(self, hidden: Tensor, relative: Tensor, mask: Tensor | None) -> Tensor:
        hidden = self.attention(hidden, relative, mask)
        hidden = self.output(self.intermediate(hidden), hidden)
        return hidden


class Encoder(nn.Module):
    """Embeddings, blocks and pooler. Any length works: the table of positions follows the sequence."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config, vocab_size)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))})
        self.pooler = Dense(config.hidden_size, config.hidden_size, nn.Tanh())
        initialise(self, config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """Hidden states of the last layer, (B, L, D).

        `input_ids`, `token_type_ids`: (B, L) int64. `attention_mask`: (B, L) bool, True where there is a piece (None: all).
        What stands at padded positions of the result means nothing.
        """
        hidden: Tensor = self.embeddings(input_ids, token_type_ids)
        relative = self.relative_positions(input_ids.shape[1], hidden)
        for block in self.layers():
            hidden = block(hidden, relative, attention_mask)
        return hidden

    def pool(self, hidden: Tensor) -> Tensor:
        """One vector a sequence, from its first position: (B, L, D) -> (B, D)."""
        pooled: Tensor = self.pooler(hidden[:, 0])
        return pooled

    def layers(self) -> nn.ModuleList:
        """The blocks, first to last."""
        layers = self.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        return layers

    def relative_positions(self, length: int, hidden: Tensor) -> Tensor:
        """The table written out for each pair of positions, (L, L, H), where and in the type that attention computes in."""
        device = hidden.device
        autocast = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if autocast else hidden.dtype
        table = table_on(self.config, length, device).to(dtype)
        return table[relative_index(self.config, length, device)]


def gelu(config: EncoderConfig) -> nn.GELU:
    """`gelu_tanh` as in the TensorFlow code that trained the released weights; `gelu` is the exact form."""
    return nn.GELU(approximate="tanh" if config.hidden_act == "gelu_tanh" else "none")


def initialise(module: nn.Module, config: EncoderConfig) -> None:
    """Fresh weights as BERT has them: matrices truncated normal, cut at two sigma; biases 0; LayerNorm 1 and 0."""
    sigma = config.initializer_range
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=sigma, a=-2 * sigma, b=2 * sigma)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
