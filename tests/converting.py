"""Small encoders, and their files as other programs write them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from model.config import EncoderConfig
from model.conversion.reading import Weights
from model.heads import PretrainingModel
from pipeline.tokenization.vocab import SPECIALS, Vocab

VOCAB = Vocab(
    (*SPECIALS, "\u2028", "今", "天", "气", "很", "好", "，", "。", "北", "京", "co", "##vid", "1", "##9", "in", "##g")
)
TINY = EncoderConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24)


def random_weights(config: EncoderConfig = TINY, vocab: Vocab = VOCAB, seed: int = 5) -> Weights:
    """All weights of a pretraining model, each large enough to matter."""
    torch.manual_seed(seed)
    fresh = PretrainingModel(config, len(vocab)).state_dict()
    tensors = {name: tensor + 0.2 * torch.randn_like(tensor) for name, tensor in fresh.items()}
    return Weights(tensors=tensors, config=config, vocab=vocab, do_lower_case=True, map_punctuation=False, origin="ours")


def without(weights: Weights, *prefixes: str) -> Weights:
    """The same weights without those of some parts."""
    kept = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith(prefixes)}
    return replace(weights, tensors=kept)


def save(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], vocab: Vocab = VOCAB, name: str = "") -> Path:
    """Write a folder with config.json, vocab.txt and weights: model.safetensors, or a pickle if `name` is one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "vocab.txt").write_bytes(vocab.to_bytes())
    if name.endswith(".bin"):
        torch.save(dict(tensors), folder / name)
    else:
        safetensors.torch.save_file(dict(tensors), folder / (name or "model.safetensors"))
    return folder


def shape(config: EncoderConfig = TINY, **more: Any) -> dict[str, Any]:
    """The settings of a network's shape that all programs write."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "type_vocab_size")
    return {name: getattr(config, name) for name in names} | {"vocab_size": len(VOCAB), "hidden_act": "gelu"} | more


NEZHA = {"model_type": "nezha", "max_relative_position": 64}
HUAWEI = {"use_relative_position": True}


def named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix other than `nezha.`."""
    return {prefix + name.removeprefix("nezha.") if name.startswith("nezha.") else name: t for name, t in tensors.items()}
