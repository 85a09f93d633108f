"""The validation loss: per source, on documents that training never sees, always with the masks of epoch 0.

    source "news"     loss 7.1   mlm_loss 6.4   pair_loss 0.7   masked_accuracy 0.13   pair_accuracy 0.55
    source "reviews"  loss 7.7   ...
    source "all"      loss 7.4   ...            the rows of all sources together: what "best" means

The first rows of a split are as good a sample as any: prepare has shuffled them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from model.config import TrainingConfig
from model.heads import PretrainingModel
from model.samples.batches import MaskedRows
from model.samples.order import Located
from model.training import workers
from model.training.health import watchdog
from model.training.trainer import MEASURED, figures, measure
from pipeline.engine.stages import Finished
from pipeline.tokenization.vocab import Vocab

ALL = "all"
"""Name of the row over all sources together."""


class Validation:
    """The first `validation_sequences` rows of each source's validation split."""

    def __init__(self, sources: Mapping[str, Finished], vocab: Vocab, training: TrainingConfig, seed: int) -> None:
        self.names = list(sources)
        self.rows = MaskedRows(list(sources.values()), "validation", vocab, seed)
        self.training = training

    @torch.no_grad()
    def measure(self, network: PretrainingModel, device: torch.device, dtype: torch.dtype) -> list[dict[str, Any]]:
        """A row of figures per source, and one for all together; empty without validation rows.

        Micro-batches are spread over the workers and their sums added in float64; all workers return the same.
        """
        network.eval()
        sums = torch.zeros(len(self.names), MEASURED, dtype=torch.float64)
        for source in range(len(self.names)):
            row = np.arange(min(len(self.rows.sets[source]), self.training.validation_sequences))
            places = Located(np.full_like(row, source), np.zeros_like(row), row)
            worker = (workers.rank(), workers.world_size())
            for batch in self.rows.worker_batches(places, self.training.micro_batch_tokens, *worker):
                sums[source] += measure(network, batch.to(device), dtype)[2].cpu()
                watchdog.progress()
        sums = workers.all_reduce_sum(sums.to(device)).cpu()
        measured = [(name, row) for name, row in zip(self.names, sums, strict=True) if row[1] > 0]
        if measured:
            measured.append((ALL, sums.sum(0)))
        return [{"source": name, **figures(row.tolist())} for name, row in measured]
