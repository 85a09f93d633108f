"""The size of a network: its parameters, and the memory that training it takes.

    parameters(EncoderConfig(), 21_128)      102,489,226: NEZHA-base with both pretraining heads
    training_memory(...)                     weights 0.61 GB, gradients 0.41 GB, optimizer 0.82 GB, activations 3.6 GB, ...

Parameters are exact. Activations are counted tensor by tensor and are within 25 % of what torch keeps (a test compares them).
Not included: allocator overhead (about 10 %), the device context (half a GB) and communication buffers.
"""

from dataclasses import dataclass, fields

from model.config import EncoderConfig

FLOAT32 = 4


def parameters(encoder: EncoderConfig, vocabulary_size: int) -> int:
    """Return the number of weights of the encoder, its pooler and both pretraining heads, word embeddings counted once."""
    width, inner = encoder.hidden_size, encoder.intermediate_size
    norm = 2 * width
    layer = 4 * (width * width + width) + (width * inner + inner) + (inner * width + width) + 2 * norm
    embeddings = (vocabulary_size + encoder.type_vocab_size) * width + norm
    if encoder.positions == "absolute":
        embeddings += encoder.max_position_embeddings * width
    elif encoder.positions == "relative":
        layer += 2 * (2 * encoder.max_relative_position + 1) * encoder.head_size
    pooler = width * width + width
    heads = width * width + width + norm + vocabulary_size + 2 * width + 2
    return embeddings + encoder.num_hidden_layers * layer + pooler + heads


@dataclass(frozen=True)
class Memory:
    """Bytes on one device during training."""

    weights: int
    """float32 weights, plus their copies for half-precision products."""
    gradients: int
    optimizer: int
    """Two float32 moments, for LAMB and AdamW alike."""
    activations: int
    """What the backward pass of one micro-batch needs."""
    logits: int
    """Scores over the vocabulary at the masked positions of one micro-batch, and their gradient."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def training_memory(
    encoder: EncoderConfig,
    vocabulary_size: int,
    micro_batch_tokens: int,
    mask_ratio: float,
    *,
    half: bool = True,
    activation_checkpointing: bool = False,
) -> Memory:
    """Return the peak memory of a step whose micro-batches have no padding.

    `half`: products in bf16 or fp16 instead of float32. With activation checkpointing, layers store their input only and are
    recomputed one at a time.
    """
    weights, wide = parameters(encoder, vocabulary_size), 2 if half else FLOAT32
    layers = encoder.num_hidden_layers
    whole = activation_bytes(encoder, half=half)
    per_token = FLOAT32 * encoder.hidden_size * layers + whole if activation_checkpointing else whole * layers
    masked = round(mask_ratio * micro_batch_tokens)
    return Memory(
        weights=weights * (FLOAT32 + (wide if half else 0)),
        gradients=weights * FLOAT32,
        optimizer=weights * 2 * FLOAT32,
        activations=micro_batch_tokens * per_token,
        logits=masked * vocabulary_size * (wide + 2 * FLOAT32),
    )


def activation_bytes(encoder: EncoderConfig, *, half: bool = True) -> int:
    """Return the bytes per token that a layer keeps for the backward pass, with fused attention, which keeps no scores.

    Counted as by Korthikanti et al. (arXiv 2205.05198, section 4.1), except that LayerNorm is float32, and that functional
    positions double the width of queries, keys, values and context (half of it is the encoding).
    """
    width, inner, wide = encoder.hidden_size, encoder.intermediate_size, 2 if half else FLOAT32
    attention = (1 + (8 if encoder.positions == "functional" else 4) + 1) * width * wide  # input; q, k, v, context; dense
    norms = 2 * width * FLOAT32
    feed_forward = (width + 2 * inner) * wide  # input; before and after the activation
    masks = 2 * width if encoder.hidden_dropout_prob else 0  # one byte per element
    return attention + norms + feed_forward + masks
