"""Pretrained weights of any origin become ours, or are refused by name.

    weights = read("NEZHA-Base/model.ckpt-900000")
    weights.origin                  "Huawei's TensorFlow"
    weights.config                  EncoderConfig(hidden_size=768, ..., hidden_act="gelu_tanh", max_relative_position=64)
    weights.tensors                 {"nezha.embeddings.word_embeddings.weight": (21128, 768), ...}, float32
    weights.notes                   ["left out 418 variables of its training (moments of the optimizer, counters)"]

    state_dict, config, vocab = load_weights("NEZHA-Base")       what pretraining starts from: every weight of PretrainingModel

Shapes tell little: a BERT without its position embeddings looks like a NEZHA, and computes nonsense as one. So the
configuration has to say what the weights are, and both have to agree.
"""

import re
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from model.attention.positions import relative_table
from model.checkpoints import checkpoint
from model.config import EncoderConfig, PretrainConfig
from model.conversion import configuration, names
from model.conversion.files import find, find_config, read_object
from model.heads import PretrainingModel
from pipeline import storage
from pipeline.errors import CheckpointError
from pipeline.tokenization.vocab import SPECIALS, Vocab


@dataclass(frozen=True, kw_only=True)
class Weights:
    """An encoder with the pretraining heads that its file has, and all that its use needs."""

    tensors: dict[str, Tensor]
    """float32, under our names; whole parts of names.PARTS may be missing."""
    config: EncoderConfig
    vocab: Vocab
    do_lower_case: bool
    map_punctuation: bool
    origin: str
    """ours | Hugging Face | Huawei's PyTorch | Huawei's TensorFlow | BERT."""
    notes: list[str] = field(default_factory=list)
    """What was left out, made or decided: for people to read."""

    def lacking(self) -> list[str]:
        """Parts of a pretraining model that are not there."""
        return [part for part, prefix in names.PARTS.items() if not any(name.startswith(prefix) for name in self.tensors)]


def load_weights(url: str) -> tuple[dict[str, Tensor], EncoderConfig, Vocab]:
    """All weights of a `PretrainingModel`, its shape and its vocabulary, from any of the formats that `read` knows.

    Heads that the file lacks are fresh, from a fixed seed. Raises: CheckpointError, CorpusError, StorageError.
    """
    weights = completed(read(url))
    return weights.tensors, weights.config, weights.vocab


def start(url: str, config: EncoderConfig, vocab: Vocab) -> dict[str, Tensor]:
    """All weights of a `PretrainingModel` of this shape and vocabulary, for a training that starts from them.

    Dropout and initialisation may be others than those of the file. `CheckpointError` when anything else is.
    """
    tensors, there, tokens = load_weights(url)
    if tokens != vocab:
        raise CheckpointError(
            f"{url}: has {len(tokens):,} tokens, the data {len(vocab):,}, or others; prepare with its vocab.txt"
        )
    free = {"hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"}
    here, wanted = asdict(there), asdict(config)
    unlike = [name for name in here if here[name] != wanted[name] and name not in free]
    if unlike:
        told = ", ".join(f"{name} is {here[name]} there, {wanted[name]} in the recipe" for name in unlike)
        raise CheckpointError(f"{url}: another network: {told}; set [encoder] to what these weights are")
    return tensors


def read(
    url: str,
    *,
    config_url: str | None = None,
    vocab_url: str | None = None,
    positions: Literal["keep", "functional"] = "keep",
    hidden_act: Literal["gelu", "gelu_tanh"] | None = None,
) -> Weights:
    """Open weights: a checkpoint or a training folder of ours, an export, or a folder (file, prefix) of another program.

    `positions="functional"` takes an encoder for NEZHA that does not say so, and drops absolute position embeddings.
    `hidden_act` is believed instead of the configuration. Raises CheckpointError for what is missing, damaged or contradicts
    its configuration; CorpusError for a vocabulary that is none.
    """
    if own := _checkpoint_of(url):
        return _ours(own)
    file = find(url)
    config_url = config_url or find_config(file.folder)
    vocab_url = vocab_url or storage.join(file.folder, "vocab.txt")
    if not storage.exists(vocab_url):
        raise CheckpointError(f"{file.folder}: no vocab.txt; give it with --vocab")
    content, vocab = read_object(config_url), Vocab.from_bytes(storage.read_bytes(vocab_url), vocab_url)
    if "vocab_size" in content and content["vocab_size"] != len(vocab):
        raise CheckpointError(
            f"{vocab_url}: {len(vocab):,} tokens, {config_url} says {content['vocab_size']}; give that of these weights"
        )
    tensors, variables = file.tensors()
    notes = [f"left out {variables:,} variables of its training (moments of the optimizer, counters)"] if variables else []
    origin = configuration.origin(content, tensors, file.kind)
    config = configuration.shape(content, config_url, origin)
    kept = configuration.positions(content, config_url, origin, names.ABSOLUTE in tensors, positions)
    config, notes = replace(config, positions=kept.form), [*notes, *kept.notes]
    if kept.form != "absolute":
        tensors.pop(names.ABSOLUTE, None)
        config = replace(config, max_position_embeddings=EncoderConfig.max_position_embeddings)  # others' table has a size
    if hidden_act:
        config = replace(config, hidden_act=hidden_act)
    elif origin in configuration.HUAWEI:
        notes.append("gelu is taken in its tanh form, as the TensorFlow code trained; --hidden-act gelu for the exact one")
    tables = {name: tensor for name, tensor in tensors.items() if names.TABLE.search(name)}
    tensors = _weights(tensors, file.url, notes)
    check(tensors, config, len(vocab), file.url)
    _check_tables(tables, config, file.url)
    rules = _rules(file.folder, vocab, notes)
    return Weights(tensors=tensors, config=config, vocab=vocab, origin=origin, notes=notes, **rules)


def completed(weights: Weights, seed: int = 12_345) -> Weights:
    """With fresh heads where the file has none. Task heads of fine-tuning are left out: ours are made anew for each task."""
    heads = sorted({name.split(".")[0] for name in weights.tensors if name.startswith(names.TASK_HEADS)})
    tensors = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith(names.TASK_HEADS)}
    notes = [*weights.notes, *(f"left out {head}, the head of a fine-tuned task" for head in heads)]
    if lacking := weights.lacking():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = PretrainingModel(weights.config, len(weights.vocab)).state_dict()
        tensors = {name: tensors.get(name, tensor) for name, tensor in fresh.items()}
        notes.append(f"the file has no {', no '.join(lacking)}: fresh here, they need training before they mean anything")
    return replace(weights, tensors=tensors, notes=notes)


def check(tensors: dict[str, Tensor], config: EncoderConfig, vocab_size: int, url: str) -> None:
    """`CheckpointError` unless these are an encoder of this shape, and of each head all or nothing."""
    with torch.device("meta"):
        model = PretrainingModel(config, vocab_size)
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    layers = {int(found[1]) for name in tensors if (found := re.search(r"\.layer\.(\d+)\.", name))}
    if layers and (gone := sorted(set(range(config.num_hidden_layers)) ^ layers)):
        raise CheckpointError(
            f"{url}: {len(layers)} layers, the configuration says {config.num_hidden_layers}: layer {gone[0]} "
            f"{'is missing' if gone[0] < config.num_hidden_layers else 'is too many'}"
        )
    for name in sorted(tensors.keys() - shapes.keys()):
        if not name.startswith(names.TASK_HEADS):
            raise CheckpointError(f"{url}: {name} is no part of {'BERT' if config.positions == 'absolute' else 'NEZHA'}")
    words = tensors.get(names.WORDS)
    if words is not None and len(words) != vocab_size:
        raise CheckpointError(
            f"{url}: embeddings of {len(words):,} tokens, the vocabulary has {vocab_size:,}; give that of these weights"
        )
    optional = tuple(prefix for prefix in names.PARTS.values() if not any(name.startswith(prefix) for name in tensors))
    for name, shape in shapes.items():
        if name not in tensors and not name.startswith(optional):
            raise CheckpointError(f"{url}: {name} is missing")
        if name in tensors and tuple(tensors[name].shape) != shape:
            raise CheckpointError(f"{url}: {name} has shape {tuple(tensors[name].shape)}, the configuration asks for {shape}")


def _checkpoint_of(url: str) -> str | None:
    """The checkpoint of ours that a URL means: itself, or the best one of a training folder."""
    if storage.exists(storage.join(url, checkpoint.MARKER)):
        return url
    if storage.exists(best := storage.join(url, checkpoint.BEST)):
        return storage.join(url, read_object(best)["checkpoint"])
    return None


def _ours(url: str) -> Weights:
    loaded = checkpoint.load(url)
    vocab = Vocab.from_bytes(loaded.vocabulary, f"{url}/vocab.txt")
    config, rules = PretrainConfig.from_json(loaded.config).encoder, loaded.config["vocabulary"]
    check(loaded.model, config, len(vocab), url)
    return Weights(
        tensors={name: tensor.float() for name, tensor in loaded.model.items()},
        config=config,
        vocab=vocab,
        do_lower_case=bool(rules["do_lower_case"]),
        map_punctuation=bool(rules.get("map_punctuation", False)),
        origin="ours",
    )


def _weights(tensors: dict[str, Tensor], url: str, notes: list[str]) -> dict[str, Tensor]:
    """What is learned, once each, in float32: no buffers, no second names of tied weights."""
    kept = {name: tensor for name, tensor in tensors.items() if not names.BUFFERS.search(name)}
    if len(kept) < len(tensors):
        notes.append(f"left out {len(tensors) - len(kept)} stored tables of positions: they are computed")
    for alias, name in names.ALIASES.items():
        if (other := kept.pop(alias, None)) is not None and not torch.equal(kept.setdefault(name, other), other):
            raise CheckpointError(f"{url}: {alias} differs from {name}; in BERT and NEZHA they are one")
    for name, tensor in kept.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"{url}: {name} holds {tensor.dtype}, not weights")
    if narrow := Counter(str(tensor.dtype).removeprefix("torch.") for tensor in kept.values() if tensor.itemsize < 4):
        notes.append(f"{', '.join(narrow)} weights are kept as float32")
    return {name: tensor.float().contiguous() for name, tensor in kept.items()}


def _check_tables(tables: dict[str, Tensor], config: EncoderConfig, url: str) -> None:
    """Stored tables of relative positions, (length, length, H), tell the head width and m, which no weight does."""
    for name, table in tables.items():
        if table.ndim != 3 or table.shape[-1] != config.head_size:
            raise CheckpointError(
                f"{url}: {name} has shape {tuple(table.shape)}; heads are {config.head_size} wide by the configuration: "
                "num_attention_heads is not that of these weights"
            )
        m = config.max_relative_position
        rows = relative_table(config, 1)[torch.arange(table.shape[1]).clamp(max=m) + m]
        if not torch.allclose(table[0].float(), rows, atol=1e-2):
            raise CheckpointError(f"{url}: {name} is not the table of max_relative_position {m}; correct the configuration")


def _rules(folder: str, vocab: Vocab, notes: list[str]) -> dict[str, bool]:
    """How text becomes tokens: by tokenizer_config.json; but a vocabulary without capitals is for lower case."""
    url = storage.join(folder, "tokenizer_config.json")
    told = read_object(url) if storage.exists(url) else {}
    capitals = any(re.search("[A-Z]", token) for token in vocab.tokens if token not in SPECIALS and token[:1] not in "[<")
    lower = told.get("do_lower_case", not capitals) is True
    if not lower and not capitals:  # so says bert-base-chinese
        notes.append("do_lower_case is false, but the vocabulary has no capitals: text is lowered, or they would all be [UNK]")
    return {"do_lower_case": lower or not capitals, "map_punctuation": told.get("map_punctuation") is True}
