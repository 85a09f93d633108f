"""Peer of `inference`: NEZHA of transformers 4.57, hidden states and pooled vector of random tokens.

    python peer_inference.py 768 12 12 3072 21128      hidden size, layers, heads, inner width, vocabulary
    1 32                                               {"seconds": 0.041}

Imports nothing of this project.
"""

import json
import sys
import time

import torch
from transformers.models.deprecated.nezha.configuration_nezha import NezhaConfig
from transformers.models.deprecated.nezha.modeling_nezha import NezhaModel


def main() -> None:
    hidden, layers, heads, inner, vocabulary = map(int, sys.argv[1:])
    torch.manual_seed(0)
    config = NezhaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        hidden_act="gelu_pytorch_tanh",  # as in our network
    )
    model = NezhaModel(config).eval()
    for line in sys.stdin:
        batch, length = map(int, line.split())
        ids = torch.randint(vocabulary, (batch, length))
        started = time.perf_counter()
        with torch.inference_mode():
            model(ids, torch.ones_like(ids), torch.zeros_like(ids))
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
