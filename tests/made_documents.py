"""Make the stage `documents` from a few texts, for tests of later stages."""

import json
import lzma
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import storage
from pipeline.cleaning import cleaning, quality
from pipeline.cleaning.web import measures
from pipeline.documents.table import document_id, part_name, part_of
from pipeline.engine import stages, steps
from pipeline.engine.execution import Execution
from pipeline.engine.spill import SpillRange
from pipeline.engine.stages import FileEntry, Finished

PARTS = 4
REAL = Path(__file__).parents[2] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL.exists(), reason="the real corpora are not here (../shared/data)")


def generated(seed: int, number: int, sentences: int = 6) -> list[str]:
    """Generate texts without common n-grams except by chance, with the words that filters look for."""
    chance = random.Random(seed)

    def sentence() -> str:
        words = ["".join(chr(chance.randrange(0x4E00, 0x5E00)) for _ in range(2)) for _ in range(chance.randint(4, 9))]
        return chance.choice("的在是和有").join(words) + "。"

    return ["\n".join(sentence() for _ in range(chance.randint(max(2, sentences // 2), sentences))) for _ in range(number)]


def real_news(number: int) -> list[str]:
    """Read the first articles of a real news source, cleaned."""
    with lzma.open(REAL / "corpora/news/xinwenlianbo.jsonl.xz") as file:
        texts = [cleaning.clean(json.loads(file.readline())["content"], True)[0] for _ in range(number)]
    return [text for text in texts if text]


def made(root: str, name: str, texts: Sequence[str] | Mapping[str, str], parts: int = PARTS) -> Finished:
    """Write the documents of a source: texts by their origin, or in a list (origins 0, 1, ...)."""
    by_origin = texts if isinstance(texts, Mapping) else {str(number): text for number, text in enumerate(texts)}
    rows = sorted((document_id(name, origin), origin, text) for origin, text in by_origin.items())
    content = [text for _, _, text in rows]
    ids = np.array([number for number, _, _ in rows], np.uint64)
    columns = {
        "id": pa.array(ids),
        "origin": pa.array([origin for _, origin, _ in rows], pa.string()),
        "title": pa.array([""] * len(rows), pa.string()),
        "text": pa.array(content, pa.string()),
        "language": pa.array(["zh"] * len(rows), pa.string()),
        "fingerprint": pa.array([cleaning.fingerprint(text) for text in content], pa.binary(16)),
        "form": pa.array(["prose"] * len(rows), pa.string()),
        **{column: pa.array(values) for column, values in quality.measure(content).items()},
        **{name: pa.array(np.zeros(len(rows), np.float32)) for name, _ in measures.COLUMNS},
        "junk": pa.array(np.zeros(len(rows), np.float32)),
        "junk_signs": pa.array([""] * len(rows), pa.string()),
    }
    table = pa.table(columns)
    stage = stages.Stage("documents", 1, {"texts": content, "parts": parts}, {}, source=name)

    def body(folder: str) -> dict[str, object]:
        entries = []
        places = part_of(ids, parts)
        for part in np.unique(places).tolist():
            file_name = part_name(part)
            with storage.open_write(storage.join(folder, file_name)) as file:
                pq.write_table(table.filter(pa.array(places == part)), file)
            entries.append(FileEntry.of(folder, file_name, int((places == part).sum())))
        counts = {"read": len(rows), "bad": 0, "kept": len(rows), "characters": sum(map(len, content))}
        return {"files": entries, "parts": parts, "skipped": {}, "counts": counts}

    return stages.run(root, stage, body)


def identity(name: str, origin: int | str) -> int:
    """Return the id of one of the documents of `made`."""
    return document_id(name, str(origin))


def plainly(work: steps.Job, workers: int) -> None:
    """Run a job in two loops: an executor without Beam, which takes a third of a second to start."""
    buckets: dict[int, list[SpillRange]] = {}
    for task in work.tasks:
        for bucket, place in steps.MapStep(work.work, work.map)(task):
            buckets.setdefault(bucket, []).append(place)
    if work.reduce is not None:
        for bucket, places in buckets.items():
            steps.ReduceStep(work.work, work.reduce)((bucket, places))


IN_LOOPS = Execution(executor=plainly)
