"""What a network forgets: its loss on held-out old text, beside that of the network that training started from.

    losses(tensors, config, vocab, shards)["all"]     2.31

Both are measured on the same rows with the same masks: those of epoch 0, as the validation loss in training.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from model.config import PretrainConfig
from model.heads import PretrainingModel
from model.training import workers
from model.training.validation import ALL, Validation
from pipeline.engine.stages import Finished
from pipeline.tokenization.vocab import Vocab

__all__ = ["ALL", "losses"]


def losses(
    tensors: Mapping[str, Tensor], config: PretrainConfig, vocab: Vocab, shards: Sequence[Finished]
) -> dict[str, float | None]:
    """Return the loss of masked tokens of each source, and of all together as `all`; empty without held-out rows.

    Args:
        tensors: all weights of a `PretrainingModel`.
        shards: of one sequence length, a set for each source.
    """
    import torch

    device = workers.device()
    network = PretrainingModel(config.encoder, len(vocab))
    network.load_state_dict(dict(tensors))
    network.to(device).nezha.use_attention(config.training.attention)
    measured = Validation({done.source: done for done in shards}, vocab, config.training, config.seed)
    return {row["source"]: row["mlm_loss"] for row in measured.measure(network, device, torch.float32)}
