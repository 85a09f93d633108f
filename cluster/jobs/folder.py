"""What is known of a job from its folder alone: Ray may have forgotten the job, or be gone."""

import time
from collections.abc import Mapping
from typing import Any

from cluster.launch import FAILURE
from model.checkpoints.listing import attempts, committed, step_of
from model.training.stopping import STOP
from model.training.tracking.spent import Spent, where_time_went
from pipeline import folders, storage
from pipeline.errors import StorageError

PROGRESS = "progress.json"
BEST = "best.json"
KINDS = (folders.OUTPUT, folders.TRAINING)


def facts(folder: str) -> dict[str, str]:
    """Return what the folder of a run or of a training says of itself, by the names of the lines that a person reads.

    Raises: StorageError if it is not such a folder, or cannot be read.
    """
    if attempts(folder):
        return {"folder": f"{folder} ({folders.TRAINING})", **training_facts(folder)}
    kind, names, trainings = folders.describe(folder), _finished(folder), _trainings(folder)
    if not (names or trainings) and kind not in KINDS:
        raise StorageError(folders.not_found(folder, "the folder of a run or of a training", {}))
    found = {"folder": f"{folder} ({folders.OUTPUT})", "finished": ", ".join(names) or "no stage yet"}
    for name in trainings:
        found |= {"training": name, **training_facts(storage.join(folder, name))}
    return found


def training_facts(folder: str) -> dict[str, str]:
    """Return what a training folder says: how far it is, its checkpoints, what ended it, what it was asked."""
    found = {"attempts": str(len(attempts(folder)))}
    if progress := _json(folder, PROGRESS):
        found |= {"step": _progress(progress), "last sign of life": f"{_ago(progress.get('updated'))} ago"}
    newest = next(committed(folder), None)
    found["newest checkpoint"] = newest.removeprefix(folder).strip("/") if newest else "none yet"
    found["resumes at step"] = f"{step_of(newest):,}"
    if best := _json(folder, BEST):
        found["best checkpoint"] = f"{best.get('checkpoint')} ({_loss(best)})"
    if storage.exists(storage.join(folder, STOP)):
        found["asked to stop"] = "yes: it will, after its step"
    if storage.exists(place := storage.join(folder, FAILURE)):
        lines = storage.read_bytes(place).decode(errors="replace").strip().splitlines() or [""]
        found["last failure"] = f"{lines[0][:200]} ({place})"
    return found


def time_spent(folder: str) -> list[Spent]:
    """Return where the time of the trainings in the folder of a run, or of a training, went.

    Raises: StorageError.
    """
    trainings = [folder] if attempts(folder) else [storage.join(folder, name) for name in _trainings(folder)]
    return [spent for training in trainings if (spent := where_time_went(training))]


def newest_result(folder: str) -> str | None:
    """Return a text that is another one when a run has come further: a new checkpoint, or another finished stage.

    Raises: StorageError.
    """
    if attempts(folder):
        return next(committed(folder), None)
    checkpoints = [next(committed(storage.join(folder, name)), "") for name in _trainings(folder)]
    return " ".join(filter(None, [*_finished(folder), *checkpoints])) or None


def _finished(folder: str) -> list[str]:
    """Names of the finished stages in an output folder, without their keys."""
    names = [name for name in storage.list_names(folder) if "-" in name]
    return [name.rpartition("-")[0] for name in names if storage.exists(storage.join(folder, name, folders.MANIFEST))]


def _trainings(folder: str) -> list[str]:
    """Names of the training folders in an output folder."""
    names = [name for name in storage.list_names(folder) if name.startswith("checkpoint-")]
    return [name for name in names if attempts(storage.join(folder, name))]


def _json(folder: str, name: str) -> dict[str, Any]:
    """The content of a small file; {} if it is not there."""
    url = storage.join(folder, name)
    content = storage.read_json(url) if storage.exists(url) else {}
    return content if isinstance(content, dict) else {}


def _progress(row: Mapping[str, Any]) -> str:
    loss = "no finite loss" if row.get("loss") is None else f"loss {row['loss']:.3f}"
    speed = f", {row['tokens_per_second']:,.0f} tokens/s" if row.get("tokens_per_second") else ""
    return f"{row.get('step', 0):,} of {row.get('steps', 0):,}, {loss}{speed}"


def _loss(best: Mapping[str, Any]) -> str:
    loss = best.get("validation_loss")
    return f"validation loss {loss:.4f}" if isinstance(loss, float) else f"step {best.get('step')}"


def _ago(when: object) -> str:
    """`75 s`, `12 min`, `3.4 h`."""
    seconds = max(0.0, time.time() - when) if isinstance(when, float | int) else 0.0
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
