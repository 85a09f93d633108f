"""The stage `checkpoint`: pretrain the network of a recipe on its shards.

    checkpoint(recipe, shards, vocabulary, root).manifest["best"]     attempt-0001/checkpoint-00003250

Its files are the metrics and the checkpoint that is exported: the best one; without validation the last one; or the mean of the
newest ones, if the recipe asks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.engine import stages
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from workflows.recipe import Recipe

if TYPE_CHECKING:
    from model.config import TrainingConfig
    from model.training.loop import TrainResult
    from model.training.run import PretrainRun

STAGE_VERSION = 1
AVERAGED = "averaged"
"""Folder of the mean of the newest checkpoints, in a training folder."""


def checkpoint(
    recipe: Recipe, shards: Sequence[Finished], vocabulary: Finished, root: str, *, execution: Execution = SERIAL
) -> Finished:
    """Pretrain on shards.

    Raises: UserError as training and the cluster raise it.
    """
    by_set = {f"{done.source}/{done.manifest['sequence_length']}": done for done in shards}
    inputs = {**{name: done.digest for name, done in by_set.items()}, "vocabulary": vocabulary.digest}
    config = recipe.pretraining()
    if config.training.start_from:
        from pipeline.sources.inputs import digest, expand

        inputs["start_from"] = digest(expand([config.training.start_from]), root)
    settings = stages.plain(replace(config, training=_deciding(config.training)))
    stage = Stage("checkpoint", STAGE_VERSION, settings, inputs)

    def body(folder: str) -> dict[str, Any]:
        from cluster.launch import pretrain

        run = pretrain_run(recipe, {name: done.url for name, done in by_set.items()}, vocabulary.url, folder)
        return checkpoint_facts(folder, pretrain(run, recipe.cluster, execution.report), config.training)

    return stages.run(root, stage, body, execution)


def pretrain_run(recipe: Recipe, shards: Mapping[str, str], vocabulary_url: str, output: str) -> "PretrainRun":
    """Return the training run of a recipe on prepared shards.

    Args:
        shards: URLs of the folders by `source/length`.
    """
    from model.training.run import PretrainRun
    from pipeline.tokenization.vocabulary import FILE

    return PretrainRun(config=recipe.pretraining(), shards=shards, vocabulary=storage.join(vocabulary_url, FILE), output=output)


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
