"""The network that training starts from.

    [training] start_from = "champion"      the registry's; which one that is, is decided when a run begins, and written down:

    runs/tiny/start.json                    {"recipe": "tiny", "model": "tiny-5d0c1b2d4e3f", "url": ..., "ended": false}

So a run that was killed starts from the same network when it is run again, whoever is the champion by then. The next run asks
the registry anew: after the report, or a check that failed, and if there is something to do.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.config import VocabularyConfig
from pipeline.engine.stages import Finished
from pipeline.errors import RecipeError
from pipeline.redaction import redact
from workflows.continued import old_text
from workflows.continued.config import CHAMPION
from workflows.continued.old_text import OldText
from workflows.evaluation.encoders import FOREIGN
from workflows.registry import history, lineage

if TYPE_CHECKING:
    from workflows.recipe import Recipe

RECORD = "start.json"
REGISTRY = "NEZHA_PIPE_REGISTRY"


@dataclass(frozen=True)
class Model:
    """A network by its folder, and its name in the registry if it was the champion."""

    url: str
    name: str = ""


@dataclass(frozen=True)
class Start:
    """The network that training starts from, and what follows from it."""

    model: Model
    vocabulary: VocabularyConfig
    old: tuple[OldText, ...]
    """Sources of the text that it was trained on."""
    digest: str = ""
    """Digest of a champion that is a stage of ours, by its manifest: files that are put beside it do not count. Empty for all
    others, whose files are digested."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Licences of what it was made from, by source."""

    @property
    def facts(self) -> dict[str, str]:
        """What the manifest of the training says of it."""
        return {"url": redact(self.model.url), "model": self.model.name}


@dataclass(frozen=True)
class Record:
    """start.json in an output folder."""

    recipe: str
    model: str
    url: str
    ended: bool = False
    """Whether the run that began with it came to its end: the report, or a check that failed."""


def choose(recipe: "Recipe", root: str, is_finished: Callable[[Model], bool]) -> Model | None:
    """Return the network that a recipe starts from; None for fresh weights.

    Args:
        is_finished: whether everything is finished that a run from this network would do.

    Raises: RecipeError when there is no champion; StorageError, DamagedError.
    """
    wanted = recipe.training.start_from
    if wanted != CHAMPION:
        return Model(storage.absolute(wanted.removeprefix(FOREIGN))) if wanted else None
    if noted := _read(recipe, root):
        model = Model(noted.url, noted.model)
        if not noted.ended or is_finished(model):
            return model
    return champion(recipe)


def champion(recipe: "Recipe") -> Model:
    """Return the champion of the registry.

    Raises: RecipeError when there is none.
    """
    registry = storage.absolute(recipe.checks.registry or recipe.gate.promote_to or os.environ.get(REGISTRY, "") or "registry")
    last = history.last(registry)
    if last is None or not last.champion:
        raise RecipeError(
            f"start_from = {CHAMPION!r}: no model was promoted in the registry {registry}; run once without it, `promote` the "
            f"model, or name the registry: checks.registry, {REGISTRY}"
        )
    return Model(storage.absolute(str(last.content["champion"]["url"]).removeprefix(FOREIGN)), last.champion)


def remember(recipe: "Recipe", root: str, model: Model, ended: bool) -> None:
    """Write down which champion a run started from, unless that is known already."""
    record = Record(recipe.name, model.name, model.url, ended)
    if recipe.training.start_from == CHAMPION and _read(recipe, root) != record:
        storage.write_json(storage.join(root, RECORD), asdict(record))


def _read(recipe: "Recipe", root: str) -> Record | None:
    """Return what the last run of a recipe noted; None if there was none."""
    place = storage.join(root, RECORD)
    if not storage.exists(place):
        return None
    try:
        record = Record(**storage.read_json(place))
    except (ValueError, TypeError):
        raise RecipeError(f"{place}: not as it was written; delete it, and the next run starts from the champion") from None
    return record if record.recipe == recipe.name else None


def describe(recipe: "Recipe", model: Model) -> Start:
    """Return the vocabulary and the old text of a network.

    Raises: RecipeError when the recipe names another vocabulary or old text that is not there, CheckpointError for a folder
        without weights or vocabulary.
    """
    from model.conversion.reading import vocabulary_of

    url, vocab, rules = vocabulary_of(model.url)
    config = recipe.vocabulary
    if config.url:
        from pipeline.tokenization.vocab import Vocab

        own = Vocab.from_bytes(storage.read_bytes(config.url), config.url)
        if own != vocab:
            raise RecipeError(
                f"vocabulary.url {config.url} ({len(own):,} tokens) is not the vocabulary of {model.url} ({len(vocab):,}), "
                "from which training starts; leave vocabulary.url out: that one is used"
            )
    else:
        config = replace(config, url=url, **rules)
    stage = lineage.export_stage(model.url) if model.name else None
    digest = stage.digest if stage else ""
    return Start(model, config, _old(recipe, model, config), digest, lineage.licences(model.url))


def check(recipe: "Recipe", start: Start) -> None:
    """Read the weights, and hold the recipe to them, before hours are spent on its data.

    Raises: CheckpointError for weights of another shape, with every setting that differs; RecipeError for a champion that would
        be trained on without a warm-up.
    """
    from model.conversion import reading
    from pipeline.tokenization.vocab import Vocab

    url = start.vocabulary.url
    reading.start(start.model.url, recipe.encoder, Vocab.from_bytes(storage.read_bytes(url), url))
    if start.model.name and recipe.phase and not recipe.phase[0].warmup_steps:
        raise RecipeError(
            f"start_from = {CHAMPION!r}, but phase 1 has no warm-up: moments of the optimizer are fresh, and its first steps "
            "would undo what the champion learned; set phase.0.warmup_steps, such as a tenth of its steps"
        )


def _old(recipe: "Recipe", model: Model, vocabulary: VocabularyConfig) -> tuple[OldText, ...]:
    """Return the sources of old text. Raises: RecipeError if there should be some and are none, or of another vocabulary."""
    place = recipe.replay.data or (model.url if model.name else "")
    if not place:
        return ()
    found = old_text.found(place)
    if not found and (recipe.replay.data or recipe.replay.ratio):
        raise RecipeError(
            f"{place}: the text that {model.name or 'its model'} was trained on is not beside it; name an output folder of "
            "`run` with replay.data, or do without: replay.ratio = 0"
        )
    if clash := {old.source for old in found} & {source.name for source in recipe.source}:
        raise RecipeError(f"source {', '.join(sorted(clash))}: old text has this name too; rename the source")
    digest = Finished("", {"files": [{"name": "vocab.txt", "sha256": storage.sha256(vocabulary.url)}]}).digest
    for old in found:
        for tokens in old.tokens:
            if tokens.manifest["inputs"]["vocabulary"] != digest:
                raise RecipeError(
                    f"{tokens.url}: this old text was made with another vocabulary than that of {model.url}, from which "
                    "training starts; name other text with replay.data, or none: replay.ratio = 0"
                )
    return found
