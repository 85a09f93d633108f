"""The stage `shards_<source>_<length>`: masked training examples in Arrow shards, made from the tokens of documents.

    train-00000.arrow ...  validation-00000.arrow ...          rows in the order of a hash of their example_id

A task makes the examples of one part of the documents. Documents are spread over the parts by a hash, so the other document of
a negative pair may be any. Examples go to their shard through spill files. A shard is a range of 64-bit order keys, so rows are
shuffled over the whole source, independently of the number of workers.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.arrays import GOLDEN_RATIO, Flags, Hashes, Ints, mix
from pipeline.config import CorpusConfig, SourceConfig
from pipeline.documents.table import Part, part_of, parts
from pipeline.engine import job, steps
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.examples.masking import MaskingRules, Masks, static_masks
from pipeline.examples.pairs import NO_LABEL, Examples, PairCounts, build
from pipeline.examples.shards import schema as shard_schema
from pipeline.examples.shards import write_shard
from pipeline.facts import TokensFacts, VocabularyFacts
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
    """Make the shards of one source for one sequence length.

    Raises: CorpusError if the source gives no training example.
    """
    settings = {
        "source": source.name,
        "sequence_length": length,
        "seed": config.seed,
        "validation_ratio": config.validation_ratio,
        "masking": config.masking,
        "pairs": config.pairs,
        # Part of the key even if the files would be the same: readers of the shards must tokenise text in the same way.
        "vocabulary": VocabularyFacts.of(vocab),
    }
    inputs = {"tokens": tokens.digest, "vocabulary": vocab.digest}
    stage = Stage("shards", STAGE_VERSION, settings, inputs, source=source.name, length=length)

    def body(folder: str) -> dict[str, Any]:
        split_shards = _shards_per_split(TokensFacts.of(tokens).tokens, length, config)
        metadata = {"vocabulary_sha256": VocabularyFacts.of(vocab).sha256, "stage_key": stage.key}
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
    """Estimate the number of shards of each split.

    A token takes 2.1 bytes, and 0.6 more per static draw; a row takes 45 bytes besides its tokens. Pairs of nsp have a third
    more tokens than the documents: if B is from another document, the text that would have followed goes into the next pair.
    """
    bytes_per_token = 2.1 + 0.6 * config.masking.static_draws + 45 / length
    row_bytes = tokens * config.pairs.dupe_factor * (4 / 3 if config.pairs.task == "nsp" else 1) * bytes_per_token
    ratio = config.validation_ratio
    return {
        "train": max(1, round(row_bytes * (1 - ratio) / SHARD_BYTES)),
        "validation": max(1, round(row_bytes * ratio / SHARD_BYTES)) if ratio else 0,
    }


def _facts(settings: dict[str, Any], tokens: Finished, vocab: Finished, counts: Counts) -> dict[str, Any]:
    return {
        "seed": settings["seed"],
        "vocabulary": VocabularyFacts.of(vocab),
        "masking": asdict(settings["masking"]),
        "pairs": asdict(settings["pairs"]),
        "counts": {split: counts[split] for split in SPLITS if split in counts},
        "length_histogram": {split: counts.get("lengths", {}).get(split, {}) for split in SPLITS},
        "unknown_characters": TokensFacts.of(tokens).unknown_characters,
    }


def in_validation(ids: Hashes, ratio: float) -> Flags:
    """Return which documents (n,) are set aside for validation: by a hash of the id, so a document never changes sides."""
    mixed = (ids ^ (ids >> np.uint64(29))) * GOLDEN_RATIO
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53) < ratio


def order_keys(example_ids: Hashes, seed: int) -> Hashes:
    """Return the keys that shuffle examples, (n,): another hash than the id itself, from which masks are drawn."""
    return mix(example_ids ^ np.uint64((seed * 0xBF58476D1CE4E5B9) & ((1 << 64) - 1)))


@dataclass(frozen=True)
class MakeExamples:
    """Map: the examples of one part, with their static masks and the shard of each; thousands at a time."""

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
        pair_counts = {
            "random_next": pairs.random_next,
            "swapped": pairs.swapped,
            "single": pairs.single,
            "borrowed": pairs.borrowed_tokens,
            "cut_sentences": pairs.cut_sentences,
            "truncated": pairs.lost_tokens,
        }
        nothing = _schema(len(vocab)).empty_table()
        yield steps.Mapped(nothing, np.empty(0, np.int64), {split: counts | pair_counts})


def counts_of(examples: Examples, masks: Masks, vocab: Vocab) -> Counts:
    """Return the manifest's counts of examples and masks."""
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
    """Return the number of examples of each length."""
    lengths, numbers = np.unique(np.diff(examples.sequences.offsets), return_counts=True)
    return {str(length): number for length, number in zip(lengths.tolist(), numbers.tolist(), strict=True)}


def _schema(vocabulary_size: int) -> pa.Schema:
    """Return the columns of rows on their way to a shard: those of a shard and the order key."""
    return shard_schema(vocabulary_size).append(pa.field("order", pa.uint64(), nullable=False))


def rows_of(examples: Examples, masks: Masks, vocab: Vocab, seed: int) -> pa.Table:
    """Return examples as columns of a shard, with their order keys."""
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


def _offsets(lengths: Ints) -> pa.Array:
    return pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))


@dataclass(frozen=True)
class WriteShard:
    """Reduce: a bucket becomes a shard, its rows in the order of their keys."""

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
