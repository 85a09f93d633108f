"""Encoders that transformers loads, from a folder: BERT, RoBERTa-wwm, MacBERT, ERNIE, ELECTRA, DeBERTa, ModernBERT, XLM-R, ...

Weights are read from safetensors only, in float32; no code that comes with a model is run. transformers need not be installed
to use the rest of this program.
"""

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from model.encoder import Dense, initialise
from model.finetuning.windows import Frame
from model.heads import Body
from pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

POOLER = "pooler."
"""The only weights that a file may lack: those of masked language models have no pooler."""


@dataclass(frozen=True)
class Widths:
    """What heads take from the configuration."""

    hidden_size: int
    hidden_dropout_prob: float
    initializer_range: float


@dataclass(frozen=True)
class Foreign:
    """An encoder that transformers loads."""

    folder: str
    """A local path."""
    config: "PretrainedConfig"
    cls: int
    """Id of the token before a text."""
    sep: int
    """Id of the token after a text."""
    separators: int
    """How many of those are between two texts."""
    padding: int
    """Id of [PAD]; some models count positions by what is not padding."""
    trained: bool = True
    """False: the same network with fresh weights, as transformers draws them."""

    def frame(self, max_length: int) -> Frame:
        return Frame(self.cls, self.sep, max_length, self.separators)

    def body(self) -> Body:
        return ForeignBody(self._network(), self.config, self.padding)

    def _network(self) -> nn.Module:
        import transformers

        network: nn.Module
        loader: Any = transformers.AutoModel  # annotated in part
        if not self.trained:
            network = loader.from_config(self.config, trust_remote_code=False, dtype=torch.float32)
            return network
        try:
            network, found = loader.from_pretrained(
                self.folder,
                config=self.config,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:  # transformers raises what the reader of each file raises
            raise CheckpointError(f"{self.folder}: transformers cannot load its weights: {first_line(error)}") from error
        missing = sorted(name for name in found["missing_keys"] if not name.startswith(POOLER))
        if missing:
            raise CheckpointError(
                f"{self.folder}: {len(missing)} weights of a {self.config.model_type} are not in its file, e.g. {missing[0]};"
                " save the whole model again"
            )
        return network


class ForeignBody(nn.Module):
    """A network of transformers, with the pooler of its own if it has one, else a new one like BERT's."""

    def __init__(self, network: nn.Module, config: "PretrainedConfig", padding: int) -> None:
        super().__init__()
        self.network = network
        self.padding = padding
        self.config = widths(config)
        self.segments = "token_type_ids" in inspect.signature(network.forward).parameters and (
            getattr(config, "type_vocab_size", 0) > 1
        )
        self.new_pooler: Dense | None = None
        if not isinstance(getattr(network, "pooler", None), nn.Module):
            self.new_pooler = Dense(self.config.hidden_size, self.config.hidden_size, nn.Tanh())
            initialise(self.new_pooler, self.config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None) -> Tensor:
        """Return the hidden states of the last layer, (B, L, D)."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask.long()
        given: dict[str, Tensor] = {"input_ids": input_ids.masked_fill(mask == 0, self.padding), "attention_mask": mask}
        if self.segments and token_type_ids is not None:
            given["token_type_ids"] = token_type_ids
        hidden: Tensor = self.network(**given).last_hidden_state
        return hidden

    def pool(self, hidden: Tensor) -> Tensor:
        pooler: Any = self.new_pooler or self.network.pooler
        if isinstance(pooler, Dense):
            pooled: Tensor = pooler(hidden[:, 0])
        elif isinstance(pooler, nn.Linear):  # ALBERT's
            pooled = torch.tanh(pooler(hidden[:, 0]))
        else:
            pooled = pooler(hidden)
        return pooled


def widths(config: "PretrainedConfig") -> Widths:
    """Return what heads take from a configuration. A head's own dropout comes before that of the layers."""
    dropouts = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout_prob"))
    dropout = next((value for value in dropouts if value is not None), 0.0)
    return Widths(config.hidden_size, float(dropout), float(getattr(config, "initializer_range", 0.02)))


def first_line(error: BaseException) -> str:
    """Return the first line of what another program says is wrong."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
