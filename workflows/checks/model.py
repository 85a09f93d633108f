"""Checks of networks: the loss, the export beside its checkpoint, the champion."""

from typing import TYPE_CHECKING

from pipeline.engine.stages import Finished
from workflows.checks.outcome import Outcome

if TYPE_CHECKING:
    from workflows.steps import Inputs, Settings

SHAPES = ((1, 7), (3, 33), (2, 100))
"""Batch sizes and lengths of random tokens on which an export is compared with its checkpoint."""


def loss_fell(settings: "Settings", stage: Finished, inputs: "Inputs") -> Outcome | None:
    """Compare the last validation loss with the first. None: it is not asked, or was measured less than twice."""
    from model.checkpoints.rows import read_metrics

    if not settings.recipe.checks.loss_falls or settings.recipe.training.start_from:
        return None
    rows = (row for row in read_metrics(stage.url) if row.get("kind") == "validation" and row.get("source", "all") == "all")
    losses = {row["step"]: row["loss"] for row in rows if row["loss"] is not None}
    if len(losses) < 2:
        return None
    first, last = losses[min(losses)], losses[max(losses)]
    found = f"validation loss {first:.3f} at step {min(losses):,}, {last:.3f} at step {max(losses):,}"
    if last < first:
        return Outcome(True, found, {"first": first, "last": last})
    way = "lower the learning rate or warm up for longer; checks.loss_falls = false lets it pass"
    return Outcome(False, f"training has not reduced the loss: {found}; {way}", {"first": first, "last": last})


def remembered(settings: "Settings") -> str:
    """Return what decides `no_forgetting` beside the checkpoint: the start, the old text and how its loss is measured."""
    recipe, old = settings.recipe, [tokens.digest for text in settings.old_text for tokens in text.tokens]
    start = settings.start.model.url if settings.start else ""
    measured = (recipe.validation_ratio, recipe.training.validation_sequences, recipe.seed, recipe.dedup.withdrawn)
    return f"{start} {old} {measured} {recipe.checks.max_forgetting_ratio:g}"


def no_forgetting(settings: "Settings", stage: Finished, inputs: "Inputs") -> Outcome | None:
    """Compare the loss on held-out old text with that of the network that training started from: same rows, same masks.

    None: training did not start from a network whose text is at hand, or the recipe holds nothing out.
    """
    recipe, old = settings.recipe, {text.source for text in settings.old_text}
    if not (settings.start and old and recipe.validation_ratio and recipe.training.validation_sequences):
        return None
    from model.checkpoints import checkpoint
    from model.conversion import reading
    from pipeline.tokenization.vocabulary import load
    from workflows.continued.forgetting import ALL, losses

    vocab, length = load(inputs.one("vocabulary")), recipe.phase[-1].sequence_length
    shards = [done for done in inputs.all("shards") if done.source in old and done.manifest["sequence_length"] == length]
    start = reading.start(settings.start.model.url, recipe.encoder, vocab)
    trained = checkpoint.load(stage.file(stage.manifest["best"])).model
    before, after = (losses(tensors, recipe.pretraining(), vocab, shards) for tensors in (start, trained))
    way = "raise replay.ratio, or lower the learning rate or the number of steps"
    limit = recipe.checks.max_forgetting_ratio
    if not before:
        return Outcome(False, "the old text has no held-out examples to measure what was forgotten; raise validation_ratio")
    measured = (("before", before), ("after", after))
    figures = {f"{name} {when}": loss for when, found in measured for name, loss in found.items() if loss is not None}
    first, last = before[ALL], after[ALL]
    if first is None or last is None:
        return Outcome(False, f"the loss on old text is not a number; {way}", figures)
    words = f"loss on old text {first:.3f} before training, {last:.3f} after it ({last / first - 1:+.1%})"
    if last / first - 1 <= limit:
        return Outcome(True, words, figures)
    return Outcome(False, f"old text is forgotten: {words}: checks.max_forgetting_ratio is {limit:g}; {way}", figures)


def export_is_equal(settings: "Settings", stage: Finished, inputs: "Inputs") -> Outcome:
    """Compare the outputs of an export with those of the checkpoint that it was made from, in float32."""
    import torch

    from model.checkpoints import checkpoint
    from model.config import PretrainConfig
    from model.exporting.export import load_export
    from model.heads import PretrainingModel

    trained = inputs.one("checkpoint")
    loaded = checkpoint.load(trained.file(trained.manifest["best"]))
    exported, _, tokens, _ = load_export(stage.url)
    original = PretrainingModel(PretrainConfig.from_json(loaded.config).encoder, len(tokens))
    original.load_state_dict(loaded.model)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch, length in SHAPES:
        ids = torch.randint(len(tokens), (batch, length), generator=generator)
        mask = torch.ones(batch, length, dtype=torch.bool)
        if batch > 1:  # the last row of several ends with padding
            mask[-1, length - length // 3 :] = False
        segments = (torch.arange(length) > length // 2).long().expand(batch, length)
        at = mask.flatten().nonzero()[:, 0]
        with torch.no_grad():
            ours, theirs = (model.eval()(ids, mask, segments, at) for model in (original, exported))
        worst = max(worst, *(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)))
    limit = settings.recipe.checks.max_export_difference
    found = f"outputs of the export differ by up to {worst:.2g} from those of the checkpoint"
    passed = worst <= limit  # NaN does not pass
    return Outcome(passed, found if passed else f"{found}: checks.max_export_difference is {limit:g}", {"difference": worst})


def champion_of(settings: "Settings") -> str:
    """Return the name of the champion to compare with; "" for none."""
    if not (registry := settings.recipe.checks.registry):
        return ""
    from workflows.registry import history

    last = history.last(registry)
    return last.champion if last else ""


def not_below_champion(settings: "Settings", stage: Finished, inputs: "Inputs") -> Outcome | None:
    """Judge the scores of each task beside the champion's. None: there is no champion to compare with.

    A task for which nobody can tell passes here: `nezha-pipe promote` asks for more.
    """
    recipe = settings.recipe
    if not (champion := champion_of(settings)):
        return None
    from workflows.registry import entries, gate

    model, _ = entries.collect(inputs.one("export").url, stage.url)
    verdict = gate.judge(model, entries.read(recipe.checks.registry, champion), recipe.gate)
    worse = [
        f"{task.comparison.task} {task.comparison.metric} ({low:+.3f} to {high:+.3f})"
        for task in verdict.tasks
        if task.verdict == "worse" and task.comparison.interval
        for low, high in [task.comparison.interval]
    ]
    if worse:
        return Outcome(False, f"below the champion {champion}: {', '.join(worse)}")
    words = ", ".join(f"{task.comparison.task} {task.verdict}" for task in verdict.tasks)
    return Outcome(True, f"beside the champion {champion}: {words}")
