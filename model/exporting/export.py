"""An export: a folder that holds all of a model, as transformers loads it, and nothing of its training but a card.

    config.json            the shape of the network; `auto_map` names the classes in the three files below
    configuration_nezha.py, modeling_nezha.py, attention_nezha.py       the network, for transformers 4.46 and later
    model.safetensors      float32 weights under Hugging Face's names; the vocabulary matrix stands there once
    vocab.txt              one token a line; the number of the line is the id
    tokenizer.json, tokenizer_config.json, special_tokens_map.json      the tokenisation of training
    README.md              the model card

    AutoModelForMaskedLM.from_pretrained("runs/news/export", trust_remote_code=True)

Equal models give equal bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from model.config import EncoderConfig
from model.exporting.card import card
from model.heads import PretrainingModel
from pipeline import storage
from pipeline.errors import CheckpointError, CorpusError
from pipeline.tokenization.vocab import (
    CLS,
    MASK,
    PAD,
    SEP,
    UNK,
    Vocab,
    punctuation_map,
)

CODE = ("configuration_nezha.py", "modeling_nezha.py", "attention_nezha.py")
NEEDED = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")
CLASSES = {
    "AutoModel": "NezhaModel",
    "AutoModelForPreTraining": "NezhaForPreTraining",
    "AutoModelForMaskedLM": "NezhaForMaskedLM",
    "AutoModelForSequenceClassification": "NezhaForSequenceClassification",
    "AutoModelForTokenClassification": "NezhaForTokenClassification",
    "AutoModelForQuestionAnswering": "NezhaForQuestionAnswering",
}
MODEL_TYPE = "nezha_pipe"
"""Not "nezha": the class of that name, in transformers until 4.57, would take other forms of positions for the released one."""
KNOWN_TYPES = (MODEL_TYPE, "nezha")  # exports of earlier versions
MODEL_MAX_LENGTH = 512
"""What a tokenizer cuts texts to where it is asked to, and no phase of training says how long its sequences were."""
ADDED = frozenset({"positions", "max_position_embeddings"})
"""Settings that exports of earlier versions do not have: they had what is their default now."""
POSITIONS = {"positions": ("functional", "relative", "absolute"), "relative_positions": ("released", "paper")}
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}  # ours -> transformers'


def export_model(
    model: PretrainingModel,
    vocab_tokens: Sequence[str],
    do_lower_case: bool,
    write: Callable[[str, bytes], None],
    facts: Mapping[str, Any],
    map_punctuation: bool = False,
) -> None:
    """Writes the files of an export through `write(name, content)`.

    `vocab_tokens` are in the order of their ids. `do_lower_case` and `map_punctuation` are those of training. `facts` go into
    the model card (model/exporting/card.py says which there are). Raises CheckpointError if the vocabulary is not that of the model.
    """
    rows = model.nezha.embeddings.word_embeddings.num_embeddings
    if rows != len(vocab_tokens):
        raise CheckpointError(
            f"the model has {rows:,} tokens, the vocabulary {len(vocab_tokens):,}; give the vocabulary it was trained with"
        )
    vocab = Vocab(tuple(vocab_tokens))
    weights = {name: weight.detach().float().cpu().contiguous() for name, weight in model.state_dict().items()}
    write("config.json", storage.json_bytes(hugging_face_config(model.nezha.config, vocab)))
    for name in CODE:
        write(name, (Path(__file__).parents[1] / "remote_code" / name).read_bytes())
    write("vocab.txt", vocab.to_bytes())
    phases = facts.get("training", {}).get("config", {}).get("phases", [])
    longest = max((phase["sequence_length"] for phase in phases), default=MODEL_MAX_LENGTH)
    for name, content in tokenizer_files(vocab, do_lower_case, map_punctuation, longest).items():
        write(name, content)
    write("model.safetensors", safetensors.torch.save(weights, {"format": "pt"}))
    mapped = punctuation_map(vocab) if map_punctuation else {}
    text = {"size": len(vocab), "sha256": vocab.sha256, "do_lower_case": do_lower_case, "mapped": mapped}
    parameters = sum(weight.numel() for weight in model.parameters())
    write("README.md", card({**facts, "vocabulary": text}, model.nezha.config, parameters).encode())


def tokenizer_files(vocab: Vocab, do_lower_case: bool, map_punctuation: bool, max_length: int) -> dict[str, bytes]:
    """The files that tokenise as training did, by name. The rules are in tokenizer.json; no class of BERT makes its own.

    tokenizer.json by itself (package `tokenizers`) pads to the longest of a batch and cuts at `max_length`; transformers does
    either only where it is asked to.
    """
    from pipeline.tokenization.wordpiece import build_tokenizer  # needs the tokenizers package, which training does without

    rules = build_tokenizer(vocab, do_lower_case, map_punctuation, special_tokens=True)
    rules.enable_padding(pad_id=vocab.pad_id, pad_token=PAD)
    rules.enable_truncation(max_length)
    specials = {"unk_token": UNK, "sep_token": SEP, "pad_token": PAD, "cls_token": CLS, "mask_token": MASK}
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "do_lower_case": do_lower_case,
        "map_punctuation": map_punctuation,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "model_max_length": max_length,
        "padding_side": "right",
        "truncation_side": "right",
        **specials,
    }
    return {
        "tokenizer.json": rules.to_str(pretty=True).encode(),
        "tokenizer_config.json": storage.json_bytes(content),
        "special_tokens_map.json": storage.json_bytes(specials),
    }


def hugging_face_config(config: EncoderConfig, vocab: Vocab) -> dict[str, Any]:
    """The content of config.json. A setting that the form of positions does not have is null: the class of transformers 4 then
    fails, where it would take these positions for others."""
    functional = config.positions == "functional"
    clipped = config.positions == "relative" or (functional and config.relative_positions == "released")
    return {
        **asdict(config),
        "max_position_embeddings": config.max_position_embeddings if config.positions == "absolute" else None,
        "hidden_act": ACTIVATIONS[config.hidden_act],
        "max_relative_position": config.max_relative_position if clipped else None,
        "architectures": ["NezhaForPreTraining"],
        "auto_map": {
            "AutoConfig": "configuration_nezha.NezhaConfig",
            **{auto: f"modeling_nezha.{name}" for auto, name in CLASSES.items()},
        },
        "dtype": "float32",
        "model_type": MODEL_TYPE,
        "pad_token_id": vocab.pad_id,
        "vocab_size": len(vocab),
    }


def load_export(folder: str) -> tuple[PretrainingModel, EncoderConfig, list[str], dict[str, bool]]:
    """Opens an export, at any fsspec URL: the network in float32, its configuration, the tokens by id, and how text becomes
    tokens: `do_lower_case` and `map_punctuation`, as WordPieceEncoder takes them.

    Raises CheckpointError, which names the file and what is wrong with it: missing files, another architecture, weights that
    are missing, unknown or of the wrong shape, a vocabulary of another size.
    """
    if missing := [name for name in NEEDED if not storage.exists(storage.join(folder, name))]:
        raise CheckpointError(f"{folder}: no {', '.join(missing)}; give the folder of an export")
    url = {name: storage.join(folder, name) for name in NEEDED}
    config, vocab_size = read_config(url["config.json"])
    try:
        vocab = Vocab.from_bytes(storage.read_bytes(url["vocab.txt"]), url["vocab.txt"])
    except CorpusError as error:
        raise CheckpointError(str(error)) from error
    if len(vocab) != vocab_size:
        raise CheckpointError(
            f"{url['vocab.txt']}: {len(vocab):,} tokens, config.json says {vocab_size:,}; export the model again"
        )
    rules = read_rules(url["tokenizer_config.json"])
    return read_model(url["model.safetensors"], config, vocab_size), config, list(vocab.tokens), rules


def read_rules(url: str) -> dict[str, bool]:
    """How text becomes tokens, out of a tokenizer_config.json; exports of others say nothing of punctuation, and map none."""
    content = read_object(url)
    rules = {"do_lower_case": content.get("do_lower_case"), "map_punctuation": content.get("map_punctuation", False)}
    for name, value in rules.items():
        if not isinstance(value, bool):
            raise CheckpointError(f"{url}: {name} is not true or false; export the model again")
    return rules


def read_object(url: str) -> dict[str, Any]:
    """A JSON object."""
    content = storage.read_json(url)
    if not isinstance(content, dict):
        raise CheckpointError(f"{url}: not a JSON object; export the model again")
    return content


def read_config(url: str) -> tuple[EncoderConfig, int]:
    """The configuration and the size of the vocabulary out of a config.json."""
    content = read_object(url)
    if content.get("model_type") not in KNOWN_TYPES:
        raise CheckpointError(
            f"{url}: model_type is {content.get('model_type')!r}, not {MODEL_TYPE!r}; turn weights of others into ours with "
            "`nezha-pipe convert`"
        )
    for name in ("max_relative_position", "max_position_embeddings"):
        if content.get(name, "") is None:  # the form of positions has none
            content[name] = getattr(EncoderConfig, name)
    needed = [field.name for field in fields(EncoderConfig) if field.name not in ADDED]
    if missing := [name for name in (*needed, "vocab_size") if name not in content]:
        raise CheckpointError(f"{url}: no {', '.join(missing)}; export the model again")
    ours = {theirs: name for name, theirs in ACTIVATIONS.items()}
    if content["hidden_act"] not in ours:
        raise CheckpointError(f"{url}: hidden_act is {content['hidden_act']!r}; {' and '.join(ours)} are known")
    for name, known in POSITIONS.items():
        if (value := content.get(name, known[0])) not in known:
            raise CheckpointError(f"{url}: {name} is {value!r}; {', '.join(known)} are known")
    try:
        given = {name: content[name] for name in (*needed, *(ADDED & content.keys()))}
        config = EncoderConfig(**given | {"hidden_act": ours[content["hidden_act"]]})
        return config, int(content["vocab_size"])
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{url}: {error}; export the model again") from error


def read_model(url: str, config: EncoderConfig, vocab_size: int) -> PretrainingModel:
    """The network with the weights of a model.safetensors, in float32."""
    try:
        weights = safetensors.torch.load(storage.read_bytes(url))
    except SafetensorError as error:
        raise CheckpointError(f"{url}: damaged ({error}); export the model again") from error
    with torch.device("meta"):  # no memory, no random numbers: all weights come from the file
        model = PretrainingModel(config, vocab_size)
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    for name in sorted(shapes.keys() ^ weights.keys()):
        problem = "is missing" if name in shapes else "is not part of a NEZHA model"
        raise CheckpointError(f"{url}: {name} {problem}; export the model again")
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise CheckpointError(f"{url}: {name} has shape {tuple(weights[name].shape)}, config.json asks for {shape}")
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return model
