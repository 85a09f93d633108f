"""The stage `evaluation`: the texts that models are scored on, as they are looked for in documents.

    runs.arrow       hash, text: a row for each different run of letters of each text, sorted by hash
    texts.parquet    file, runs, text: how many runs each text has, and its beginning

Evaluation files are read by what they look like, and every string in them is a text: all fields of tables, all strings of JSON
(SQuAD's passages, questions and answers), sentences of characters with tags, lines of anything else. Strings of less than four
runs (names, stock phrases) are left out: they stand everywhere.
"""

import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import DecontaminationConfig
from pipeline.dedup.ngrams import Hashes, Numbers, letters
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.sources import inputs

STAGE_VERSION = 1
LEAST_RUNS = 4
RUNS_FILE, TEXTS_FILE = "runs.arrow", "texts.parquet"
TEXTS_AT_ONCE = 4_096
SHOWN = 60
"""Letters of an evaluation text that are shown where a document holds it."""

_TAGGED = re.compile(r"\S[ \t]+(?:[BIESMO]|[BIESM]-\S+)\s*")
"""`北 B-LOC`: a character and its tag."""


def evaluation(decontamination: DecontaminationConfig, root: str, *, execution: Execution = SERIAL) -> Finished:
    """The stage `evaluation`: all evaluation texts as sorted hashes of their runs, 12 bytes a letter.

    Raises: CorpusError for a file that is missing, damaged, not UTF-8 or without text, and for an input none of whose texts is
        long enough to be looked for: nothing would be kept out.
    """
    files = inputs.expand(decontamination.inputs)
    settings = {"letters": decontamination.ngram_size}
    stage = Stage("evaluation", STAGE_VERSION, settings, {"files": inputs.digest(files, root)})

    def body(folder: str) -> dict[str, Any]:
        texts, numbers = [], []
        for number, file in enumerate(files):
            found = sorted(set(strings(file.url)))
            if not any(map(str.strip, found)):
                raise CorpusError(
                    f"{file.url}: an evaluation file without a text; fetch it again, or name files that have texts"
                )
            texts += found
            numbers += [number] * len(found)
        hashes, owners, runs = text_runs(texts, decontamination.ngram_size)
        kept = np.flatnonzero(runs >= LEAST_RUNS)
        _check_found(decontamination, {files[numbers[i]].url for i in kept})
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

    return run_stage(root, stage, body, execution)


def _check_found(decontamination: DecontaminationConfig, with_texts: set[str]) -> None:
    """Names and labels beside passages are no harm; an input that is nothing else is a wrong one.

    Raises: CorpusError for an input that has none of the files with texts to look for.
    """
    least = decontamination.ngram_size + LEAST_RUNS - 1
    for url in decontamination.inputs:
        if not with_texts & {file.url for file in inputs.expand([url])}:
            raise CorpusError(
                f"{url}: no text in it has {least} letters, so nothing of it would be kept out; "
                "name files with longer texts, or lower decontamination.ngram_size"
            )


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

    Raises: CorpusError for a file that is damaged or not UTF-8.
    """
    try:
        with storage.open_read(url, compression="infer") as file:
            data = file.read()
        content = data.decode("utf-8-sig")
    except (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        raise CorpusError(f"{url}: the compressed file is cut short or damaged ({error}); fetch it again") from error
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
