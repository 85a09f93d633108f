"""Read texts and their ids from files, for `embed`.

    news.jsonl.gz   {"news_id": 7, "content": "今天天气很好。"}      read_chunks([...], "content", "news_id")
    news.parquet    columns news_id, content                         -> Chunk(["今天天气很好。", ...], ids [7, ...])
    news.txt        one text per line                                 without ids, texts are numbered from 0

The name of a file says its format: .parquet, .jsonl or .json (one object per line); any other file is plain text. .gz, .bz2,
.xz and .zst are decompressed. Texts are read, sorted by length and written in chunks.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.errors import CorpusError
from pipeline.sources.formats.foreign import refuse_stand_in
from pipeline.sources.inputs import InputFile

CHUNK_SIZE = 4_096
"""Texts per chunk."""
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class Chunk:
    """Consecutive texts with their ids."""

    texts: list[str]
    ids: pa.Array


def read_chunks(files: Sequence[InputFile], text: str, id: str | None) -> Iterator[Chunk]:
    """Yield the texts of all files in order. `text` and `id` name columns or fields; without `id`, texts are numbered.

    Raises: CorpusError naming the file and line (or row) that cannot be read.
    """
    done = 0
    for file in files:
        name = file.name.lower()
        for ending in COMPRESSED:
            name = name.removesuffix(ending)
        if name.endswith(".parquet"):
            found = _parquet(file.url, text, id)
        elif name.endswith((".jsonl", ".json")):
            found = _json(file.url, text, id)
        else:
            found = _plain(file.url, id)
        for chunk in found:
            ids = chunk.ids if id else pa.array(range(done, done + len(chunk.texts)), pa.int64())
            done += len(chunk.texts)
            yield Chunk(chunk.texts, ids)


def _parquet(url: str, text: str, id: str | None) -> Iterator[Chunk]:
    import pyarrow.parquet as pq

    wanted = [text, *([id] if id else [])]
    with storage.open_read(url) as source:
        try:
            file = pq.ParquetFile(source)
        except pa.ArrowInvalid as error:
            raise CorpusError(f"{url}: not a Parquet file ({str(error).splitlines()[0]}); download it again") from error
        if missing := [name for name in wanted if name not in file.schema_arrow.names]:
            raise CorpusError(f"{url}: no column {', '.join(missing)}; there are {', '.join(file.schema_arrow.names)}")
        row = 0
        for batch in file.iter_batches(CHUNK_SIZE, columns=wanted):
            texts = batch.column(text).to_pylist()
            for value in texts:
                _check(value, f"{url}: row {row}", text)
                row += 1
            yield Chunk(texts, batch.column(id) if id else None)


def _json(url: str, text: str, id: str | None) -> Iterator[Chunk]:
    texts: list[str] = []
    ids: list[Any] = []
    for number, line in _lines(url):
        place = f"{url}: line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{place} is not valid JSON ({error}); write one object per line") from error
        if not isinstance(record, dict):
            raise CorpusError(f"{place} is not a JSON object; write one object per line")
        if missing := [name for name in (text, id) if name is not None and name not in record]:
            raise CorpusError(f"{place} has no field {', '.join(missing)}; there are {', '.join(record)}")
        _check(record[text], place, text)
        texts.append(record[text])
        ids.append(record[id] if id else None)
        if len(texts) == CHUNK_SIZE:
            yield Chunk(texts, _array(ids, url, id))
            texts, ids = [], []
    if texts:
        yield Chunk(texts, _array(ids, url, id))


def _plain(url: str, id: str | None) -> Iterator[Chunk]:
    if id:
        raise CorpusError(f"{url}: plain text has no field {id!r}; leave out the id to number the texts")
    texts: list[str] = []
    for _, line in _lines(url):
        texts.append(line)
        if len(texts) == CHUNK_SIZE:
            yield Chunk(texts, None)
            texts = []
    if texts:
        yield Chunk(texts, None)


def _lines(url: str) -> Iterator[tuple[int, str]]:
    """Yield non-blank lines with their numbers from 1."""
    with storage.open_read(url, "infer") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                raise CorpusError(f"{url}: line {number} is not UTF-8; convert the file first") from error
            if number == 1:
                refuse_stand_in(text, url, pages=False)
            if text.strip():
                yield number, text


def _check(value: object, place: str, name: str) -> None:
    if not isinstance(value, str):
        raise CorpusError(f"{place}: {name!r} is {type(value).__name__}, not text; remove such rows or choose another column")


def _array(ids: list[Any], url: str, name: str | None) -> pa.Array:
    try:
        return pa.array(ids)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise CorpusError(f"{url}: field {name!r} has values of several types; make them all text or all numbers") from error
    except OverflowError as error:
        raise CorpusError(f"{url}: field {name!r} has a number of more than 64 bits; write it as text") from error
    except UnicodeEncodeError as error:
        raise CorpusError(f"{url}: field {name!r} has half a surrogate pair, which is no character; correct it") from error
