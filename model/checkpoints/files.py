"""The files of one checkpoint: written as a stream, read once, their checksums computed on the way.

    write(checkpoint, folder)      {"model.safetensors": {"bytes": 408212, "sha256": "9f86..."}, "state.json": ...}
    load(url)                      the Checkpoint, or DamagedCheckpoint: "state.json differs from its SHA-256"

Equal contents are equal bytes. Writing needs no memory beside the tensors.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from model.checkpoints.listing import MARKER
from pipeline import storage
from pipeline.errors import CheckpointError

CHUNK = 8 << 20
DTYPES = {
    **{torch.int64: "I64", torch.float64: "F64", torch.float32: "F32", torch.int32: "I32"},
    **{torch.bfloat16: "BF16", torch.float16: "F16", torch.int16: "I16", torch.uint8: "U8", torch.bool: "BOOL"},
}
"""The names of types in a safetensors file, in the order in which it has them."""
Entries = dict[str, dict[str, Any]]
"""Size and SHA-256 of each file."""


class DamagedCheckpoint(CheckpointError):
    """A checkpoint that is not what was written."""

    problem = ""
    """In what it differs."""

    @classmethod
    def of(cls, url: str, problem: str) -> "DamagedCheckpoint":
        """The error that says so."""
        error = cls(f"{url}: {problem}; take an older one")
        error.problem = problem
        return error


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint folder."""

    model: dict[str, Tensor]
    """Weights by their names in the network."""
    optimizer: dict[str, Tensor]
    """Optimizer state: `exp_avg/<name of the weight>` and so on, and `step/<number of the group>`."""
    state: dict[str, Any]
    """A `State` (model/training/state.py)."""
    config: dict[str, Any]
    """The whole training recipe: `Inputs.identity` (model/training/run.py)."""
    vocabulary: bytes
    """vocab.txt."""

    @property
    def step(self) -> int:
        return int(self.state["step"])

    def files(self) -> dict[str, Iterator[bytes | memoryview]]:
        """The bytes of each file except the marker, in parts."""
        return {
            "model.safetensors": _safetensors(self.model),
            "optimizer.safetensors": _safetensors(self.optimizer),
            "state.json": iter([storage.json_bytes(self.state)]),
            "config.json": iter([storage.json_bytes(self.config)]),
            "vocab.txt": iter([self.vocabulary]),
        }


def write(checkpoint: Checkpoint, folder: str) -> Entries:
    """Write all files except the marker."""
    entries: Entries = {}
    for name, parts in checkpoint.files().items():
        digest, size = hashlib.sha256(), 0
        with storage.open_write(storage.join(folder, name)) as file:
            for part in parts:
                file.write(part)
                digest.update(part)
                size += len(part)
        entries[name] = {"bytes": size, "sha256": digest.hexdigest()}
    return entries


def marker(step: int, entries: Entries) -> dict[str, Any]:
    """The content of checkpoint.json."""
    return {"version": 1, "step": step, "files": entries}


def load(url: str) -> Checkpoint:
    """Read a checkpoint into main memory, each file once.

    Raises: `DamagedCheckpoint`; `StorageError` for a file that cannot be read now, which says nothing about the checkpoint.
    """
    files = dict(_checked(url))
    try:
        model, optimizer = (safetensors.torch.load(files.pop(f"{part}.safetensors")) for part in ("model", "optimizer"))
        state, config = (json.loads(files[f"{part}.json"]) for part in ("state", "config"))
        return Checkpoint(model, optimizer, state, config, files["vocab.txt"])
    except KeyError as error:
        raise DamagedCheckpoint.of(url, f"{MARKER} lacks {error}") from error


def damage(url: str) -> str | None:
    """What is wrong with a checkpoint: not committed, or files missing, truncated or changed. None: nothing.

    Raises: `StorageError` for a file that cannot be read now.
    """
    try:
        for _ in _checked(url):
            pass
    except DamagedCheckpoint as error:
        return error.problem
    return None


def _checked(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of the files that the marker names.

    Raises: `DamagedCheckpoint` for the first that is not as it says.
    """
    for name, size, sha256 in _marked(url):
        file = storage.join(url, name)
        if not storage.exists(file):
            raise DamagedCheckpoint.of(url, f"{name} is missing")
        if (found := storage.file_size(file)) != size:
            raise DamagedCheckpoint.of(url, f"{name} has {found:,} bytes, not {size:,}")
        data = storage.read_bytes(file)
        if storage.bytes_digest(data) != sha256:
            raise DamagedCheckpoint.of(url, f"{name} differs from its SHA-256")
        yield name, data


def _marked(url: str) -> list[tuple[str, int, str]]:
    """Name, size and SHA-256 of each file in the marker."""
    if not storage.exists(storage.join(url, MARKER)):
        raise DamagedCheckpoint.of(url, f"{MARKER} is missing")
    data = storage.read_bytes(storage.join(url, MARKER))
    try:
        return [(name, int(entry["bytes"]), str(entry["sha256"])) for name, entry in json.loads(data)["files"].items()]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpoint.of(url, f"{MARKER} is damaged, or not one of nezha-pipe") from error


def _safetensors(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Yield what `safetensors.torch.save` returns, in parts.

    The library returns all bytes at once, a second copy of the tensors; or it writes a file, which would be read again for its
    checksum.
    """
    order = list(DTYPES)
    names = sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for name in names:
        data: memoryview = tensors[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(data), CHUNK):
            yield data[start : start + CHUNK]
