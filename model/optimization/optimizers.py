"""The optimizer that a recipe names, and the trust ratios of each layer.

    make(network, OptimizerConfig(variant="nvlamb"))       Lamb; "adamw": torch's AdamW, fused into one pass
    trust_ratios(network, optimizer)                       {"embeddings": [0.97, 1.9], "encoder.0": [0.4, 10.0], ...}

A trust ratio is norm of weights / norm of update, for each tensor. If it is always 10, or below 0.01, learning rate or weight
decay do not fit the variant.
"""

import re

import torch
from torch import nn

from model.config import OptimizerConfig
from model.optimization.lamb import Lamb, parameter_groups


def make(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer of all parameters, at learning rate 0: the trainer sets the rate before each step."""
    groups = parameter_groups(network, config.weight_decay)
    betas, decay = (config.beta1, config.beta2), config.weight_decay
    if config.variant == "adamw":
        return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=config.epsilon, weight_decay=decay, fused=True)
    return Lamb(groups, lr=0.0, betas=betas, epsilon=config.epsilon, weight_decay=decay, variant=config.variant)


def trust_ratios(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, list[float]]:
    """Smallest and largest ratio of each layer in the last step; empty for AdamW, which has none. Waits for the device once."""
    ratios = getattr(optimizer, "trust_ratios", {})
    names = [(name, ratios[parameter]) for name, parameter in network.named_parameters() if parameter in ratios]
    layers: dict[str, list[float]] = {}
    if names:
        values = torch.stack([ratio for _, ratio in names]).tolist()
        for (name, _), value in zip(names, values, strict=True):
            layers.setdefault(layer(name), []).append(value)
    return {name: [min(values), max(values)] for name, values in layers.items()}


def layer(parameter: str) -> str:
    """`nezha.encoder.layer.3.output.dense.weight` -> `encoder.3`; others by their module: embeddings, pooler, predictions."""
    if found := re.search(r"encoder\.layer\.(\d+)\.", parameter):
        return f"encoder.{found[1]}"
    return parameter.split(".")[1]
