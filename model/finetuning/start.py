"""What fine-tuning starts from: an encoder, and how its texts are framed.

Two kinds of encoders are known: ours (`Nezha`), and those that transformers loads (foreign.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from model.config import EncoderConfig
from model.encoder import Encoder
from model.finetuning.windows import Frame
from model.heads import Body


class Start(Protocol):
    """The encoder that fine-tuning starts from."""

    def frame(self, max_length: int) -> Frame:
        """Return the special tokens around its texts."""

    def body(self) -> Body:
        """Return a network of its own: pretrained, or with weights from torch's generator."""


@dataclass(frozen=True)
class Nezha:
    """An encoder of ours."""

    config: EncoderConfig
    vocab_size: int
    cls: int
    """Id of [CLS]."""
    sep: int
    """Id of [SEP]."""
    weights: Mapping[str, Tensor] | None = None
    """State dict of the encoder alone; None = random weights from the run's seed."""

    def frame(self, max_length: int) -> Frame:
        return Frame(self.cls, self.sep, max_length)

    def body(self) -> Body:
        encoder = Encoder(self.config, self.vocab_size)
        if self.weights is not None:
            encoder.load_state_dict(dict(self.weights))
        return encoder
