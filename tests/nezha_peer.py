"""transformers 4, which has NEZHA, in an environment of its own: makes models, and computes reference outputs.

    python tests/nezha_peer.py make FOLDER '{"hidden_size": 64, ...}'   random weights, saved in each supported format
    python tests/nezha_peer.py run FOLDER inputs.npz outputs.npz             hidden states, scores and losses of the model

The last line of `run` is JSON: weights that were missing or unused, and the token ids of a text.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.models.deprecated.nezha.configuration_nezha import NezhaConfig
from transformers.models.deprecated.nezha.modeling_nezha import NezhaForMaskedLM, NezhaForPreTraining, NezhaModel


def make(folder: Path, settings: str) -> None:
    torch.manual_seed(3)
    model = NezhaForPreTraining(NezhaConfig(**json.loads(settings)))
    with torch.no_grad():
        for weight in model.parameters():  # biases and LayerNorms start as 0 and 1, which would hide a mistake
            weight.add_(0.05 * torch.randn_like(weight))
    model.save_pretrained(folder / "safetensors")
    model.save_pretrained(folder / "bin", safe_serialization=False)
    model.save_pretrained(folder / "shards", max_shard_size="100KB")
    masked = NezhaForMaskedLM(model.config)
    encoder = {name: weight for name, weight in model.nezha.state_dict().items() if not name.startswith("pooler")}
    masked.nezha.load_state_dict(encoder)
    masked.cls.predictions.load_state_dict(model.cls.predictions.state_dict())
    masked.save_pretrained(folder / "masked", safe_serialization=False)
    model.nezha.save_pretrained(folder / "bare")
    assert isinstance(model.nezha, NezhaModel)


def run(folder: Path, inputs: Path, outputs: Path) -> None:
    model, info = NezhaForPreTraining.from_pretrained(folder, output_loading_info=True)
    result: dict[str, torch.Tensor] = {}
    with np.load(inputs) as arrays, torch.no_grad():
        for length in arrays["lengths"]:
            batch = {name: torch.from_numpy(arrays[f"{name}_{length}"]) for name in ("input_ids", "attention_mask", "labels")}
            segments, pairs = torch.from_numpy(arrays[f"token_type_ids_{length}"]), torch.from_numpy(arrays["pairs"])
            answer = model.eval()(**batch, token_type_ids=segments, next_sentence_label=pairs, output_hidden_states=True)
            result[f"hidden_{length}"], result[f"loss_{length}"] = answer.hidden_states[-1], answer.loss
            result[f"mlm_{length}"], result[f"pairs_{length}"] = answer.prediction_logits, answer.seq_relationship_logits
    found: dict[str, Any] = {name: tensor.numpy() for name, tensor in result.items()}
    np.savez(outputs, **found)
    problems = {name: sorted(map(str, some)) for name, some in info.items() if some}
    text = AutoTokenizer.from_pretrained(folder)("今天，Covid19")["input_ids"] if (folder / "vocab.txt").exists() else []
    print(json.dumps({"problems": problems, "text": text}))


if __name__ == "__main__":
    make(Path(sys.argv[2]), sys.argv[3]) if sys.argv[1] == "make" else run(*map(Path, sys.argv[2:]))
