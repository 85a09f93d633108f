"""What config.json or bert_config.json says about weights: their origin, the shape of the network, and its positions.

{"hidden_size": 768, ..., "use_relative_position": true}     Huawei's: functional, m = 64, gelu in its tanh form
{"hidden_size": 768, ..., "model_type": "nezha"}             Hugging Face's: functional, m as given, exact gelu
{"hidden_size": 768, ..., "model_type": "bert"}              BERT, if the weights have position embeddings
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from model.config import EncoderConfig
from model.conversion import names
from pipeline.errors import CheckpointError

Origin = Literal["ours", "Hugging Face", "Huawei's PyTorch", "Huawei's TensorFlow", "BERT"]
Positions = Literal["functional", "relative", "absolute"]
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_tanh": "gelu_tanh"}
"""Activation in a configuration -> our `hidden_act`."""
HUAWEI: tuple[Origin, ...] = ("Huawei's PyTorch", "Huawei's TensorFlow")
REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


@dataclass(frozen=True)
class PositionChoice:
    """The kind of positions that the weights get, and notes on what that changes."""

    kind: Positions
    notes: tuple[str, ...] = field(default=())


def origin(content: Mapping[str, Any], weights: Container[str], kind: str) -> Origin:
    """Return the origin of weights, given their configuration, their names and the kind of file (files.py)."""
    if "relative_positions" in content:
        return "ours"
    if content.get("model_type") == "nezha":
        return "Hugging Face"
    if names.ABSOLUTE in weights and not content.get("use_relative_position"):
        return "BERT"
    return "Huawei's TensorFlow" if kind == "tensorflow" else "Huawei's PyTorch"


def shape(content: Mapping[str, Any], url: str, origin: Origin) -> EncoderConfig:
    """Return the shape of the network. Raises: CheckpointError if settings are missing, unknown or impossible."""
    if missing := [name for name in REQUIRED if name not in content]:
        raise CheckpointError(f"{url}: {', '.join(missing)} missing; is it the configuration of an encoder?")
    known = {one.name for one in fields(EncoderConfig)}
    settings = {name: value for name, value in content.items() if name in known and value is not None}
    activation = content.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise CheckpointError(f"{url}: unsupported hidden_act {activation!r:.60}; supported: {', '.join(ACTIVATIONS)}")
    # Huawei's TensorFlow code calls the tanh approximation "gelu", and it also trained the weights released for PyTorch.
    settings["hidden_act"] = "gelu_tanh" if origin in HUAWEI else ACTIVATIONS[activation]
    try:
        return EncoderConfig(**settings)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{url}: {error}") from error


def positions(
    content: Mapping[str, Any], url: str, origin: Origin, absolute: bool, wanted: Literal["keep", "functional"]
) -> PositionChoice:
    """Return the positions that the weights have, or get if `wanted` is "functional".

    `absolute`: whether the weights have position embeddings. Raises: CheckpointError where configuration and weights
    contradict each other.
    """
    claimed: Positions = "absolute" if origin == "BERT" else "functional"
    if origin == "ours":
        claimed = content.get("positions", "functional")
    if absolute and wanted == "functional":
        note = "dropped the position embeddings as requested; these weights never saw relative positions: continue pretraining"
        return PositionChoice("functional", (note,))
    if absolute and claimed != "absolute":
        raise CheckpointError(
            f"{url}: says NEZHA, but the weights have absolute position embeddings, like BERT's; "
            "correct the configuration, or drop them with --positions functional"
        )
    if origin in HUAWEI and content.get("use_relative_position") is not True:
        if wanted != "functional":
            raise CheckpointError(
                f"{url}: use_relative_position is not true, and the weights have no position embeddings: "
                "neither NEZHA nor BERT; if it is NEZHA, pass --positions functional"
            )
        return PositionChoice("functional", ("treated as NEZHA as requested; the configuration does not say so",))
    if claimed == "absolute":
        note = "kept absolute positions: this is BERT, not NEZHA (--positions functional makes it a starting point for NEZHA)"
        return PositionChoice("absolute", (note,))
    return PositionChoice(claimed)
