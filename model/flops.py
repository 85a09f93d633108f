"""The arithmetic of a training step: floating-point operations of matrix products, an addition and a multiplication each.

    sequence_flops(EncoderConfig(), 128, 21_128, 0.15)       70.8e9: NEZHA-base, a full sequence of 128 tokens
    sequence_flops(EncoderConfig(), 512, 21_128, 0.15)      326.6e9

What is counted is what the network is, not what a kernel does: the model FLOPs of "MFU", model FLOPs utilisation (arXiv
2204.02311, appendix B). Forward once, backward twice; activations computed again count nothing.
"""

from model.config import EncoderConfig

FORWARD_AND_BACKWARD = 3
PEAK_TERAFLOPS = {"V100": 125, "A100": 312, "H100": 989, "H200": 989, "B200": 2250}
"""Peak of dense products in bf16 (V100: fp16), accumulated in float32, from NVIDIA's data sheets (SXM)."""


def sequence_flops(
    encoder: EncoderConfig, length: int, vocabulary_size: int, masked_share: float, relative: bool = True
) -> float:
    """Operations of one sequence of `length` tokens, forward and backward, of which `masked_share` are predicted.

    Linear layers 2 L (4 D^2 + 2 D I) a layer; scores and context 4 L^2 D; the functional encoding, on keys and on values, as
    much once more (`relative=False` leaves it out: what BERT of the same size would take); learned encodings, one product with
    each table, 4 L D min(L, 2m + 1); the head at masked positions alone. Norms, softmax, GELU and pooler, below 1 %, are left
    out.
    """
    width = encoder.hidden_size
    linear = 2 * length * (4 * width * width + 2 * width * encoder.intermediate_size)
    attention = 4 * length * length * width
    if relative and encoder.positions == "functional":
        attention *= 2
    elif relative and encoder.positions == "relative":
        attention += 4 * length * min(length, 2 * encoder.max_relative_position + 1) * width
    head = 2 * masked_share * length * (width * width + width * vocabulary_size)
    return float(FORWARD_AND_BACKWARD * (encoder.num_hidden_layers * (linear + attention) + head))
