"""Checkpoints: a training folder that survives a kill at any moment, and from which training resumes.

    runs/tiny/checkpoint-3f9a/
        config.json                              the recipe that this folder belongs to
        best.json                                pointer: {"checkpoint": "attempt-0002/checkpoint-00000300", "step": 300, ...}
        attempt-0001/attempt.json                host and process, start time, the step that it resumes at
        attempt-0001/metrics-00000200.jsonl      rows up to step 200
        attempt-0001/checkpoint-00000200/        model.safetensors optimizer.safetensors state.json config.json vocab.txt
                                                 checkpoint.json LAST: names, sizes and SHA-256 of the others. The commit
        attempt-0002/...                         after a failure, or more workers

Attempts fence each other: each takes the next number, and checks before every write that there is no higher one. A worker that
was thought dead and comes back stops with an error, rather than write into the work of its successor.
"""

import hashlib
import json
import logging
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pipeline import storage
from pipeline.errors import CheckpointError, StorageError

MARKER = "checkpoint.json"
"""Name of the file that commits a checkpoint; written last."""
BEST = "best.json"
"""Name of the pointer to the checkpoint with the best validation loss."""
log = logging.getLogger(__name__)


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

    def files(self) -> dict[str, bytes]:
        """The bytes of each file except the marker; equal contents give equal bytes."""
        return {
            "model.safetensors": safetensors.torch.save(self.model, {"format": "pt"}),
            "optimizer.safetensors": safetensors.torch.save(self.optimizer, {"format": "pt"}),
            "state.json": storage.json_bytes(self.state),
            "config.json": storage.json_bytes(self.config),
            "vocab.txt": self.vocabulary,
        }


def load(url: str) -> Checkpoint:
    """Read a checkpoint into main memory.

    Raises: `CheckpointError` when it is damaged.
    """
    if problem := damage(url):
        raise CheckpointError(f"{url}: {problem}; take an older one")
    model, optimizer = (
        safetensors.torch.load(storage.read_bytes(storage.join(url, f"{part}.safetensors"))) for part in ("model", "optimizer")
    )
    state, config = (storage.read_json(storage.join(url, f"{part}.json")) for part in ("state", "config"))
    return Checkpoint(model, optimizer, state, config, storage.read_bytes(storage.join(url, "vocab.txt")))


def damage(url: str) -> str | None:
    """What is wrong with a checkpoint: not committed, or files missing, truncated or changed. None: nothing."""
    try:
        marker = storage.read_json(storage.join(url, MARKER))
        for name, entry in marker["files"].items():
            file = storage.join(url, name)
            if not storage.exists(file):
                return f"{name} is missing"
            if (size := storage.file_size(file)) != entry["bytes"]:
                return f"{name} has {size:,} bytes, not {entry['bytes']:,}"
            if storage.sha256(file) != entry["sha256"]:
                return f"{name} differs from its SHA-256"
    except StorageError as error:
        return str(error)
    except (KeyError, TypeError, AttributeError):
        return f"{MARKER} is not one of nezha-pipe"
    return None


def committed(output: str) -> Iterator[str]:
    """URLs of all checkpoints that have a marker: newest attempt first, within it highest step first."""
    for attempt in reversed(attempts(output)):
        folder = storage.join(output, attempt_name(attempt))
        for name in reversed(storage.list_names(folder)):
            if name.startswith("checkpoint-") and storage.exists(storage.join(folder, name, MARKER)):
                yield storage.join(folder, name)


def newest_valid(output: str) -> str | None:
    """URL of the checkpoint to resume from. Damaged ones are skipped with a warning, half-written ones silently."""
    for url in committed(output):
        if problem := damage(url):
            log.warning("%s: %s; resuming from an older checkpoint", url, problem)
        else:
            return url
    return None


def attempt_name(number: int) -> str:
    """Folder name of an attempt."""
    return f"attempt-{number:04d}"


def checkpoint_name(step: int) -> str:
    """Folder name of a checkpoint."""
    return f"checkpoint-{step:08d}"


def attempts(output: str) -> list[int]:
    """Numbers of the attempts in a training folder, ascending."""
    return sorted(int(m[1]) for name in storage.list_names(output) if (m := re.fullmatch(r"attempt-(\d{4,})", name)))


class Attempt:
    """The right to write into a training folder, until a later attempt takes over."""

    def __init__(self, output: str, number: int, token: str) -> None:
        self.output, self.number, self.token = output, number, token

    @property
    def url(self) -> str:
        return storage.join(self.output, attempt_name(self.number))

    @staticmethod
    def begin(output: str, step: int, rolled_back_from: int | None = None) -> "Attempt":
        """Take the next number, to resume at `step`; after a rollback, `rolled_back_from` is the step that it came from."""
        number = max(attempts(output), default=0) + 1
        while storage.is_local(output) and not _created(storage.join(output, attempt_name(number))):
            number += 1
        attempt = Attempt(output, number, uuid.uuid4().hex)
        facts = {"attempt": number, "token": attempt.token, "step": step, "started": time.time()}
        if rolled_back_from is not None:
            facts["rolled_back_from"] = rolled_back_from
        storage.write_json(storage.join(attempt.url, "attempt.json"), {**facts, "host": platform.node(), "pid": os.getpid()})
        attempt.check()
        return attempt

    def check(self) -> None:
        """Check that this attempt may still write.

        Raises: `CheckpointError` if a later one has begun or, on an object store, another took the same number.
        """
        newest = max(attempts(self.output), default=0)
        if newest > self.number:
            raise CheckpointError(
                f"{self.output}: {attempt_name(newest)} has taken over, {attempt_name(self.number)} stops here"
            )
        if newest < self.number or storage.read_json(storage.join(self.url, "attempt.json"))["token"] != self.token:
            raise CheckpointError(f"{self.url}: removed or taken by another process; this one stops, start one at a time")

    def commit(self, checkpoint: Checkpoint, metrics: Sequence[Mapping[str, Any]]) -> str:
        """Write metrics rows, then the checkpoint, then its marker; returns its URL."""
        step = checkpoint.state["step"]
        url = storage.join(self.url, checkpoint_name(step))
        self.check()
        storage.remove(storage.join(url, MARKER))  # left by a copied folder: files must not change under a marker
        lines = "".join(json.dumps(row, sort_keys=True) + "\n" for row in metrics)
        storage.write_bytes(storage.join(self.url, f"metrics-{step:08d}.jsonl"), lines.encode())
        entries = {}
        for name, data in checkpoint.files().items():
            storage.write_bytes(storage.join(url, name), data)
            entries[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.check()
        storage.write_json(storage.join(url, MARKER), {"version": 1, "step": step, "files": entries})
        return url

    def point_at_best(self, best: Mapping[str, Any] | None) -> None:
        """Update best.json, if it differs."""
        url = storage.join(self.output, BEST)
        if best and not (storage.exists(url) and storage.read_json(url) == best):
            self.check()
            storage.write_json(url, best)

    def retain(self, keep: int, best: Mapping[str, Any] | None) -> None:
        """Remove all checkpoints except the newest `keep` and the best, and what dead attempts left half-written."""
        self.check()
        everything = list(committed(self.output))
        kept = {*everything[:keep], storage.join(self.output, best["checkpoint"]) if best else ""}
        for url in everything:
            if url not in kept:
                storage.remove(storage.join(url, MARKER))  # first: half a checkpoint must not look whole
                storage.remove(url)
        for number in attempts(self.output):
            folder = storage.join(self.output, attempt_name(number))
            for name in storage.list_names(folder) if number < self.number else ():
                url = storage.join(folder, name)
                if name.startswith("checkpoint-") and not storage.exists(storage.join(url, MARKER)):
                    storage.remove(url)


def _created(url: str) -> bool:
    """Create a local folder; False if it exists. Of two processes, only one creates it."""
    path = storage.local_path(url)
    with storage.translate_error(url):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            return False
    return True


def read_metrics(output: str) -> list[dict[str, Any]]:
    """Metrics rows of all attempts, by step; a later attempt replaces the rows after the step that it resumed at."""
    rows: list[dict[str, Any]] = []
    for number in attempts(output):
        folder = storage.join(output, attempt_name(number))
        if not storage.exists(storage.join(folder, "attempt.json")):
            continue  # died as it began
        resumed = storage.read_json(storage.join(folder, "attempt.json"))["step"]
        rows = [row for row in rows if row["step"] <= resumed]
        for name in storage.list_names(folder):
            if name.startswith("metrics-"):
                lines = storage.read_bytes(storage.join(folder, name)).splitlines()
                rows += [json.loads(line) for line in lines]
    return sorted(rows, key=lambda row: row["step"])


def optimizer_tensors(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State by kind and weight, `exp_avg/nezha.embeddings.word_embeddings.weight`, and step counters of groups, `step/0`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    tensors = {
        f"{kind}/{names[parameter]}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }
    counters = {f"step/{i}": torch.tensor(group["step"]) for i, group in enumerate(optimizer.param_groups) if "step" in group}
    return {**tensors, **counters}


def restore_optimizer(network: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`, in place; tensors are moved to the device of their weights.

    Raises: `CheckpointError` for the state of a weight that the network does not have.
    """
    parameters = dict(network.named_parameters())
    optimizer.state.clear()
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if name.isdigit():
            optimizer.param_groups[int(name)][kind] = int(tensor)
        elif name in parameters:
            optimizer.state[parameters[name]][kind] = tensor.to(parameters[name].device)
        else:
            raise CheckpointError(f"the optimizer has state of {name!r}, which this network does not have")
