"""Reading pretrained weights of any origin. What does not fit is refused, naming the tensor or setting.

    weights = read("NEZHA-Base/model.ckpt-900000")
    weights.origin                  "Huawei's TensorFlow"
    weights.config                  EncoderConfig(hidden_size=768, ..., hidden_act="gelu_tanh", max_relative_position=64)
    weights.tensors                 {"nezha.embeddings.word_embeddings.weight": (21128, 768), ...}, float32
    weights.notes                   ["left out 418 variables of its training (moments of the optimizer, counters)"]

    state_dict, config, vocab = load_weights("NEZHA-Base")       every weight of PretrainingModel, for pretraining to start from

Shapes do not tell models apart: a BERT without its position embeddings looks like a NEZHA, and computes nonsense as one. So the
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
    """An encoder with the pretraining heads that its file has, its vocabulary and its tokenization rules."""

    tensors: dict[str, Tensor]
    """float32, under our names; whole parts of names.PARTS may be missing."""
    config: EncoderConfig
    vocab: Vocab
    do_lower_case: bool
    map_punctuation: bool
    origin: str
    """ours | Hugging Face | Huawei's PyTorch | Huawei's TensorFlow | BERT"""
    notes: list[str] = field(default_factory=list)
    """What was left out, added or decided, for the user to read."""

    def missing_parts(self) -> list[str]:
        """Return the parts of a pretraining model that are missing."""
        return [part for part, prefix in names.PARTS.items() if not any(name.startswith(prefix) for name in self.tensors)]


def load_weights(url: str) -> tuple[dict[str, Tensor], EncoderConfig, Vocab]:
    """Return all weights of a `PretrainingModel`, its configuration and its vocabulary, from any format that `read` supports.

    Heads that the file lacks are initialised from a fixed seed. Raises: CheckpointError, CorpusError, StorageError.
    """
    weights = completed(read(url))
    return weights.tensors, weights.config, weights.vocab


def start(url: str, config: EncoderConfig, vocab: Vocab) -> dict[str, Tensor]:
    """Return all weights of a `PretrainingModel` of this configuration and vocabulary, to start training from.

    Raises: CheckpointError if the vocabulary, or any setting other than dropout and initialisation, differs from the file's.
    """
    tensors, file_config, file_vocab = load_weights(url)
    if file_vocab != vocab:
        raise CheckpointError(
            f"{url}: its vocabulary ({len(file_vocab):,} tokens) differs from the data's ({len(vocab):,}); "
            "prepare the data with its vocab.txt"
        )
    may_differ = {"hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"}
    found, wanted = asdict(file_config), asdict(config)
    different = [name for name in found if found[name] != wanted[name] and name not in may_differ]
    if different:
        details = ", ".join(f"{name} is {found[name]} there, {wanted[name]} in the recipe" for name in different)
        raise CheckpointError(f"{url}: a different network: {details}; set [encoder] to match these weights")
    return tensors


def vocabulary_of(url: str) -> tuple[str, Vocab, dict[str, bool]]:
    """Return the vocab.txt of weights, its content and its rules of tokenization, without reading the weights.

    Raises: CheckpointError for a folder without weights or vocab.txt; CorpusError for an invalid vocabulary.
    """
    if own := _checkpoint_of(url):
        vocab_url = storage.join(own, "vocab.txt")
        rules = read_object(storage.join(own, "config.json"))["vocabulary"]
        rules = {name: bool(rules.get(name, False)) for name in ("do_lower_case", "map_punctuation")}
        return vocab_url, Vocab.from_bytes(storage.read_bytes(vocab_url), vocab_url), rules
    folder = find(url).folder
    vocab, vocab_url = _vocabulary(folder, None)
    if not vocab_url.endswith("vocab.txt"):
        raise CheckpointError(f"{folder}: no vocab.txt; `nezha-pipe convert {folder} OUT` writes these weights with one")
    return vocab_url, vocab, _rules(folder, vocab, [])


def read(
    url: str,
    *,
    config_url: str | None = None,
    vocab_url: str | None = None,
    positions: Literal["keep", "functional"] = "keep",
    hidden_act: Literal["gelu", "gelu_tanh"] | None = None,
) -> Weights:
    """Read weights: our checkpoints, training folders and exports, or a folder, file or prefix of another program.

    `positions="functional"` treats an encoder as NEZHA even if its configuration does not say so, and drops absolute position
    embeddings. `hidden_act` overrides the configuration. Our checkpoints take none of the four: they say all of it themselves.

    Raises: CheckpointError for weights that are missing, damaged or contradict their configuration; CorpusError for an invalid
    vocabulary.
    """
    if own := _checkpoint_of(url):
        if config_url or vocab_url or positions != "keep" or hidden_act:
            raise CheckpointError(
                f"{own}: a checkpoint of ours has its own configuration and vocabulary: leave out --config, --vocab, "
                "--positions and --hidden-act, or export it first"
            )
        return _ours(own)
    file = find(url)
    config_url = config_url or find_config(file.folder)
    content = read_object(config_url)
    vocab, vocab_url = _vocabulary(file.folder, vocab_url)
    if "vocab_size" in content and content["vocab_size"] != len(vocab):
        raise CheckpointError(
            f"{vocab_url}: {len(vocab):,} tokens, but {config_url} says {content['vocab_size']!r:.60}; "
            "give the vocabulary of these weights"
        )
    tensors, variables = file.tensors()
    notes = [f"left out {variables:,} training variables (optimizer moments, counters)"] if variables else []
    origin = configuration.origin(content, tensors, file.kind)
    config = configuration.shape(content, config_url, origin)
    choice = configuration.positions(content, config_url, origin, names.ABSOLUTE in tensors, positions)
    config, notes = replace(config, positions=choice.kind), [*notes, *choice.notes]
    if choice.kind != "absolute":
        tensors.pop(names.ABSOLUTE, None)
        # Other programs give the size of their table of relative positions here; ours has no limit.
        config = replace(config, max_position_embeddings=EncoderConfig.max_position_embeddings)
    if hidden_act:
        config = replace(config, hidden_act=hidden_act)
    elif origin in configuration.HUAWEI:
        notes.append("gelu is read as its tanh approximation, as in the TensorFlow code; --hidden-act gelu for the exact form")
    tables = {name: tensor for name, tensor in tensors.items() if names.TABLE.search(name)}
    tensors = _weights(tensors, file.url, notes)
    check(tensors, config, len(vocab), file.url)
    _check_tables(tables, config, file.url)
    rules = _rules(file.folder, vocab, notes)
    return Weights(tensors=tensors, config=config, vocab=vocab, origin=origin, notes=notes, **rules)


def completed(weights: Weights, seed: int = 12_345) -> Weights:
    """Return the weights with new heads where the file has none, and without the heads of fine-tuned tasks."""
    heads = sorted({name.split(".")[0] for name in weights.tensors if name.startswith(names.TASK_HEADS)})
    tensors = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith(names.TASK_HEADS)}
    notes = [*weights.notes, *(f"left out {head}, the head of a fine-tuned task" for head in heads)]
    if missing := weights.missing_parts():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = PretrainingModel(weights.config, len(weights.vocab)).state_dict()
        tensors = {name: tensors.get(name, tensor) for name, tensor in fresh.items()}
        notes.append(f"the file has no {', no '.join(missing)}: initialised at random, to be trained before use")
    return replace(weights, tensors=tensors, notes=notes)


def check(tensors: dict[str, Tensor], config: EncoderConfig, vocab_size: int, url: str) -> None:
    """Check that these are an encoder of this configuration, and each head complete or absent. Raises: CheckpointError."""
    with torch.device("meta"):
        model = PretrainingModel(config, vocab_size)
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    layers = {int(found[1]) for name in tensors if (found := re.search(r"\.layer\.(\d+)\.", name))}
    if layers and (wrong := sorted(set(range(config.num_hidden_layers)) ^ layers)):
        raise CheckpointError(
            f"{url}: {len(layers)} layers, but the configuration says {config.num_hidden_layers}: layer {wrong[0]} "
            f"is {'missing' if wrong[0] < config.num_hidden_layers else 'unexpected'}"
        )
    for name in sorted(tensors.keys() - shapes.keys()):
        if not name.startswith(names.TASK_HEADS):
            raise CheckpointError(f"{url}: {name} is not part of {'BERT' if config.positions == 'absolute' else 'NEZHA'}")
    words = tensors.get(names.WORDS)
    if words is not None and len(words) != vocab_size:
        raise CheckpointError(
            f"{url}: embeddings of {len(words):,} tokens, but the vocabulary has {vocab_size:,}; "
            "give the vocabulary of these weights"
        )
    optional = tuple(prefix for prefix in names.PARTS.values() if not any(name.startswith(prefix) for name in tensors))
    for name, shape in shapes.items():
        if name not in tensors and not name.startswith(optional):
            raise CheckpointError(f"{url}: {name} is missing")
        if name in tensors and tuple(tensors[name].shape) != shape:
            raise CheckpointError(f"{url}: {name} has shape {tuple(tensors[name].shape)}, the configuration requires {shape}")


def _checkpoint_of(url: str) -> str | None:
    """Return our checkpoint at a URL: itself, or the best one of a training folder; None if it is neither."""
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
    """Return the learned tensors in float32, without buffers and second names of tied weights."""
    kept = {name: tensor for name, tensor in tensors.items() if not names.BUFFERS.search(name)}
    if len(kept) < len(tensors):
        notes.append(f"left out {len(tensors) - len(kept)} stored tables of positions, which are computed")
    for alias, name in names.ALIASES.items():
        if (other := kept.pop(alias, None)) is not None and not torch.equal(kept.setdefault(name, other), other):
            raise CheckpointError(f"{url}: {alias} differs from {name}; in BERT and NEZHA they are tied")
    for name, tensor in kept.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"{url}: {name} has type {tensor.dtype}, so it holds no weights")
    if narrow := Counter(str(tensor.dtype).removeprefix("torch.") for tensor in kept.values() if tensor.itemsize < 4):
        notes.append(f"converted {', '.join(narrow)} weights to float32")
    return {name: tensor.float().contiguous() for name, tensor in kept.items()}


def _check_tables(tables: dict[str, Tensor], config: EncoderConfig, url: str) -> None:
    """Check the stored tables of relative positions, (length, length, H): they show the head width and m, which no weight does.

    Raises: CheckpointError where they contradict the configuration.
    """
    for name, table in tables.items():
        if table.ndim != 3 or table.shape[-1] != config.head_size:
            raise CheckpointError(
                f"{url}: {name} has shape {tuple(table.shape)}, but by the configuration heads are {config.head_size} wide; "
                "correct num_attention_heads"
            )
        m = config.max_relative_position
        rows = relative_table(config, 1)[torch.arange(table.shape[1]).clamp(max=m) + m]
        if not torch.allclose(table[0].float(), rows, atol=1e-2):
            raise CheckpointError(f"{url}: {name} is not the table of max_relative_position {m}; correct the configuration")


def _vocabulary(folder: str, vocab_url: str | None) -> tuple[Vocab, str]:
    """Return the vocabulary beside weights and its URL: vocab.txt, or tokenizer.json, all that transformers may have saved.

    Raises: CheckpointError if there is none, CorpusError for an invalid one.
    """
    vocab_url = vocab_url or storage.join(folder, "vocab.txt")
    if storage.exists(vocab_url):
        return Vocab.from_bytes(storage.read_bytes(vocab_url), vocab_url), vocab_url
    url = storage.join(folder, "tokenizer.json")
    if not storage.exists(url):
        raise CheckpointError(f"{folder}: no vocab.txt; give it with --vocab")
    content = read_object(url)
    try:
        ids = {**content["model"]["vocab"], **{added["content"]: added["id"] for added in content["added_tokens"]}}
        tokens = sorted(ids, key=lambda token: ids[token])
        complete = [ids[token] for token in tokens] == list(range(len(tokens)))
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{url}: not a WordPiece tokenizer; give the vocab.txt of these weights with --vocab") from error
    if not complete:
        raise CheckpointError(f"{url}: ids are missing or shared; give the vocab.txt of these weights with --vocab")
    return Vocab.from_bytes("\n".join(tokens).encode(), url), url


def _rules(folder: str, vocab: Vocab, notes: list[str]) -> dict[str, bool]:
    """Return the rules of tokenization from tokenizer_config.json. A vocabulary without capitals implies lower case."""
    url = storage.join(folder, "tokenizer_config.json")
    settings = read_object(url) if storage.exists(url) else {}
    capitals = any(re.search("[A-Z]", token) for token in vocab.tokens if token not in SPECIALS and token[:1] not in "[<")
    lower = settings.get("do_lower_case", not capitals) is True
    if not lower and not capitals:  # as in bert-base-chinese
        notes.append("do_lower_case is false, but the vocabulary has no capitals, which would all be [UNK]: text is lowercased")
    return {"do_lower_case": lower or not capitals, "map_punctuation": settings.get("map_punctuation") is True}
