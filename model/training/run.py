"""A pretraining run: its recipe, its inputs, its output folder, its result, and what makes two runs the same.

    {"config": {"phases": [{"sequence_length": 128, "batch_size": 256, "steps": 1000, ...}], "seed": 12345, ...},
     "shards": {"news/128": "/data/runs/shards_news_128-3f9a0c1b2d4e"},
     "vocabulary": "/data/runs/vocabulary-77aa/vocab.txt", "output": "/data/runs/checkpoint-0c5d"}

This is the JSON file that `python -m model.training RUN.json` reads.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model.config import PhaseConfig, PretrainConfig
from model.training.stopping import StopReason
from pipeline import folders, storage
from pipeline.engine import integrity, stages
from pipeline.engine.stages import Finished
from pipeline.errors import CheckpointError, CorpusError, RecipeError
from pipeline.tokenization.vocab import Vocab

CONFIG = "config.json"
"""Name of the file that ties a training folder to its recipe."""
MAY_CHANGE = (
    *("micro_batch_tokens", "precision", "loss_scale", "reduce_precision", "attention", "compile", "activation_checkpointing"),
    *("validate_every", "checkpoint_every", "keep_checkpoints", "keep_every", "average_checkpoints", "log_every"),
    *("log_examples", "tensorboard", "mlflow", "spike_sigma", "spike_window", "rollback_after", "store_timeout_seconds"),
)
"""Settings of `[training]` that may change when a run resumes: those that fit it to a machine, how often something is written,
what a spike is. The steps of the last phase may change too. Micro-batches of another size have other dropout masks, and sums in
another order: samples and masks stay the same, bits do not."""


@dataclass(frozen=True, kw_only=True)
class PretrainRun:
    """Everything that `train` needs."""

    config: PretrainConfig
    shards: Mapping[str, str]
    """`<source>/<sequence_length>` -> URL of the finished shards stage."""
    vocabulary: str
    """URL of vocab.txt."""
    output: str
    """URL of the training folder; an unfinished run in it is resumed."""

    def __post_init__(self) -> None:
        if wrong := [name for name in self.shards if not re.fullmatch(r".+/\d+", name)]:
            raise ValueError(f"shards {wrong[0]!r} are not named SOURCE/LENGTH")

    def to_json(self) -> dict[str, Any]:
        """The run as plain JSON values."""
        return {
            "config": stages.plain(self.config),
            "shards": dict(self.shards),
            "vocabulary": self.vocabulary,
            "output": self.output,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "PretrainRun":
        """The inverse of `to_json`.

        Raises: `RecipeError` when something is missing or unknown.
        """
        try:
            return PretrainRun(**{**document, "config": PretrainConfig.from_json(document["config"])})
        except (TypeError, ValueError, KeyError) as error:
            raise RecipeError(f"not a description of a pretraining run: {error}") from error


@dataclass(frozen=True)
class TrainResult:
    """Where a run is when `train` returns."""

    step: int
    steps: int
    """Steps of all phases; `step` is less when training was stopped."""
    attempt: int
    last_checkpoint: str
    best_checkpoint: str | None
    """None without validation rows."""
    best_validation_loss: float | None
    stopped_by: StopReason | None = None
    """None when the last step is done."""

    @property
    def finished(self) -> bool:
        return self.step >= self.steps

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> "TrainResult":
        """The inverse of `dataclasses.asdict` and JSON."""
        return TrainResult(**{**facts, "stopped_by": facts["stopped_by"] and StopReason(facts["stopped_by"])})


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run, opened and checked."""

    vocab: Vocab
    shards: dict[str, Finished]
    """`<source>/<sequence_length>` -> the finished shards stage."""
    text_rules: dict[str, bool]
    """How text was normalised before it became tokens; an export must do the same."""

    @staticmethod
    def of(run: PretrainRun) -> "Inputs":
        """Open the inputs of a run.

        Raises: `CorpusError` when shards and vocabulary do not belong together, or a phase has no shards of its length.
        """
        vocab = Vocab.from_bytes(integrity.read_bytes(run.vocabulary), run.vocabulary)
        shards = {name: stages.unchanged(stages.load(url)) for name, url in run.shards.items()}
        for stage in shards.values():
            if stage.manifest["vocabulary"]["sha256"] != vocab.sha256:
                raise CorpusError(f"{stage.url} was made with another vocabulary than {run.vocabulary}; run prepare again")
        facts = [stage.manifest["vocabulary"] for stage in shards.values()]
        rules = {name: all(fact.get(name, False) for fact in facts) for name in ("do_lower_case", "map_punctuation")}
        inputs = Inputs(vocab, shards, rules)
        for phase in run.config.phases:
            if not inputs.sources(phase):
                lengths = sorted({name.partition("/")[2] for name in shards}, key=int)
                raise CorpusError(
                    f"no shards of sequence_length {phase.sequence_length}; there are some of {', '.join(lengths) or 'none'}"
                )
        return inputs

    def sources(self, phase: PhaseConfig) -> dict[str, Finished]:
        """The shards of a phase's sequence length, by source."""
        parts = {name.partition("/")[0]: stage for name, stage in self.shards.items() if _length(name) == phase.sequence_length}
        return dict(sorted(parts.items()))

    def identity(self, config: PretrainConfig) -> dict[str, Any]:
        """Everything that decides the result of a run: config.json of the folder, and of each checkpoint."""
        return {
            **stages.shown(config),
            "shards": {name: stage.digest for name, stage in self.shards.items()},
            "vocabulary": {"sha256": self.vocab.sha256, "size": len(self.vocab), **self.text_rules},
        }


def inputs_seen(run: PretrainRun) -> dict[str, int]:
    """The vocabulary and the manifests of the shards, with their sizes: what a machine must see."""
    manifests = (storage.join(url, folders.MANIFEST) for url in run.shards.values())
    return {url: storage.file_size(url) for url in (run.vocabulary, *manifests)}


def _length(name: str) -> int:
    return int(name.partition("/")[2])


def claim(output: str, identity: Mapping[str, Any], started: bool) -> None:
    """Write config.json of a training folder, which must not belong to another recipe.

    `started`: the folder has a checkpoint. Without one nothing can be lost, so any recipe may take it.

    Raises: `CheckpointError` with every difference when the folder belongs to another recipe.
    """
    url = storage.join(output, CONFIG)
    if started and storage.exists(url):
        there = storage.read_json(url)
        try:
            # A folder of an older version lacks newer settings: it was trained with what is now their default.
            there = {**there, **dataclasses.asdict(PretrainConfig.from_json(there))}
        except (TypeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{url}: not a recipe that this version knows ({error}); train in another folder") from error
        if found := differences(stages.plain(there), identity):
            raise CheckpointError(f"{output} belongs to another recipe; train in another folder, or undo: {'; '.join(found)}")
        if there == identity:
            return
    storage.write_json(url, identity)


def differences(there: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[str]:
    """`phases[0].learning_rate: 0.001 here, 0.002 in the recipe` for every setting that differs and must not."""
    here, wanted = dict(_flat(there)), dict(_flat(recipe))
    may_change = {f"training.{name}" for name in MAY_CHANGE} | {f"phases[{len(recipe['phases']) - 1}].steps"}
    return [
        f"{name}: {here.get(name, 'absent')} here, {wanted.get(name, 'absent')} in the recipe"
        for name in sorted(here.keys() | wanted.keys(), key=_natural)
        if here.get(name) != wanted.get(name) and name not in may_change
    ]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _flat(item, f"{name}[{number}]")
    else:
        yield name, value


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
