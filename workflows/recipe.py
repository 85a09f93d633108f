"""A recipe: one TOML file that says all that a run depends on, and can be read alone.

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

Each table is one frozen class, which documents its fields. A key that no class has is refused, with the nearest that one has.
"""

import dataclasses
import difflib
import json
import tomllib
import typing
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
from workflows.evaluation.config import EvaluationConfig
from workflows.evaluation.tasks import DEMO_TASKS

PLACEHOLDER = "PHRASES"
"""What a shipped recipe says instead of a list of phrases: its user has to name one."""


RENAMED = {
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
"""Keys of earlier recipes, by table, and what they are called now."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run is told. Tables not given have their defaults."""

    name: str
    """What reports and pointers call the model."""
    seed: int = 12_345
    """Seed of pairs, masks, order, initial weights and dropout."""
    validation_ratio: float = 0.005
    """Share of documents (by hash) kept for validation, never trained on."""
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
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        names = [source.name for source in self.source]
        if not names:
            raise ValueError("no [[source]]: nothing to read")
        if len(set(names)) < len(names):
            raise ValueError(f"two sources bear one name among {', '.join(names)}; give each its own")
        for number, phase in enumerate(self.phase, start=1):
            if unknown := sorted(set(phase.weights) - set(names)):
                raise ValueError(f"phase {number} weighs {', '.join(unknown)}, but the sources are {', '.join(names)}")
        if not 0 <= self.validation_ratio < 1:
            raise ValueError(f"validation_ratio {self.validation_ratio} is not between 0 and 1")

    def corpus(self) -> CorpusConfig:
        """What `prepare` needs of it."""
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
        """What training needs of it."""
        if not self.phase:
            raise RecipeError(f"recipe {self.name!r} has no [[phase]]; add one with sequence_length, batch_size and steps")
        return PretrainConfig(
            phases=self.phase, seed=self.seed, encoder=self.encoder, optimizer=self.optimizer, training=self.training
        )

    def uses(self, phase: PhaseConfig) -> list[str]:
        """Sources that a phase trains on."""
        return [source.name for source in self.source if not phase.weights or phase.weights.get(source.name, 0) > 0]

    def missing(self) -> str:
        """What a shipped recipe leaves to its user, in a sentence; empty if it is all there."""
        # Of wiki, the latest dump is downloaded.
        empty = {
            n: source.name for n, source in enumerate(self.source) if not source.input and source.kind not in ("wiki", "demo")
        }
        names = ", ".join(map(repr, empty.values()))
        elsewhere = [name for name in self.evaluation.tasks if name not in DEMO_TASKS]
        told = [f"sources {names} have no input" if len(empty) > 1 else f"source {names} has no input"] if empty else []
        ways = [f"--set source.{number}.input={name.upper()}" for number, name in empty.items()]
        if self.masking.phrases == PLACEHOLDER:
            told.append("masking has no list of phrases")
            ways.append(f"--set masking.phrases={PLACEHOLDER}")
        if elsewhere and self.phase and not self.evaluation.data:
            told.append(f"evaluation has no data for {', '.join(elsewhere)}")
            ways.append("--set evaluation.data=DIR")
        return f"{', '.join(told)}; name files, folders or globs: {' '.join(ways)} (with --corpus: --input)" if told else ""


def shipped() -> list[str]:
    """Names of the recipes that come with the program."""
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def text_of(name: str) -> str:
    """The file of a shipped recipe."""
    return str((_folder() / f"{name}.toml").read_text(encoding="utf-8"))


def load(recipe: str, settings: typing.Sequence[str] = ()) -> Recipe:
    """A recipe by path or by the name of a shipped one, with some settings (`encoder.hidden_size=128`) changed.

    Raises: RecipeError naming the file, the table and the key that is wrong.
    """
    path = Path(recipe)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RecipeError(f"no recipe {recipe}; shipped ones are named without .toml: {', '.join(shipped())}")
        text = path.read_text(encoding="utf-8")
    elif recipe in shipped():
        text = text_of(recipe)
    else:
        raise RecipeError(f"no recipe {recipe!r}; give a .toml file or one of {', '.join(shipped())}")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{recipe}: not valid TOML: {error}") from error
    return build(content, recipe, settings)


def build(content: dict[str, Any], name: str, settings: typing.Sequence[str] = ()) -> Recipe:
    """A recipe from parsed TOML, with some settings changed in it; `name` is what errors call it."""
    import pydantic

    for setting in settings:
        _change(content, setting)
    _refuse_unknown_keys(content, Recipe, name, "")
    try:
        # As JSON, so that types are held to strictly, yet arrays may become tuples and 1 may stand for 1.0.
        text = json.dumps(content, default=str)
        return pydantic.TypeAdapter(Recipe).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = _place(first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] in ("value_error", "missing") else f", not {first['input']!r}"
        raise RecipeError(f"{name}{place}: {message}{given}") from None


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The whole recipe, defaults filled in, as JSON knows it."""
    result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return result


def _folder() -> Any:
    return resources.files("workflows") / "recipes"


def _change(content: dict[str, Any], setting: str) -> None:
    """Apply `encoder.hidden_size=128` or `phase.0.steps=10`; the value is TOML, or a bare word, also for a list of one."""
    path, equals, value = setting.partition("=")
    if not equals:
        raise RecipeError(f"--set {setting}: write it as table.key=value, for instance encoder.hidden_size=128")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *tables, key = path.strip().split(".")
    place: Any = content
    try:
        for table in tables:
            place = place[int(table)] if isinstance(place, list) else place.setdefault(table, {})
        if isinstance(place, list):
            place[int(key)] = parsed
        else:
            place[key] = [parsed] if isinstance(place.get(key), list) and isinstance(parsed, str) else parsed
    except (ValueError, IndexError, TypeError, AttributeError):
        raise RecipeError(f"--set {setting}: the recipe has no {path}; several tables are numbered: phase.0.steps=10") from None


def _refuse_unknown_keys(content: Any, kind: Any, name: str, place: str) -> None:
    if dataclasses.is_dataclass(kind) and isinstance(content, dict):
        hints = typing.get_type_hints(kind)
        known = [f.name for f in dataclasses.fields(kind)]
        for key, value in content.items():
            if key not in known:
                if (table := place.strip(" []"), key) in RENAMED:
                    raise RecipeError(f"{name}{place}: {key!r} is now {RENAMED[table, key]!r}")
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise RecipeError(f"{name}{place}: unknown key {key!r}; {hint}")
            _refuse_unknown_keys(value, hints[key], name, f" [{key}]")
    elif typing.get_origin(kind) is tuple and isinstance(content, list):
        for item in content:
            _refuse_unknown_keys(item, typing.get_args(kind)[0], name, place.replace("[", "[[").replace("]", "]]"))


def _place(location: tuple[Any, ...]) -> str:
    """("phase", 0, "steps") -> ` phase.0.steps`."""
    return f" {'.'.join(str(part) for part in location)}" if location else ""
