"""Checkpoints: a training folder that any process can be killed over, at any time, and be gone on with.

    runs/tiny/checkpoint-3f9a/
        config.json                              the recipe that this folder belongs to
        best.json                                pointer: {"checkpoint": "attempt-0002/checkpoint-00000300", "step": 300, ...}
        attempt-0001/attempt.json                who, when, from which step on
        attempt-0001/metrics-00000200.jsonl      rows up to step 200
        attempt-0001/checkpoint-00000200/        model.safetensors optimizer.safetensors state.json config.json vocab.txt
                                                 checkpoint.json LAST: names, sizes and SHA-256 of the others. The commit
        attempt-0002/...                         after a failure, or more workers

Attempts fence each other: each takes the next number, and looks before every write whether there is a higher one. A worker
that was thought dead, and comes back, stops with an error instead of writing into the work of its successor.
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
BEST = "best.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint folder."""

    model: dict[str, Tensor]
    """Weights by their name in the network."""
    optimizer: dict[str, Tensor]
    """State of the optimizer: `exp_avg/<name of the weight>`, and `step/<number of the group>`."""
    state: dict[str, Any]
    """Where training stands: a `State` (model/training/state.py)."""
    config: dict[str, Any]
    """The whole recipe of training, as `Inputs.identity` (model/training/run.py) has it."""
    vocabulary: bytes
    """vocab.txt."""

    def files(self) -> dict[str, bytes]:
        """Bytes of each file but the marker; equal contents give equal bytes."""
        return {
            "model.safetensors": safetensors.torch.save(self.model, {"format": "pt"}),
            "optimizer.safetensors": safetensors.torch.save(self.optimizer, {"format": "pt"}),
            "state.json": storage.json_bytes(self.state),
            "config.json": storage.json_bytes(self.config),
            "vocab.txt": self.vocabulary,
        }


def load(url: str) -> Checkpoint:
    """Read a checkpoint into main memory. `CheckpointError` when it is damaged."""
    if problem := damage(url):
        raise CheckpointError(f"{url}: {problem}; take an older one")
    model, optimizer = (
        safetensors.torch.load(storage.read_bytes(storage.join(url, f"{part}.safetensors"))) for part in ("model", "optimizer")
    )
    state, config = (storage.read_json(storage.join(url, f"{part}.json")) for part in ("state", "config"))
    return Checkpoint(model, optimizer, state, config, storage.read_bytes(storage.join(url, "vocab.txt")))


def damage(url: str) -> str | None:
    """What is wrong with a checkpoint: not committed, files missing, cut short or changed. None = all is well."""
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
    """URLs of all checkpoints that have a marker, the newest attempt first, in it the highest step first."""
    for attempt in reversed(attempts(output)):
        folder = storage.join(output, attempt_name(attempt))
        for name in reversed(storage.list_names(folder)):
            if name.startswith("checkpoint-") and storage.exists(storage.join(folder, name, MARKER)):
                yield storage.join(folder, name)


def newest_valid(output: str) -> str | None:
    """The checkpoint to go on from. Damaged ones are passed by, with a warning; half-written ones without a word."""
    for url in committed(output):
        if problem := damage(url):
            log.warning("%s: %s; going on from an older checkpoint", url, problem)
        else:
            return url
    return None


def attempt_name(number: int) -> str:
    return f"attempt-{number:04d}"


def checkpoint_name(step: int) -> str:
    return f"checkpoint-{step:08d}"


def attempts(output: str) -> list[int]:
    """Numbers of the attempts made in a folder."""
    return sorted(int(m[1]) for name in storage.list_names(output) if (m := re.fullmatch(r"attempt-(\d{4,})", name)))


class Attempt:
    """The right to write into a training folder, until a later attempt takes it."""

    def __init__(self, output: str, number: int, token: str) -> None:
        self.output, self.number, self.token = output, number, token

    @property
    def url(self) -> str:
        return storage.join(self.output, attempt_name(self.number))

    @staticmethod
    def begin(output: str, step: int, rolled_back_from: int | None = None) -> "Attempt":
        """Take the next number; training goes on after `step`, to which it went back from a later one where that is given."""
        number = max(attempts(output), default=0) + 1
        while storage.is_local(output) and not _made(storage.join(output, attempt_name(number))):
            number += 1
        attempt = Attempt(output, number, uuid.uuid4().hex)
        facts = {"attempt": number, "token": attempt.token, "step": step, "started": time.time()}
        if rolled_back_from is not None:
            facts["rolled_back_from"] = rolled_back_from
        storage.write_json(storage.join(attempt.url, "attempt.json"), {**facts, "host": platform.node(), "pid": os.getpid()})
        attempt.check()
        return attempt

    def check(self) -> None:
        """`CheckpointError` if a later attempt has begun, or on an object store another took this number at the same time."""
        newest = max(attempts(self.output), default=0)
        if newest > self.number:
            raise CheckpointError(
                f"{self.output}: {attempt_name(newest)} has taken over, {attempt_name(self.number)} stops here"
            )
        if newest < self.number or storage.read_json(storage.join(self.url, "attempt.json"))["token"] != self.token:
            raise CheckpointError(f"{self.url}: removed or taken by another process; this one stops, start one at a time")

    def commit(self, checkpoint: Checkpoint, metrics: Sequence[Mapping[str, Any]]) -> str:
        """Write metrics, then a checkpoint of its state's step; returns its URL. What is there in the end is whole."""
        step = checkpoint.state["step"]
        url = storage.join(self.url, checkpoint_name(step))
        self.check()
        storage.remove(storage.join(url, MARKER))  # of a resumed folder that was copied: never a marker over changing files
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
        """Write best.json if it says something else."""
        url = storage.join(self.output, BEST)
        if best and not (storage.exists(url) and storage.read_json(url) == best):
            self.check()
            storage.write_json(url, best)

    def retain(self, keep: int, best: Mapping[str, Any] | None) -> None:
        """Remove all checkpoints but the newest `keep` and the best, and what dead attempts left half-written."""
        self.check()
        everything = list(committed(self.output))
        kept = {*everything[:keep], storage.join(self.output, best["checkpoint"]) if best else ""}
        for url in everything:
            if url not in kept:
                storage.remove(storage.join(url, MARKER))  # first: half a checkpoint must not look like a whole one
                storage.remove(url)
        for number in attempts(self.output):
            folder = storage.join(self.output, attempt_name(number))
            for name in storage.list_names(folder) if number < self.number else ():
                url = storage.join(folder, name)
                if name.startswith("checkpoint-") and not storage.exists(storage.join(url, MARKER)):
                    storage.remove(url)


def _made(url: str) -> bool:
    """Make a local folder; False when it is there already. Of two processes one makes it."""
    path = storage.local_path(url)
    with storage.explained(url):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            return False
    return True


def read_metrics(output: str) -> list[dict[str, Any]]:
    """Rows of all attempts in the order of steps; a later attempt replaces what came after the step it went on from."""
    rows: list[dict[str, Any]] = []
    for number in attempts(output):
        folder = storage.join(output, attempt_name(number))
        if not storage.exists(storage.join(folder, "attempt.json")):
            continue  # died in the moment it began
        resumed = storage.read_json(storage.join(folder, "attempt.json"))["step"]
        rows = [row for row in rows if row["step"] <= resumed]
        for name in storage.list_names(folder):
            if name.startswith("metrics-"):
                lines = storage.read_bytes(storage.join(folder, name)).splitlines()
                rows += [json.loads(line) for line in lines]
    return sorted(rows, key=lambda row: row["step"])


def optimizer_tensors(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State by kind and weight, `exp_avg/nezha.embeddings.word_embeddings.weight`, and the counters of groups, `step/0`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    tensors = {
        f"{kind}/{names[parameter]}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }
    counters = {f"step/{i}": torch.tensor(group["step"]) for i, group in enumerate(optimizer.param_groups) if "step" in group}
    return {**tensors, **counters}


def restore_optimizer(network: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`, in place; tensors go where their weights are."""
    parameters = dict(network.named_parameters())
    optimizer.state.clear()
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if name.isdigit():
            optimizer.param_groups[int(name)][kind] = int(tensor)
        elif name in parameters:
            optimizer.state[parameters[name]][kind] = tensor.to(parameters[name].device)
        else:
            raise CheckpointError(f"the optimizer's state is of {name!r}, which this network does not have")
