"""What is scored: an encoder, with its tokenizer and the longest input that it reads.

    my-nezha                  an exported folder of ours, at any URL
    hf:models/macbert         a local folder with any encoder that transformers loads
    hf:hfl/chinese-macbert    a model of Hugging Face's hub, which is downloaded unless it is in transformers' cache

Either way texts are tokenized by the model's own tokenizer, and the same heads are put on its hidden states.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import TaskError

if TYPE_CHECKING:
    from model.finetuning.start import Start
    from workflows.inference.embedding import Tokenizer

FOREIGN = "hf:"
"""Before the folder of an encoder that transformers loads."""
READ = (".json", ".txt", ".model", ".safetensors")
"""Files that such an encoder consists of."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class Encoder:
    """An encoder that can be fine-tuned."""

    start: "Start"
    tokenizer: "Tokenizer"
    longest: int | None
    """Most tokens that it reads at once; None: any number."""

    def limit(self, asked: int, usual: int) -> int:
        """Return the length of inputs: what was asked for, else (0) the usual one, or what the encoder reads at most.

        Raises: TaskError if more is asked for than it reads.
        """
        if self.longest is not None and asked > self.longest:
            raise TaskError(f"max_length is {asked}, but the model reads at most {self.longest} tokens")
        return asked or min(usual, self.longest or usual)


def is_foreign(model: str) -> bool:
    return model.startswith(FOREIGN)


def absolute(model: str) -> str:
    """Return the URL of an export, or `hf:` and a local folder. A model of the hub is downloaded.

    Raises: TaskError if there is no such folder, or the hub cannot be reached.
    """
    if not is_foreign(model):
        return storage.absolute(model)
    name = model.removeprefix(FOREIGN)
    if "://" in name:
        raise TaskError(f"{model}: transformers reads folders of this machine; copy it here first")
    if os.path.isdir(name):
        return FOREIGN + os.path.abspath(name)
    if not _HUB_NAME.fullmatch(name):
        raise TaskError(f"{model}: there is no such folder")
    return FOREIGN + _downloaded(name)


def model_id(model: str) -> str:
    """Return the name of a model in scores: that of its folder; `hf:` says that transformers loaded it."""
    name = storage.base_name(model.removeprefix(FOREIGN))
    return FOREIGN + name if is_foreign(model) else name


def digest(model: str) -> str:
    """Return a digest of what decides the model's scores. Raises: CheckpointError, TaskError if it is no whole model."""
    if not is_foreign(model):
        from model.exporting.export import check_is_export

        check_is_export(model)
        return storage.sha256(storage.join(model, "model.safetensors"))
    folder = model.removeprefix(FOREIGN)
    _check(folder)
    files = sorted(name for name in os.listdir(folder) if name.endswith(READ))
    content = [[name, storage.sha256(storage.join(folder, name))] for name in files]
    return hashlib.blake2b(storage.json_bytes(content), digest_size=16).hexdigest()


def load(model: str, *, untrained: bool = False) -> Encoder:
    """Load an encoder. `untrained`: the same network, with fresh weights from torch's generator.

    Raises: CheckpointError, TaskError if it cannot be loaded.
    """
    if is_foreign(model):
        from workflows.evaluation.foreign import load_foreign

        folder = model.removeprefix(FOREIGN)
        _check(folder)
        return Encoder(*load_foreign(folder, untrained))
    from model.exporting.export import load_export
    from model.finetuning.start import Nezha
    from pipeline.tokenization.vocab import Vocab
    from pipeline.tokenization.wordpiece import WordPieceEncoder

    network, config, tokens, rules = load_export(model)
    vocab = Vocab(tuple(tokens))
    weights = None if untrained else network.nezha.state_dict()
    longest = config.max_position_embeddings if config.positions == "absolute" else None
    return Encoder(Nezha(config, len(vocab), vocab.cls_id, vocab.sep_id, weights), WordPieceEncoder(vocab, **rules), longest)


def _check(folder: str) -> None:
    """Raise TaskError, saying what to do, unless a folder has a model that transformers can load without code of its own."""
    from model.exporting.export import KNOWN_TYPES

    try:
        with open(os.path.join(folder, "config.json"), "rb") as file:
            config: Any = json.load(file)
    except FileNotFoundError:
        raise TaskError(f"{FOREIGN}{folder}: there is no config.json in it; give the folder of a model") from None
    except (OSError, ValueError) as error:
        raise TaskError(f"{FOREIGN}{folder}: config.json cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise TaskError(f"{FOREIGN}{folder}: config.json is not a JSON object; save the model again")
    if config.get("model_type") in KNOWN_TYPES:
        raise TaskError(f"{FOREIGN}{folder}: this is an export of NEZHA; give the folder without {FOREIGN}")
    if not any(name.endswith(".safetensors") for name in os.listdir(folder)):
        raise TaskError(
            f"{FOREIGN}{folder}: no .safetensors file in it, and pickles from elsewhere are not opened; load and save the model"
            " once with a transformers that you trust to"
        )


def _downloaded(name: str) -> str:
    """Return the local folder of a model of the hub."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise TaskError(f"{FOREIGN}{name}: there is no such folder") from None
    try:
        found = snapshot_download(name, allow_patterns=[f"*{ending}" for ending in READ])
    except Exception as error:
        # requests, httpx and the hub itself each have errors of their own, which changed from version to version.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TaskError(
            f"{FOREIGN}{name}: there is no such folder, and no such model was got from Hugging Face's hub ({reason[:120]});"
            " download it where there is a network, and give its folder"
        ) from error
    return str(found)
