"""Leaks: which documents hold texts that models are scored on.

    evaluation             once a recipe:  runs of 13 letters of every evaluation text, sorted hashes, and the texts they are of
    contamination_<source>      part-00000.parquet: id, file, runs, share, text: a row for each document and evaluation file that
                           have a run in common

`runs` is how many different runs of one text of that file stand in the document, `share` that number by all runs of the text.
Both are the greatest over the texts of the file; `text` is the beginning of the one with the greatest share. Whether that is a
leak is decided later, in pipeline/dedup/stage.py, so that a changed threshold compares nothing again.

Measured with CMRC, XNLI, OCNLI, LCQMC, ChnSentiCorp and People's Daily NER (3.6 million runs), thresholds of 0.5 and 30 runs:
an encyclopedia made of CMRC's passages is found whole (2,403 of 2,403 documents). Of 60 letters of a passage put into a news
item 99.5 % are found, of 80 all, of 150 with 2 % of them changed 99.8 %; of whole texts of 16 letters and more, all. Of 19,589
news items 17 are dropped for stock phrases (0.09 %); runs of 10 letters would drop 154, runs of 16 would drop 9 and miss texts
of less than 19 letters. It takes 20 ms a MB of news.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import DecontaminationConfig, SourceConfig
from pipeline.dedup.evaluation_texts import RUNS_FILE, TEXTS_FILE, evaluation
from pipeline.dedup.ngrams import Hashes, Numbers, letters
from pipeline.dedup.signatures import text_batches
from pipeline.documents.table import Part, parts
from pipeline.engine import counting, job, steps
from pipeline.engine import parquet as tables
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage

STAGE_VERSION = 1

SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("runs", pa.uint32(), nullable=False),
        pa.field("share", pa.float32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)


def contamination(
    source: SourceConfig,
    documents: Finished,
    decontamination: DecontaminationConfig,
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """What the documents of one source have in common with the evaluation texts.

    Raises: CorpusError for evaluation files that are missing or cannot be read.
    """
    texts = evaluation(decontamination, root, execution=execution)
    settings = {"letters": decontamination.ngram_size}
    inputs_ = {"documents": documents.digest, "evaluation": texts.digest}
    stage = Stage("contamination", STAGE_VERSION, settings, inputs_, source=source.name)

    def body(folder: str) -> dict[str, Any]:
        name = f"overlaps of {source.name}"
        comparison = ComparePart(folder, texts.url, decontamination.ngram_size)
        entries, counts = job.run(steps.Job(name=name, folder=folder, tasks=parts([documents]), map=comparison), execution)
        facts = {"parts": documents.manifest["parts"]}
        return {"files": entries, **facts, "counts": {"documents": counts.get("documents", 0)}}

    return run_stage(root, stage, body, execution)


def needed(decontamination: DecontaminationConfig) -> bool:
    """Whether there is anything to compare with."""
    return decontamination.enabled and bool(decontamination.inputs)


@dataclass(frozen=True)
class ComparePart:
    """Map: what the documents of one part have in common with the evaluation texts."""

    folder: str
    evaluation: str
    """URL of the stage."""
    letters: int

    def __call__(self, task: Part) -> steps.Reduced:
        index = Index.load(self.evaluation)
        tables = [SCHEMA.empty_table()]
        for ids, texts in text_batches(task.url):
            tables.append(index.overlaps(ids, texts, self.letters))
        table = pa.concat_tables(tables).combine_chunks()
        with storage.open_write(storage.join(self.folder, task.file)) as file:
            pq.write_table(table, file, compression="zstd")
        counts: Counts = {}
        counting.count(counts, "documents", number=len(np.unique(table["id"].to_numpy())))
        return steps.Reduced((FileEntry.of(self.folder, task.file, len(table)),), counts)


@dataclass(frozen=True)
class Index:
    """The evaluation texts as they are looked up."""

    hashes: Hashes
    """Runs, sorted; one that is in several texts stands several times."""
    texts: npt.NDArray[np.uint32]
    """The text of each run."""
    runs: npt.NDArray[np.uint32]
    """Runs of each text."""
    files: npt.NDArray[np.int64]
    """The file of each text, by its place among `names`."""
    names: tuple[str, ...]
    beginnings: pa.Array
    seen: npt.NDArray[np.uint8]
    """A bit for each beginning of a hash: whether any run begins so. All but 2 % of other runs are told apart by it."""

    @staticmethod
    @functools.lru_cache(maxsize=1)
    def load(url: str) -> "Index":
        """The index of a finished stage `evaluation`; local files are mapped, so that workers share them."""
        place = storage.join(url, RUNS_FILE)
        source = pa.memory_map(str(storage.local_path(place))) if storage.is_local(place) else storage.read_bytes(place)
        table = pa.ipc.open_file(source).read_all().combine_chunks()
        texts = tables.read(storage.join(url, TEXTS_FILE)).combine_chunks()
        files = texts["file"].to_pylist()
        names = tuple(sorted(set(files)))
        numbers = np.searchsorted(np.array(names), files) if names else np.zeros(0, np.int64)
        hashes = table["hash"].to_numpy()
        seen = np.zeros(1 << min(26, max(10, (4 * len(hashes)).bit_length())), np.uint8)
        np.bitwise_or.at(seen, *_bits(hashes, len(seen)))
        beginnings = texts["text"].combine_chunks()
        return Index(hashes, table["text"].to_numpy(), texts["runs"].to_numpy(), numbers, names, beginnings, seen)

    def overlaps(self, ids: Hashes, texts: Sequence[str], length: int) -> pa.Table:
        """A row for each document and file that have a run in common, in the order of the documents."""
        rows, found = self._common(texts, length)
        # How many different runs of each text stand in each document.
        pairs = (rows << 32) | self.texts[found]
        pairs, runs = np.unique(pairs, return_counts=True)
        rows, text = pairs >> 32, pairs & 0xFFFFFFFF
        share = runs / self.runs[text]
        # Of the texts of a file, the one with the greatest share comes first.
        order = np.lexsort((text, -runs, -share, self.files[text], rows))
        key = (rows * max(len(self.names), 1) + self.files[text])[order]
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
        best = order[first]
        most = np.maximum.reduceat(runs[order], first) if len(first) else runs[:0]
        columns = [
            ids[rows[best]],
            pa.array([self.names[number] for number in self.files[text[best]]], pa.string()),
            most.astype(np.uint32),
            share[best].astype(np.float32),
            self.beginnings.take(pa.array(text[best])),
        ]
        return pa.table(columns, schema=SCHEMA)

    def _common(self, texts: Sequence[str], length: int) -> tuple[Numbers, Numbers]:
        """Pairs of a document and a place in `hashes` whose run stands in it; each once."""
        folded = letters(texts, gap=length - 1)
        hashes, counts = folded.windows(length)
        places, bits = _bits(hashes, len(self.seen))
        maybe = np.flatnonzero(self.seen[places] & bits)
        maybe = maybe[np.argsort(hashes[maybe])]  # in order, neighbours are searched for near each other: thrice as fast
        rows, hashes = folded.owners(counts)[maybe], hashes[maybe]
        first = np.searchsorted(self.hashes, hashes)
        hit = (first < len(self.hashes)) & (rows < len(texts))
        hit[hit] = self.hashes[first[hit]] == hashes[hit]
        pairs = np.sort((first[hit] << 32) | rows[hit])
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
        rows, first = pairs & 0xFFFFFFFF, pairs >> 32
        number = np.searchsorted(self.hashes, self.hashes[first], side="right") - first
        places = np.repeat(first - np.cumsum(number) + number, number) + np.arange(number.sum())
        return np.repeat(rows, number), places


def _bits(hashes: Hashes, size: int) -> tuple[Numbers, npt.NDArray[np.uint8]]:
    """Of each hash its byte and its bit in a table of so many bytes."""
    beginnings = hashes >> np.uint64(64 - size.bit_length() - 2)
    return (beginnings >> np.uint64(3)).astype(np.int64), np.uint8(1) << (beginnings & np.uint64(7)).astype(np.uint8)
