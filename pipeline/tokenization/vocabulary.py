"""The stage `vocabulary`: one vocab.txt for all later stages, given or built from the kept documents.

A given file is checked and copied byte for byte. To build one, characters and words are counted part by part, their counts are
added up in buckets by a hash, and only those of frequent ones are gathered: a large corpus has many different numbers.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.arrays import code_points
from pipeline.config import VocabularyConfig
from pipeline.dedup.kept import kept_documents
from pipeline.documents.table import Part, parts
from pipeline.engine import integrity, job, parquet, steps
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import WORK, FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.sources.formats import foreign
from pipeline.tokenization.vocab import Vocab, assemble, find_words, normalised_counts, punctuation_map

STAGE_VERSION = 1
FILE = "vocab.txt"
COUNTS = pa.schema([("text", pa.string()), ("word", pa.bool_()), ("count", pa.int64())])
"""A character or word, whether it is a word, and how often it occurs."""
PARTS_PER_BUCKET = 64
"""Parts of documents for each bucket of counts: a part has some ten thousand different words."""


def vocabulary(
    documents: Sequence[Finished],
    decisions: Finished | None,
    config: VocabularyConfig,
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """Take over the given vocabulary, or build one.

    Args:
        decisions: the stage `dedup`; None without documents, when the vocabulary must be given.

    Raises: CorpusError for a given file that is not a vocabulary, or if none is given and there is no text to build one from;
        StorageError for a file that cannot be read.
    """
    if config.url:
        data = storage.read_bytes(config.url)
        foreign.refuse_stand_in(data[:4_096].decode(errors="replace"), config.url)
        settings = {"do_lower_case": config.do_lower_case, "map_punctuation": config.map_punctuation}
        stage = Stage("vocabulary", STAGE_VERSION, settings, {"vocab.txt": storage.bytes_digest(data)})

        def take_over(folder: str) -> dict[str, Any]:
            return _write(folder, Vocab.from_bytes(data, config.url), data, config)

        return run_stage(root, stage, take_over, execution)

    if decisions is None:
        raise CorpusError("no vocabulary, and no text to build one from; name the vocab.txt that the examples were made with")
    inputs = {str(done.manifest["source"]): done.digest for done in documents}
    stage = Stage("vocabulary", STAGE_VERSION, {"vocabulary": config}, {**inputs, "dedup": decisions.digest})

    def body(folder: str) -> dict[str, Any]:
        tasks, counted = parts(documents), storage.join(folder, f"{WORK}counts")
        counting = CountText(decisions, config.do_lower_case, len(tasks) // PARTS_PER_BUCKET + 1)
        entries, _ = job.run(steps.Job("vocabulary", counted, tasks, counting, SumCounts(counted, config.min_count)), execution)
        counts: tuple[dict[str, int], dict[str, int]] = ({}, {})
        for entry in entries:
            frequent = parquet.read(storage.join(counted, entry.name), ["text", "word", "count_sum"])
            for text, word, number in zip(*frequent.to_pydict().values(), strict=True):
                counts[word][text] = number
        vocab = assemble(*counts, config.size, config.min_count, config.do_lower_case)
        return _write(folder, vocab, vocab.to_bytes(), config)

    return run_stage(root, stage, body, execution)


def load(stage: Finished) -> Vocab:
    """Read the vocabulary of a finished stage."""
    url = stage.file(FILE)
    return Vocab.from_bytes(integrity.read_bytes(url), url)


def _write(folder: str, vocab: Vocab, data: bytes, config: VocabularyConfig) -> dict[str, Any]:
    storage.write_bytes(storage.join(folder, FILE), data)
    facts = {
        "size": len(vocab),
        "sha256": vocab.sha256,
        "do_lower_case": config.do_lower_case,
        "map_punctuation": config.map_punctuation,
        "mapped_punctuation": punctuation_map(vocab) if config.map_punctuation else {},
        "built": not config.url,
    }
    return {"files": [FileEntry.of(folder, FILE)], **facts}


@dataclass(frozen=True)
class CountText:
    """Map: the counts of normalised characters and words in the kept documents of a part."""

    decisions: Finished
    do_lower_case: bool
    buckets: int

    def __call__(self, task: Part) -> steps.Mapped:
        characters = np.zeros(0x110000, np.int64)
        words: Counter[str] = Counter()
        documents = kept_documents(task.stage, self.decisions, task.file)
        for column in ("title", "text"):
            for batch in documents[column].chunks:
                text = "\n".join(batch.to_pylist())
                found = np.bincount(code_points(text))
                characters[: len(found)] += found
                words.update(find_words(text))
        seen = np.flatnonzero(characters)
        counts = normalised_counts(dict(zip(map(chr, seen), characters[seen].tolist(), strict=True)), words, self.do_lower_case)
        rows = [(text, word, number) for word, some in zip((False, True), counts, strict=True) for text, number in some.items()]
        table = pa.table([[row[column] for row in rows] for column in range(len(COUNTS))], schema=COUNTS)
        return steps.Mapped(table, np.array([zlib.crc32(text.encode()) % self.buckets for text, _, _ in rows], np.int64), {})


@dataclass(frozen=True)
class SumCounts:
    """Reduce: the sums of the counts of some characters and words, without those below `min_count`."""

    folder: str
    min_count: int

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        sums = table.group_by(["text", "word"]).aggregate([("count", "sum")])
        name = f"counts-{bucket:05d}.parquet"
        with storage.open_write(storage.join(self.folder, name)) as file:
            pq.write_table(sums.filter(pc.greater_equal(sums["count_sum"], self.min_count)), file)
        return steps.Reduced((FileEntry.of(self.folder, name),), {})
