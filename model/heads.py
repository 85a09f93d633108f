"""Models on top of the encoder: the two pretraining heads, and the heads that fine-tuning replaces them with.

    [CLS] 今 天 [MASK] 气 [SEP]   PretrainingModel: a score for each token of the vocabulary at [MASK] (天 should win), and
                                 two for the pair of segments: B follows A, or is random
    [CLS] 房 间 很 大 [SEP]       SequenceClassifier: a score for each label (positive)
    [CLS] 我 在 北 京 [SEP]       TokenClassifier: a score for each tag at each token (O O O B-LOC I-LOC O)
    [CLS] 谁 [SEP] 他 来 了 [SEP]  SpanReader: a score for each token to be the first of the answer, and one to be its last

The pretraining model names its encoder `nezha`, and its keys are Hugging Face's. The other heads are put on any `Body`: our
encoder, or one of transformers (model/finetuning/foreign.py).
Source: Huawei's run_pretraining.py, lines 271-336.
Shapes: B batch size, L sequence length, T tokens of a batch without padding, K masked tokens of a batch, D hidden size,
V vocabulary size.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention.dropout import Dropout
from model.config import EncoderConfig
from model.encoder import Encoder, LayerNorm, gelu, initialise

VOCABULARY_MULTIPLE = 64
"""Block size of matrix units. BERT's 21,128 tokens are padded to 21,184 for the product, and the result is cut back."""


class Transform(nn.Module):
    """The hidden layer of the MLM head: LayerNorm(gelu(dense(x)))."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = gelu(config)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        normal: Tensor = self.LayerNorm(self.activation(self.dense(x)))
        return normal


class MLMHead(nn.Module):
    """The masked language modelling (MLM) head: scores over the vocabulary.

    Its output matrix is the word embeddings, which are passed to `forward`, so they are kept and stored once.
    """

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden_KD: Tensor, embeddings_VD: Tensor) -> Tensor:
        """Return scores (K, V) of masked positions (K, D)."""
        padding = -len(embeddings_VD) % VOCABULARY_MULTIPLE
        matrix, bias = F.pad(embeddings_VD, (0, 0, 0, padding)), F.pad(self.bias, (0, padding))
        return F.linear(self.transform(hidden_KD), matrix, bias)[:, : len(embeddings_VD)]


class PretrainingHeads(nn.Module):
    """Both pretraining heads, under Hugging Face's names."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.predictions = MLMHead(config, vocab_size)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)
        initialise(self, config)


class PretrainingModel(nn.Module):
    """The encoder with the MLM head and the sentence-pair head."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.nezha = Encoder(config, vocab_size)
        self.cls = PretrainingHeads(config, vocab_size)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        mask_positions: Tensor,
        lengths: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the scores of masked tokens (K, V) and of pairs (B, 2), both float32.

        input_ids, token_type_ids: (B, L) int64
        attention_mask: (B, L) bool, True for tokens
        mask_positions: (K,) int64, indices row * L + position into the flattened batch. Only these are scored: all B * L
            positions would add a sixth to the arithmetic of a base model at length 128.
        lengths: (B,) tokens per row, if the host knows them; it then does not wait for the GPU.
        """
        # Encode the tokens, without padding.
        packing = self.nezha.packing(input_ids, attention_mask, lengths)
        hidden_TD = self.nezha.packed(input_ids, token_type_ids, packing)
        # Score the vocabulary at masked positions.
        masked_KD = hidden_TD.index_select(0, packing.packed(mask_positions))
        mlm_logits: Tensor = self.cls.predictions(masked_KD, self.nezha.embeddings.word_embeddings.weight)
        # Score the pair of segments at [CLS].
        first_BD = hidden_TD.index_select(0, packing.first)
        pair_logits: Tensor = self.cls.seq_relationship(self.nezha.pooler(first_BD))
        return mlm_logits.float(), pair_logits.float()

    def pair_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of pooler and pair head, which have a gradient only where rows have pairs."""
        for module in (self.nezha.pooler, self.cls.seq_relationship):
            yield from module.parameters()


class BodyConfig(Protocol):
    """What a head takes from the configuration of its encoder."""

    @property
    def hidden_size(self) -> int: ...

    @property
    def hidden_dropout_prob(self) -> float: ...

    @property
    def initializer_range(self) -> float: ...


class Body(Protocol):
    """An encoder to put a head on: a torch module."""

    @property
    def config(self) -> BodyConfig: ...

    def __call__(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """Return the hidden states of the last layer, (B, L, D)."""

    def pool(self, hidden: Tensor) -> Tensor:
        """Return one vector per sequence: (B, L, D) -> (B, D)."""


class SequenceClassifier(nn.Module):
    """One score per label for a whole sequence or pair of sequences: a linear layer on the pooled first position."""

    def __init__(self, body: Body, num_labels: int) -> None:
        super().__init__()
        self.body = body
        self.dropout = Dropout(body.config.hidden_dropout_prob)
        self.classifier = nn.Linear(body.config.hidden_size, num_labels)
        initialise(self.classifier, body.config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, num_labels), float32."""
        hidden = self.body(input_ids, attention_mask, token_type_ids)
        scores: Tensor = self.classifier(self.dropout(self.body.pool(hidden)))
        return scores.float()


class TokenClassifier(nn.Module):
    """One score per tag for each token: a linear layer on the hidden states. The pooler is unused."""

    def __init__(self, body: Body, num_labels: int) -> None:
        super().__init__()
        self.body = body
        self.dropout = Dropout(body.config.hidden_dropout_prob)
        self.classifier = nn.Linear(body.config.hidden_size, num_labels)
        initialise(self.classifier, body.config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, L, num_labels), float32."""
        hidden = self.body(input_ids, attention_mask, token_type_ids)
        scores: Tensor = self.classifier(self.dropout(hidden))
        return scores.float()


class SpanReader(nn.Module):
    """Two scores for each token, to be the first and the last of an answer: a linear layer on the hidden states, no dropout.

    Source: Huawei's run_squad.py, create_model.
    """

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body
        self.qa_outputs = nn.Linear(body.config.hidden_size, 2)
        initialise(self.qa_outputs, body.config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, L, 2), float32."""
        scores: Tensor = self.qa_outputs(self.body(input_ids, attention_mask, token_type_ids))
        return scores.float()
