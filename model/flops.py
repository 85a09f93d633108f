"""Floating-point operations of a training step: its matrix products, counting one addition and one multiplication per term.

    sequence_flops(EncoderConfig(), 128, 21_128, 0.15)       70.8e9: NEZHA-base, a full sequence of 128 tokens
    sequence_flops(EncoderConfig(), 512, 21_128, 0.15)      326.6e9

These are the model FLOPs of MFU, model FLOPs utilisation (arXiv 2204.02311, appendix B): what the network requires, whatever a
kernel does. The backward pass counts twice the forward pass; recomputed activations are not counted.
"""

from model.config import EncoderConfig

FORWARD_AND_BACKWARD = 3
PEAK_TERAFLOPS = {"V100": 125, "A100": 312, "H100": 989, "H200": 989, "B200": 2250}
"""Peak rate of dense bf16 products (V100: fp16) with float32 accumulation, in TFLOPS, from NVIDIA's data sheets (SXM)."""


def sequence_flops(
    encoder: EncoderConfig, length: int, vocabulary_size: int, mask_ratio: float, relative: bool = True
) -> float:
    """Return the operations of one sequence of `length` tokens, forward and backward; a fraction `mask_ratio` is predicted.

    Per layer, with D hidden size, I intermediate size, L length:

        linear layers                        2 L (4 D^2 + 2 D I)
        scores and context                   4 L^2 D
        functional encoding, keys + values   4 L^2 D                    `relative=False` leaves it out: BERT of the same size
        learned encodings, one table each    4 L D min(L, 2m + 1)

    The MLM head counts at masked positions only. Norms, softmax, GELU and pooler are below 1 % and left out.
    """
    width = encoder.hidden_size
    linear = 2 * length * (4 * width * width + 2 * width * encoder.intermediate_size)
    attention = 4 * length * length * width
    if relative and encoder.positions == "functional":
        attention *= 2
    elif relative and encoder.positions == "relative":
        attention += 4 * length * min(length, 2 * encoder.max_relative_position + 1) * width
    head = 2 * mask_ratio * length * (width * width + width * vocabulary_size)
    return float(FORWARD_AND_BACKWARD * (encoder.num_hidden_layers * (linear + attention) + head))
