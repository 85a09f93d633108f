"""The stage `evaluation`: n-grams of the texts that models are evaluated on, which documents are then searched for.

    runs.arrow       hash, text: a row for each distinct n-gram of each text, sorted by hash
    texts.parquet    file, runs, text: number of n-grams of each text, and its start

Every text of an evaluation file counts (pipeline/sources/formats/evaluation.py). Those of less than four n-grams (names, stock
phrases) are left out, because they occur everywhere.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.arrays import Hashes, Ints, starts_of_groups
from pipeline.config import DecontaminationConfig
from pipeline.dedup.ngrams import normalize_texts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.sources import inputs
from pipeline.sources.formats.evaluation import Text, answer_files, strings

STAGE_VERSION = 4
MIN_NGRAMS = 4
NGRAMS_FILE, TEXTS_FILE = "runs.arrow", "texts.parquet"
TEXTS_AT_ONCE = 4_096
PREVIEW_CHARACTERS = 60
"""Characters of an evaluation text that the report and `inspect` show."""


def evaluation(decontamination: DecontaminationConfig, root: str, *, execution: Execution = SERIAL) -> Finished:
    """Hash the n-grams of all evaluation texts: 12 bytes per character.

    Raises: CorpusError for a file that is missing, damaged, not UTF-8 or without text, and for an input all of whose texts are
        too short, because nothing of it could be found in documents; TaskError for answers that do not fit their blanks.
    """
    files = inputs.expand(decontamination.inputs)
    settings = {"letters": decontamination.ngram_size}
    known = inputs.digests(files, root)
    stage = Stage("evaluation", STAGE_VERSION, settings, {"files": inputs.digest(known)})

    def body(folder: str) -> dict[str, Any]:
        with inputs.unchanged("[decontamination]", decontamination.inputs, files, known, root, folder):
            return write(folder)

    def write(folder: str) -> dict[str, Any]:
        found_texts: list[Text] = []
        numbers: list[int] = []
        answers = answer_files(file.url for file in files)
        of_answers = set(answers.values())
        for number, file in enumerate(files):
            if file.url in of_answers:
                continue
            found = sorted(set(strings(file.url, answers.get(file.url))))
            if not any(one.searched.strip() for one in found):
                raise CorpusError(
                    f"{file.url}: an evaluation file without any text; fetch it again, or name files that have texts"
                )
            found_texts += found
            numbers += [number] * len(found)
        texts = [one.searched for one in found_texts]
        hashes, owners, ngram_counts = text_ngrams(texts, decontamination.ngram_size)
        kept = np.flatnonzero(ngram_counts >= MIN_NGRAMS)
        _check_inputs(decontamination, {files[numbers[i]].url for i in kept}, of_answers)
        # Renumber the texts that are kept, and leave out the n-grams of the others.
        new_number = np.full(len(texts), -1)
        new_number[kept] = np.arange(len(kept))
        usable = new_number[owners] >= 0
        table = pa.table({"hash": hashes[usable], "text": new_number[owners[usable]].astype(np.uint32)})
        with storage.open_write(storage.join(folder, NGRAMS_FILE)) as out, pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
        names, previews = [files[numbers[i]].name for i in kept], [found_texts[i].shown[:PREVIEW_CHARACTERS] for i in kept]
        columns = [names, ngram_counts[kept].astype(np.uint32), previews]
        with storage.open_write(storage.join(folder, TEXTS_FILE)) as out:
            pq.write_table(pa.table(columns, names=["file", "runs", "text"]), out)
        counts = {"files": len(files), "texts": len(kept), "too_short": len(texts) - len(kept), "runs": int(usable.sum())}
        return {"files": [FileEntry.of(folder, name) for name in (NGRAMS_FILE, TEXTS_FILE)], "counts": counts}

    return run_stage(root, stage, body, execution)


def _check_inputs(decontamination: DecontaminationConfig, usable: set[str], answers: set[str]) -> None:
    """Check that each input has a file with texts that are long enough, given the URLs of these files, or is one of answers.

    Short names and labels next to longer texts do no harm, but an input with nothing else must be a mistake.

    Raises: CorpusError for an input without such a file.
    """
    min_characters = decontamination.ngram_size + MIN_NGRAMS - 1
    for url in decontamination.inputs:
        named = {file.url for file in inputs.expand([url])}
        if not usable & named and not named <= answers:
            raise CorpusError(
                f"{url}: no text in it has {min_characters} letters or digits, so none could be found in documents; "
                "name files with longer texts, or lower decontamination.ngram_size"
            )


def text_ngrams(texts: Sequence[str], size: int) -> tuple[Hashes, NDArray[np.uint32], Ints]:
    """Return the distinct n-grams of each text. A text shorter than `size` has none.

    Returns: (n-grams,) hashes, sorted; (n-grams,) the text of each; (texts,) the number of n-grams of each text.
    """
    hash_parts, owner_parts = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)]
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        normalized = normalize_texts(texts[first : first + TEXTS_AT_ONCE], gap=size - 1)
        found, _ = normalized.ngrams(size)
        rows = normalized.owners(np.maximum(normalized.lengths - size + 1, 0))
        inside = rows < len(normalized.lengths)
        hash_parts.append(found[inside])
        owner_parts.append((rows[inside] + first).astype(np.uint32))
    hashes, owners = np.concatenate(hash_parts), np.concatenate(owner_parts)
    # Sort, and drop n-grams that a text has twice.
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    distinct = starts_of_groups(hashes) | starts_of_groups(owners)
    hashes, owners = hashes[distinct], owners[distinct]
    return hashes, owners, np.bincount(owners, minlength=len(texts))
