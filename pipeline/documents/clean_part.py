"""One task of the stage `documents_<source>`: read its records, then clean, convert, mask and measure them.

    record   {"title": "新闻", "content": "<p>他说：“你好”。</p>\\r\\n责任编辑：张三"}
    document 他说：“你好”。      characters 7, chinese_share 0.57, language zh, script hans, ...; changed: html, boilerplate

Records stream through in batches, so a task is never in memory as a whole. Unreadable records are set aside, each with its
reason. Nothing is judged here: measures are stored next to the text, and pipeline/dedup/stage.py decides on them.
"""

import bisect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.cleaning import (
    cleaning,
    forms,
    language,
    markup,
    pii,
    quality,
)
from pipeline.cleaning.web import junk
from pipeline.cleaning.web import lines as web_lines
from pipeline.cleaning.web import measures as web_measures
from pipeline.config import SourceConfig
from pipeline.documents import reading
from pipeline.documents.known import MAX_PENDING, Fresh, Memory, Recalled
from pipeline.documents.reading import too_many_bad
from pipeline.documents.table import BAD_SCHEMA, READ_SCHEMA, document_id, part_of
from pipeline.engine import counting, steps
from pipeline.engine.counting import Counts
from pipeline.engine.earlier import Earlier
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
    folder: str
    """The stage's: what is known of each record goes there."""
    side_input: Finished | None = None
    """For wikis: what pages need from other pages."""
    before: Earlier | None = None
    """An earlier stage of this source, of which unchanged records are used again."""

    def __call__(self, task: ReadTask) -> Iterator[steps.Mapped]:
        variants.tool(self.source.variant_tables)  # an error here, where the worker lacks it, and not one for each record
        counts: Counts = {}
        memory = Memory(self.source.name, self.before, self.side_input)
        buffered: list[pa.Table] = []
        buffered_bad: list[pa.Table] = []
        limit = min(MAX_SPILL_BYTES, max(SPILL_BYTES, self.parts * RANGE_BYTES))
        for table in self._tables(task, counts, memory):
            (buffered_bad if table.schema == BAD_SCHEMA else buffered).append(table)
            if sum(table.nbytes for table in buffered) > limit:
                yield self._mapped(buffered, dict(counts))
                counts.clear()  # not a new dict: the readers count into this one
                buffered = []
            if sum(table.nbytes for table in buffered_bad) > SPILL_BYTES:
                yield self._mapped_bad(buffered_bad)
                buffered_bad = []
        counting.add(counts, memory.write(self.folder, task.name))
        yield self._mapped(buffered, counts)
        if buffered_bad:
            yield self._mapped_bad(buffered_bad)

    def _tables(self, task: ReadTask, counts: Counts, memory: Memory) -> Iterator[pa.Table]:
        """Yield documents that are made, those that earlier parts have, and unreadable records; count them."""
        for records, bad in _batches(self._records(task, counts, memory)):
            if records:
                yield self._documents(records, counts, memory)
            if bad:
                yield pa.Table.from_pylist([vars(one) for one in bad], schema=BAD_SCHEMA)
            if len(memory.pending) > MAX_PENDING:
                yield from self._taken(counts, memory)
        yield from self._taken(counts, memory)

    def _taken(self, counts: Counts, memory: Memory) -> Iterator[pa.Table]:
        """Yield the documents that earlier parts have, and count them as those that are made."""
        for table in memory.taken():
            count_documents(counts, table["characters"].to_numpy(), table["language"].to_pylist(), table["script"].to_pylist())
            yield table

    def _mapped(self, tables: list[pa.Table], counts: Counts) -> steps.Mapped:
        table = pa.concat_tables(tables) if tables else READ_SCHEMA.empty_table()
        return steps.Mapped(table, part_of(table["id"].to_numpy(), self.parts), counts)

    def _mapped_bad(self, tables: list[pa.Table]) -> steps.Mapped:
        """Put unreadable records into an extra bucket after the parts."""
        table = pa.concat_tables(tables)
        return steps.Mapped(table, np.full(table.num_rows, self.parts), {})

    def _records(self, task: ReadTask, counts: Counts, memory: Memory) -> Iterator[Fresh | Recalled | Bad]:
        """Yield the task's documents, known or not, and unreadable records; count every record.

        Raises: CorpusError when most of very many records are unreadable, so that the task need not be read to its end.
        """
        read = unreadable = 0
        for one in memory.found(reading.raw(self.source, task, counts, self.side_input)):
            read += 1
            counting.count(counts, "read")
            if isinstance(one, Skipped):
                counting.count(counts, "skipped", one.reason)
                continue
            if isinstance(one, Bad):
                unreadable += 1
                one = replace(one, excerpt=self._shown(one.excerpt))
                counting.count(counts, "bad")
                counting.count(counts, "reasons", one.reason)
                counting.sample(counts, "bad", partial(_sample, one))
                if unreadable > MAX_BAD_RECORDS and unreadable > max(0.5, self.source.max_bad_ratio) * read:
                    raise CorpusError(too_many_bad(self.source, unreadable, read, [_sample(one)], "fix the input"))
            yield one

    def _documents(self, records: list[Fresh | Recalled], counts: Counts, memory: Memory) -> pa.Table:
        """Return the documents of a batch that are not known; count those without any text."""
        kept: list[tuple[Record, str, str]] = []
        pages: list[tuple[str, str]] = []  # titles and texts with what only tells about the page
        for one in records:
            if isinstance(one, Fresh):
                if with_text := self._document(one):
                    (title, text), page = with_text
                    kept.append((one.record, title, text))
                    pages.append(page)
                memory.note(one, has_document=with_text is not None)
                counting.add(counts, one.counts)
            else:
                counting.add(counts, memory.again(one))
        return self._measured(kept, pages, counts) if kept else READ_SCHEMA.empty_table()

    def _document(self, one: Fresh) -> tuple[tuple[str, str], tuple[str, str]] | None:
        """Return title and text of a record's document, and both with what only tells about the page; None without text."""
        furniture: list[str] = []
        text = self._cleaned(one.record.text, one, furniture)
        if not text:
            counting.count(one.counts, "empty")
            return None
        title = self._title(one)
        return self._page(title, text, one), (title, "\n".join([text, *furniture]))

    def _measured(self, kept: list[tuple[Record, str, str]], pages: list[tuple[str, str]], counts: Counts) -> pa.Table:
        """Return documents with their measures."""
        texts = [text for _, _, text in kept]
        measures = quality.measure(texts)
        languages, scripts = language.detect(texts)
        found = forms.recognise(texts, languages, measures)
        spam_phrases = self.source.spam_phrases if self.source.preset == "web" else None
        measures |= web_measures.measure(pages, found, scripts, measures, spam_phrases)
        measures |= junk.judge(pages, scripts, measures, is_web=spam_phrases is not None)
        columns: dict[str, Any] = {
            "id": np.array([document_id(self.source.name, record.origin) for record, _, _ in kept], np.uint64),
            "source": [self.source.name] * len(kept),
            "origin": [record.origin for record, _, _ in kept],
            "title": [title for _, title, _ in kept],
            "text": texts,
            "url": [record.url for record, _, _ in kept],
            "language": languages,
            "script": scripts,
            "form": found,
            "fingerprint": cleaning.fingerprints(texts),
            "revision": [record.revision for record, _, _ in kept],
            **measures,
        }
        count_documents(counts, measures["characters"], languages, scripts)
        return pa.table([pa.array(columns[field.name], field.type) for field in READ_SCHEMA], schema=READ_SCHEMA)

    def _title(self, one: Fresh) -> str:
        """Return the cleaned title; count titles that consist of page furniture only."""
        if not one.record.title:
            return ""
        title = self._cleaned(one.record.title, one)
        if not title and one.record.title.strip():
            one.changed_by("title", lambda: _difference(self._shown(one.record.title), ""))
        return title

    def _page(self, title: str, text: str, one: Fresh) -> tuple[str, str]:
        """Return the title and text of a web page without names of sites and keywords; count each rule that changed it."""
        if self.source.preset != "web":
            return title, text
        shown_title, shown_text = web_lines.without_site(title), web_lines.without_keywords(text)
        for rule, before, after in (("site_title", title, shown_title), ("keywords", text, shown_text)):
            if after != before:
                one.changed_by(rule, partial(_difference, before, after))
        return shown_title, shown_text

    def _cleaned(self, text: str, one: Fresh, furniture: list[str] | None = None) -> str:
        """Return a text or title of a record cleaned, converted and masked; count each rule that changed the record once.

        Of a web page, lines of keywords that are removed are added to `furniture`: they tell about the page.
        """
        record = one.record

        def changed_by(rule: str, before: str, after: str) -> None:
            if furniture is not None and rule == "boilerplate" and self.source.preset == "web":
                furniture.extend(line for line in web_lines.keywords(before) if line not in after)
            one.changed_by(rule, lambda: _difference(*map(self._shown, (before, after))))

        text, _ = cleaning.clean(text, holds_html(record, self.source.kind), changed_by)
        if self.source.variant != "none" and not record.converted:
            converted = variants.to_variant(text, self.source.variant, self.source.variant_tables)
            if converted != text:
                changed_by("converted", text, converted)
            text = converted
        if self.source.personal_data == "mask":
            masked, found = pii.mask(text)
            for kind, number in found.items():
                counting.count(one.counts, "personal_data", kind, number=number)
            if found:
                changed_by("personal_data", *(_LETTERS_AND_DIGITS.sub("*", shown) for shown in (text, masked)))
            text = masked
        return text

    def _shown(self, text: str) -> str:
        """Return a text as samples and bad.jsonl may show it: personal data must not end up there either."""
        return pii.mask(text)[0] if self.source.personal_data == "mask" else text


def holds_html(record: Record, kind: str) -> bool:
    """Return whether tags or entities in a record are markup.

    They are not in pages of a dump, which are prose whatever they show, and in Markdown of the kind `text`, whose subject they
    are.
    """
    if record.markup or record.converted:
        return record.markup
    if kind == "text" and markup.is_markdown(record.text):
        return False
    return markup.holds_html(record.text) or markup.holds_html(record.title)


def _sample(bad: Bad) -> dict[str, str]:
    return {"origin": bad.origin, "reason": bad.reason, "text": bad.excerpt}


def _batches(found: Iterable[Fresh | Recalled | Bad]) -> Iterator[tuple[list[Fresh | Recalled], list[Bad]]]:
    """Yield batches of records, with the unreadable ones among them."""
    records: list[Fresh | Recalled] = []
    bad: list[Bad] = []
    characters = 0
    for one in found:
        if isinstance(one, Bad):
            bad.append(one)
        else:
            records.append(one)
            characters += len(one.record.text) if isinstance(one, Fresh) else 0
        if len(records) >= BATCH_RECORDS or characters >= BATCH_CHARACTERS or len(bad) >= BATCH_BAD:
            yield records, bad
            records, bad, characters = [], [], 0
    if records or bad:
        yield records, bad


def count_documents(counts: Counts, characters: Any, languages: Iterable[str], scripts: Iterable[str]) -> None:
    """Count documents and their characters, by length, language and script."""
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
