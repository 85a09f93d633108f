"""Contrastive fine-tuning: the vectors of texts that mean the same come together, those of other texts move apart.

    without labels    [CLS] 今 天 很 好 [SEP]  twice, each time with other units dropped: the two vectors are a positive pair
    with pairs        anchor 今天天气如何     positive 今天天气怎么样     hard negative 今天股市怎么样 (if there is one)

An anchor has to find its positive among all positives and hard negatives of the batch:

    loss = mean over i of -log softmax_j(cos(a_i, c_j) / temperature) at its positive

A candidate that means the same as the anchor, as far as the pairs say, is no negative: it is left out of the softmax.

Source: SimCSE, arXiv 2104.08821, equations 4 and 5. Its MLP over [CLS], used in training alone, is left out.
Shapes: B texts or anchors in a batch, C candidates, D hidden size.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import EncoderConfig
from model.encoder import Encoder
from model.finetuning.finetune import seeded
from model.finetuning.learner import FinetuneConfig, optimizer_and_schedule
from model.finetuning.vectors import Pooling, pool
from model.finetuning.windows import padded, shuffled
from model.precision import resolve
from pipeline.arrays import Flags, Ints
from pipeline.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(FinetuneConfig):
    """Settings of contrastive fine-tuning.

    SimCSE's for a base model without labels, except for `max_length` (32 there), `pooling` ([CLS] there), and for warm-up and
    weight decay, of which it has none.
    """

    epochs: int = 1
    batch_size: int = 64
    """Anchors per step; the other texts of a batch are the negatives."""
    max_length: int = 64
    steps: int = 0
    """Steps after which training ends; 0 = after all epochs."""
    temperature: float = 0.05
    dropout: float = 0.1
    """Probability of dropout in tuning, whatever the encoder's own is. Without labels it is all that tells a positive from its
    anchor."""
    pooling: Pooling = "mean"


@dataclass(frozen=True)
class Triple:
    """An anchor, its positive and its hard negative, as token ids with [CLS] and [SEP]."""

    anchor: Ints
    positive: Ints | None = None
    """None: the anchor itself, read with other units dropped."""
    negative: Ints | None = None

    @property
    def texts(self) -> list[Ints]:
        """What the network reads."""
        return [text for text in (self.anchor, self.positive, self.negative) if text is not None]


@dataclass(frozen=True)
class Tuned:
    """The result of contrastive fine-tuning."""

    weights: dict[str, Tensor]
    """State dict of the encoder."""
    steps: int
    loss: float
    """Mean of the last tenth of the steps."""
    masked: int
    """Candidates that were left out because they mean the same as an anchor."""


Progress = Callable[[int, int, str], None]


def tune(
    config: EncoderConfig,
    weights: Mapping[str, Tensor],
    triples: Sequence[Triple],
    settings: ContrastiveConfig,
    progress: Progress | None = None,
) -> Tuned:
    """Tune an encoder whose state dict is `weights`. `progress(step, steps, line)` is called after each step.

    Equal arguments give equal weights, bit for bit, on one machine with one number of threads.

    Raises: CheckpointError if the loss or a weight is no longer a number.
    """
    meanings = same_meaning(triples)
    steps = number_of_steps(len(triples), settings)
    losses: list[float] = []
    masked = 0
    with seeded(settings.seed):
        rows = weights["embeddings.word_embeddings.weight"].shape[0]
        encoder = Encoder(_with_dropout(config, settings.dropout), rows)
        encoder.load_state_dict(dict(weights))
        encoder.to("cuda" if torch.cuda.is_available() else "cpu").train()
        optimizer, schedule = optimizer_and_schedule(encoder, settings, steps)
        for batch in _batches(triples, settings, steps):
            vectors = _vectors(encoder, [triples[index] for index in batch], settings)
            false = false_negatives(meanings[batch])
            loss = contrastive_loss(vectors[: len(batch)], vectors[len(batch) :], false, settings.temperature)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(encoder.parameters(), settings.max_grad_norm)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            masked += int(false.sum())
            if not math.isfinite(losses[-1]):
                raise CheckpointError(f"the loss of step {len(losses)} is {losses[-1]}; use a smaller learning rate")
            if progress:
                progress(len(losses), steps, f"step {len(losses):,} of {steps:,}, loss {losses[-1]:.3f}")
        tuned = {name: value.detach().cpu() for name, value in encoder.state_dict().items()}
        if not all(torch.isfinite(value).all() for value in tuned.values()):  # no later loss would show what the last step did
            raise CheckpointError(f"weights are no longer numbers after step {len(losses)}; use a smaller learning rate")
    return Tuned(tuned, len(losses), float(np.mean(losses[-max(1, len(losses) // 10) :])), masked)


def number_of_steps(triples: int, settings: ContrastiveConfig) -> int:
    """Return how many batches there are. One anchor that is left over would have no negative, so it is no batch."""
    whole, over = divmod(triples, settings.batch_size)
    steps = settings.epochs * (whole + (over > 1))
    return min(steps, settings.steps) if settings.steps else steps


def _batches(triples: Sequence[Triple], settings: ContrastiveConfig, steps: int) -> Iterator[list[int]]:
    """Yield batches of indices of triples of similar length, in another order in each epoch."""
    lengths = [max(map(len, triple.texts)) for triple in triples]
    done = 0
    for epoch in range(1, settings.epochs + 1):
        for batch in shuffled(lengths, settings.batch_size, np.random.default_rng([settings.seed, epoch])):
            if len(batch) > 1 and done < steps:
                done += 1
                yield batch


def _vectors(encoder: Encoder, triples: Sequence[Triple], settings: ContrastiveConfig) -> Tensor:
    """Return the vectors of the anchors, then of their positives, then of the hard negatives that there are: (B + C, D).

    They go through the network together, so that each has a mask of dropout of its own.
    """
    anchors = [triple.anchor for triple in triples]
    positives = [triple.anchor if triple.positive is None else triple.positive for triple in triples]
    return vectors_of(encoder, [*anchors, *positives, *(one.negative for one in triples if one.negative is not None)], settings)


def vectors_of(encoder: Encoder, texts: Sequence[Ints], settings: ContrastiveConfig) -> Tensor:
    """Return one vector per text (B, D), float32."""
    device = next(encoder.parameters()).device
    ids = torch.from_numpy(padded(texts, 0)).to(device)
    mask = torch.arange(ids.shape[1], device=device) < torch.tensor([len(text) for text in texts], device=device)[:, None]
    with torch.autocast(device.type, torch.bfloat16, enabled=resolve(settings.precision, device) == "bf16"):
        hidden: Tensor = encoder(ids, mask)
    return pool(hidden.float(), mask, settings.pooling)


def contrastive_loss(anchors: Tensor, candidates: Tensor, false: Flags, temperature: float) -> Tensor:
    """Return the mean loss of B anchors.

    anchors: (B, D)
    candidates: (C, D), the positives of the anchors in their order, then hard negatives
    false: (B, C) whether a candidate is left out
    """
    similarity = F.normalize(anchors, dim=1) @ F.normalize(candidates, dim=1).T / temperature
    similarity = similarity.masked_fill(torch.from_numpy(false).to(similarity.device), -math.inf)
    return F.cross_entropy(similarity, torch.arange(len(anchors), device=similarity.device))


def false_negatives(meanings: Ints) -> Flags:
    """Return which candidates mean the same as an anchor without being its own positive: (B, C).

    meanings: (B, 2) as `same_meaning` returns them
    """
    candidates = np.concatenate([meanings[:, 0], meanings[meanings[:, 1] >= 0, 1]])
    false: Flags = meanings[:, :1] == candidates[None, :]
    np.fill_diagonal(false, False)
    return false


def same_meaning(triples: Sequence[Triple]) -> Ints:
    """Return a number for each anchor, and for its hard negative (-1: none), equal for texts that mean the same: (N, 2).

    Equal texts mean the same, an anchor means the same as its positive, and what means the same as a third means the same.

    anchors A, B, C with positives B, D, E, negatives -, E, -      ->  [[0, -1], [0, 1], [1, -1]]
    """
    parents: dict[bytes, bytes] = {}

    def root(text: bytes) -> bytes:
        while (above := parents.setdefault(text, text)) != text:
            parents[text] = parents[above]
            text = above
        return text

    for triple in triples:
        anchor = root(triple.anchor.tobytes())
        if triple.positive is not None:
            parents[root(triple.positive.tobytes())] = anchor
    numbers: dict[bytes, int] = {}
    meanings = np.full((len(triples), 2), -1, np.int64)
    for index, triple in enumerate(triples):
        meanings[index, 0] = numbers.setdefault(root(triple.anchor.tobytes()), len(numbers))
        if triple.negative is not None:
            meanings[index, 1] = numbers.setdefault(root(triple.negative.tobytes()), len(numbers))
    return meanings


def _with_dropout(config: EncoderConfig, probability: float) -> EncoderConfig:
    return replace(config, hidden_dropout_prob=probability, attention_probs_dropout_prob=probability)
