"""How alike are two texts? The cosine of their vectors, as `embed` computes them. Nothing is learned.

三个人在下棋。 两个人在下棋。         2.0                       0.83

Scores are those of C-MTEB: Spearman's correlation with gold numbers; labels 0 and 1 are numbers, too.
Source: mteb, AbsTaskSTS (https://github.com/embeddings-benchmark/mteb), `cosine_spearman`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.engine.execution import Report
from workflows.evaluation.examples import Example
from workflows.evaluation.kinds.numbers import Regression
from workflows.evaluation.metrics import Metric

if TYPE_CHECKING:
    from model.finetuning.vectors import Pooling
    from workflows.evaluation.encoders import Encoder

CHUNK = 1_024
"""Texts between two reports of progress."""


class Similarity(Regression):
    """A pair of texts has a number, and so have their vectors."""

    metrics: tuple[Metric, ...] = ("spearman",)
    other_metrics: tuple[Metric, ...] = ("pearson",)
    max_length = 512


def cosines(
    encoder: "Encoder", examples: Sequence[Example], pooling: "Pooling", max_length: int, seed: int, report: Report
) -> list[float]:
    """Return the cosine of the vectors of each pair of texts. `seed` draws the weights of an encoder that has none."""
    import numpy as np

    from model.finetuning.finetune import seeded
    from workflows.inference.embedding import EmbedConfig, Embedder

    texts = list(dict.fromkeys(item for example in examples for item in example.items))
    with seeded(seed):
        body = encoder.start.body()
    embedder = Embedder(body, encoder.tokenizer, encoder.start.frame(max_length), EmbedConfig(pooling=pooling))
    parts = []
    for begin in range(0, len(texts), CHUNK):
        parts.append(embedder.vectors(texts[begin : begin + CHUNK]))
        report(min(begin + CHUNK, len(texts)), len(texts), "vectors")
    number = {text: index for index, text in enumerate(texts)}
    vectors = np.concatenate(parts)
    first, second = (vectors[[number[example.items[side]] for example in examples]] for side in (0, 1))
    return [float(cosine) for cosine in (first.astype(np.float64) * second).sum(1)]
