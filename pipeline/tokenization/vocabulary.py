"""The stage `vocabulary`: one vocab.txt for all later stages, given or built from the kept documents.

A given file is checked and copied byte for byte. To build one, characters and words are counted part by part, and only the
counts are gathered.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.arrays import code_points
from pipeline.config import VocabularyConfig
from pipeline.dedup.kept import kept_documents
from pipeline.documents.table import Part, parts
from pipeline.engine import integrity, job, steps
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.sources.formats import foreign
from pipeline.tokenization.vocab import Vocab, build, find_words, punctuation_map

STAGE_VERSION = 1
FILE = "vocab.txt"


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
        work = steps.Job("vocabulary", folder, parts(documents), CountText(decisions), BuildVocabulary(folder, config))
        job.run(work, execution)
        data = storage.read_bytes(storage.join(folder, FILE))
        return _write(folder, Vocab.from_bytes(data, FILE), data, config)

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
    """Map: the counts of characters and words in the kept documents of a part."""

    decisions: Finished

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
        table = pa.table(
            {
                "text": pa.array([*map(chr, seen.tolist()), *words], pa.string()),
                "word": pa.array(np.arange(len(seen) + len(words)) >= len(seen)),
                "count": pa.array(np.concatenate((characters[seen], np.fromiter(words.values(), np.int64, len(words))))),
            }
        )
        return steps.Mapped(table, np.zeros(table.num_rows, np.int64), {})


@dataclass(frozen=True)
class BuildVocabulary:
    """Reduce, with a single bucket: the counts become vocab.txt."""

    folder: str
    config: VocabularyConfig

    def __call__(self, bucket: int, table: pa.Table) -> steps.Reduced:
        counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        table = table.group_by(["text", "word"]).aggregate([("count", "sum")])
        for text, word, number in zip(*(table[name].to_pylist() for name in ("text", "word", "count_sum")), strict=True):
            counts[word][text] += number
        vocab = build(*counts, self.config.size, self.config.min_count, self.config.do_lower_case)
        storage.write_bytes(storage.join(self.folder, FILE), vocab.to_bytes())
        return steps.Reduced((), {})
