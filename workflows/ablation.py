"""Ablation: what does a choice of the recipe bring? The recipe and variants of it, trained and scored side by side.

    small                  the recipe as it is
    absolute               encoder.positions=absolute            --variant absolute:encoder.positions=absolute
    none                   the recipe's network, fine-tuned without pretraining

All go through the chain under one root. Stages are named by what decides their content, so what variants have in common is made
once, and what is done is not done again. What is made of it at the end is in workflows/report/comparison.py.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline import storage
from pipeline.errors import RecipeError
from workflows import recipe as recipes
from workflows.chain import Chain
from workflows.evaluation.scores import UNTRAINED, Score, read_scores
from workflows.recipe import Recipe
from workflows.report.comparison import compared

NONE = "none"
"""The row of the network without pretraining."""
_NEXT_SETTING = re.compile(r",(?=\s*\w+(?:\.\w+)*\s*=)")
_NAME = re.compile(r"\w[\w-]*")


@dataclass(frozen=True)
class Variant:
    """A recipe under a name of its own."""

    name: str
    settings: tuple[str, ...]
    """What is changed in the recipe: `encoder.positions=absolute`."""
    recipe: Recipe


def read(text: str) -> tuple[str, tuple[str, ...]]:
    """Name and settings of `NAME:SETTING=VALUE[,SETTING=VALUE...]`. A comma within a list parts no settings.

    read("wide:encoder.hidden_size=256,source.0.input=[a, b]") -> ("wide", ("encoder.hidden_size=256", "source.0.input=[a, b]"))
    """
    name, colon, settings = text.partition(":")
    if not (colon and _NAME.fullmatch(name) and "=" in settings):
        raise RecipeError(f"--variant {text}: write it as NAME:SETTING=VALUE, for instance absolute:encoder.positions=absolute")
    return name, tuple(setting.strip() for setting in _NEXT_SETTING.split(settings))


def variants(recipe: str, settings: Sequence[str], told: Sequence[str], seeds: int | None) -> list[Variant]:
    """The recipe as it is, and its variants. Only the first is scored beside a network without pretraining.

    Raises: RecipeError for a setting that does not exist, for a name that is taken, and for a variant that changes nothing.
    """
    scored = [*settings, *([f"evaluation.seeds={seeds}"] if seeds else [])]
    base = recipes.load(recipe, scored)
    base.pretraining()
    found = [Variant(base.name, (), _scored(base, base.name, baseline=True))]
    for text in told:
        name, changed = read(text)
        if name in {NONE, *(variant.name for variant in found)}:
            raise RecipeError(f"--variant {text}: the name {name} is taken; give each row a name of its own")
        try:
            one = recipes.load(recipe, [*scored, *changed])
        except RecipeError as error:
            raise RecipeError(f"--variant {text}: {str(error).removeprefix('--set ')}") from None
        if one == base:
            raise RecipeError(f"--variant {text}: changes nothing, the recipe {base.name} has these values")
        found.append(Variant(name, changed, _scored(one, f"{base.name}-{name}", baseline=False)))
    return found


def _scored(recipe: Recipe, name: str, *, baseline: bool) -> Recipe:
    return replace(recipe, name=name, evaluation=replace(recipe.evaluation, baseline=baseline))


def run(
    variants: Sequence[Variant], root: str, workers: int | None, steps: Callable[[Chain, Variant], None]
) -> list[tuple[Variant, Chain]]:
    """The chain of each variant, run by `steps`. What any of them lacks is told (`UserError`) before the first is run."""
    chains = [(one, Chain(one.recipe, root, workers=workers or one.recipe.cluster.workers)) for one in variants]
    for _, chain in chains:
        chain.check()
    for variant, chain in chains:
        steps(chain, variant)
    return chains


def results(chains: Sequence[tuple[Variant, Chain]]) -> dict[str, Any]:
    """Every figure of finished chains, as JSON knows them. The first is what the others are compared with."""
    from model.sizes import parameters
    from model.training.checkpoint import read_metrics
    from workflows.report.figures import training

    scores: list[Score] = []
    rows, curves = [], {}
    for variant, chain in chains:
        figures = training(read_metrics(chain.checkpoint().url))
        curves[variant.name] = {
            "loss": figures["loss"],
            "validation_loss": figures["validation_loss"].get("all", []),
            "validation_accuracy": figures["validation_accuracy"].get("all", []),
        }
        rows.append(
            {
                "variant": variant.name,
                "settings": list(variant.settings),
                "parameters": parameters(chain.recipe.encoder, chain.vocabulary().manifest["size"]),
                "steps": figures["steps"],
                "best": figures["best"],
                "report": storage.base_name(chain.report_page().url) + "/report.html",
            }
        )
        if chain.is_scored():
            found = read_scores(chain.scores().file("scores.jsonl"))
            scores += [replace(one, model_id=NONE if one.model_id == UNTRAINED else variant.name) for one in found]
    base = chains[0][0]
    return {
        "recipe": base.name,
        "evaluation": asdict(replace(base.recipe.evaluation, data="")),
        "variants": rows,
        "scores": compared(scores, base.name),
        "values": [
            {"variant": one.model_id, "task": one.task, "split": one.split, "seed": one.seed, "n": one.n, "value": one.value}
            for one in scores
        ],
        "curves": curves,
    }
