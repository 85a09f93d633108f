"""The stage `checkpoint`: pretrain the network of a recipe on its shards.

    checkpoint(recipe, shards, vocabulary, root).manifest["best"]     attempt-0001/checkpoint-00003250

Its files are the metrics and the checkpoint that is exported: the best one; without validation the last one; or the mean of the
newest ones, if the recipe asks for it.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from model.training.stopping import TrainingStopped
from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.execution import SERIAL, Execution, News, Report
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.errors import RecipeError, StorageError
from workflows.recipe import Recipe

if TYPE_CHECKING:
    from cluster.config import ClusterConfig
    from model.config import PretrainConfig, TrainingConfig
    from model.training.run import PretrainRun, TrainResult
    from workflows.continued.start import Start

STAGE_VERSION = 1
AVERAGED = "averaged"
"""Folder of the mean of the newest checkpoints, in a training folder."""


def checkpoint(
    recipe: Recipe,
    shards: Sequence[Finished],
    vocabulary: Finished,
    root: str,
    *,
    start: "Start | None" = None,
    execution: Execution = SERIAL,
) -> Finished:
    """Pretrain on shards.

    Args:
        start: the network to start from; moments of the optimizer are fresh, and the learning rate is that of the phases.

    Raises: UserError as training and the cluster raise it; TrainingStopped when it was asked to stop before its last step.
    """
    config = recipe.pretraining()
    if start:
        config, shards = _continued(recipe, config, shards, start)
    by_set = {f"{done.source}/{done.manifest['sequence_length']}": done for done in shards}
    inputs = {**{name: done.digest for name, done in by_set.items()}, "vocabulary": vocabulary.digest}
    if start and start.digest:
        inputs["start_from"] = start.digest
    elif config.training.start_from:
        from pipeline.sources.inputs import digest, digests, expand

        inputs["start_from"] = digest(digests(expand([config.training.start_from]), root))
    settings = stages.plain(replace(config, training=_deciding(config.training)))
    for name in ("keep_every", "store_timeout_seconds", "tensorboard", "mlflow"):
        del settings["training"][name]
    stage = Stage("checkpoint", STAGE_VERSION, settings, inputs)

    def body(folder: str) -> dict[str, Any]:
        run = pretrain_run(config, {name: done.url for name, done in by_set.items()}, vocabulary.url, folder)
        result = train(recipe.name, run, recipe.cluster, execution.report)
        report_time(folder, execution.report)
        if result.stopped_by is not None:
            raise TrainingStopped(result.stopped_by, result.step, result.steps)
        return {**checkpoint_facts(folder, result, config.training), **({"start": start.facts} if start else {})}

    return stages.run(root, stage, body, execution)


def _continued(
    recipe: Recipe, config: "PretrainConfig", shards: Sequence[Finished], start: "Start"
) -> tuple["PretrainConfig", list[Finished]]:
    """Return settings that start from a network, with the weights that give old text its ratio, and the shards to train on."""
    config = replace(config, training=replace(config.training, start_from=start.model.url))
    old = {text.source for text in start.old}
    ratio = recipe.replay.ratio
    if not (old and ratio):
        return config, [done for done in shards if done.source not in old]
    phases = []
    for phase in config.phases:
        rows = {
            done.source: done.manifest["counts"]["train"]["rows"]
            for done in shards
            if done.manifest["sequence_length"] == phase.sequence_length
        }
        new = {name: float(phase.weights[name] if phase.weights else rows[name]) for name in recipe.uses(phase)}
        before = {name: float(rows[name]) for name in sorted(old)}
        phases.append(replace(phase, weights=with_old_text(new, before, ratio)))
    return replace(config, phases=tuple(phases)), list(shards)


def with_old_text(new: Mapping[str, float], old: Mapping[str, float], ratio: float) -> dict[str, float]:
    """Return weights of sources, from their rows or weights: old text gets `ratio` of the examples, if it has any rows.

    Raises: RecipeError if the new text has no row.
    """
    if not any(new.values()):
        raise RecipeError("no source has a row to train on: loosen [filters] or give more input")
    if not any(old.values()):
        return dict(new)
    weights = {name: weight / sum(new.values()) * (1 - ratio) for name, weight in new.items()}
    return weights | {name: weight / sum(old.values()) * ratio for name, weight in old.items()}


def pretrain_run(config: "PretrainConfig", shards: Mapping[str, str], vocabulary_url: str, output: str) -> "PretrainRun":
    """Return a training run on prepared shards.

    Args:
        shards: URLs of the folders by `source/length`.
    """
    from model.training.run import PretrainRun
    from pipeline.tokenization.vocabulary import FILE

    return PretrainRun(config=config, shards=shards, vocabulary=storage.join(vocabulary_url, FILE), output=output)


def train(name: str, run: "PretrainRun", cluster: "ClusterConfig", report: Report) -> "TrainResult":
    """Pretrain here, with a Ray that is connected to, or in a job, by the address of the cluster.

    Args:
        name: of the recipe, for the id of a job.

    Raises: UserError as training and the cluster raise it.
    """
    if cluster.takes_jobs:
        from cluster.jobs import training

        return training.pretrain(name, run, cluster, report)
    from cluster import supervisor

    return supervisor.pretrain(run, cluster, report)


def report_time(folder: str, report: Report) -> None:
    """Report where the time of a training went, over all its attempts, and what failed."""
    from model.training.tracking.spent import where_time_went
    from model.training.tracking.summary import lines

    with contextlib.suppress(StorageError):
        if spent := where_time_went(folder):
            for line in lines(spent):
                report(0, 0, News(line))


def _deciding(training: "TrainingConfig") -> "TrainingConfig":
    """Reset the settings that do not change the weights: equivalent ways to compute, logging, and how often checkpoints are
    written, unless they are averaged."""
    averaged = training.average_checkpoints
    return replace(
        training,
        start_from="",  # its files are an input, wherever they are
        attention="auto",
        compile="auto",
        activation_checkpointing=False,
        log_every=1,
        log_examples=False,
        checkpoint_every=training.checkpoint_every if averaged > 1 else 1,
        keep_checkpoints=averaged,
    )


def checkpoint_facts(folder: str, result: "TrainResult", training: "TrainingConfig") -> dict[str, Any]:
    """Return the manifest of a finished training; average its newest checkpoints if the recipe says so."""
    best = (result.best_checkpoint or result.last_checkpoint).removeprefix(folder).strip("/")
    averaged: list[str] = []
    if training.average_checkpoints > 1:
        from model.checkpoints import averaging

        mean = averaging.average(averaging.newest(folder, training.average_checkpoints, training.checkpoint_every))
        averaging.write(mean, storage.join(folder, AVERAGED))
        best, averaged = AVERAGED, mean.state["averaged"]
    names = [f"{best}/{name}" for name in storage.list_names(storage.join(folder, best))]
    for attempt in storage.list_names(folder):
        if attempt.startswith("attempt-"):
            metrics = (name for name in storage.list_names(storage.join(folder, attempt)) if name.startswith("metrics-"))
            names += [f"{attempt}/{name}" for name in metrics]
    return {
        "files": [FileEntry.of(folder, name) for name in names],
        "best": best,
        **({"averaged": averaged} if averaged else {}),
        "steps": result.steps,
        "validation_loss": result.best_validation_loss,
    }
