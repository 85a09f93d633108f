"""Writing and reading exports. An export is a folder with a complete model that transformers loads, and a model card.

    config.json            the shape of the network; `auto_map` names the classes in the three files below
    configuration_nezha.py, modeling_nezha.py, attention_nezha.py       the network, for transformers 4.46 and later
    model.safetensors      float32 weights under Hugging Face's names; the tied vocabulary matrix is stored once
    vocab.txt              one token per line; the line number, from 0, is the id
    tokenizer.json, tokenizer_config.json, special_tokens_map.json      tokenization as in training
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
from model.exporting.onnx import FILES
from model.exporting.replacement import UNFINISHED
from model.heads import PretrainingModel
from pipeline import folders, storage
from pipeline.errors import CheckpointError, CorpusError
from pipeline.tokenization.vocab import CLS, MASK, PAD, SEP, UNK, Vocab, punctuation_map

CODE = ("configuration_nezha.py", "modeling_nezha.py", "attention_nezha.py")
REQUIRED = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")
LAST = "config.json"
"""The file to write last: no program loads a folder without it."""
SENTENCE_MODULES, SENTENCE_POOLING = "modules.json", "1_Pooling/config.json"
"""Files by which sentence-transformers knows how vectors of texts are made; only exports whose vectors were tuned have them."""
STALE = ("added_tokens.json", *(f"onnx/{name}" for name in FILES), SENTENCE_MODULES, SENTENCE_POOLING)
"""Files of an older export that would not belong to the new weights."""
CLASSES = {
    "AutoModel": "NezhaModel",
    "AutoModelForPreTraining": "NezhaForPreTraining",
    "AutoModelForMaskedLM": "NezhaForMaskedLM",
    "AutoModelForSequenceClassification": "NezhaForSequenceClassification",
    "AutoModelForTokenClassification": "NezhaForTokenClassification",
    "AutoModelForQuestionAnswering": "NezhaForQuestionAnswering",
}
MODEL_TYPE = "nezha_pipe"
"""Not "nezha": the class of that name in transformers up to 4.57 would read all other positions as the released form."""
KNOWN_TYPES = (MODEL_TYPE, "nezha")  # "nezha": exports of earlier versions
MODEL_MAX_LENGTH = 512
"""Length to which tokenizers truncate on request, if no training phase gives one."""
ADDED = frozenset({"positions", "max_position_embeddings"})
"""Settings that exports of earlier versions lack; their default is what those versions did."""
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
    """Write the files of an export through `write(name, content)`.

    vocab_tokens: in the order of their ids
    do_lower_case, map_punctuation: as in training
    facts: for the model card, see card.py

    Raises: CheckpointError if the vocabulary is not the model's.
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
    if model.nezha.config.positions == "absolute":
        longest = min(longest, model.nezha.config.max_position_embeddings)
    for name, content in tokenizer_files(vocab, do_lower_case, map_punctuation, longest).items():
        write(name, content)
    write("model.safetensors", safetensors.torch.save(weights, {"format": "pt"}))
    mapped = punctuation_map(vocab) if map_punctuation else {}
    text = {"size": len(vocab), "sha256": vocab.sha256, "do_lower_case": do_lower_case, "mapped": mapped}
    parameters = sum(weight.numel() for weight in model.parameters())
    write("README.md", card({**facts, "vocabulary": text}, model.nezha.config, parameters).encode())


def tokenizer_files(vocab: Vocab, do_lower_case: bool, map_punctuation: bool, max_length: int) -> dict[str, bytes]:
    """Return the tokenizer's files by name. All rules are in tokenizer.json, so that no BERT class applies its own.

    Used alone, by the package `tokenizers`, tokenizer.json pads to the longest text of a batch and truncates at `max_length`;
    transformers does so only on request.
    """
    from pipeline.tokenization.wordpiece import build_tokenizer  # needs the tokenizers package, which training does not

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
    """Return the content of config.json.

    A setting that these positions do not use is null, so that the NEZHA class of transformers 4 fails instead of reading them
    as others.
    """
    functional = config.positions == "functional"
    clipped = config.positions == "relative" or (functional and config.relative_positions == "released")
    return {
        **asdict(config),
        "max_position_embeddings": config.max_position_embeddings if config.positions == "absolute" else None,
        "hidden_act": ACTIVATIONS[config.hidden_act],
        "max_relative_position": config.max_relative_position if clipped else None,
        "architectures": ["NezhaForPreTraining"],
        "auto_map": {
            "AutoConfig": "configuration_nezha.NezhaPipeConfig",
            **{auto: f"modeling_nezha.{name}" for auto, name in CLASSES.items()},
        },
        "dtype": "float32",
        "model_type": MODEL_TYPE,
        "pad_token_id": vocab.pad_id,
        "vocab_size": len(vocab),
    }


def load_export(folder: str) -> tuple[PretrainingModel, EncoderConfig, list[str], dict[str, bool]]:
    """Read an export at any fsspec URL.

    Return the network in float32, its configuration, the tokens in the order of their ids, and the arguments `do_lower_case`
    and `map_punctuation` of WordPieceEncoder.

    Raises: CheckpointError for missing files, another architecture, weights that are missing, unknown or of the wrong shape, or
    a vocabulary of another size.
    """
    check_is_export(folder)
    url = {name: storage.join(folder, name) for name in REQUIRED}
    config, vocab_size = read_config(url["config.json"])
    try:
        vocab = Vocab.from_bytes(storage.read_bytes(url["vocab.txt"]), url["vocab.txt"])
    except CorpusError as error:
        raise CheckpointError(str(error)) from error
    if len(vocab) != vocab_size:
        raise CheckpointError(
            f"{url['vocab.txt']}: {len(vocab):,} tokens, but config.json says {vocab_size:,}; export the model again"
        )
    rules = read_rules(url["tokenizer_config.json"])
    return read_model(url["model.safetensors"], config, vocab_size), config, list(vocab.tokens), rules


def check_is_export(folder: str) -> None:
    """Raise CheckpointError, saying what the folder is instead, if it is not a whole export."""
    missing = [name for name in REQUIRED if not storage.exists(storage.join(folder, name))]
    if LAST in missing and storage.exists(storage.join(folder, UNFINISHED)):
        raise CheckpointError(f"{folder}: writing this export was interrupted; export the model again")
    if missing and folders.describe(folder) == folders.EXPORT:
        raise CheckpointError(f"{folder}: no {', '.join(missing)}; export the model again")
    if missing:
        export = f"export it first: nezha-pipe export {folder} --output my-nezha"
        inside = folders.stage_in(folder, "export-")
        hints = {
            folders.TRAINING: export,
            folders.CHECKPOINT: export,
            folders.OUTPUT: f"the exported model in it is {inside}"
            if inside
            else "run its recipe to the end, or name an export",
            folders.OTHER: f"convert it first, if it has weights: nezha-pipe convert {folder} my-nezha",
        }
        raise CheckpointError(folders.not_found(folder, folders.EXPORT, hints))


def read_rules(url: str) -> dict[str, bool]:
    """Read the rules of tokenization from a tokenizer_config.json. Without `map_punctuation` punctuation is not mapped."""
    content = read_object(url)
    rules = {"do_lower_case": content.get("do_lower_case"), "map_punctuation": content.get("map_punctuation", False)}
    for name, value in rules.items():
        if not isinstance(value, bool):
            raise CheckpointError(f"{url}: {name} is not true or false; export the model again")
    return rules


def read_object(url: str) -> dict[str, Any]:
    """Read a JSON object."""
    content = storage.read_json(url)
    if not isinstance(content, dict):
        raise CheckpointError(f"{url}: not a JSON object; export the model again")
    return content


def read_config(url: str) -> tuple[EncoderConfig, int]:
    """Read the configuration and the size of the vocabulary from a config.json."""
    content = read_object(url)
    if content.get("model_type") not in KNOWN_TYPES:
        raise CheckpointError(
            f"{url}: model_type is {content.get('model_type')!r}, not {MODEL_TYPE!r}; convert weights of other programs with "
            "`nezha-pipe convert`"
        )
    for name in ("max_relative_position", "max_position_embeddings"):
        if content.get(name, "") is None:  # these positions do not use it
            content[name] = getattr(EncoderConfig, name)
    needed = [field.name for field in fields(EncoderConfig) if field.name not in ADDED]
    if missing := [name for name in (*needed, "vocab_size") if name not in content]:
        raise CheckpointError(f"{url}: no {', '.join(missing)}; export the model again")
    ours = {theirs: name for name, theirs in ACTIVATIONS.items()}
    if content["hidden_act"] not in ours:
        raise CheckpointError(f"{url}: unsupported hidden_act {content['hidden_act']!r}; supported: {', '.join(ours)}")
    for name, known in POSITIONS.items():
        if (value := content.get(name, known[0])) not in known:
            raise CheckpointError(f"{url}: unsupported {name} {value!r}; supported: {', '.join(known)}")
    try:
        given = {name: content[name] for name in (*needed, *(ADDED & content.keys()))}
        config = EncoderConfig(**given | {"hidden_act": ours[content["hidden_act"]]})
        return config, int(content["vocab_size"])
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{url}: {error}; export the model again") from error


def read_model(url: str, config: EncoderConfig, vocab_size: int) -> PretrainingModel:
    """Read the network from a model.safetensors, in float32."""
    try:
        weights = safetensors.torch.load(storage.read_bytes(url))
    except SafetensorError as error:
        raise CheckpointError(f"{url}: damaged ({error}); export the model again") from error
    with torch.device("meta"):  # needs no memory or random numbers: all weights come from the file
        model = PretrainingModel(config, vocab_size)
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    for name in sorted(shapes.keys() ^ weights.keys()):
        problem = "is missing" if name in shapes else "is not part of a NEZHA model"
        raise CheckpointError(f"{url}: {name} {problem}; export the model again")
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise CheckpointError(f"{url}: {name} has shape {tuple(weights[name].shape)}, config.json requires {shape}")
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return model
