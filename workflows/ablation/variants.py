"""What is compared: a recipe, variants of it, and the cells of a grid of settings; each pretrained several times.

small                  the recipe as it is
absolute               encoder.positions=absolute            --variant absolute:encoder.positions=absolute
relative-token         both                                  --over encoder.positions=functional,relative
                                                             --over masking.policy=word,token
none                   the recipe's network, fine-tuned without pretraining
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.errors import RecipeError
from workflows import recipe as recipes
from workflows.chain import Chain
from workflows.recipe import Recipe

NONE = "none"
"""Name of the network without pretraining."""
_NEXT_SETTING = re.compile(r",(?=\s*\w+(?:\.\w+)*\s*=)")
_NEXT_VALUE = re.compile(r",(?![^\[{]*[\]}])")
_NAME = re.compile(r"\w[\w-]*")


@dataclass(frozen=True)
class Variant:
    """A recipe with some settings changed."""

    name: str
    settings: tuple[str, ...]
    """The changes, such as `encoder.positions=absolute`."""
    recipe: Recipe


@dataclass(frozen=True)
class Cell:
    """One pretraining of a variant, and the scores of what comes out."""

    variant: Variant
    pretraining: int
    """Counted from 0. The first has the recipe's own seed, the next that + 1: other initial weights, another order of examples,
    other dropout, on the same data."""
    root: str

    @property
    def name(self) -> str:
        return f"{self.variant.name}, pretraining {self.pretraining + 1}" if self.pretraining else self.variant.name

    def chain(self) -> Chain:
        """Return the chain of this pretraining."""
        recipe = self.variant.recipe
        if not self.pretraining:
            return Chain(recipe, self.root)
        named = replace(recipe, name=f"{recipe.name}-{self.pretraining + 1}")
        if not recipe.evaluation.baseline:
            return Chain(named, self.root, pretraining_seed=recipe.seed + self.pretraining)
        # The network without pretraining is the same for all.
        alone = replace(named, evaluation=replace(recipe.evaluation, baseline=False))
        return Chain(alone, self.root, pretraining_seed=recipe.seed + self.pretraining)


def read(text: str) -> tuple[str, tuple[str, ...]]:
    """Parse `NAME:SETTING=VALUE[,SETTING=VALUE...]`; commas inside lists do not separate settings.

    read("wide:encoder.hidden_size=256,source.0.input=[a, b]") -> ("wide", ("encoder.hidden_size=256", "source.0.input=[a, b]"))
    """
    name, colon, settings = text.partition(":")
    if not (colon and _NAME.fullmatch(name) and "=" in settings):
        raise RecipeError(f"--variant {text}: write it as NAME:SETTING=VALUE, for instance absolute:encoder.positions=absolute")
    return name, tuple(setting.strip() for setting in _NEXT_SETTING.split(settings))


def variants(
    recipe: str, settings: Sequence[str], requested: Sequence[str], seeds: int | None, over: Sequence[str] = ()
) -> list[Variant]:
    """Return what is compared, first what the others are compared with; it alone has a twin without pretraining.

    That is the recipe as it is, also if it is a cell of the grid. Where a grid is all that is asked for and has no such cell,
    it is the first cell.

    Args:
        requested: variants, as in `read`.
        over: settings and their values, as in `cells`.

    Raises: RecipeError for an unknown setting, a name that is taken, a value or a cell that is there twice, and a variant that
        changes nothing.
    """
    scored = [*settings, *([f"evaluation.seeds={seeds}"] if seeds else [])]
    base = recipes.load(recipe, scored)
    base.pretraining()
    grid = [(name, changed, _loaded(recipe, scored, changed, _as_given(changed))) for name, changed in cells(over)]
    found = [Variant(name, changed, one) for name, changed, one in grid]
    for first, second in itertools.combinations(found, 2):
        if first.recipe == second.recipe:
            raise RecipeError(f"--over: the cells {first.name} and {second.name} are the same recipe; leave a value out")
    found.sort(key=lambda one: one.recipe != base)  # the cell that is the recipe comes first
    if not found or (requested and found[0].recipe != base):
        found.insert(0, Variant(base.name, (), base))
    for text in requested:
        name, changed = read(text)
        if name in {NONE, *(variant.name for variant in found)}:
            raise RecipeError(f"--variant {text}: the name {name} is taken; give each variant its own")
        one = _loaded(recipe, scored, changed, f"--variant {text}")
        if one == base:
            raise RecipeError(f"--variant {text}: changes nothing; the recipe {base.name} already has these values")
        if same := [variant.name for variant in found if variant.recipe == one]:
            raise RecipeError(f"--variant {text}: is the same recipe as {same[0]}; leave it out")
        found.append(Variant(name, changed, one))
    first, *others = found
    named = [Variant(one.name, one.settings, _scored(one.recipe, f"{base.name}-{one.name}", baseline=False)) for one in others]
    return [Variant(first.name, first.settings, _scored(first.recipe, base.name, baseline=True)), *named]


def cells(over: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the cells of a grid of settings: each value of one with each of the others.

    cells(["encoder.positions=functional,absolute", "masking.policy=word,token"])
    ->  ("functional-word", ("encoder.positions=functional", "masking.policy=word")), ("functional-token", ...), ...

    Raises: RecipeError for what is no setting with values, and for a setting or a value that is there twice.
    """
    settings: dict[str, list[str]] = {}
    for text in over:
        key, equals, listed = (part.strip() for part in text.partition("="))
        values = [value.strip() for value in _NEXT_VALUE.split(listed)]
        if not (key and equals and all(values)):
            raise RecipeError(f"--over {text}: write it as SETTING=VALUE,VALUE, for instance masking.policy=word,token")
        if key in settings:
            raise RecipeError(f"--over {text}: {key} is given twice; list all its values in one --over")
        if twice := [value for value in values if values.count(value) > 1]:
            raise RecipeError(f"--over {text}: {twice[0]} is there twice")
        settings[key] = values
    if not settings:
        return []
    chosen = list(itertools.product(*settings.values()))
    names = ["-".join(re.sub(r"[^\w-]+", "_", value).strip("_-") or "0" for value in values) for values in chosen]
    if len(set(names)) < len(names) or NONE in names:
        names = [f"cell{number}" for number in range(1, len(chosen) + 1)]
    return [
        (name, tuple(f"{key}={value}" for key, value in zip(settings, values, strict=True)))
        for name, values in zip(names, chosen, strict=True)
    ]


def _as_given(changed: Sequence[str]) -> str:
    return ", ".join(f"--over {setting}" for setting in changed)


def _loaded(recipe: str, settings: Sequence[str], changed: Sequence[str], option: str) -> Recipe:
    try:
        return recipes.load(recipe, [*settings, *changed])
    except RecipeError as error:
        raise RecipeError(f"{option}: {str(error).removeprefix('--set ')}") from None


def _scored(recipe: Recipe, name: str, *, baseline: bool) -> Recipe:
    return replace(recipe, name=name, evaluation=replace(recipe.evaluation, baseline=baseline))
