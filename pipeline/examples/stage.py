"""The stage `shards_<source>_<length>`: documents as tokens become masked training examples in Arrow shards.

    train-00000.arrow ...  validation-00000.arrow ...          rows in the order of a hash of their example_id

A task takes one part of the documents (which are in random order there), so that the "other document" of a negative pair comes
from anywhere. Examples travel to their shard through spill files; a shard is a range of 64-bit order keys, so rows are shuffled
over everything, the same way at any number of workers.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.config import CorpusConfig, SourceConfig
from pipeline.documents.table import Part, part_of, parts
from pipeline.engine import job, steps
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.examples.masking import MaskingRules, Masks, static_masks
from pipeline.examples.pairs import (
    NO_LABEL,
    Examples,
    PairCounts,
    build,
)
from pipeline.examples.shards import schema as shard_schema
from pipeline.examples.shards import write_shard
from pipeline.tokenization import vocabulary
from pipeline.tokenization.encoded import Documents, read_part
from pipeline.tokenization.vocab import Vocab

STAGE_VERSION = 3
SHARD_BYTES = 128 << 20
Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


def shards(
    source: SourceConfig,
    length: int,
    tokens: Finished,
    vocab: Finished,
    config: CorpusConfig,
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """The shards of one source at one sequence length.

    Raises: CorpusError when no training example comes of the source.
    """
    settings = {
        "source": source.name,
        "sequence_length": length,
        "seed": config.seed,
        "validation_ratio": config.validation_ratio,
        "masking": config.masking,
        "pairs": config.pairs,
        # In the manifest as well: who reads the shards must treat text alike, also where the files would be the same.
        "vocabulary": {name: vocab.manifest[name] for name in VOCABULARY_FACTS},
    }
    inputs = {"tokens": tokens.digest, "vocabulary": vocab.digest}
    stage = Stage("shards", STAGE_VERSION, settings, inputs, source=source.name, length=length)

    def body(folder: str) -> dict[str, Any]:
        split_shards = _shards_per_split(tokens.manifest["counts"]["tokens"], length, config)
        metadata = {"vocabulary_sha256": vocab.manifest["sha256"], "stage_key": stage.key}
        work = steps.Job(
            name=f"shards of {source.name}, length {length}",
            folder=folder,
            tasks=parts([tokens]),
            map=MakeExamples(length, vocab, config, split_shards),
            reduce=WriteShard(folder, split_shards["train"], metadata),
        )
        entries, counts = job.run(work, execution)
        if not any(entry.name.startswith("train-") for entry in entries):
            raise CorpusError(
                f"source {source.name!r}: no training example of length {length}; it is too small, or all validation"
            )
        return {"files": entries, **_facts(settings, tokens, vocab, counts)}

    return run_stage(root, stage, body, execution)


def _shards_per_split(tokens: int, length: int, config: CorpusConfig) -> dict[Split, int]:
    """How many shards, from what is known before.

    A token takes 2.1 bytes and 0.6 more for each static draw, a row 45 beside its tokens. Pairs of nsp hold a third more tokens
    than there are: where B comes from elsewhere, what would have followed is in the next pair.
    """
    bytes_per_token = 2.1 + 0.6 * config.masking.static_draws + 45 / length
    row_bytes = tokens * config.pairs.dupe_factor * (4 / 3 if config.pairs.task == "nsp" else 1) * bytes_per_token
    share = config.validation_ratio
    return {
        "train": max(1, round(row_bytes * (1 - share) / SHARD_BYTES)),
        "validation": max(1, round(row_bytes * share / SHARD_BYTES)) if share else 0,
    }


def _facts(settings: dict[str, Any], tokens: Finished, vocab: Finished, counts: Counts) -> dict[str, Any]:
    return {
        "seed": settings["seed"],
        "vocabulary": settings["vocabulary"],
        "masking": asdict(settings["masking"]),
        "pairs": asdict(settings["pairs"]),
        "counts": {split: counts[split] for split in SPLITS if split in counts},
        "length_histogram": {split: counts.get("lengths", {}).get(split, {}) for split in SPLITS},
        "unknown_characters": tokens.manifest["unknown_characters"],
    }


VOCABULARY_FACTS = ("size", "sha256", "do_lower_case", "map_punctuation")
"""Of the vocabulary, that a reader of shards is told: how their text was made into tokens."""


def in_validation(ids: npt.NDArray[np.uint64], share: float) -> npt.NDArray[np.bool_]:
    """Which documents are kept for validation: by a hash of the id, so that a document stays on its side in every run."""
    mixed = (ids ^ (ids >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53) < share


def order_keys(example_ids: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """The place of each example in the shuffle: another hash than the id itself, which seeds its masks."""
    mixed = example_ids ^ np.uint64((seed * 0xBF58476D1CE4E5B9) & ((1 << 64) - 1))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


@dataclass(frozen=True)
class MakeExamples:
    """Map: the examples of one part, with their static masks and their shard; some thousands at a time."""

    length: int
    vocabulary: Finished
    config: CorpusConfig
    shards: dict[Split, int]

    def __call__(self, task: Part) -> Iterator[steps.Mapped]:
        documents = read_part(task.stage, task.file)
        validation = in_validation(documents.document_ids, self.config.validation_ratio)
        for split in SPLITS:
            yield from self._split(split, documents.select(validation if split == "validation" else ~validation))

    @cached_property
    def _tools(self) -> tuple[Vocab, MaskingRules]:
        vocab = vocabulary.load(self.vocabulary)
        return vocab, MaskingRules.of(vocab, self.config.masking, self.config.pairs)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tools"}

    def _split(self, split: Split, documents: Documents) -> Iterator[steps.Mapped]:
        vocab, rules = self._tools
        masking, seed = self.config.masking, self.config.seed
        pairs = PairCounts()
        counts: Counts = {"documents": len(documents)}
        made = build(documents, length=self.length, pairs=self.config.pairs, seed=seed, vocab=vocab, counts=pairs)
        for examples in made:
            masks = static_masks(masking.static_draws, seed, examples.sequences, rules)
            table = rows_of(examples, masks, vocab, seed)
            first = self.shards["train"] if split == "validation" else 0
            buckets = first + part_of(table["order"].to_numpy(), max(1, self.shards[split]))
            yield steps.Mapped(
                table, buckets, {split: counts | counts_of(examples, masks, vocab), "lengths": {split: lengths_of(examples)}}
            )
            counts = {}
        told = {
            "random_next": pairs.random_next,
            "swapped": pairs.swapped,
            "single": pairs.single,
            "borrowed": pairs.borrowed_tokens,
            "cut_sentences": pairs.cut_sentences,
            "truncated": pairs.lost_tokens,
        }
        nothing = _schema(len(vocab)).empty_table()
        yield steps.Mapped(nothing, np.empty(0, np.int64), {split: counts | told})


def counts_of(examples: Examples, masks: Masks, vocab: Vocab) -> Counts:
    """What the manifest says of examples and how they are masked."""
    sequences = examples.sequences
    labels = sequences.input_ids[np.repeat(sequences.offsets[:-1], masks.lengths.sum(axis=1)) + masks.positions]
    return {
        "rows": len(examples),
        "tokens": len(sequences.input_ids),
        "unknown": int(np.count_nonzero(sequences.input_ids == vocab.unk_id)),
        "masked": len(masks.positions),
        "shown_as_mask": int(np.count_nonzero(masks.replacements == vocab.mask_id)),
        "shown_as_is": int(np.count_nonzero(masks.replacements == labels)),
    }


def lengths_of(examples: Examples) -> Counts:
    """Examples by their number of tokens."""
    lengths, numbers = np.unique(np.diff(examples.sequences.offsets), return_counts=True)
    return {str(length): number for length, number in zip(lengths.tolist(), numbers.tolist(), strict=True)}


def _schema(vocabulary_size: int) -> pa.Schema:
    """Rows on their way to a shard: with the key of their order."""
    return shard_schema(vocabulary_size).append(pa.field("order", pa.uint64(), nullable=False))


def rows_of(examples: Examples, masks: Masks, vocab: Vocab, seed: int) -> pa.Table:
    """Examples as columns of a shard, and their order keys."""
    schema = _schema(len(vocab))
    token = schema.field("input_ids").type.value_type
    sequences = examples.sequences
    rows, draws = masks.lengths.shape
    units, unit_offsets = examples.packed_units()
    masked = _offsets(masks.lengths.sum(axis=1))
    columns = {
        "example_id": pa.array(sequences.example_ids),
        "document_id": pa.array(examples.document_ids),
        "input_ids": pa.ListArray.from_arrays(
            pa.array(sequences.offsets.astype(np.int32)), pa.array(sequences.input_ids, token)
        ),
        "unit_starts": pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(unit_offsets), pa.py_buffer(units)]),
        "second_start": pa.array(sequences.second_starts.astype(np.uint16)),
        "pair_label": pa.array(examples.pair_labels, mask=examples.pair_labels == NO_LABEL),
        "mask_positions": pa.ListArray.from_arrays(masked, pa.array(masks.positions)),
        "mask_replacements": pa.ListArray.from_arrays(masked, pa.array(masks.replacements, token)),
        "mask_lengths": pa.ListArray.from_arrays(
            _offsets(np.full(rows, draws)), pa.array(masks.lengths.ravel().astype(np.uint16))
        ),
        "order": pa.array(order_keys(sequences.example_ids, seed)),
    }
    return pa.table(columns, schema=schema)


def _offsets(lengths: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))


@dataclass(frozen=True)
class WriteShard:
    """Reduce: one shard, its rows in the order of their keys."""

    folder: str
    train_shards: int
    metadata: dict[str, str]

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        split, number = ("train", bucket) if bucket < self.train_shards else ("validation", bucket - self.train_shards)
        name = f"{split}-{number:05d}.arrow"
        order = np.lexsort((table["example_id"].to_numpy(), table["order"].to_numpy()))
        with storage.open_write(storage.join(self.folder, name)) as file:
            write_shard(file, table.drop_columns("order"), self.metadata, order)
        return steps.Reduced((FileEntry.of(self.folder, name, table.num_rows),), {})
