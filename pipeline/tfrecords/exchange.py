"""Import TFRecord files of BERT's pretraining examples as shards, and export shards to such files.

import_tfrecords(expand(["gs://old/wiki_*.tfrecord"]), "wiki", vocab, root)     stage shards_wiki_128, ready to train on
export_tfrecords(shards, vocab, "gs://old/new")                                 train-00000-0.tfrecord ...
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.config import MaskingConfig, PairsConfig
from pipeline.documents.stage import COMPRESSED
from pipeline.documents.table import part_of
from pipeline.engine import integrity, job, steps
from pipeline.engine.execution import SERIAL, Execution, Report, silent
from pipeline.engine.stages import Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.examples.masking import Masks
from pipeline.examples.pairs import Examples
from pipeline.examples.shards import ShardSet
from pipeline.examples.stage import SHARD_BYTES, SPLITS, WriteShard, counts_of, in_validation, lengths_of, rows_of
from pipeline.facts import VocabularyFacts
from pipeline.sources.inputs import InputFile, digests, unchanged, versions
from pipeline.tfrecords.bert_examples import LABEL, Columns, read_examples, record, restore
from pipeline.tfrecords.tfrecord import write_records
from pipeline.tokenization import vocabulary
from pipeline.tokenization.vocab import Vocab

STAGE_VERSION = 1


def import_tfrecords(
    files: Sequence[InputFile],
    source: str,
    vocab: Finished,
    root: str,
    *,
    seed: int = 12_345,
    validation_ratio: float = 0.005,
    licence: str = "unknown",
    execution: Execution = SERIAL,
) -> Finished:
    """Make the stage `shards_<source>_<length>` from TFRecord files, with each record's mask as its one static draw.

    Raises: CorpusError for a file that is damaged, is not a TFRecord file, or was made with another vocabulary than `vocab`.
    """
    first = next((columns for file in files[:1] for columns in read_examples(file.url)), None)
    if first is None:
        raise CorpusError(f"{files[0].url if files else 'no file'}: has no records")
    length, most = first["input_ids"].shape[1], first["masked_lm_positions"].shape[1]
    masking = MaskingConfig(policy="token", max_predictions_per_seq=most)
    pairs = PairsConfig(task="nsp" if LABEL in first else "none")
    settings = {"source": source, "sequence_length": length, "seed": seed, "validation_ratio": validation_ratio}
    settings["licence"] = licence
    known = digests(files, root)
    inputs = {**known, "vocabulary": vocab.digest}
    stage = Stage("shards", STAGE_VERSION, {**settings, "format": "tfrecord"}, inputs, source=source, length=length)

    def body(folder: str) -> dict[str, Any]:
        numbers = {split: 1 for split in SPLITS}
        # A padded record is about twice as large as its row; compressed files are assumed to be three times smaller.
        numbers["train"] = max(
            1, round(sum(file.size * (1.5 if _compressed(file.shown_url) else 0.5) for file in files) / SHARD_BYTES)
        )
        metadata = {"vocabulary_sha256": VocabularyFacts.of(vocab).sha256, "stage_key": stage.key}
        tasks = [FileTask(number, file.url) for number, file in enumerate(files)]
        read = ReadFile(vocab, length, seed, validation_ratio, numbers["train"])
        write = WriteShard(folder, numbers["train"], metadata)
        with unchanged(f"source {source!r}", [*{file.url: None for file in files}], files, known, root, folder):
            work = steps.Job(f"shards of {source}", folder, tasks, read, write, versions(files))
            entries, counts = job.run(work, execution)
        return {
            "files": entries,
            "seed": seed,
            "licence": licence,
            "vocabulary": VocabularyFacts.of(vocab),
            "masking": asdict(masking),
            "pairs": asdict(pairs),
            "counts": {split: counts[split] for split in SPLITS if split in counts},
            "length_histogram": {split: counts.get("lengths", {}).get(split, {}) for split in SPLITS},
            "unknown_characters": {},
        }

    return run_stage(root, stage, body, execution)


def _compressed(url: str) -> bool:
    return url.endswith(COMPRESSED)


@dataclass(frozen=True)
class FileTask:
    """One TFRecord file."""

    number: int
    url: str

    @property
    def name(self) -> str:
        return f"{self.number:05d}"


@dataclass(frozen=True)
class ReadFile:
    """Map: the rows of a file, and the shard of each."""

    vocabulary: Finished
    length: int
    seed: int
    validation_ratio: float
    train_shards: int

    def __call__(self, task: FileTask) -> Iterator[steps.Mapped]:
        read = 0
        for columns in read_examples(task.url):
            where = task.url if not read else f"{task.url}, after {read} records"
            if columns["input_ids"].shape[1] != self.length:
                raise CorpusError(f"{where}: sequences are not {self.length} tokens long, unlike those of the first file")
            read += len(columns["input_ids"])
            yield from self._restored(columns, where)

    @cached_property
    def _vocab(self) -> Vocab:
        return vocabulary.load(self.vocabulary)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_vocab"}

    def _restored(self, columns: Columns, where: str) -> Iterator[steps.Mapped]:
        examples, masks = restore(columns, self._vocab, where)
        validation = in_validation(examples.document_ids, self.validation_ratio)
        for split, rows in (("train", ~validation), ("validation", validation)):
            if rows.all():
                yield self._mapped(split, examples, masks)
            elif rows.any():
                some = {name: column[rows] for name, column in columns.items()}
                yield self._mapped(split, *restore(some, self._vocab, where))

    def _mapped(self, split: str, examples: Examples, masks: Masks) -> steps.Mapped:
        table = rows_of(examples, masks, self._vocab, self.seed)
        buckets = np.full(len(table), self.train_shards)
        if split == "train":
            buckets = part_of(table["order"].to_numpy(), self.train_shards)
        counts = {"documents": len(np.unique(examples.document_ids)), "random_next": int((examples.pair_labels == 1).sum())}
        counted = {**counts, **counts_of(examples, masks, self._vocab)}
        return steps.Mapped(table, buckets, {split: counted, "lengths": {split: lengths_of(examples)}})


def export_tfrecords(
    stage: Finished, vocab: Vocab, output: str, *, max_predictions: int = 0, report: Report = silent
) -> list[str]:
    """Write shards as TFRecord files, one per shard and static draw, and return their URLs.

    A row without a pair gets the label 0, because the format cannot express that there is none.

    Args:
        max_predictions: predictions to pad to; 0 = the recipe's max_predictions_per_seq, or else the most that any row has.
            Sequences are padded to the sequence length of the shards.

    Raises: CorpusError for shards of another vocabulary, without static masks, or with more than `max_predictions`.
    """
    if stage.manifest["vocabulary"]["sha256"] != vocab.sha256:
        raise CorpusError(f"{stage.url}: made with another vocabulary; give the vocab.txt of its recipe")
    draws = stage.manifest["masking"]["static_draws"]
    if not draws:
        raise CorpusError(f"{stage.url}: has no masks, they are drawn during training; prepare it with static_draws = 1")
    most = max_predictions or stage.manifest["masking"]["max_predictions_per_seq"] or _most_predictions(stage)
    length = stage.manifest["sequence_length"]
    sets = [(split, ShardSet(stage, split)) for split in SPLITS]
    total, done, urls = draws * sum(len(rows) for _, rows in sets), 0, []
    for split, rows in sets:
        for shard in range(len(rows.entries)):
            first, last = rows.starts[shard : shard + 2].tolist()
            for draw in range(draws):
                url = storage.join(output, f"{split}-{shard:05d}-{draw}.tfrecord")
                records = (record(rows.row(i), draw, length, most, vocab.pad_id) for i in range(first, last))
                with storage.open_write(url) as file:
                    done += write_records(file, records)
                urls.append(url)
                report(done, total, url)
    return urls


def _most_predictions(stage: Finished) -> int:
    """Return the most predictions of any row and draw."""
    most = 1
    for entry in stage.files("", ".arrow"):
        with integrity.open_finished(stage.file(entry["name"])) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                lengths = reader.get_batch(number)["mask_lengths"]
                most = max(most, int(lengths.values.to_numpy().max(initial=1)))
    return most
