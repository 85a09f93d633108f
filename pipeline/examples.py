"""The stage `shards_<source>_<length>`: kept documents become masked training examples in Arrow shards.

    train-00000.arrow ...  validation-00000.arrow ...          rows in the order of a hash of their example_id

A task takes one part of the documents (which are in random order there), so that the "other document" of a negative pair comes
from anywhere. Examples travel to their shard through spill files, sorted by a 64-bit order key; a shard is a range of keys, so
rows are shuffled over everything, the same way at any number of workers.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import job, shards, storage, tally, vocabulary
from pipeline.config import CorpusConfig, SourceConfig
from pipeline.documents import part_of
from pipeline.duplicates import PartTask, kept_documents
from pipeline.errors import CorpusError
from pipeline.masking import MaskingRules, draws
from pipeline.pairs import DocumentPieces, Example, PairCounts, build_examples, document_pieces
from pipeline.pieces import PieceEncoder
from pipeline.stages import FileEntry, Finished, Report, Stage, silent
from pipeline.stages import run as run_stage
from pipeline.tally import Tally
from pipeline.vocab import Vocab
from pipeline.words import Segmenter

STAGE_VERSION = 1
SHARD_BYTES = 128 << 20
MOST_UNKNOWN = 50
"""Characters without a piece that the manifest lists."""

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


def examples(
    source: SourceConfig,
    length: int,
    documents: Finished,
    decisions: Finished,
    vocab: Finished,
    config: CorpusConfig,
    root: str,
    *,
    workers: int = 1,
    report: Report = silent,
) -> Finished:
    """The shards of one source at one sequence length.

    Raises: CorpusError when no training example comes of the source.
    """
    settings = {
        "source": source.name,
        "sequence_length": length,
        "seed": config.seed,
        "validation_share": config.validation_share,
        "masking": config.masking,
        "pairs": config.pairs,
        "do_lower_case": config.vocabulary.do_lower_case,
    }
    inputs = {"documents": documents.digest, "duplicates": decisions.digest, "vocabulary": vocab.digest}
    stage = Stage(f"shards_{source.name}_{length}", STAGE_VERSION, settings, inputs)

    def body(folder: str) -> dict[str, Any]:
        split_shards = _shards_per_split(decisions.manifest["counts"][source.name]["characters_kept"], config)
        work = job.Job(
            name=f"shards of {source.name}, length {length}",
            folder=folder,
            tasks=[PartTask(0, documents, entry["name"]) for entry in documents.files("part-")],
            map=MakeExamples(length, decisions, vocab, config, split_shards),
            reduce=WriteShard(
                folder, split_shards["train"], {"vocabulary_sha256": vocab.manifest["sha256"], "stage_key": stage.key}
            ),
        )
        entries, counts = job.run(work, workers, report)
        if not any(entry.name.startswith("train-") for entry in entries):
            raise CorpusError(
                f"source {source.name!r}: no training example of length {length}; it is too small, or all validation"
            )
        return {"files": entries, **_facts(settings, vocab, counts)}

    return run_stage(root, stage, body)


def _shards_per_split(characters: int, config: CorpusConfig) -> dict[Split, int]:
    """How many shards, from what is known before: a piece a character, 2.2 bytes each and 0.6 more for each static draw."""
    row_bytes = characters * config.pairs.dupe_factor * (2.2 + 0.6 * config.masking.static_draws)
    share = config.validation_share
    return {
        "train": max(1, round(row_bytes * (1 - share) / SHARD_BYTES)),
        "validation": max(1, round(row_bytes * share / SHARD_BYTES)) if share else 0,
    }


def _facts(settings: dict[str, Any], vocab: Finished, counts: Tally) -> dict[str, Any]:
    unknown = tally.most_common(counts.get("unknown_characters", {}), MOST_UNKNOWN)
    return {
        "source": settings["source"],
        "sequence_length": settings["sequence_length"],
        "seed": settings["seed"],
        "vocabulary": {name: vocab.manifest[name] for name in ("size", "sha256", "do_lower_case")},
        "masking": asdict(settings["masking"]),
        "pairs": asdict(settings["pairs"]),
        "counts": {split: counts[split] for split in SPLITS if split in counts},
        "length_histogram": {split: counts.get("lengths", {}).get(split, {}) for split in SPLITS},
        "unknown_characters": unknown,
    }


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
    """Map: the examples of one part, with their static masks and their shard."""

    length: int
    decisions: Finished
    vocabulary: Finished
    config: CorpusConfig
    shards: dict[Split, int]

    def __call__(self, task: PartTask) -> job.Mapped:
        kept = kept_documents(task.stage, self.decisions, task.part)
        validation = in_validation(kept["id"].to_numpy(), self.config.validation_share)
        counts: Tally = {}
        tables, buckets = [], []
        for split in SPLITS:
            rows = kept.filter(pa.array(validation if split == "validation" else ~validation))
            table = self._table(split, self._documents(rows, counts), counts)
            tables.append(table)
            first = self.shards["train"] if split == "validation" else 0
            buckets.append(first + part_of(table["order"].to_numpy(), max(1, self.shards[split])))
        return job.Mapped(pa.concat_tables(tables), np.concatenate(buckets), counts)

    @cached_property
    def _tools(self) -> tuple[Vocab, PieceEncoder, Segmenter, MaskingRules]:
        vocab = vocabulary.load(self.vocabulary)
        masking = self.config.masking
        encoder = PieceEncoder(vocab, self.config.vocabulary.do_lower_case)
        return vocab, encoder, Segmenter(), MaskingRules.of(vocab, masking.masked_lm_prob, masking.max_predictions_per_seq)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tools"}

    def _documents(self, rows: pa.Table, counts: Tally) -> list[DocumentPieces]:
        vocab, encoder, segmenter, _ = self._tools
        result = []
        unknown: Counter[str] = Counter()
        for document_id, title, text in zip(*(rows[name].to_pylist() for name in ("id", "title", "text")), strict=True):
            whole = f"{title}\n{text}" if title else text
            document = document_pieces(document_id, whole, encoder, segmenter, self.config.masking.policy)
            if (document.ids == vocab.unk_id).any():
                encoded = encoder.encode(whole)
                for start, end in encoded.offsets[encoded.ids == vocab.unk_id].tolist():
                    unknown.update(whole[start:end])
            result.append(document)
        counts["unknown_characters"] = tally.add(counts.get("unknown_characters", {}), dict(unknown))
        return result

    def _table(self, split: Split, documents: list[DocumentPieces], counts: Tally) -> pa.Table:
        vocab, _, _, rules = self._tools
        pairs = PairCounts()
        made = list(
            build_examples(
                documents,
                length=self.length,
                task=self.config.pairs.task,
                short_seq_prob=self.config.pairs.short_seq_prob,
                seed=self.config.seed,
                vocab=vocab,
                dupe_factor=self.config.pairs.dupe_factor,
                counts=pairs,
            )
        )
        masks = [
            draws(
                self.config.masking.static_draws,
                self.config.seed,
                e.example_id,
                e.input_ids,
                e.unit_starts,
                e.second_start,
                rules,
            )
            for e in made
        ]
        lengths = Counter(len(example.input_ids) for example in made)
        pieces = sum(length * number for length, number in lengths.items())
        counts.setdefault("lengths", {})[split] = {str(length): number for length, number in sorted(lengths.items())}
        counts[split] = {
            "rows": len(made),
            "documents": len(documents),
            "pieces": pieces,
            "masked": sum(len(positions) for positions, _, _ in masks),
            "unknown": sum(int(np.count_nonzero(example.input_ids == vocab.unk_id)) for example in made),
            "random_next": pairs.random_next,
            "borrowed": pairs.borrowed_pieces,
            "cut_sentences": pairs.cut_sentences,
            "truncated": pairs.lost_pieces,
        }
        return _rows(made, masks, len(vocab), self.config.seed)


def _rows(made: list[Example], masks: Iterable[tuple[Any, Any, Any]], vocabulary_size: int, seed: int) -> pa.Table:
    """Examples as columns of a shard, and their order keys."""
    piece = shards.piece_type(vocabulary_size)
    positions, replacements, lengths = zip(*masks, strict=True) if made else ((), (), ())
    example_ids = np.array([example.example_id for example in made], np.uint64)
    columns = {
        "example_id": pa.array(example_ids),
        "document_id": pa.array([example.document_id for example in made], pa.uint64()),
        "input_ids": shards.list_array([example.input_ids for example in made], piece),
        "unit_starts": pa.array([shards.pack_units(example.unit_starts) for example in made], pa.binary()),
        "second_start": pa.array([example.second_start for example in made], pa.uint16()),
        "pair_label": pa.array([example.pair_label for example in made], pa.uint8()),
        "mask_positions": shards.list_array(positions, pa.uint16()),
        "mask_replacements": shards.list_array(replacements, piece),
        "mask_lengths": shards.list_array(lengths, pa.uint16()),
    }
    table = pa.table(columns, schema=shards.schema(vocabulary_size))
    return table.append_column("order", pa.array(order_keys(example_ids, seed)))


@dataclass(frozen=True)
class WriteShard:
    """Reduce: one shard, its rows in the order of their keys."""

    folder: str
    train_shards: int
    metadata: dict[str, str]

    def __call__(self, bucket: int, table: pa.Table) -> job.Reduced:
        split, number = ("train", bucket) if bucket < self.train_shards else ("validation", bucket - self.train_shards)
        name = f"{split}-{number:05d}.arrow"
        table = table.sort_by([("order", "ascending"), ("example_id", "ascending")]).drop_columns("order")
        with storage.open_write(storage.join(self.folder, name)) as file:
            shards.write_shard(file, table, self.metadata)
        return job.Reduced((FileEntry.of(self.folder, name, table.num_rows),), {})
