"""A recipe: one TOML file with everything that a run depends on.

    name = "tiny"
    [[source]]                     # pipeline.config.SourceConfig
    name = "news"
    kind = "demo"
    input = ["news"]
    [encoder]                      # model.config.EncoderConfig
    hidden_size = 128
    [[phase]]                      # model.config.PhaseConfig
    sequence_length = 64
    batch_size = 256
    steps = 500

Each table is a frozen dataclass, which documents its fields. An unknown key is an error that suggests the nearest known one.
"""

import dataclasses
import json
import os
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from cluster.config import ClusterConfig
from model.config import EncoderConfig, OptimizerConfig, PhaseConfig, PretrainConfig, TrainingConfig
from pipeline.config import (
    CorpusConfig,
    DecontaminationConfig,
    DedupConfig,
    FilterConfig,
    MaskingConfig,
    PairsConfig,
    SourceConfig,
    VocabularyConfig,
    WordsConfig,
)
from pipeline.errors import RecipeError
from pipeline.validation import LARGEST_SEED, check_ranges
from workflows import toml_settings
from workflows.checks.config import ChecksConfig
from workflows.continued.config import CHAMPION, ReplayConfig
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.tasks import DEMO_TASKS
from workflows.notifications.config import NotifyConfig
from workflows.registry.config import GateConfig
from workflows.report.meeting.config import ReportConfig

PLACEHOLDER = "PHRASES"
"""Stands for a list of phrases in a shipped recipe; the user has to give one."""

RENAMED = {
    ("cluster", "hang_timeout_seconds"): "step_timeout_seconds",
    ("", "validation_share"): "validation_ratio",
    ("source", "max_bad"): "max_bad_ratio",
    ("filters", "min_chinese_share"): "min_chinese_ratio",
    ("filters", "max_digit_share"): "max_digit_ratio",
    ("filters", "max_sign_share"): "max_sign_ratio",
    ("filters", "max_symbol_share"): "max_symbol_ratio",
    **{("filters", f"max_top_{n}"): f"max_top_{n}gram_ratio" for n in (3, 5, 7)},
    **{("filters", f"max_repeated_{n}"): f"max_dup_{n}gram_ratio" for n in (8, 10, 13, 17)},
    ("filters", "min_ended_line_share"): "min_ended_line_ratio",
    ("filters", "max_short_line_share"): "max_short_line_ratio",
    ("filters", "max_bullet_line_share"): "max_bullet_line_ratio",
    ("filters", "max_ellipsis_line_share"): "max_ellipsis_line_ratio",
    ("filters", "max_duplicate_line_share"): "max_dup_line_ratio",
    ("filters", "max_duplicate_line_characters"): "max_dup_line_character_ratio",
    ("dedup", "shingle"): "ngram_size",
    ("dedup", "paragraph_letters"): "min_paragraph_characters",
    ("decontamination", "letters"): "ngram_size",
    ("decontamination", "share"): "min_ngram_ratio",
    ("decontamination", "runs"): "min_matching_ngrams",
}
"""Renamed keys: (table, old key) -> new key."""

RENAMED_VALUES: dict[tuple[str, ...], str] = {("masking", "policy", "piece"): "token"}
"""Renamed values: (table, key, old value) -> new value."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a run. Tables that a recipe leaves out have their defaults."""

    name: str
    """Name of the model in reports."""
    seed: int = 12_345
    """Seed of sentence pairs, masks, order of examples, initial weights and dropout."""
    validation_ratio: float = 0.005
    """Fraction of documents (chosen by hash) set aside for validation and never trained on."""
    source: tuple[SourceConfig, ...]
    phase: tuple[PhaseConfig, ...] = ()
    filters: FilterConfig = field(default_factory=FilterConfig)
    dedup: DedupConfig = field(default_factory=DedupConfig)
    decontamination: DecontaminationConfig = field(default_factory=DecontaminationConfig)
    words: WordsConfig = field(default_factory=WordsConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    checks: ChecksConfig = field(default_factory=ChecksConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)

    def __post_init__(self) -> None:
        names = [source.name for source in self.source]
        if not names:
            raise ValueError("no [[source]]: nothing to read")
        if len(set(names)) < len(names):
            raise ValueError(f"two sources have the same name ({', '.join(names)}); rename one")
        for number, phase in enumerate(self.phase, start=1):
            if unknown := sorted(set(phase.weights) - set(names)):
                raise ValueError(f"phase {number} weighs {', '.join(unknown)}, but the sources are {', '.join(names)}")
        check_ranges(self, seed=(0, LARGEST_SEED))
        if not 0 <= self.validation_ratio < 1:
            raise ValueError(f"validation_ratio {self.validation_ratio} is not between 0 and 1")

    def corpus(self) -> CorpusConfig:
        """Return the settings that `prepare` needs."""
        lengths = tuple(sorted({phase.sequence_length for phase in self.phase})) or (128,)
        return CorpusConfig(
            sources=self.source,
            sequence_lengths=lengths,
            seed=self.seed,
            validation_ratio=self.validation_ratio,
            filters=self.filters,
            dedup=self.dedup,
            decontamination=self.decontamination,
            words=self.words,
            vocabulary=self.vocabulary,
            masking=self.masking,
            pairs=self.pairs,
        )

    def pretraining(self) -> PretrainConfig:
        """Return the settings that training needs.

        Raises: RecipeError for a recipe without phases.
        """
        if not self.phase:
            raise RecipeError(f"recipe {self.name!r} has no [[phase]]; add one with sequence_length, batch_size and steps")
        return PretrainConfig(
            phases=self.phase, seed=self.seed, encoder=self.encoder, optimizer=self.optimizer, training=self.training
        )

    def uses(self, phase: PhaseConfig) -> list[str]:
        """Return the names of the sources that a phase trains on."""
        return [source.name for source in self.source if not phase.weights or phase.weights.get(source.name, 0) > 0]

    def places(self) -> list[str]:
        """Return what the recipe names outside of itself: paths and URLs of files that its steps read."""
        lists: list[Sequence[str]] = [source.input for source in self.source if source.kind != "demo"]
        lists += [[phrase for phrase in source.spam_phrases if phrase.endswith(".txt")] for source in self.source]
        lists += [self.words.user_dictionary, self.decontamination.inputs]
        single = [self.vocabulary.url, self.masking.phrases, self.dedup.withdrawn]
        single += [self.evaluation.data, self.replay.data]
        single += [self.training.start_from] if self.training.start_from != CHAMPION else []
        return [*(url for urls in lists for url in urls), *filter(None, single)]

    def missing(self) -> str:
        """Say in one sentence which inputs the user still has to give; empty if none."""
        # wiki without input downloads the latest dump.
        empty = {
            n: source.name for n, source in enumerate(self.source) if not source.input and source.kind not in ("wiki", "demo")
        }
        names = ", ".join(map(repr, empty.values()))
        elsewhere = [name for name in self.evaluation.tasks if name not in DEMO_TASKS]
        lacks = [f"sources {names} have no input" if len(empty) > 1 else f"source {names} has no input"] if empty else []
        options = [f"--set source.{number}.input={name.upper()}" for number, name in empty.items()]
        if self.masking.phrases == PLACEHOLDER:
            lacks.append("masking has no list of phrases")
            options.append(f"--set masking.phrases={PLACEHOLDER}")
        if elsewhere and self.phase and not self.evaluation.data:
            lacks.append(f"evaluation has no data for {', '.join(elsewhere)}")
            options.append("--set evaluation.data=DIR")
        return (
            f"{', '.join(lacks)}; give files, folders or globs: {' '.join(options)} (with --corpus: --input)" if lacks else ""
        )


def shipped() -> list[str]:
    """Return the names of the recipes that come with the program."""
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def text_of(name: str) -> str:
    """Return the TOML text of a shipped recipe."""
    return str((_folder() / f"{name}.toml").read_text(encoding="utf-8"))


def load(recipe: str, settings: typing.Sequence[str] = ()) -> Recipe:
    """Load a recipe by its path or the name of a shipped one, and apply `settings` such as `encoder.hidden_size=128`.

    Raises: RecipeError naming the file, table and key that are wrong.
    """
    if recipe.endswith(".toml"):
        if not os.path.exists(recipe):
            raise RecipeError(f"no recipe {recipe}; without .toml, there are {', '.join(shipped())}")
        text = toml_settings.read_text(Path(recipe))
    elif recipe in shipped():
        text = text_of(recipe)
    else:
        raise RecipeError(f"no recipe {recipe!r}; give a .toml file or one of {', '.join(shipped())}")
    return build(toml_settings.parse(text, recipe), recipe, settings)


def build(content: dict[str, Any], name: str, settings: typing.Sequence[str] = ()) -> Recipe:
    """Build a recipe from parsed TOML and apply `settings`; `name` is its name in error messages."""
    for setting in settings:
        toml_settings.change(content, setting)
    recipe = toml_settings.build(Recipe, content, name, RENAMED, RENAMED_VALUES)
    if not recipe.name.strip(". ") or "/" in recipe.name or not recipe.name.isprintable():
        raise RecipeError(f"{name}: name {recipe.name!r} cannot be that of a folder; use letters, digits, '-', '_' and '.'")
    return recipe


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the whole recipe as JSON types, with defaults filled in."""
    result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return result


def _folder() -> Any:
    return resources.files("workflows") / "recipes"
