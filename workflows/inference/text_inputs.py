"""Texts of any file with the id that each has: what `embed` reads.

    news.jsonl.gz   {"news_id": 7, "content": "今天天气很好。"}      stretches([...], "content", "news_id")
    news.parquet    columns news_id, content                         -> Stretch(["今天天气很好。", ...], ids [7, ...])
    news.txt        a text a line                                     without ids, texts are numbered from 0

What a file is, its name says: .parquet, .jsonl or .json (an object a line), all else is plain text; .gz, .bz2, .xz and .zst are
opened. A stretch is what is read, sorted by length and written together.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.sources.inputs import InputFile

SIZE = 4_096
"""Texts of a stretch."""
PACKED = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class Stretch:
    """Some texts in a row."""

    texts: list[str]
    ids: pa.Array


def stretches(files: Sequence[InputFile], text: str, id: str | None) -> Iterator[Stretch]:
    """The texts of all files in their order. `text` and `id` name columns or fields; without `id`, texts are numbered.

    Raises: CorpusError naming file and line (or row) of what cannot be read.
    """
    done = 0
    for file in files:
        name = file.name.lower()
        for ending in PACKED:
            name = name.removesuffix(ending)
        if name.endswith(".parquet"):
            found = _parquet(file.url, text, id)
        elif name.endswith((".jsonl", ".json")):
            found = _json(file.url, text, id)
        else:
            found = _plain(file.url, id)
        for stretch in found:
            ids = stretch.ids if id else pa.array(range(done, done + len(stretch.texts)), pa.int64())
            done += len(stretch.texts)
            yield Stretch(stretch.texts, ids)


def _parquet(url: str, text: str, id: str | None) -> Iterator[Stretch]:
    import pyarrow.parquet as pq

    wanted = [text, *([id] if id else [])]
    with storage.open_read(url) as source:
        try:
            file = pq.ParquetFile(source)
        except pa.ArrowInvalid as error:
            raise CorpusError(f"{url}: no Parquet file ({str(error).splitlines()[0]}); fetch it again") from error
        if missing := [name for name in wanted if name not in file.schema_arrow.names]:
            raise CorpusError(f"{url}: no column {', '.join(missing)}; there are {', '.join(file.schema_arrow.names)}")
        row = 0
        for batch in file.iter_batches(SIZE, columns=wanted):
            texts = batch.column(text).to_pylist()
            for value in texts:
                _check(value, f"{url}: row {row}", text)
                row += 1
            yield Stretch(texts, batch.column(id) if id else None)


def _json(url: str, text: str, id: str | None) -> Iterator[Stretch]:
    texts: list[str] = []
    ids: list[Any] = []
    for number, line in _lines(url):
        place = f"{url}: line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{place} is not valid JSON ({error}); write one object a line") from error
        if not isinstance(record, dict):
            raise CorpusError(f"{place} is no JSON object; write one object a line")
        if missing := [name for name in (text, id) if name is not None and name not in record]:
            raise CorpusError(f"{place} has no field {', '.join(missing)}; there are {', '.join(record)}")
        _check(record[text], place, text)
        texts.append(record[text])
        ids.append(record[id] if id else None)
        if len(texts) == SIZE:
            yield Stretch(texts, _array(ids, url, id))
            texts, ids = [], []
    if texts:
        yield Stretch(texts, _array(ids, url, id))


def _plain(url: str, id: str | None) -> Iterator[Stretch]:
    if id:
        raise CorpusError(f"{url}: plain text has no field {id!r}; leave the id out, and texts are numbered")
    texts: list[str] = []
    for _, line in _lines(url):
        texts.append(line)
        if len(texts) == SIZE:
            yield Stretch(texts, None)
            texts = []
    if texts:
        yield Stretch(texts, None)


def _lines(url: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1; blank ones are passed by."""
    with storage.open_read(url, "infer") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                raise CorpusError(f"{url}: line {number} is not UTF-8; convert the file first") from error
            if text.strip():
                yield number, text


def _check(value: object, place: str, name: str) -> None:
    if not isinstance(value, str):
        raise CorpusError(f"{place}: {name!r} is {type(value).__name__}, not text; leave such rows out, or name another column")


def _array(ids: list[Any], url: str, name: str | None) -> pa.Array:
    try:
        return pa.array(ids)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise CorpusError(f"{url}: field {name!r} has values of several types; make them all text or all numbers") from error
