"""Writing weights in the formats of other programs, with the file names that they expect.

    ours                   an export (model/exporting/export.py), for `evaluate`, `fill-mask`, `pretrain` and transformers 5
    huggingface            config.json model.safetensors vocab.txt and a tokenizer, for the NEZHA of transformers 4.21 to 4.57
    huawei-pytorch         bert_config.json pytorch_model.bin vocab.txt
    huawei-tensorflow      bert_config.json model.ckpt.index model.ckpt.data-00000-of-00001 checkpoint vocab.txt

An encoder with absolute positions is written as BERT. What a format cannot express is refused, or reported in a note.
"""

import io
import tempfile
from pathlib import Path
from typing import Any, Literal, get_args

import safetensors.torch
import torch
from torch import Tensor

from model.config import EncoderConfig
from model.conversion import names
from model.conversion.reading import Weights, completed
from model.conversion.tensor_bundle import write_bundle
from model.exporting.export import LAST, STALE, export_model, tokenizer_files
from model.exporting.replacement import Write, replacing
from model.heads import PretrainingModel
from pipeline import storage
from pipeline.errors import CheckpointError

WeightFormat = Literal["ours", "huggingface", "huawei-pytorch", "huawei-tensorflow"]
FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)
LONGEST = 512
"""max_position_embeddings for programs that store a table of all pairs; NEZHA itself has no longest sequence."""
HUAWEI_CONFIG = "bert_config.json"
FILES: dict[WeightFormat, str] = {
    "ours": "model.safetensors",
    "huggingface": "model.safetensors",
    "huawei-pytorch": "pytorch_model.bin",
    "huawei-tensorflow": "model.ckpt.index",
}
"""The weights of each format."""


def write(weights: Weights, folder: str, target: WeightFormat, name: str, seed: int = 12_345) -> list[str]:
    """Write weights to a folder (any fsspec URL). Return notes on what was added, left out, or has another meaning there.

    `name` is the model's name in the model card; `seed` initialises missing heads. Raises: CheckpointError if the target format
    cannot express these weights.
    """
    for other in sorted(set(FILES.values()) - {FILES[target]}):
        if storage.exists(storage.join(folder, other)):
            raise CheckpointError(
                f"{folder}: has weights of another format, {other}; choose another folder, lest both are mixed"
            )
    last = LAST if target in ("ours", "huggingface") else HUAWEI_CONFIG
    if target != "ours":
        _check_positions(weights.config, target)
    with replacing(folder, last, STALE) as file:
        if target == "ours":
            return _ours(weights, file, name, seed)
        return {"huggingface": _hugging_face, "huawei-pytorch": _huawei_pytorch, "huawei-tensorflow": _huawei_tensorflow}[
            target
        ](weights, file)


def _ours(weights: Weights, write: Write, name: str, seed: int) -> list[str]:
    whole = completed(weights, seed)
    with torch.device("meta"):  # needs no memory or random numbers: all weights are given
        model = PretrainingModel(whole.config, len(whole.vocab))
    model.load_state_dict(whole.tensors, assign=True)
    facts: dict[str, Any] = {"name": name}
    if weights.origin != "ours":
        facts["converted"] = {"from": weights.origin, "notes": whole.notes}
    export_model(model, whole.vocab.tokens, whole.do_lower_case, write, facts, whole.map_punctuation)
    return whole.notes[len(weights.notes) :]


def _check_positions(config: EncoderConfig, target: WeightFormat) -> None:
    """Raises: CheckpointError for positions that the target format does not support."""
    if config.positions == "relative":
        raise CheckpointError(f"{target} does not support learned relative positions; write these weights as ours")
    if config.positions == "functional" and config.relative_positions == "paper":
        raise CheckpointError(f"{target} clips relative positions, these weights do not (paper form); write them as ours")
    if target == "huawei-tensorflow" and config.positions == "functional" and config.max_relative_position != 64:
        raise CheckpointError(
            f"Huawei's TensorFlow code requires max_relative_position 64, but these weights have {config.max_relative_position}"
        )


def _hugging_face(weights: Weights, write: Write) -> list[str]:
    bert = weights.config.positions == "absolute"
    missing = weights.missing_parts()
    head = "ForPreTraining" if not missing else "ForMaskedLM" if "MLM head" not in missing else "Model"
    activation = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}[weights.config.hidden_act]
    kind = {"model_type": "bert" if bert else "nezha", "architectures": [f"{'Bert' if bert else 'Nezha'}{head}"]}
    tensors = {names.to_bert(name): tensor for name, tensor in weights.tensors.items()} if bert else weights.tensors
    write("config.json", storage.json_bytes(_shape(weights) | kind | {"hidden_act": activation, "torch_dtype": "float32"}))
    write("model.safetensors", safetensors.torch.save(dict(sorted(tensors.items())), {"format": "pt"}))
    write("vocab.txt", weights.vocab.to_bytes())
    for name, data in tokenizer_files(weights.vocab, weights.do_lower_case, weights.map_punctuation, LONGEST).items():
        write(name, data)
    return []


def _huawei_pytorch(weights: Weights, write: Write) -> list[str]:
    tensors = {names.to_bert(name): tensor for name, tensor in weights.tensors.items()}
    if names.BIAS in tensors:
        tensors["cls.predictions.decoder.weight"] = tensors[names.to_bert(names.WORDS)]
    file = io.BytesIO()
    torch.save(dict(sorted(tensors.items())), file)
    write("pytorch_model.bin", file.getvalue())
    return _huawei(weights, write, "gelu", "exact (erf)")


def _huawei_tensorflow(weights: Weights, write: Write) -> list[str]:
    variables: dict[str, Tensor] = {}
    for name, tensor in weights.tensors.items():
        place = names.to_tensorflow(name)
        variables[place.name] = tensor.T if place.transposed else tensor
    with tempfile.TemporaryDirectory(prefix="nezha-pipe-") as temporary:
        write_bundle(f"{temporary}/model.ckpt", variables)
        for path in sorted(Path(temporary).iterdir()):
            write(path.name, path)
    write("checkpoint", b'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n')
    return _huawei(weights, write, "gelu_tanh", "tanh")


def _huawei(weights: Weights, write: Write, activation: str, form: str) -> list[str]:
    """Write the configuration and vocabulary that both of Huawei's programs read. `activation` is their meaning of gelu."""
    write(HUAWEI_CONFIG, storage.json_bytes(_shape(weights) | {"hidden_act": "gelu"}))
    write("vocab.txt", weights.vocab.to_bytes())
    if weights.config.hidden_act == activation:
        return []
    return [f"gelu is the {form} form in that code, {weights.config.hidden_act} here; activations differ by up to 4.8e-4"]


def _shape(weights: Weights) -> dict[str, Any]:
    """Return the settings that all configurations share."""
    config = weights.config
    relative = config.positions == "functional"
    shape: dict[str, Any] = {
        "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
        "hidden_dropout_prob": config.hidden_dropout_prob,
        "hidden_size": config.hidden_size,
        "initializer_range": config.initializer_range,
        "intermediate_size": config.intermediate_size,
        "layer_norm_eps": config.layer_norm_eps,
        "max_position_embeddings": LONGEST if relative else config.max_position_embeddings,
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "pad_token_id": weights.vocab.pad_id,
        "type_vocab_size": config.type_vocab_size,
        "use_relative_position": relative,
        "vocab_size": len(weights.vocab),
    }
    return shape | ({"max_relative_position": config.max_relative_position} if relative else {})
