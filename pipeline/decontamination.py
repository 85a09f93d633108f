"""Leaks: which documents hold texts that models are scored on.

    evaluation             once a recipe:  runs of 13 letters of every evaluation text, sorted hashes, and the texts they are of
    overlaps_<source>      part-00000.parquet: id, file, runs, share, text: a row for each document and evaluation file that
                           have a run in common

`runs` is how many different runs of one text of that file stand in the document, `share` that number by all runs of the text.
Both are the greatest over the texts of the file; `text` is the beginning of the one with the greatest share. Whether that is a
leak is decided later, in pipeline/duplicates.py, so that a changed threshold compares nothing again.

Evaluation files are read by what they look like, and every string in them is a text: all fields of tables, all strings of JSON
(SQuAD's passages, questions and answers), sentences of characters with tags, lines of anything else. Strings of less than four
runs (names, stock phrases) are left out: they stand everywhere.

Measured with CMRC, XNLI, OCNLI, LCQMC, ChnSentiCorp and People's Daily NER (3.6 million runs), thresholds of 0.5 and 30 runs:
an encyclopedia made of CMRC's passages is found whole (2,403 of 2,403 documents). Of 60 letters of a passage put into a news
item 99.5 % are found, of 80 all, of 150 with 2 % of them changed 99.8 %; of whole texts of 16 letters and more, all. Of 19,589
news items 17 are dropped for stock phrases (0.09 %); runs of 10 letters would drop 154, runs of 16 would drop 9 and miss texts
of less than 19 letters. It takes 12 ms a MB of news.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import inputs, job, storage, tally
from pipeline.config import DecontaminationConfig, SourceConfig
from pipeline.errors import CorpusError
from pipeline.letters import Hashes, Numbers, letters
from pipeline.signatures import Part, parts, text_batches
from pipeline.stages import FileEntry, Finished, Report, Stage, silent
from pipeline.stages import run as run_stage
from pipeline.tally import Tally

EVALUATION_VERSION = 1
STAGE_VERSION = 1
LEAST_RUNS = 4
RUNS_FILE, TEXTS_FILE = "runs.arrow", "texts.parquet"
TEXTS_AT_ONCE = 4_096
SHOWN = 60
"""Letters of an evaluation text that are shown where a document holds it."""

_TAGGED = re.compile(r"\S[ \t]+(?:[BIESMO]|[BIESM]-\S+)\s*")
"""`北 B-LOC`: a character and its tag."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("runs", pa.uint32(), nullable=False),
        pa.field("share", pa.float32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)


def evaluation(decontamination: DecontaminationConfig, root: str) -> Finished:
    """The stage `evaluation`: all evaluation texts as sorted hashes of their runs, 12 bytes a letter.

    Raises: CorpusError for a file that is missing, not UTF-8, or without any text.
    """
    files = inputs.expand(decontamination.inputs)
    settings = {"letters": decontamination.letters}
    stage = Stage("evaluation", EVALUATION_VERSION, settings, {"files": inputs.digest(files, root)})

    def body(folder: str) -> dict[str, Any]:
        texts, numbers = [], []
        for number, file in enumerate(files):
            found = sorted(set(strings(file.url)))
            texts += found
            numbers += [number] * len(found)
        hashes, owners, runs = text_runs(texts, decontamination.letters)
        kept = np.flatnonzero(runs >= LEAST_RUNS)
        place = np.full(len(texts), -1)
        place[kept] = np.arange(len(kept))
        usable = place[owners] >= 0
        table = pa.table({"hash": hashes[usable], "text": place[owners[usable]].astype(np.uint32)})
        with storage.open_write(storage.join(folder, RUNS_FILE)) as out, pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
        columns = [[files[numbers[i]].name for i in kept], runs[kept].astype(np.uint32), [texts[i][:SHOWN] for i in kept]]
        with storage.open_write(storage.join(folder, TEXTS_FILE)) as out:
            pq.write_table(pa.table(columns, names=["file", "runs", "text"]), out)
        counts = {"files": len(files), "texts": len(kept), "too_short": len(texts) - len(kept), "runs": int(usable.sum())}
        return {"files": [FileEntry.of(folder, name) for name in (RUNS_FILE, TEXTS_FILE)], "counts": counts}

    return run_stage(root, stage, body)


def overlaps(
    source: SourceConfig,
    documents: Finished,
    decontamination: DecontaminationConfig,
    root: str,
    *,
    workers: int = 1,
    report: Report = silent,
) -> Finished:
    """What the documents of one source have in common with the evaluation texts.

    Raises: CorpusError for evaluation files that are missing or cannot be read.
    """
    texts = evaluation(decontamination, root)
    settings = {"letters": decontamination.letters}
    inputs_ = {"documents": documents.digest, "evaluation": texts.digest}
    stage = Stage(f"overlaps_{source.name}", STAGE_VERSION, settings, inputs_)

    def body(folder: str) -> dict[str, Any]:
        name = f"overlaps of {source.name}"
        comparison = ComparePart(folder, texts.url, decontamination.letters)
        entries, counts = job.run(job.Job(name=name, folder=folder, tasks=parts([documents]), map=comparison), workers, report)
        facts = {"source": source.name, "parts": documents.manifest["parts"]}
        return {"files": entries, **facts, "counts": {"documents": counts.get("documents", 0)}}

    return run_stage(root, stage, body)


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

    def __call__(self, task: Part) -> job.Reduced:
        index = Index.load(self.evaluation)
        tables = [SCHEMA.empty_table()]
        for ids, texts in text_batches(task.url):
            tables.append(index.overlaps(ids, texts, self.letters))
        table = pa.concat_tables(tables).combine_chunks()
        with storage.open_write(storage.join(self.folder, task.file)) as file:
            pq.write_table(table, file, compression="zstd")
        counts: Tally = {}
        tally.count(counts, "documents", number=len(np.unique(table["id"].to_numpy())))
        return job.Reduced((FileEntry.of(self.folder, task.file, len(table)),), counts)


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
        with storage.open_read(storage.join(url, TEXTS_FILE)) as file:
            texts = pq.read_table(file).combine_chunks()
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


def text_runs(texts: Sequence[str], length: int) -> tuple[Hashes, npt.NDArray[np.uint32], Numbers]:
    """Different runs of some texts: hashes (sorted), the text of each; and how many runs each text has.

    A text shorter than a run has none.
    """
    hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)]
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        folded = letters(texts[first : first + TEXTS_AT_ONCE], gap=length - 1)
        found, _ = folded.windows(length)
        rows = folded.owners(np.maximum(folded.lengths - length + 1, 0))
        inside = rows < len(folded.lengths)
        hashes.append(found[inside])
        owners.append((rows[inside] + first).astype(np.uint32))
    all_hashes, all_owners = np.concatenate(hashes), np.concatenate(owners)
    order = np.lexsort((all_owners, all_hashes))
    all_hashes, all_owners = all_hashes[order], all_owners[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (all_hashes[1:] != all_hashes[:-1]) | (all_owners[1:] != all_owners[:-1])
    return all_hashes[new], all_owners[new], np.bincount(all_owners[new], minlength=len(texts))


def strings(url: str) -> Iterator[str]:
    """Every text of an evaluation file; repeated ones too.

    Raises: CorpusError for a file that is not UTF-8.
    """
    with storage.open_read(url, compression="infer") as file:
        data = file.read()
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{url}: not UTF-8 ({error.reason} at byte {error.start}); convert it first") from error
    lines = content.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith(("{", "[")):
        yield from _json_strings(content, lines)
    elif _TAGGED.fullmatch(first):
        yield from _tagged(lines)
    else:
        yield from (field for line in lines for field in line.rstrip("\r").split("\t") if field)


def _json_strings(content: str, lines: Iterable[str]) -> Iterator[str]:
    """Of one JSON value, or of JSON lines; a line that is none is a text as it stands."""
    try:
        return (yield from _within(json.loads(content)))
    except ValueError:
        pass
    for line in lines:
        try:
            yield from _within(json.loads(line)) if line.strip() else ()
        except ValueError:
            yield line


def _within(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _within(item)


def _tagged(lines: Iterable[str]) -> Iterator[str]:
    """Sentences: the first characters of their lines."""
    sentence: list[str] = []
    for line in (*lines, ""):
        if line.strip():
            sentence.append(line.split()[0])
        elif sentence:
            yield "".join(sentence)
            sentence = []
