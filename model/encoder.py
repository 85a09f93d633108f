"""The NEZHA encoder: BERT's post-LN blocks, with relative positions in every attention layer and no absolute ones.

The alternatives that the paper compares with: `positions = "absolute"` gives BERT, `"relative"` a learned table per layer.

    今天天气 -> [CLS] 今 天 天 气 [SEP] -> input_ids (1, 6) -> hidden states (1, 6, D) -> pool: one vector per sequence (1, D)

    x = dropout(LayerNorm(word[id] + token_type[segment]))          (BERT: + position[i])
    for each layer:
        x = LayerNorm(x + dropout(dense(attention(x))))
        x = LayerNorm(x + dropout(dense(gelu(dense(x)))))

Padding costs nothing: the layers see only the tokens of a batch, concatenated (model/attention/packing.py).

Modules are named so that the keys of `state_dict` are those of Hugging Face's NEZHA without the prefix "nezha.".
Sources: arXiv 1909.00204, section 3; Huawei's modeling.py, lines 165-245 and 1140-1165.
Shapes: B batch size, L sequence length, T tokens of a batch without padding, D hidden size.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.attention.choice import IMPLEMENTATIONS
from model.attention.dropout import Dropout
from model.attention.packing import Packing
from model.attention.self_attention import SelfAttention
from model.config import EncoderConfig
from pipeline.errors import RecipeError


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in at least float32, whatever the input type: in half precision epsilon 1e-12 rounds to zero."""

    def forward(self, input: Tensor) -> Tensor:
        wide = torch.promote_types(input.dtype, torch.float32)
        normal = F.layer_norm(input.to(wide), self.normalized_shape, self.weight.to(wide), self.bias.to(wide), self.eps)
        return normal.to(input.dtype)


class Embeddings(nn.Module):
    """Token and segment embeddings. [PAD] has an ordinary, trainable row, as in the released code."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        if config.positions == "absolute":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None, positions: Tensor | None) -> Tensor:
        """Embed ids, segments and positions, (T,) int64 each, as (T, D). Without segments, every token is in segment A."""
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        embedded = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        if positions is not None:
            embedded = embedded + self.position_embeddings(positions)
        result: Tensor = self.dropout(self.LayerNorm(embedded))
        return result


class Residual(nn.Module):
    """The output of attention and of the feed-forward network: LayerNorm(residual + dropout(dense(x)))."""

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        normal: Tensor = self.LayerNorm(residual + self.dropout(self.dense(x)))
        return normal


class Dense(nn.Module):
    """A linear layer and its activation: GELU (`hidden_act`) inside a block, tanh in the pooler."""

    def __init__(self, width: int, out: int, activation: nn.Module) -> None:
        super().__init__()
        self.dense = nn.Linear(width, out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.activation(self.dense(x))
        return activated


class Attention(nn.Module):
    """Self-attention with its output projection, residual and LayerNorm: the first half of a block."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Residual(config, config.hidden_size)

    def forward(self, hidden: Tensor, packing: Packing) -> Tensor:
        attended: Tensor = self.output(self.self(hidden, packing), hidden)
        return attended


class Block(nn.Module):
    """A Transformer block: attention, then the feed-forward network."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Dense(config.hidden_size, config.intermediate_size, gelu(config))
        self.output = Residual(config, config.intermediate_size)

    def forward(self, hidden: Tensor, packing: Packing) -> Tensor:
        hidden = self.attention(hidden, packing)
        hidden = self.output(self.intermediate(hidden), hidden)
        return hidden


class Encoder(nn.Module):
    """Embeddings, blocks and pooler. Sequences may have any length, unless positions are absolute."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config, vocab_size)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))})
        self.pooler = Dense(config.hidden_size, config.hidden_size, nn.Tanh())
        self.checkpointing = False
        initialise(self, config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """Return the hidden states of the last layer, (B, L, D). Their values at padding are meaningless.

        input_ids, token_type_ids: (B, L) int64
        attention_mask: (B, L) bool, True for tokens, False for padding; None: no padding
        """
        packing = self.packing(input_ids, attention_mask)
        return packing.pad(self.packed(input_ids, token_type_ids, packing))

    def packing(self, input_ids: Tensor, attention_mask: Tensor | None, lengths: Sequence[int] | None = None) -> Packing:
        """Return where the tokens of a padded batch are. With `lengths` (B,) the host need not wait for a mask on the GPU.

        input_ids, attention_mask: (B, L)
        """
        if attention_mask is None:
            return Packing.full(input_ids.shape[0], input_ids.shape[1], input_ids.device)
        return Packing.of(attention_mask, lengths)

    def packed(self, input_ids: Tensor, token_type_ids: Tensor | None, packing: Packing) -> Tensor:
        """Return the hidden states (T, D) of the tokens alone, sequence after sequence.

        input_ids, token_type_ids: (B, L) int64, padded. Raises: RecipeError where absolute positions do not reach that far.
        """
        if self.config.positions == "absolute" and packing.longest > self.config.max_position_embeddings:
            raise RecipeError(
                f"a sequence of {packing.longest} tokens is longer than max_position_embeddings "
                f"{self.config.max_position_embeddings}: shorten it, or use functional positions"
            )
        positions = packing.positions if self.config.positions == "absolute" else None
        segments = None if token_type_ids is None else packing.pack(token_type_ids)
        hidden: Tensor = self.embeddings(packing.pack(input_ids), segments, positions)
        for block in self.layers():
            if self.checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(block, hidden, packing, use_reentrant=False)
            else:
                hidden = block(hidden, packing)
        return hidden

    def pool(self, hidden: Tensor) -> Tensor:
        """Return one vector per sequence, from its first position: (B, L, D) -> (B, D)."""
        pooled: Tensor = self.pooler(hidden[:, 0])
        return pooled

    def layers(self) -> nn.ModuleList:
        """The blocks, first to last."""
        layers = self.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        return layers

    def use_attention(self, implementation: str) -> None:
        """Set the implementation of attention in all layers: `auto`, `eager`, `sdpa`, `banded` or `triton`."""
        if implementation not in IMPLEMENTATIONS:
            raise RecipeError(f"unknown attention {implementation!r}; use one of {', '.join(IMPLEMENTATIONS)}")
        for part in self.modules():
            if isinstance(part, SelfAttention):
                part.implementation = implementation

    def checkpoint_activations(self, on: bool) -> None:
        """Store only the input of each block and recompute the block in the backward pass: less memory, a third slower."""
        self.checkpointing = on


class Initialised(Protocol):
    """A configuration that says how weights are initialised."""

    @property
    def initializer_range(self) -> float:
        """Standard deviation."""


def gelu(config: EncoderConfig) -> nn.GELU:
    """Return the activation: the tanh approximation, as in the TensorFlow code of the release, or the exact form."""
    return nn.GELU(approximate="tanh" if config.hidden_act == "gelu_tanh" else "none")


def initialise(module: nn.Module, config: Initialised) -> None:
    """Initialise weights as BERT does: matrices from a normal distribution truncated at two sigma, biases 0.

    LayerNorm keeps torch's initial weights 1 and biases 0.
    """
    sigma = config.initializer_range
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(part.weight, std=sigma, a=-2 * sigma, b=2 * sigma)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
