"""Peer of `step`: one training step of NEZHA-base, as users of Hugging Face would write it.

    python peer_step.py FOLDER --vocab-size 21128 --device cpu --bf16
    0                                                {"seconds": 4.112, "loss": 10.31}       step-0.npz of the folder
    1                                                {"seconds": 4.097, "loss": 9.87}

NezhaForPreTraining (with eager attention, its only one), the batch padded to its longest row, labels -100 except at masked
tokens, gradients clipped to norm 1, torch's AdamW. Imports nothing of this project.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from transformers.models.deprecated.nezha.configuration_nezha import NezhaConfig
from transformers.models.deprecated.nezha.modeling_nezha import NezhaForPreTraining


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    config = NezhaConfig(vocab_size=options.vocab_size, hidden_act="gelu_pytorch_tanh")  # as in our network
    model = NezhaForPreTraining(config).to(options.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    for line in sys.stdin:
        with np.load(options.folder / f"step-{int(line)}.npz") as arrays:
            batch = {name: torch.from_numpy(array).to(options.device) for name, array in arrays.items()}
        print(json.dumps(step(model, optimizer, batch, options.device, options.bf16)), flush=True)


def step(
    model: NezhaForPreTraining, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor], device: str, bf16: bool
) -> dict[str, float]:
    wait(device)
    started = time.perf_counter()
    optimizer.zero_grad()
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    wait(device)
    return {"seconds": time.perf_counter() - started, "loss": loss.item()}


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
