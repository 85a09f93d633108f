"""Weight files of any origin: finding them, telling their kind by their first bytes, and reading their tensors.

    nezha-cn-base/        config.json vocab.txt pytorch_model.bin                        Hugging Face, or Huawei's PyTorch
    bert-base-chinese/    config.json vocab.txt model-00001-of-00002.safetensors ... model.safetensors.index.json
    NEZHA-Base/           bert_config.json vocab.txt model.ckpt-900000.index model.ckpt-900000.data-00000-of-00001

Pickles are read as data only; one that would run code is refused.
"""

import io
import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from model.conversion import names
from model.conversion.tensor_bundle import MAGIC, TensorBundle
from pipeline import storage
from pipeline.errors import CheckpointError
from pipeline.sources.formats.foreign import is_pointer

Kind = Literal["safetensors", "torch", "tensorflow"]
SINGLE = ("model.safetensors", "pytorch_model.bin")
NO_CONFIG = {"tokenizer_config.json", "generation_config.json", "preprocessor_config.json", "adapter_config.json"}
ENDINGS = (".safetensors", ".bin", ".pt", ".pth")


@dataclass(frozen=True)
class WeightFile:
    """A file of weights, or the index of several."""

    url: str
    """For TensorFlow the prefix: model.ckpt-900000."""
    kind: Kind

    @property
    def folder(self) -> str:
        """Folder in which configuration and vocabulary are expected."""
        return storage.parent(self.url) or "."

    def tensors(self) -> tuple[dict[str, Tensor], int]:
        """Return the tensors under our names (names.py), and the number of training variables that were left out."""
        if self.kind == "tensorflow":
            return _tensorflow(self.url)
        read = _safetensors if self.kind == "safetensors" else _torch
        if not self.url.endswith(".index.json"):
            return _renamed(read(self.url), self.url), 0
        parts = _weight_map(self.url)
        whole: dict[str, Tensor] = {}
        for part in sorted(set(parts.values())):
            if not storage.exists(url := storage.join(self.folder, part)):
                raise CheckpointError(f"{self.url}: {part} does not exist; download all parts")
            whole |= read(url)
        if missing := sorted(parts.keys() - whole.keys()):
            raise CheckpointError(f"{self.url}: {missing[0]} is not in {parts[missing[0]]}; download the files again")
        return _renamed(whole, self.url), 0


def find(url: str) -> WeightFile:
    """Return the weights at a URL: a folder, a file, or the prefix of a TensorFlow checkpoint.

    Raises: CheckpointError if there are none, or several to choose from.
    """
    if url.endswith(".index") or storage.exists(f"{url}.index"):
        return WeightFile(url.removesuffix(".index"), "tensorflow")
    found = storage.list_names(url)
    if not found:
        return WeightFile(url, kind_of(url))
    for name in SINGLE:
        for url_of in (storage.join(url, f"{name}.index.json"), storage.join(url, name)):
            if storage.exists(url_of):
                return WeightFile(url_of, _kind_of_parts(url_of) if url_of.endswith(".json") else kind_of(url_of))
    prefixes = [name.removesuffix(".index") for name in found if name.endswith(".index")]
    if prefixes:
        return WeightFile(storage.join(url, _newest(url, prefixes)), "tensorflow")
    others = [name for name in found if name.endswith(ENDINGS)]
    if len(others) != 1:
        what = f"several weight files, {', '.join(others)}; give one of them" if others else "no weights"
        raise CheckpointError(f"{url}: {what} (expected {', '.join(SINGLE)} or TensorFlow's model.ckpt.index)")
    return WeightFile(storage.join(url, others[0]), kind_of(storage.join(url, others[0])))


def _newest(folder: str, prefixes: list[str]) -> str:
    """Return the TensorFlow checkpoint that the file `checkpoint` names, if there are several."""
    if len(prefixes) == 1:
        return prefixes[0]
    if storage.exists(url := storage.join(folder, "checkpoint")):
        named = re.search(r'^model_checkpoint_path: "(.*)"', storage.read_bytes(url).decode("utf-8", "replace"), re.MULTILINE)
        if named and storage.base_name(named[1]) in prefixes:
            return storage.base_name(named[1])
    raise CheckpointError(f"{folder}: several checkpoints, {', '.join(prefixes)}; give one: {folder}/{prefixes[-1]}")


def kind_of(url: str) -> Kind:
    """Return the kind of a file, judging by its bytes. Raises: CheckpointError for a file without weights."""
    head = storage.read_range(url, 0, 64)
    if head[8:9] == b"{":
        return "safetensors"
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04"):
        return "torch"
    size = storage.file_size(url)
    if is_pointer(head.decode("latin-1")):
        reason = "a Git LFS pointer, not the weights; download the file itself (git lfs pull)"
    elif head.lstrip().startswith(b"<"):
        reason = "a web page, not weights; download the file itself"
    elif head.startswith(b"\x89HDF"):
        reason = "a Keras HDF5 file; use the model's PyTorch, safetensors or TensorFlow checkpoint"
    elif size > 8 and storage.read_range(url, size - 8, size) == struct.pack("<Q", MAGIC):
        reason = "a TensorFlow checkpoint in format V1, a single file; save it in V2, as .index and .data files"
    else:
        reason = "not safetensors, PyTorch or TensorFlow weights, or truncated"
    raise CheckpointError(f"{url}: {reason}")


def _kind_of_parts(index: str) -> Kind:
    return kind_of(storage.join(storage.parent(index), min(_weight_map(index).values())))


def _weight_map(index: str) -> dict[str, str]:
    """Return the file of each tensor. Files are next to the index: a path elsewhere is refused."""
    parts = read_object(index).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise CheckpointError(f"{index}: no weight_map; download the file again")
    for part in parts.values():
        if not isinstance(part, str) or not part.endswith(ENDINGS) or "/" in part or "\\" in part:
            raise CheckpointError(f"{index}: {part!r:.80} in weight_map is not a file next to it; download the file again")
    return parts


def find_config(folder: str) -> str:
    """Return the configuration next to weights: config.json, bert_config.json, or the only other *config*.json."""
    found = storage.list_names(folder)
    for name in ("config.json", "bert_config.json"):
        if name in found:
            return storage.join(folder, name)
    others = [name for name in found if "config" in name and name.endswith(".json") and name not in NO_CONFIG]
    if len(others) != 1:
        raise CheckpointError(f"{folder}: no config.json or bert_config.json; give it with --config")
    return storage.join(folder, others[0])


def read_object(url: str) -> dict[str, Any]:
    """Read a JSON object."""
    content = storage.read_json(url)
    if not isinstance(content, dict):
        raise CheckpointError(f"{url}: not a JSON object")
    return content


def _safetensors(url: str) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(storage.read_bytes(url))
    except SafetensorError as error:
        raise CheckpointError(f"{url}: truncated or damaged ({error}); download the file again") from error


def _torch(url: str) -> dict[str, Tensor]:
    data = storage.read_bytes(url)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if wants := re.search(r"GLOBAL ([\w.]+)|unsupported (?:class|global|operand)[: ]+([\w.]+)", str(error), re.IGNORECASE):
            reason = f"would run code when loaded ({wants[1] or wants[2]}), refused; get safetensors, or a file of tensors only"
            raise CheckpointError(f"{url}: {reason}") from error
        raise CheckpointError(f"{url}: truncated or damaged; download the file again") from error
    except (RuntimeError, ValueError, TypeError, AttributeError, EOFError, LookupError, OSError, struct.error) as error:
        detail = " ".join(str(error).split()).partition(". ")[0]
        raise CheckpointError(f"{url}: truncated or damaged ({detail}); download the file again") from error
    for key in ("state_dict", "model", "module"):  # training scripts wrap weights in these
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{url}: not a dictionary of tensors; save the model's state_dict")
    return content


def _tensorflow(prefix: str) -> tuple[dict[str, Tensor], int]:
    bundle = TensorBundle.open(prefix)
    wanted = [name for name in bundle.entries if not names.is_training_state(name)]
    tensors = {}
    for name in wanted:
        place, tensor = names.from_tensorflow(name), bundle.tensor(name)
        tensors[place.name] = tensor.T.contiguous() if place.transposed else tensor
    return tensors, len(bundle.entries) - len(wanted)


def _renamed(tensors: Mapping[str, Tensor], url: str) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = names.from_torch(name)
        if ours in renamed:
            raise CheckpointError(f"{url}: contains {ours} twice, once as {name}; remove one of them")
        renamed[ours] = tensor
    return renamed
