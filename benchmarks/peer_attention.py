"""Peer of `attention`: one attention layer of base size from transformers, forward and backward.

    python peer_attention.py --rows 8 --length 512 --device cpu
    nezha                                            {"seconds": 1.91}        NezhaAttention (eager, its only implementation)
    bert                                             {"seconds": 0.52}        BertAttention with scaled_dot_product_attention

Projections, attention, output and LayerNorm; float32, no dropout, no padding. Imports nothing of this project.
"""

import argparse
import json
import sys
import time
from typing import Any

import torch
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertAttention
from transformers.models.deprecated.nezha.configuration_nezha import NezhaConfig
from transformers.models.deprecated.nezha.modeling_nezha import NezhaAttention


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--device", required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    without: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    bert = BertConfig(**without)
    bert._attn_implementation = "sdpa"
    layers = {"nezha": NezhaAttention(NezhaConfig(**without)), "bert": BertAttention(bert)}  # type: ignore[no-untyped-call]
    hidden = torch.randn(options.rows, options.length, 768, device=options.device, requires_grad=True)
    for line in sys.stdin:
        layer = layers[line.strip()].to(options.device).train()
        print(json.dumps({"seconds": seconds(layer, hidden, options.device)}), flush=True)


def seconds(layer: torch.nn.Module, hidden: torch.Tensor, device: str) -> float:
    layer.zero_grad()
    wait(device)
    started = time.perf_counter()
    layer(hidden)[0].sum().backward()
    wait(device)
    return time.perf_counter() - started


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
