"""What a recipe costs, from its numbers alone: parameters, arithmetic, memory and disk."""

from typing import Any

from model.config import EncoderConfig, PhaseConfig
from workflows.recipe import Recipe

BYTES_PER_WEIGHT = 16
"""float32 weight, gradient and LAMB's two moments."""


def parameters(encoder: EncoderConfig, vocabulary_size: int) -> int:
    """Weights of the encoder, its pooler and both pretraining heads; word embeddings are counted once."""
    width, inner = encoder.hidden_size, encoder.intermediate_size
    norm = 2 * width
    layer = 4 * (width * width + width) + (width * inner + inner) + (inner * width + width) + 2 * norm
    embeddings = (vocabulary_size + encoder.type_vocab_size) * width + norm
    pooler = width * width + width
    heads = width * width + width + norm + vocabulary_size + 2 * width + 2
    return embeddings + encoder.num_hidden_layers * layer + pooler + heads


def sequence_flops(encoder: EncoderConfig, phase: PhaseConfig, vocabulary_size: int, masked_share: float) -> float:
    """Floating-point operations of one full sequence, forward and backward (three times forward), relative terms counted.

    A relative term on keys and one on values cost as much as attention itself once more.
    """
    length, width = phase.sequence_length, encoder.hidden_size
    layer = 2 * length * (4 * width * width + 2 * width * encoder.intermediate_size) + 2 * 4 * length * length * width
    head = 2 * masked_share * length * (width * width + width * vocabulary_size)
    return 3.0 * (encoder.num_hidden_layers * layer + head)


def costs(recipe: Recipe) -> dict[str, Any]:
    """Rounded figures by name; of a built vocabulary its largest size is taken."""
    size = recipe.vocabulary.size
    weights = parameters(recipe.encoder, size)
    share = recipe.masking.masked_lm_prob
    flops = sum(p.steps * p.batch_size * sequence_flops(recipe.encoder, p, size, share) for p in recipe.phase)
    return {
        "parameters": weights,
        "training sequences": sum(phase.steps * phase.batch_size for phase in recipe.phase),
        "training pieces": sum(phase.steps * phase.batch_size * phase.sequence_length for phase in recipe.phase),
        "training petaflop": round(flops / 1e15, 3),
        "memory per worker (MB)": round(weights * BYTES_PER_WEIGHT / 1e6),
        "checkpoint (MB)": round(weights * 12 / 1e6),
    }
