"""NEZHA (arXiv 1909.00204) for transformers 5, in one file: BERT's blocks with functional relative positions.

    model = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)
    model(**tokenizer("今天[MASK]气很好", return_tensors="pt")).logits        # (1, 9, vocabulary)

In each head, with the sinusoid T[i, j] of how far key j stands from query i:

    score(i, j) = (q_i . k_j + q_i . T[i, j]) / sqrt(H)       context(i) = sum_j softmax_j(score(i, j)) (v_j + T[i, j])

Shape suffixes: B batch, L query position, M key position, N heads, H head width.
"""
# mypy: allow-untyped-calls, no-warn-return-any

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import ModelOutput

from .configuration_nezha import NezhaConfig


@lru_cache(maxsize=64)
def relative_table(form: str, clip: int, length: int, width: int, device: torch.device) -> Tensor:
    """Interleaved sines and cosines, one row an index: (2 * clip + 1, H), or (2 * length - 1, H) for the paper's form."""
    with torch.inference_mode(False):
        index = torch.arange(2 * clip + 1) if form == "released" else torch.arange(1 - length, length)
        radians = index.double()[:, None] / 10_000.0 ** (torch.arange(0, width, 2).double() / width)
        return torch.stack((radians.sin(), radians.cos()), dim=-1).flatten(-2).float().to(device)


def relative_positions(config: NezhaConfig, length: int, like: Tensor) -> Tensor:
    """The row of each pair of positions, (L, M, H), on the device and in the type of `like`."""
    width = config.hidden_size // config.num_attention_heads
    clip = config.max_relative_position if config.relative_positions == "released" else length - 1
    position = torch.arange(length, device=like.device)
    index = (position[None, :] - position[:, None]).clamp(-clip, clip) + clip
    return relative_table(config.relative_positions, clip, length, width, like.device).to(like.dtype)[index]


class NezhaLayerNorm(nn.LayerNorm):
    """In float32 at least: epsilon 1e-12 is nothing in half precision."""

    def forward(self, input: Tensor) -> Tensor:
        wide = torch.promote_types(input.dtype, torch.float32)
        normal = F.layer_norm(input.to(wide), self.normalized_shape, self.weight.to(wide), self.bias.to(wide), self.eps)
        return normal.to(input.dtype)


class NezhaEmbeddings(nn.Module):
    def __init__(self, config: NezhaConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = NezhaLayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        segments = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        return self.dropout(self.LayerNorm(self.word_embeddings(input_ids) + self.token_type_embeddings(segments)))


class NezhaSelfAttention(nn.Module):
    def __init__(self, config: NezhaConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.heads = (config.num_attention_heads, config.hidden_size // config.num_attention_heads)

    def forward(self, hidden: Tensor, relative_LMH: Tensor, mask_BM: Tensor | None) -> tuple[Tensor, Tensor]:
        q_BLNH = self.query(hidden).unflatten(-1, self.heads)
        k_BMNH = self.key(hidden).unflatten(-1, self.heads)
        v_BMNH = self.value(hidden).unflatten(-1, self.heads)
        relative_LMH = relative_LMH.to(q_BLNH.dtype)  # autocast may have chosen another type
        scores_BNLM = torch.einsum("BLNH,BMNH->BNLM", q_BLNH, k_BMNH) + torch.einsum("BLNH,LMH->BNLM", q_BLNH, relative_LMH)
        scores_BNLM = scores_BNLM * self.heads[1] ** -0.5
        if mask_BM is not None:
            scores_BNLM = scores_BNLM.masked_fill(~mask_BM[:, None, None, :], torch.finfo(scores_BNLM.dtype).min)
        wide = torch.promote_types(scores_BNLM.dtype, torch.float32)
        weights_BNLM = self.dropout(scores_BNLM.softmax(dim=-1, dtype=wide)).to(v_BMNH.dtype)
        context_BLNH = torch.einsum("BNLM,BMNH->BLNH", weights_BNLM, v_BMNH)
        context_BLNH = context_BLNH + torch.einsum("BNLM,LMH->BLNH", weights_BNLM, relative_LMH)
        return context_BLNH.flatten(-2), weights_BNLM


class NezhaResidual(nn.Module):
    """LayerNorm(residual + dropout(dense(x)))."""

    def __init__(self, config: NezhaConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = NezhaLayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(residual + self.dropout(self.dense(x)))


class NezhaDense(nn.Module):
    def __init__(self, width: int, out: int, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(width, out)
        self.activation = ACT2FN[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.dense(x))


class NezhaAttention(nn.Module):
    def __init__(self, config: NezhaConfig) -> None:
        super().__init__()
        self.self = NezhaSelfAttention(config)
        self.output = NezhaResidual(config, config.hidden_size)

    def forward(self, hidden: Tensor, relative: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        context, weights = self.self(hidden, relative, mask)
        return self.output(context, hidden), weights


class NezhaLayer(nn.Module):
    def __init__(self, config: NezhaConfig) -> None:
        super().__init__()
        self.attention = NezhaAttention(config)
        self.intermediate = NezhaDense(config.hidden_size, config.intermediate_size, config.hidden_act)
        self.output = NezhaResidual(config, config.intermediate_size)

    def forward(self, hidden: Tensor, relative: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        hidden, weights = self.attention(hidden, relative, mask)
        return self.output(self.intermediate(hidden), hidden), weights


class NezhaPreTrainedModel(PreTrainedModel):
    config: NezhaConfig
    config_class = NezhaConfig
    base_model_prefix = "nezha"

    def get_input_embeddings(self) -> Any:
        base: Any = self.base_model
        return base.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        base: Any = self.base_model
        base.embeddings.word_embeddings = value


class NezhaModel(NezhaPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"^cls\."]  # noqa: RUF012

    def __init__(self, config: NezhaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = NezhaEmbeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(NezhaLayer(config) for _ in range(config.num_hidden_layers))})
        self.pooler = NezhaDense(config.hidden_size, config.hidden_size, "tanh") if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Tensor, ...]:
        """Hidden states (B, L, hidden_size). `attention_mask` (B, L): 1 or True where there is a piece."""
        hidden = self.embeddings(input_ids, token_type_ids)
        relative = relative_positions(self.config, input_ids.shape[1], hidden)
        mask = None if attention_mask is None else attention_mask.bool()
        states, attentions = [hidden], []
        for layer in self.encoder["layer"].children():
            hidden, weights = layer(hidden, relative, mask)
            states.append(hidden)
            attentions.append(weights)
        output = BaseModelOutputWithPooling(
            last_hidden_state=hidden,
            pooler_output=None if self.pooler is None else self.pooler(hidden[:, 0]),
            hidden_states=tuple(states) if wanted(output_hidden_states, self.config.output_hidden_states) else None,
            attentions=tuple(attentions) if wanted(output_attentions, self.config.output_attentions) else None,
        )
        return output if wanted(return_dict, self.config.return_dict) else output.to_tuple()


def wanted(argument: bool | None, default: bool | None) -> bool:
    return bool(default) if argument is None else argument


class NezhaTransform(nn.Module):
    def __init__(self, config: NezhaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = NezhaLayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(x)))


class NezhaPredictions(nn.Module):
    """Scores over the vocabulary; the matrix is that of the word embeddings and is handed in."""

    def __init__(self, config: NezhaConfig) -> None:
        super().__init__()
        self.transform = NezhaTransform(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        return F.linear(self.transform(hidden), words, self.bias)


class NezhaHeads(nn.Module):
    def __init__(self, config: NezhaConfig, pairs: bool) -> None:
        super().__init__()
        self.predictions = NezhaPredictions(config)
        if pairs:
            self.seq_relationship = nn.Linear(config.hidden_size, 2)


@dataclass
class NezhaForPreTrainingOutput(ModelOutput):
    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class NezhaForPreTraining(NezhaPreTrainedModel):
    """Masked words, and whether segment B follows A (0) or is random (1)."""

    def __init__(self, config: NezhaConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config)
        self.cls = NezhaHeads(config, pairs=True)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> NezhaForPreTrainingOutput | tuple[Tensor, ...]:
        """`labels` (B, L), -100 where nothing is predicted, and `next_sentence_label` (B,): with both, `loss` is their sum."""
        encoded = self.nezha(input_ids, attention_mask, token_type_ids, output_attentions, output_hidden_states, True)
        words = self.cls.predictions(encoded.last_hidden_state, self.get_input_embeddings().weight)
        pairs = self.cls.seq_relationship(encoded.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = F.cross_entropy(words.flatten(0, 1), labels.flatten()) + F.cross_entropy(
                pairs, next_sentence_label.flatten()
            )
        output = NezhaForPreTrainingOutput(loss, words, pairs, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, self.config.return_dict) else output.to_tuple()


class NezhaForMaskedLM(NezhaPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"^nezha\.pooler\.", r"^cls\.seq_relationship\."]  # noqa: RUF012

    def __init__(self, config: NezhaConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config, add_pooling_layer=False)
        self.cls = NezhaHeads(config, pairs=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Tensor, ...]:
        """Scores (B, L, vocabulary); `labels` (B, L), -100 where nothing is predicted."""
        encoded = self.nezha(input_ids, attention_mask, token_type_ids, output_attentions, output_hidden_states, True)
        logits = self.cls.predictions(encoded.last_hidden_state, self.get_input_embeddings().weight)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        output = MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, self.config.return_dict) else output.to_tuple()


class NezhaForSequenceClassification(NezhaPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"^cls\."]  # noqa: RUF012

    def __init__(self, config: NezhaConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, len(config.id2label or ()))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Scores (B, num_labels); `labels` (B,) are classes, or numbers where num_labels is 1."""
        encoded = self.nezha(input_ids, attention_mask, token_type_ids, output_attentions, output_hidden_states, True)
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None
        if labels is not None:
            one = self.config.num_labels == 1
            loss = F.mse_loss(logits[:, 0], labels.to(logits.dtype)) if one else F.cross_entropy(logits, labels)
        output = SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, self.config.return_dict) else output.to_tuple()


class NezhaForTokenClassification(NezhaPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"^cls\.", r"^nezha\.pooler\."]  # noqa: RUF012

    def __init__(self, config: NezhaConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, len(config.id2label or ()))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput | tuple[Tensor, ...]:
        """Scores (B, L, num_labels); `labels` (B, L), -100 where a piece does not count."""
        encoded = self.nezha(input_ids, attention_mask, token_type_ids, output_attentions, output_hidden_states, True)
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        output = TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, self.config.return_dict) else output.to_tuple()


def classifier_dropout(config: NezhaConfig) -> float:
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
