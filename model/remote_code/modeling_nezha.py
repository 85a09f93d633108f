"""NEZHA (arXiv 1909.00204) for transformers 4.46 and later: BERT's blocks with functional relative positions, with all heads.

    model = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)
    model(**tokenizer("今天[MASK]气很好", return_tensors="pt")).logits        # (1, 9, vocabulary)

Attention and its positions are in attention_nezha.py. `attn_implementation="sdpa"`, the default where transformers has it, is
the fast one; "eager" computes the full weights, and is also used if `output_attentions` requests them.

Shape suffixes: B batch, L length, N heads, H head width.
"""
# mypy: allow-untyped-calls, no-warn-return-any

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import ModelOutput

from .attention_nezha import Positions, attend, learned, positions, weighed
from .configuration_nezha import NezhaPipeConfig

TIED = {"cls.predictions.decoder.weight": "nezha.embeddings.word_embeddings.weight"}


class NezhaLayerNorm(nn.LayerNorm):
    """Layer normalisation in at least float32: in half precision epsilon 1e-12 rounds to zero."""

    def forward(self, input: Tensor) -> Tensor:
        wide = torch.promote_types(input.dtype, torch.float32)
        normal = F.layer_norm(input.to(wide), self.normalized_shape, self.weight.to(wide), self.bias.to(wide), self.eps)
        return normal.to(input.dtype)


class NezhaEmbeddings(nn.Module):
    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        if config.positions == "absolute":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.LayerNorm = NezhaLayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inputs_embeds: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """Return embeddings (B, L, D), given word embeddings (B, L, D). Without segments, every token is in the first one."""
        if token_type_ids is None:
            token_type_ids = torch.zeros(1, 1, dtype=torch.long, device=inputs_embeds.device)
        embedded = inputs_embeds + self.token_type_embeddings(token_type_ids)
        if hasattr(self, "position_embeddings"):
            length, most = inputs_embeds.shape[1], self.position_embeddings.num_embeddings
            if length > most:
                raise ValueError(f"{length} tokens, but the model has positions for {most}; truncate the texts")
            embedded = embedded + self.position_embeddings(torch.arange(length, device=inputs_embeds.device))
        return self.dropout(self.LayerNorm(embedded))


class NezhaSelfAttention(nn.Module):
    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        if config.positions == "relative":
            rows = (2 * config.max_relative_position + 1, config.hidden_size // config.num_attention_heads)
            self.relative_keys, self.relative_values = nn.Embedding(*rows), nn.Embedding(*rows)
        self.dropout = config.attention_probs_dropout_prob
        self.heads = (config.num_attention_heads, config.hidden_size // config.num_attention_heads)

    def forward(
        self, hidden: Tensor, where: Positions | None, bias: Tensor | None, weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        shape = (*hidden.shape[:2], *self.heads)
        q, k, v = (part(hidden).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        if bias is not None and bias.dtype != q.dtype:  # autocast chose another type
            bias = bias.clamp(min=torch.finfo(q.dtype).min / 2).to(q.dtype)
        dropout = self.dropout if self.training else 0.0
        if hasattr(self, "relative_keys"):
            rows = torch.arange(self.relative_keys.num_embeddings, device=hidden.device)
            where = learned(self.relative_keys(rows), self.relative_values(rows))
        if weights:
            context, weights_BNLL = weighed(q, k, v, where, bias, dropout)
        else:
            context, weights_BNLL = attend(q, k, v, where, bias, dropout), None
        return context.transpose(1, 2).flatten(-2), weights_BNLL


class NezhaResidual(nn.Module):
    """LayerNorm(residual + dropout(dense(x)))."""

    def __init__(self, config: NezhaPipeConfig, width: int) -> None:
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
    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__()
        self.self = NezhaSelfAttention(config)
        self.output = NezhaResidual(config, config.hidden_size)

    def forward(
        self, hidden: Tensor, where: Positions | None, bias: Tensor | None, weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        context, weights_BNLL = self.self(hidden, where, bias, weights)
        return self.output(context, hidden), weights_BNLL


class NezhaLayer(nn.Module):
    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__()
        self.attention = NezhaAttention(config)
        self.intermediate = NezhaDense(config.hidden_size, config.intermediate_size, config.hidden_act)
        self.output = NezhaResidual(config, config.intermediate_size)

    def forward(
        self, hidden: Tensor, where: Positions | None, bias: Tensor | None, weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        hidden, weights_BNLL = self.attention(hidden, where, bias, weights)
        return self.output(self.intermediate(hidden), hidden), weights_BNLL


class NezhaPreTrainedModel(PreTrainedModel):
    config: NezhaPipeConfig
    config_class = NezhaPipeConfig
    base_model_prefix = "nezha"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["NezhaEmbeddings", "NezhaLayer"]  # noqa: RUF012

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise as in pretraining: matrices truncated normal at two sigma; biases 0; LayerNorm 1 and 0.

        Every parameter is set, since `from_pretrained` may create a missing one from memory as it is. One that it has loaded is
        marked, and kept.
        """
        sigma = self.config.initializer_range
        for name, weight in module.named_parameters(recurse=False):
            if getattr(weight, "_is_hf_initialized", False):
                continue
            if name == "bias":
                nn.init.zeros_(weight)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(weight)
            else:
                nn.init.trunc_normal_(weight, std=sigma, a=-2 * sigma, b=2 * sigma)

    def get_input_embeddings(self) -> Any:
        base: Any = self.base_model
        return base.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        base: Any = self.base_model
        base.embeddings.word_embeddings = value

    def get_output_embeddings(self) -> Any:
        heads = getattr(self, "cls", None)
        return None if heads is None else heads.predictions.decoder

    def set_output_embeddings(self, value: nn.Module) -> None:
        heads: Any = self.cls
        heads.predictions.decoder = value

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Resize the embeddings, and with them the bias of the MLM head, whose matrix is tied to them."""
        embeddings: nn.Embedding = super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        head = getattr(getattr(self, "cls", None), "predictions", None)
        if head is not None and (more := embeddings.num_embeddings - len(head.bias)):
            head.bias = nn.Parameter(F.pad(head.bias.data, (0, more)))
        return embeddings


class NezhaModel(NezhaPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"^cls\."]  # noqa: RUF012

    def __init__(self, config: NezhaPipeConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = NezhaEmbeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(NezhaLayer(config) for _ in range(config.num_hidden_layers))})
        self.pooler = NezhaDense(config.hidden_size, config.hidden_size, "tanh") if add_pooling_layer else None
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Tensor, ...]:
        """Return hidden states (B, L, hidden_size) of `input_ids` (B, L), or of `inputs_embeds` (B, L, hidden_size) instead.

        `attention_mask` (B, L), or (B, L, L) and (B, 1 or N, L, L) with a row for each query: see `mask_bias`. Attention
        weights and hidden states are returned on request only.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        embeds = self.embeddings.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        hidden = self.embeddings(embeds, token_type_ids)
        where = self.positions(hidden)
        bias = mask_bias(attention_mask, hidden.dtype)
        want_weights = wanted(output_attentions, self.config.output_attentions)
        weigh = want_weights or self.config._attn_implementation == "eager"
        want_states = wanted(output_hidden_states, self.config.output_hidden_states)
        states, attentions = [hidden], []
        for layer in self.encoder["layer"].children():
            if self.gradient_checkpointing and self.training:
                hidden, weights = self._gradient_checkpointing_func(layer.__call__, hidden, where, bias, weigh)
            else:
                hidden, weights = layer(hidden, where, bias, weigh)
            if want_states:
                states.append(hidden)
            if want_weights:
                attentions.append(weights)
        output = BaseModelOutputWithPooling(
            last_hidden_state=hidden,
            pooler_output=None if self.pooler is None else self.pooler(hidden[:, 0]),
            hidden_states=tuple(states) if want_states else None,
            attentions=tuple(attentions) if want_weights else None,
        )
        return output if wanted(return_dict, as_dict(self.config)) else output.to_tuple()

    def positions(self, hidden: Tensor) -> Positions | None:
        """Return the tables for the length of `hidden` (B, L, D); None unless positions are functional."""
        config = self.config
        if config.positions != "functional":
            return None
        clip = config.max_relative_position if config.relative_positions == "released" else None
        return positions(hidden.shape[1], config.hidden_size // config.num_attention_heads, clip, hidden)


def mask_bias(attention_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return (B, 1 or N, 1 or L, L) to add to scores: 0 for tokens, half the lowest number for padding; None if there is none.

    Half, so that sums do not overflow; a number, not -inf, so that a row of padding does not become NaN.

    attention_mask: (B, L), (B, L, L) or (B, 1 or N, L, L); 1 or True for tokens. As in transformers' BERT, floating-point
    numbers in four dimensions are no such mask, but what is to be added.
    """
    if attention_mask is None:
        return None
    lowest = torch.finfo(dtype).min / 2
    if attention_mask.ndim == 4 and attention_mask.is_floating_point():
        return attention_mask.to(dtype).clamp(min=lowest)
    if attention_mask.ndim not in (2, 3, 4):
        raise ValueError(f"attention_mask has {attention_mask.ndim} dimensions; it may have 2, 3 or 4")
    hidden = attention_mask == 0
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]
    if not (traced or hidden.any()):
        return None  # kernels without a bias are faster
    bias = torch.zeros_like(hidden, dtype=dtype).masked_fill(hidden, lowest)
    return {2: bias[:, None, None], 3: bias[:, None], 4: bias}[bias.ndim]


def as_dict(config: NezhaPipeConfig) -> bool:
    return bool(config.return_dict) and not getattr(config, "torchscript", False)


def wanted(argument: bool | None, default: bool | None) -> bool:
    return bool(default) if argument is None else argument


class NezhaTransform(nn.Module):
    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = NezhaLayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(x)))


class NezhaPredictions(nn.Module):
    """The MLM head: scores over the vocabulary. Its matrix is tied to the word embeddings, and not stored."""

    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__()
        self.transform = NezhaTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.transform(hidden)) + self.bias


class NezhaHeads(nn.Module):
    def __init__(self, config: NezhaPipeConfig, pairs: bool) -> None:
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
    """Both pretraining heads: masked tokens, and whether segment B follows A (0) or is random (1)."""

    _tied_weights_keys = TIED

    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config)
        self.cls = NezhaHeads(config, pairs=True)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> NezhaForPreTrainingOutput | tuple[Tensor, ...]:
        """Return scores (B, L, vocabulary) of tokens and (B, 2) of pairs.

        `labels`: (B, L), -100 where nothing is predicted; `next_sentence_label`: (B,). With both, `loss` is the sum of both.
        """
        inputs = (input_ids, attention_mask, token_type_ids, inputs_embeds)
        encoded = self.nezha(*inputs, output_attentions, output_hidden_states, True)
        mlm_logits = self.cls.predictions(encoded.last_hidden_state)
        pair_logits = self.cls.seq_relationship(encoded.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = F.cross_entropy(mlm_logits.flatten(0, 1), labels.flatten()) + F.cross_entropy(
                pair_logits, next_sentence_label.flatten()
            )
        output = NezhaForPreTrainingOutput(loss, mlm_logits, pair_logits, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, as_dict(self.config)) else output.to_tuple()


class NezhaForMaskedLM(NezhaPreTrainedModel):
    _tied_weights_keys = TIED
    _keys_to_ignore_on_load_unexpected = [r"^nezha\.pooler\.", r"^cls\.seq_relationship\."]  # noqa: RUF012

    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config, add_pooling_layer=False)
        self.cls = NezhaHeads(config, pairs=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Tensor, ...]:
        """Return scores (B, L, vocabulary). `labels`: (B, L), -100 where nothing is predicted."""
        inputs = (input_ids, attention_mask, token_type_ids, inputs_embeds)
        encoded = self.nezha(*inputs, output_attentions, output_hidden_states, True)
        logits = self.cls.predictions(encoded.last_hidden_state)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        output = MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, as_dict(self.config)) else output.to_tuple()


class NezhaForSequenceClassification(NezhaPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"^cls\."]  # noqa: RUF012

    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, len(config.id2label or ()))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Return scores (B, num_labels).

        `labels`: see `classification_loss`.
        """
        inputs = (input_ids, attention_mask, token_type_ids, inputs_embeds)
        encoded = self.nezha(*inputs, output_attentions, output_hidden_states, True)
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None if labels is None else classification_loss(self.config, logits, labels)
        output = SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, as_dict(self.config)) else output.to_tuple()


class NezhaForTokenClassification(NezhaPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"^cls\.", r"^nezha\.pooler\."]  # noqa: RUF012

    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, len(config.id2label or ()))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput | tuple[Tensor, ...]:
        """Return scores (B, L, num_labels). `labels`: (B, L), -100 for tokens to ignore."""
        inputs = (input_ids, attention_mask, token_type_ids, inputs_embeds)
        encoded = self.nezha(*inputs, output_attentions, output_hidden_states, True)
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        output = TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, as_dict(self.config)) else output.to_tuple()


class NezhaForQuestionAnswering(NezhaPreTrainedModel):
    """Extractive question answering: the first and last token of an answer in a passage."""

    _keys_to_ignore_on_load_unexpected = [r"^cls\.", r"^nezha\.pooler\."]  # noqa: RUF012

    def __init__(self, config: NezhaPipeConfig) -> None:
        super().__init__(config)
        self.nezha = NezhaModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput | tuple[Tensor, ...]:
        """Return scores (B, L) of the first and of the last token. The loss ignores positions (B,) beyond the sequence."""
        inputs = (input_ids, attention_mask, token_type_ids, inputs_embeds)
        encoded = self.nezha(*inputs, output_attentions, output_hidden_states, True)
        start, end = self.qa_outputs(encoded.last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            beyond = start.shape[1]
            first, last = (at.flatten().clamp(0, beyond) for at in (start_positions, end_positions))
            loss = (F.cross_entropy(start, first, ignore_index=beyond) + F.cross_entropy(end, last, ignore_index=beyond)) / 2
        output = QuestionAnsweringModelOutput(loss, start, end, encoded.hidden_states, encoded.attentions)
        return output if wanted(return_dict, as_dict(self.config)) else output.to_tuple()


def classification_loss(config: NezhaPipeConfig, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of scores (B, num_labels) as BERT's class does.

    `config.problem_type` decides: "regression", mean squared error to `labels` (B, num_labels), or (B,) with one label;
    "single_label_classification", (B,) classes; "multi_label_classification", (B, num_labels) of 0 and 1. If it is None, it is
    inferred from the first labels, and kept.
    """
    if config.problem_type is None:
        whole = labels.dtype in (torch.int64, torch.int32)
        several: Any = "single_label_classification" if whole else "multi_label_classification"
        config.problem_type = "regression" if logits.shape[-1] == 1 else several
    if config.problem_type == "single_label_classification":
        return F.cross_entropy(logits, labels.flatten())
    loss = F.mse_loss if config.problem_type == "regression" else F.binary_cross_entropy_with_logits
    return loss(logits, labels.reshape(logits.shape).to(logits.dtype))


def classifier_dropout(config: NezhaPipeConfig) -> float:
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


# `save_pretrained` copies this file and those it imports with the weights of a registered class.
NezhaModel.register_for_auto_class("AutoModel")
NezhaForPreTraining.register_for_auto_class("AutoModelForPreTraining")
NezhaForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
NezhaForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
NezhaForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
NezhaForQuestionAnswering.register_for_auto_class("AutoModelForQuestionAnswering")
