"""What stands on the encoder: the two pretraining tasks, and the heads that fine-tuning puts in their place.

    [CLS] 今 天 [MASK] 气 [SEP]   PretrainingModel: a score of each token of the vocabulary at [MASK] (天 should win), and
                                 two for the pair of segments: B follows A, or is random
    [CLS] 房 间 很 大 [SEP]       SequenceClassifier: a score of each label (positive)
    [CLS] 我 在 北 京 [SEP]       TokenClassifier: a score of each tag at each token (O O O B-LOC I-LOC O)

All name the encoder `nezha`, so that weights move from one to another by their keys, which are Hugging Face's.
Source: Huawei's run_pretraining.py, lines 271-336.
Shapes: B batch, L sequence length, K masked tokens of a batch, D hidden size, V vocabulary.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention.dropout import Dropout
from model.config import EncoderConfig
from model.encoder import Encoder, LayerNorm, gelu, initialise

VOCABULARY_MULTIPLE = 64
"""Matrix units work in such blocks. BERT's 21,128 tokens are scored as 21,184, and what is too much is cut off again."""


class Transform(nn.Module):
    """What the masked-word head does before it compares with the vocabulary: LayerNorm(gelu(dense(x)))."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = gelu(config)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        normal: Tensor = self.LayerNorm(self.activation(self.dense(x)))
        return normal


class MLMHead(nn.Module):
    """Scores over the vocabulary. Its matrix is that of the word embeddings, which is handed in: it is kept and stored once."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden_KD: Tensor, words_VD: Tensor) -> Tensor:
        extra = -len(words_VD) % VOCABULARY_MULTIPLE
        words, bias = F.pad(words_VD, (0, 0, 0, extra)), F.pad(self.bias, (0, extra))
        return F.linear(self.transform(hidden_KD), words, bias)[:, : len(words_VD)]


class PretrainingHeads(nn.Module):
    """The heads of both tasks, named as Hugging Face names them."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.predictions = MLMHead(config, vocab_size)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)
        initialise(self, config)


class PretrainingModel(nn.Module):
    """The encoder with the masked-word head and the sentence-pair head."""

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
        """Scores of the masked tokens (K, V) and of the pairs (B, 2), both float32.

        `mask_positions` (K,) int64 are indices into the flattened batch, row * L + position. Only these reach the vocabulary:
        all B * L would cost a base model at length 128 another sixth of its arithmetic. `lengths` (B,) are those of the rows,
        if the host knows them: a GPU then need not be waited for.
        """
        packing = self.nezha.packing(input_ids, attention_mask, lengths)
        hidden_TD = self.nezha.packed(input_ids, token_type_ids, packing)
        masked_KD = hidden_TD.index_select(0, packing.packed(mask_positions))
        mlm_logits: Tensor = self.cls.predictions(masked_KD, self.nezha.embeddings.word_embeddings.weight)
        first_BD = hidden_TD.index_select(0, packing.first)
        pair_logits: Tensor = self.cls.seq_relationship(self.nezha.pooler(first_BD))
        return mlm_logits.float(), pair_logits.float()


class SequenceClassifier(nn.Module):
    """One score per label for a whole sequence or pair: a linear layer on the pooled first position."""

    def __init__(self, config: EncoderConfig, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        self.nezha = Encoder(config, vocab_size)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, num_labels)
        initialise(self.classifier, config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, num_labels), float32."""
        hidden = self.nezha(input_ids, attention_mask, token_type_ids)
        scores: Tensor = self.classifier(self.dropout(self.nezha.pool(hidden)))
        return scores.float()


class TokenClassifier(nn.Module):
    """One score per tag for each token: a linear layer on the hidden states. The pooler is not used."""

    def __init__(self, config: EncoderConfig, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        self.nezha = Encoder(config, vocab_size)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, num_labels)
        initialise(self.classifier, config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, L, num_labels), float32."""
        hidden = self.nezha(input_ids, attention_mask, token_type_ids)
        scores: Tensor = self.classifier(self.dropout(hidden))
        return scores.float()
