"""Vectors of texts: how they are made from hidden states, and how they lie on the sphere.

Shapes: B batch size, L sequence length, N texts, D hidden size.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Pooling = Literal["mean", "cls"]
"""Vector of a text: the mean over its tokens, [CLS] and [SEP] included, or the vector of [CLS]."""


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return one vector per text (B, D) from hidden states (B, L, D); mask (B, L) is True for tokens."""
    if pooling == "cls":
        return hidden[:, 0]
    return hidden.masked_fill(~mask[..., None], 0.0).sum(1) / mask.sum(1, keepdim=True)


def alignment(first: Tensor, second: Tensor) -> float:
    """Return how far apart the texts of a pair are: the mean of |x - y|^2 over pairs of vectors of length 1, (N, D) each.

    0: all are equal. Source: Wang and Isola, arXiv 2005.10242, with alpha = 2.
    """
    return float((_units(first) - _units(second)).square().sum(1).mean())


def uniformity(vectors: Tensor) -> float:
    """Return how evenly vectors (N, D) are spread: log of the mean of exp(-2 |x - y|^2) over all pairs of texts.

    0: all point in one direction; about -4: spread evenly. Source: Wang and Isola, arXiv 2005.10242, with t = 2.
    """
    squared = torch.pdist(_units(vectors)).square()
    return float(torch.logsumexp(-2 * squared, 0) - torch.tensor(float(len(squared))).log())


def mean_cosine(vectors: Tensor) -> float:
    """Return the mean cosine similarity of two different texts; vectors (N, D)."""
    units = _units(vectors)
    return float((units.sum(0).square().sum() - len(units)) / (len(units) * (len(units) - 1)))


def _units(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.double(), dim=-1)
