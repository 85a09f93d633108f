"""Ablation: train and score a recipe and variants of it, to see what each choice is worth.

    small                  the recipe as it is
    absolute               encoder.positions=absolute            --variant absolute:encoder.positions=absolute
    none                   the recipe's network, fine-tuned without pretraining

All chains share one output folder. A stage's folder is named after what decides its content, so stages that variants have in
common run once. workflows/report/comparison.py writes the results.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.facts import VocabularyFacts
from workflows import recipe as recipes
from workflows.chain import Chain
from workflows.evaluation.scores import UNTRAINED, Score, read_scores
from workflows.recipe import Recipe
from workflows.report.comparison import compared

NONE = "none"
"""Name of the network without pretraining."""
_NEXT_SETTING = re.compile(r",(?=\s*\w+(?:\.\w+)*\s*=)")
_NAME = re.compile(r"\w[\w-]*")


@dataclass(frozen=True)
class Variant:
    """A recipe with some settings changed."""

    name: str
    settings: tuple[str, ...]
    """The changes, such as `encoder.positions=absolute`."""
    recipe: Recipe


def read(text: str) -> tuple[str, tuple[str, ...]]:
    """Parse `NAME:SETTING=VALUE[,SETTING=VALUE...]`; commas inside lists do not separate settings.

    read("wide:encoder.hidden_size=256,source.0.input=[a, b]") -> ("wide", ("encoder.hidden_size=256", "source.0.input=[a, b]"))
    """
    name, colon, settings = text.partition(":")
    if not (colon and _NAME.fullmatch(name) and "=" in settings):
        raise RecipeError(f"--variant {text}: write it as NAME:SETTING=VALUE, for instance absolute:encoder.positions=absolute")
    return name, tuple(setting.strip() for setting in _NEXT_SETTING.split(settings))


def variants(recipe: str, settings: Sequence[str], requested: Sequence[str], seeds: int | None) -> list[Variant]:
    """Return the recipe as it is, followed by its variants. Only the first is compared with a network without pretraining.

    Raises: RecipeError for an unknown setting, a name that is taken, and a variant that changes nothing.
    """
    scored = [*settings, *([f"evaluation.seeds={seeds}"] if seeds else [])]
    base = recipes.load(recipe, scored)
    base.pretraining()
    found = [Variant(base.name, (), _scored(base, base.name, baseline=True))]
    for text in requested:
        name, changed = read(text)
        if name in {NONE, *(variant.name for variant in found)}:
            raise RecipeError(f"--variant {text}: the name {name} is taken; give each variant its own")
        try:
            one = recipes.load(recipe, [*scored, *changed])
        except RecipeError as error:
            raise RecipeError(f"--variant {text}: {str(error).removeprefix('--set ')}") from None
        if one == base:
            raise RecipeError(f"--variant {text}: changes nothing; the recipe {base.name} already has these values")
        found.append(Variant(name, changed, _scored(one, f"{base.name}-{name}", baseline=False)))
    return found


def _scored(recipe: Recipe, name: str, *, baseline: bool) -> Recipe:
    return replace(recipe, name=name, evaluation=replace(recipe.evaluation, baseline=baseline))


def run(variants: Sequence[Variant], root: str, steps: Callable[[Chain, Variant], None]) -> list[tuple[Variant, Chain]]:
    """Run the chain of each variant with `steps`.

    Raises: UserError if any of them lacks something, before the first runs.
    """
    chains = [(one, Chain(one.recipe, root)) for one in variants]
    for _, chain in chains:
        chain.check()
    for variant, chain in chains:
        steps(chain, variant)
    return chains


def results(chains: Sequence[tuple[Variant, Chain]]) -> dict[str, Any]:
    """Return all figures of finished chains as JSON types. The others are compared with the first."""
    from model.checkpoints.checkpoint import read_metrics
    from model.sizes import parameters
    from workflows.report.figures import training

    scores: list[Score] = []
    rows, curves = [], {}
    for variant, chain in chains:
        figures = training(read_metrics(chain.run("checkpoint").url))
        curves[variant.name] = {
            "loss": figures["loss"],
            "validation_loss": figures["validation_loss"].get("all", []),
            "validation_accuracy": figures["validation_accuracy"].get("all", []),
        }
        rows.append(
            {
                "variant": variant.name,
                "settings": list(variant.settings),
                "parameters": parameters(chain.recipe.encoder, VocabularyFacts.of(chain.run("vocabulary")).size),
                "steps": figures["steps"],
                "best": figures["best"],
                "report": storage.base_name(chain.run("report").url) + "/report.html",
            }
        )
        if "scores" in chain.steps:
            found = read_scores(chain.run("scores").file("scores.jsonl"))
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
