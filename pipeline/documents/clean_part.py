"""One task of the stage `documents_<source>`: read its records, then clean, convert, mask and measure them.

    record   {"title": "新闻", "content": "<p>他说：“你好”。</p>\\r\\n责任编辑：张三"}
    document 他说：“你好”。      characters 7, chinese_share 0.57, language zh, script hans, ...; changed: html, boilerplate

Records stream through in batches, so a task is never in memory as a whole. Unreadable records are set aside, each with its
reason. Nothing is judged here: measures are stored next to the text, and pipeline/dedup/stage.py decides on them.
"""

import bisect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.cleaning import (
    cleaning,
    language,
    pii,
    quality,
)
from pipeline.config import SourceConfig
from pipeline.documents import reading
from pipeline.documents.reading import too_many_bad
from pipeline.documents.table import BAD_SCHEMA, SCHEMA, document_id, part_of
from pipeline.engine import counting, steps
from pipeline.engine.counting import Counts
from pipeline.engine.stages import Finished
from pipeline.errors import CorpusError
from pipeline.sources.records import Bad, ReadTask, Record, Skipped
from pipeline.wiki.conversion import variants

BATCH_RECORDS = 512
BATCH_CHARACTERS = 1 << 20
"""Limits of a batch that is measured together: large enough for numpy, small in memory."""
SPILL_BYTES = 8 << 20
"""Size of the tables buffered before they go into a spill file."""
RANGE_BYTES = 64 << 10
"""Average bytes of one part in one spill file, for sources of many parts.

Gathering a part takes one read per range, and each range is an entry in the task's notes. If buffers were always spilled at
8 MiB, 40 GB of text would be millions of ranges of one or two documents."""
MAX_SPILL_BYTES = 128 << 20
"""Upper limit of the buffer, whatever the number of parts: each worker has one."""
BATCH_BAD = 10_000
"""Unreadable records in a batch, which are Python objects."""
MAX_BAD_RECORDS = 100_000
"""A task gives up after this many unreadable records, if most of what it read was bad: a setting is wrong, not the records."""


_LETTERS_AND_DIGITS = re.compile("[0-9A-Za-z０-９Ａ-Ｚａ-ｚ]")


@dataclass(frozen=True)
class ReadDocuments:
    """Map: one task's records, cleaned and measured; yields a chunk at a time."""

    source: SourceConfig
    """Resolved: every `auto` replaced by its value."""
    parts: int
    side_input: Finished | None = None
    """For wikis: what pages need from other pages."""

    def __call__(self, task: ReadTask) -> Iterator[steps.Mapped]:
        counts: Counts = {}
        buffered: list[pa.Table] = []
        buffered_bad: list[pa.Table] = []
        limit = min(MAX_SPILL_BYTES, max(SPILL_BYTES, self.parts * RANGE_BYTES))
        for records, bad in _batches(self._records(task, counts)):
            if records:
                buffered.append(self._documents(records, counts))
            if bad:
                buffered_bad.append(pa.Table.from_pylist([vars(one) for one in bad], schema=BAD_SCHEMA))
            if sum(table.nbytes for table in buffered) > limit:
                yield self._mapped(buffered, dict(counts))
                counts.clear()  # not a new dict: the readers count into this one
                buffered = []
            if sum(table.nbytes for table in buffered_bad) > SPILL_BYTES:
                yield self._mapped_bad(buffered_bad)
                buffered_bad = []
        yield self._mapped(buffered, counts)
        if buffered_bad:
            yield self._mapped_bad(buffered_bad)

    def _mapped(self, tables: list[pa.Table], counts: Counts) -> steps.Mapped:
        table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        return steps.Mapped(table, part_of(table["id"].to_numpy(), self.parts), counts)

    def _mapped_bad(self, tables: list[pa.Table]) -> steps.Mapped:
        """Put unreadable records into an extra bucket after the parts."""
        table = pa.concat_tables(tables)
        return steps.Mapped(table, np.full(table.num_rows, self.parts), {})

    def _records(self, task: ReadTask, counts: Counts) -> Iterator[Record | Bad]:
        """Yield the task's documents and unreadable records; count every record.

        Raises: CorpusError when most of very many records are unreadable, so that the task need not be read to its end.
        """
        read = unreadable = 0
        for record in reading.records(self.source, task, counts, self.side_input):
            read += 1
            counting.count(counts, "read")
            if isinstance(record, Skipped):
                counting.count(counts, "skipped", record.reason)
                continue
            if isinstance(record, Bad):
                unreadable += 1
                counting.count(counts, "bad")
                counting.count(counts, "reasons", record.reason)
                counting.sample(counts, "bad", partial(_sample, record))
                if unreadable > MAX_BAD_RECORDS and unreadable > max(0.5, self.source.max_bad_ratio) * read:
                    raise CorpusError(too_many_bad(self.source, unreadable, read, [_sample(record)], "fix the input"))
            yield record

    def _documents(self, records: list[Record], counts: Counts) -> pa.Table:
        """Return the documents of a batch; count those without any text."""
        kept: list[tuple[Record, str, str]] = []
        for record in records:
            changed: set[str] = set()
            text = self._cleaned(record.text, record, counts, changed)
            if text:
                kept.append((record, self._title(record, counts, changed), text))
            else:
                counting.count(counts, "empty")
        texts = [text for _, _, text in kept]
        measures = quality.measure(texts)
        languages, scripts = language.detect(texts)
        columns: dict[str, Any] = {
            "id": np.array([document_id(self.source.name, record.origin) for record, _, _ in kept], np.uint64),
            "source": [self.source.name] * len(kept),
            "origin": [record.origin for record, _, _ in kept],
            "title": [title for _, title, _ in kept],
            "text": texts,
            "url": [record.url for record, _, _ in kept],
            "language": languages,
            "script": scripts,
            "fingerprint": cleaning.fingerprints(texts),
            **measures,
        }
        _count(counts, measures["characters"], languages, scripts)
        return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)

    def _title(self, record: Record, counts: Counts, changed: set[str]) -> str:
        """Return the cleaned title; count titles that consist of page furniture only."""
        if not record.title:
            return ""
        title = self._cleaned(record.title, record, counts, changed)
        if not title and record.title.strip():
            counting.count(counts, "changed", "title")
            counting.sample(counts, "changed_title", lambda: _difference(record.title, ""))
        return title

    def _cleaned(self, text: str, record: Record, counts: Counts, changed: set[str]) -> str:
        """Return a text or title cleaned, converted and masked; count each rule that changed the record once."""

        def changed_by(rule: str, before: str, after: str) -> None:
            if rule not in changed:
                changed.add(rule)
                counting.count(counts, "changed", rule)
                counting.sample(counts, f"changed_{rule}", lambda: _difference(before, after))

        text, _ = cleaning.clean(text, record.markup, changed_by)
        if self.source.variant != "none" and not record.converted:
            converted = variants.to_variant(text, self.source.variant)
            if converted != text:
                changed_by("converted", text, converted)
            text = converted
        if self.source.personal_data == "mask":
            masked, found = pii.mask(text)
            for kind, number in found.items():
                counting.count(counts, "personal_data", kind, number=number)
            if found:
                # Personal data must not end up in the manifest's samples either.
                changed_by("personal_data", *(_LETTERS_AND_DIGITS.sub("*", one) for one in (text, masked)))
            text = masked
        return text


def _sample(bad: Bad) -> dict[str, str]:
    return {"origin": bad.origin, "reason": bad.reason, "text": bad.excerpt}


def _batches(found: Iterable[Record | Bad]) -> Iterator[tuple[list[Record], list[Bad]]]:
    """Yield batches of records, with the unreadable ones among them."""
    records: list[Record] = []
    bad: list[Bad] = []
    characters = 0
    for one in found:
        if isinstance(one, Bad):
            bad.append(one)
        else:
            records.append(one)
            characters += len(one.text)
        if len(records) >= BATCH_RECORDS or characters >= BATCH_CHARACTERS or len(bad) >= BATCH_BAD:
            yield records, bad
            records, bad, characters = [], [], 0
    if records or bad:
        yield records, bad


def _count(counts: Counts, characters: Any, languages: Iterable[str], scripts: Iterable[str]) -> None:
    counting.count(counts, "kept", number=len(characters))
    counting.count(counts, "characters", number=int(characters.sum()))
    lower_bounds = 1 << (np.frexp(characters)[1] - 1)  # the power of two at or below each length
    for name, values in (("histogram", lower_bounds), ("languages", languages), ("scripts", scripts)):
        for value, number in zip(*np.unique(np.asarray(values), return_counts=True), strict=True):
            counting.count(counts, name, str(value), number=int(number))


def _difference(before: str, after: str) -> dict[str, str]:
    """Return some characters around the first position where two texts differ."""
    both = range(min(len(before), len(after)))
    place = bisect.bisect_left(both, True, key=lambda last: before[: last + 1] != after[: last + 1])
    place = max(0, place - 20)
    return {"before": before[place : place + 80], "after": after[place : place + 80]}
