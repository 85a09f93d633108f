"""Records that an earlier stage has made documents of: found by what they are made of, and their documents taken from there.

    known-<task>.parquet   digest    of the raw record: title and wikitext of a page, title and text of other records
                           id        of its document; none where it has none: empty, or a disambiguation page
                           counts    what it adds to the counts of the manifest, as JSON
                           needs     the template redirects and conversion groups that its page asked for
                           answers   a digest of what the dump said to that

A record is reused if its digest is there and the dump gives the same answers today: a page is made anew if a group or redirect
that it uses has changed, and only such a page. Position, address and id of the document are those of the new input.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.arrays import Flags, Hashes
from pipeline.documents.table import READ_SCHEMA, SCHEMA, document_id, part_name, part_of
from pipeline.engine import counting, earlier, parquet
from pipeline.engine.counting import MOST_SAMPLES, Counts
from pipeline.engine.earlier import Earlier
from pipeline.engine.row_order import Rows
from pipeline.engine.stages import Finished
from pipeline.errors import DamagedError
from pipeline.sources.records import Bad, Needs, Raw, Record, Skipped

FILE = pa.schema(
    [
        pa.field("digest", pa.binary(16), nullable=False),
        pa.field("id", pa.uint64()),
        pa.field("counts", pa.string(), nullable=False),
        pa.field("needs", pa.list_(pa.string()), nullable=False),
        pa.field("answers", pa.binary(16), nullable=False),
    ]
)
KEPT_SAMPLES = 5 * MOST_SAMPLES
"""Samples of a kind that a task notes: more than the manifest shows, in case some of these records are gone the next time."""
LOOKED_UP = 64
"""Records that are looked up together. Each may be a page of megabytes."""
MAX_PENDING = 100_000
"""Documents to take from earlier parts at once: a part is read once for all of them."""
KEPT_BYTES = 128 << 20
"""Earlier documents that a process holds in memory: all of a source of 100 MB, of which each part is then read once."""


@dataclass(frozen=True)
class Recalled:
    """A record of which an earlier stage has the document."""

    raw: Raw
    id: int | None
    """The earlier id of its document."""
    noted: str
    """What it adds to the counts, as JSON."""
    counts: Counts
    needs: Needs
    answers: bytes


class _Pending(NamedTuple):
    """A document to take from an earlier part: its id there, and what it is in the new input."""

    earlier_id: int
    id: int
    origin: str
    url: str
    revision: int


@dataclass(frozen=True)
class Fresh:
    """A record that is made in this run, with what it adds to the counts."""

    raw: Raw
    record: Record
    needs: Needs
    counts: Counts
    wants: Callable[[str], bool]
    """Whether another sample of a kind is wanted."""
    promised: frozenset[str] = frozenset()
    """Kinds of samples that it will give, as an earlier run has counted."""

    def changed_by(self, rule: str, sample: Callable[[], Any]) -> None:
        """Count a rule that changed the record, once."""
        if rule not in self.counts.get("changed", ()):
            counting.count(self.counts, "changed", rule)
            if self.wants(f"changed_{rule}"):
                counting.sample(self.counts, f"changed_{rule}", sample)


class Memory:
    """What one task knows of earlier records, and notes of its own."""

    def __init__(self, source: str, before: Earlier | None = None, side_input: Finished | None = None) -> None:
        self.pending: list[_Pending] = []
        """Documents that are still to be taken from earlier parts."""
        self._source = source
        self._before = before
        self._index = _index(before.known) if before else None
        self._side_url = side_input.url if side_input else ""
        self._noted: list[tuple[Any, ...]] = []
        self._work = dict.fromkeys(earlier.WORK, 0)
        self._sampled: dict[str, int] = {}
        self._kept_samples: dict[str, int] = {}

    def found(self, records: Iterable[Raw | Bad | Skipped]) -> Iterator[Recalled | Fresh | Bad | Skipped]:
        """Yield records: recalled, or else made. They are looked up some at a time, and made one by one."""
        for some in _together(records):
            recalled = self._recall([one for one in some if isinstance(one, Raw)])
            for one in some:
                yield self._found(one, next(recalled)) if isinstance(one, Raw) else one

    def _found(self, raw: Raw, recalled: Recalled | None) -> Recalled | Fresh | Bad | Skipped:
        promised = frozenset[str]()
        if recalled:
            kinds = self._kinds(recalled)
            if all(kinds.values()):
                self._count_samples(kinds)
                self._work["reused"] += 1
                return recalled
            promised = frozenset(kinds)
            self._count_samples(promised)
        self._work["anew"] += 1
        counts: Counts = {}
        made = raw.make(counts)
        if isinstance(made.record, Record):
            if made.record.left_out:
                counting.count(counts, "left_out", "marked duplicates", number=made.record.left_out)
            return Fresh(raw, made.record, made.needs, counts, self._wants, promised)
        if isinstance(made.record, Skipped):
            self._note(raw, None, {"skipped": {made.record.reason: 1}}, made.needs)
        return made.record

    def note(self, one: Fresh, *, has_document: bool) -> None:
        """Note a record that was made in this run."""
        self._count_samples(one.counts.get("samples", {}).keys() - one.promised)
        for kind in one.counts.get("samples", ()):
            self._kept_samples[kind] = self._kept_samples.get(kind, 0) + 1
        self._note(one.raw, self._id(one.raw) if has_document else None, one.counts, one.needs)

    def again(self, one: Recalled) -> Counts:
        """Note that a record is reused, and return its counts; its document follows from `taken`."""
        raw, document = one.raw, None if one.id is None else self._id(one.raw)
        self._noted.append((raw.digest, document, one.noted, one.needs, one.answers))
        if one.id is not None and document is not None:
            self.pending.append(_Pending(one.id, document, raw.origin, raw.url, raw.revision))
        return one.counts

    def taken(self) -> Iterator[pa.Table]:
        """Yield the documents of the records that are reused, from one earlier part after the other."""
        if not self.pending or self._before is None:
            return
        url, pending = self._before.stage.url, self.pending
        self.pending = []
        ids = np.array([one.earlier_id for one in pending], np.uint64)
        places = part_of(ids, int(self._before.stage.manifest["parts"]))
        order = np.argsort(places, kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(places[order])) + 1):
            yield self._of_part(url, int(places[some[0]]), ids[some], [pending[one] for one in some.tolist()])

    def write(self, folder: str, task: str) -> Counts:
        """Write what was noted, for the next input of this source; return counts that list the file and what was reused."""
        columns = zip(*self._noted, strict=True) if self._noted else ((),) * len(FILE)
        arrays = [pa.array(list(column), field.type) for column, field in zip(columns, FILE, strict=True)]
        return {**earlier.write_known(folder, task, pa.table(arrays, schema=FILE)), "work": self._work}

    def _recall(self, raws: Sequence[Raw]) -> Iterator[Recalled | None]:
        """Yield what is known of records, if it is still true."""
        if self._index is None or not raws:
            yield from [None] * len(raws)
            return
        for raw, known in zip(raws, self._index.find([raw.digest for raw in raws]), strict=True):
            if known is None or (known[2] and self._answers(known[2]) != known[3]):
                yield None
            else:
                document, noted, needs, answers = known
                yield Recalled(raw, document, noted, json.loads(noted), needs, answers)

    def _kinds(self, one: Recalled) -> dict[str, bool]:
        """Return the kinds of samples that a record gives, and whether it can do without being made: it was kept, or is not
        among the first of its kind, which the manifest shows."""
        samples = one.counts.get("samples", {})
        kinds = (f"changed_{rule}" for rule in one.counts.get("changed", ()))
        return {kind: kind in samples or self._sampled.get(kind, 0) >= MOST_SAMPLES for kind in kinds}

    def _count_samples(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            self._sampled[kind] = self._sampled.get(kind, 0) + 1

    def _of_part(self, url: str, part: int, ids: Hashes, pending: Sequence[_Pending]) -> pa.Table:
        """Return the documents `ids` of an earlier part, with the positions, addresses and ids of the new input."""
        there, documents = _documents(url).part(part)
        rows = np.searchsorted(there, ids).clip(max=max(len(there) - 1, 0))
        if not len(there) or (there[rows] != ids).any():
            raise DamagedError(f"{url}: documents are missing that it knows; delete the folder and run again")
        taken = pa.Table.from_batches([documents.take(rows)])
        own = {
            "id": np.array([one.id for one in pending], np.uint64),
            "origin": [one.origin for one in pending],
            "url": [one.url for one in pending],
            "revision": [one.revision for one in pending],
        }
        columns = [pa.array(own[field.name], field.type) if field.name in own else taken[field.name] for field in READ_SCHEMA]
        return pa.table(columns, schema=READ_SCHEMA)

    def _note(self, raw: Raw, document: int | None, counts: Counts, needs: Needs) -> None:
        answers = self._answers(needs) if needs else bytes(16)
        self._noted.append((raw.digest, document, json.dumps(counts, ensure_ascii=False), needs, answers))

    def _wants(self, kind: str) -> bool:
        return self._kept_samples.get(kind, 0) < KEPT_SAMPLES

    def _id(self, raw: Raw) -> int:
        return document_id(self._source, raw.origin)

    def _answers(self, needs: Needs) -> bytes:
        from pipeline.wiki import pages

        return pages.answers(self._side_url, needs)


class _Index:
    """What a stage noted, by digest."""

    def __init__(self, table: pa.Table) -> None:
        ids = table["id"].fill_null(0).to_numpy()
        table = table.filter(pa.array(~_twice(ids) | (ids == 0)))
        self._columns = table.select(["id", "counts", "needs", "answers"]).combine_chunks()
        self._digests = earlier.Digests([table["digest"]])

    def find(self, digests: Sequence[bytes]) -> Iterator[tuple[int | None, str, Needs, bytes] | None]:
        """Yield id, counts, needs and answers of each record; None for unknown ones."""
        rows = self._digests.find(earlier.numbers(digests))
        known = zip(*(column.to_pylist() for column in self._columns.take(rows[rows >= 0]).columns), strict=True)
        for row in rows.tolist():
            if row < 0:
                yield None
            else:
                document, counts, needs, answers = next(known)
                yield document, counts, tuple(needs), answers


def _together(records: Iterable[Raw | Bad | Skipped]) -> Iterator[list[Raw | Bad | Skipped]]:
    """Yield records some at a time."""
    records = iter(records)
    while some := list(itertools.islice(records, LOOKED_UP)):
        yield some


def _twice(ids: Hashes) -> Flags:
    """Return which ids (n,) are there more than once: of pages that a dump has twice, only one is a document."""
    _, places, numbers = np.unique(ids, return_inverse=True, return_counts=True)
    twice: Flags = numbers[places] > 1
    return twice


class _Documents:
    """Documents of an earlier stage. The first parts that are read are kept for the next task, as far as there is room."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kept: dict[int, tuple[Hashes, Rows]] = {}
        self._room = KEPT_BYTES

    def part(self, number: int) -> tuple[Hashes, Rows]:
        """Return the ids (documents,) of a part, which rise, and its rows."""
        if number in self._kept:
            return self._kept[number]
        table = parquet.read(storage.join(self._url, part_name(number)), SCHEMA.names)
        part = table["id"].to_numpy(), Rows(table)
        if table.nbytes <= self._room:
            self._room -= table.nbytes
            self._kept[number] = part
        return part


@lru_cache(maxsize=1)
def _documents(url: str) -> _Documents:
    return _Documents(url)


@lru_cache(maxsize=2)
def _index(urls: tuple[str, ...]) -> _Index:
    return _Index(pa.concat_tables([FILE.empty_table(), *(parquet.read(url) for url in urls)]))
