"""Checkpoints: a training folder that survives a kill at any moment, and from which training resumes.

    runs/tiny/checkpoint-3f9a/
        config.json                              the recipe that this folder belongs to
        best.json                                pointer: {"checkpoint": "attempt-0002/checkpoint-00000300", "step": 300, ...}
        attempt-0001/attempt.json                host and process, start time, the step that it resumes at
        attempt-0001/metrics-00000200.jsonl      rows up to step 200
        attempt-0001/checkpoint-00000200/        model.safetensors optimizer.safetensors state.json config.json vocab.txt
                                                 checkpoint.json LAST: names, sizes and SHA-256 of the others. The commit
        attempt-0002/...                         after a failure, or more workers

Checkpoints are written by a thread while training goes on (writer.py). Of the old ones those are removed that `retain` does not
keep; one that cannot be read is not damaged, and while anything cannot be read nothing is removed.

Attempts fence each other: each takes the next number, and checks before every write, and before one is tried again, that there
is no higher one. A worker that was thought dead and comes back stops with an error, rather than write into the work of its
successor.
"""

import contextlib
import logging
import os
import platform
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.checkpoints import files, rows
from model.checkpoints.files import Checkpoint as Checkpoint
from model.checkpoints.files import DamagedCheckpoint
from model.checkpoints.files import damage as damage
from model.checkpoints.files import load as load
from model.checkpoints.listing import ATTEMPT, is_checkpoint, step_of
from model.checkpoints.listing import MARKER as MARKER
from model.checkpoints.listing import attempt_name as attempt_name
from model.checkpoints.listing import attempts as attempts
from model.checkpoints.listing import checkpoint_name as checkpoint_name
from model.checkpoints.listing import committed as committed
from model.checkpoints.rows import read_metrics as read_metrics
from pipeline import conditional, storage
from pipeline.errors import CheckpointError, StorageError
from pipeline.redaction import redact

BEST = "best.json"
"""Name of the pointer to the checkpoint with the best validation loss."""
log = logging.getLogger(__name__)


def load_newest(output: str) -> tuple[str, Checkpoint] | None:
    """URL and contents of the checkpoint to resume from; None if there is none. Damaged ones are skipped with a warning.

    Raises: `StorageError` for one that cannot be read now; `CheckpointError` if all are damaged: training that began again at
    step 0 would soon remove them, and one may still be restored.
    """
    problems = []
    for url in committed(output):
        try:
            return url, load(url)
        except DamagedCheckpoint as error:
            problems.append(f"{url.removeprefix(output).strip('/')}: {error.problem}")
            log.warning("%s: %s; resuming from an older checkpoint", redact(url), error.problem)
    if problems:
        raise CheckpointError(
            f"{output}: every checkpoint is damaged ({problems[0]}); restore one, or remove the folders attempt-* to start over"
        )
    return None


@dataclass(frozen=True)
class Staged:
    """A checkpoint whose files are written, but not committed."""

    step: int
    url: str
    """Where it belongs."""
    folder: str
    """Where its files are: there, or in a temporary folder of this machine."""
    entries: files.Entries


class Attempt:
    """The right to write into a training folder, until a later attempt takes over."""

    def __init__(self, output: str, number: int, token: str, step: int = 0) -> None:
        self.output, self.number, self.token = output, number, token
        self.covered = step
        """The last step whose metrics rows are written."""

    @property
    def url(self) -> str:
        return storage.join(self.output, attempt_name(self.number))

    @staticmethod
    def begin(output: str, step: int, rolled_back_from: int | None = None, workers: int = 1) -> "Attempt":
        """Take the next number, to resume at `step`; after a rollback, `rolled_back_from` is the step that it came from."""
        token = uuid.uuid4().hex
        facts: dict[str, Any] = {"token": token, "step": step, "workers": workers, "started": time.time()}
        if rolled_back_from is not None:
            facts["rolled_back_from"] = rolled_back_from
        facts |= {"host": platform.node(), "pid": os.getpid()}
        number = max(attempts(output), default=0) + 1
        while not conditional.create(_facts_of(output, number), storage.json_bytes({"attempt": number, **facts})):
            number += 1
        attempt = Attempt(output, number, token, step)
        attempt.check()
        return attempt

    def check(self) -> None:
        """Check that this attempt may still write.

        Raises: `CheckpointError` if a later one has begun or, on a store without conditions, another took the same number.
        """
        newest = max(attempts(self.output), default=0)
        if newest > self.number:
            raise CheckpointError(
                f"{self.output}: {attempt_name(newest)} has taken over, {attempt_name(self.number)} stops here"
            )
        if newest < self.number or storage.read_json(_facts_of(self.output, self.number))["token"] != self.token:
            raise CheckpointError(f"{self.url}: removed or taken by another process; this one stops, start one at a time")

    def commit(self, checkpoint: Checkpoint, metrics: Sequence[Mapping[str, Any]]) -> str:
        """Write a checkpoint, then metrics rows, then its marker; returns its URL."""
        with self.stage(checkpoint) as staged:
            return self.publish(staged, metrics)

    @contextlib.contextmanager
    def stage(self, checkpoint: Checkpoint) -> Iterator["Staged"]:
        """Write the files to this machine's disk: to where they belong, or to a temporary folder if that is a store.

        The tensors are not needed after this. Without room on the disk, no half checkpoint is left.
        """
        url = storage.join(self.url, checkpoint_name(checkpoint.step))
        self.check()
        storage.remove(storage.join(url, MARKER))  # left by a copied folder: files must not change under a marker
        with contextlib.ExitStack() as stack:
            if storage.is_local(url):
                folder = url
            else:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nezha-pipe-checkpoint-"))
            try:
                entries = files.write(checkpoint, folder)
            except StorageError:
                storage.remove(folder)
                raise
            yield Staged(checkpoint.step, url, folder, entries)

    def publish(self, staged: "Staged", metrics: Sequence[Mapping[str, Any]]) -> str:
        """Upload the files if they are not there yet, then write metrics rows, then the marker; returns the URL."""
        self.check()
        with storage.checked(self.check):
            if staged.folder != staged.url:
                for name in staged.entries:
                    storage.upload(storage.join(staged.folder, name), storage.join(staged.url, name))
            lines = rows.to_bytes(metrics, self.covered, staged.step)
            storage.write_bytes(storage.join(self.url, rows.file_name(staged.step)), lines)
            self.check()
            storage.write_json(storage.join(staged.url, MARKER), files.marker(staged.step, staged.entries))
        self.covered = staged.step
        return staged.url

    def point_at_best(self, best: Mapping[str, Any] | None) -> None:
        """Update best.json, if it differs."""
        url = storage.join(self.output, BEST)
        if best and not (storage.exists(url) and storage.read_json(url) == best):
            self.check()
            with storage.checked(self.check):
                storage.write_json(url, best)

    def retain(self, keep: int, best: Mapping[str, Any] | None, every: int = 0) -> None:
        """Remove old checkpoints, and what dead attempts left half-written.

        The newest `keep` stay, the best, and those whose step is a multiple of `every` (0: none).
        """
        self.check()
        everything = list(committed(self.output))
        kept = {*everything[:keep], storage.join(self.output, best["checkpoint"]) if best else ""}
        kept |= {url for url in everything if every and step_of(url) % every == 0}
        for url in everything:
            if url not in kept:
                storage.remove(storage.join(url, MARKER))  # first: half a checkpoint must not look whole
                storage.remove(url)
        for number in attempts(self.output):
            folder = storage.join(self.output, attempt_name(number))
            for name in storage.list_names(folder) if number < self.number else ():
                url = storage.join(folder, name)
                if is_checkpoint(name) and not storage.exists(storage.join(url, MARKER)):
                    storage.remove(url)


def _facts_of(output: str, number: int) -> str:
    return storage.join(output, attempt_name(number), ATTEMPT)


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
