"""Decisions on single documents, before they are compared with each other: withdrawn, filtered, contaminated or none of these.

    Decision(...).on(part)   ->   ids [17, 35, 80]   reasons ["", "too_short", "contaminated"]

A decision needs only a few columns of a part of documents, so it is recomputed wherever it is needed instead of being stored.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.arrays import Array, Flags, Hashes, Ints, Strings
from pipeline.cleaning import quality
from pipeline.cleaning.web import measures as web_measures
from pipeline.config import DecontaminationConfig, DedupConfig, FilterConfig, SourceConfig
from pipeline.dedup import clusters, short_texts
from pipeline.dedup.clusters import WITHDRAWN
from pipeline.dedup.short_texts import Anchors
from pipeline.dedup.signatures import binary_rows
from pipeline.documents.table import Part
from pipeline.engine import parquet, steps
from pipeline.errors import CorpusError


def levels(sources: Sequence[SourceConfig]) -> tuple[int, ...]:
    """Return the level of each source, from 1, best first: by priority, then by the recipe's order."""
    order = sorted(range(len(sources)), key=lambda index: (-sources[index].priority, index))
    return tuple(order.index(index) + 1 for index in range(len(sources)))


def read_withdrawn(url: str) -> list[int]:
    """Read the ids of withdrawn documents from a file with one id per line (see `parse_id`).

    Empty lines, and anything after a #, are ignored.

    Raises: StorageError for a file that cannot be read; CorpusError for a line that is not an id.
    """
    ids = []
    for number, line in enumerate(storage.read_bytes(url).decode("utf-8-sig", "replace").splitlines(), 1):
        if text := line.partition("#")[0].strip():
            value = parse_id(text)
            if value is None:
                raise CorpusError(
                    f"{url}: line {number}: {text[:40]!r} is not a document id: 16 hexadecimal digits, or a decimal number"
                )
            ids.append(value)
    return ids


def parse_id(text: str) -> int | None:
    """Parse an id as a person writes it: 16 hexadecimal digits, or a decimal number; None for anything else.

    Sixteen digits are always hexadecimal, because `inspect` prints ids that way and one in 1,800 has no letter in it. A decimal
    number of 16 digits, as one id in 2,000 has, must be written with a leading zero.
    """
    if re.fullmatch(r"[0-9a-fA-F]{16}", text):
        return int(text, 16)
    value = int(text) if re.fullmatch(r"[0-9]{1,20}", text) else 1 << 64
    return value if value < 1 << 64 else None


@dataclass(frozen=True)
class Decided:
    """The documents of one part."""

    ids: Hashes
    """(documents,), sorted, as are the other arrays."""
    characters: Ints
    fingerprints: Hashes
    """(documents, 2)"""
    reasons: Strings
    """Why each document is dropped; "" for those that are then compared with others."""
    contamination: pa.Table
    """The matches of the contaminated documents with evaluation texts (columns as in decontamination.py)."""
    matches: pa.Table
    """All matches, also those below the thresholds."""
    measures: Mapping[str, Array]
    """What filters judge, by column."""


@dataclass(frozen=True)
class Decision:
    """Everything that decides which documents are dropped. Tuples have one entry per source."""

    names: tuple[str, ...]
    levels: tuple[int, ...]
    signatures: tuple[str, ...]
    """URLs of the stages; empty if nothing is compared by signatures."""
    contamination: tuple[str, ...]
    """URLs of the stages; empty if nothing is compared with evaluation texts."""
    filters: tuple[FilterConfig, ...]
    dedup: DedupConfig
    decontamination: DecontaminationConfig
    withdrawn: tuple[int, ...]

    def settings(self) -> dict[str, Any]:
        """Return what enters the key of the stage: the content of lists, not their URLs."""
        ids = np.array(self.withdrawn, np.uint64)
        return {
            "filters": dict(zip(self.names, self.filters, strict=True)),
            "levels": dict(zip(self.names, self.levels, strict=True)),
            "dedup": {name: value for name, value in vars(self.dedup).items() if name != "withdrawn"},
            "contaminated": [self.decontamination.min_ngram_ratio, self.decontamination.min_matching_ngrams]
            if self.contamination
            else [],
            "withdrawn": hashlib.blake2b(ids.tobytes(), digest_size=16).hexdigest() if len(ids) else "",
        }

    @cached_property
    def withdrawn_ids(self) -> Hashes:
        return np.array(self.withdrawn, np.uint64)

    def on(self, part: Part) -> Decided:
        """Decide on each document of a part by itself."""
        filters = self.filters[part.source]
        measures = [name for name, _ in (*quality.COLUMNS, *web_measures.COLUMNS)] + ["junk", "form"]
        measures += ["language"] if filters.languages else []
        table = parquet.read(part.url, ["id", "fingerprint", *measures])
        ids = table["id"].to_numpy()
        # In order of precedence, weakest first: contamination only counts where no filter does, withdrawal overrides all.
        columns = {name: table[name].to_numpy() for name in measures}
        reasons = quality.decide(columns, filters)
        matches = self._matches(part)
        leaks = matches.filter(pa.array(reached(matches, self.decontamination)))
        reasons = np.where((reasons == "") & np.isin(ids, leaks["id"].to_numpy()), "contaminated", reasons)
        reasons = np.where(np.isin(ids, self.withdrawn_ids), "withdrawn", reasons)
        contaminated = pa.array(ids[reasons == "contaminated"])
        leaks = leaks.filter(pc.is_in(leaks["id"], contaminated))
        characters = columns["characters"].astype(np.int64)
        return Decided(ids, characters, binary_rows(table["fingerprint"]), reasons, leaks, matches, columns)

    def _matches(self, part: Part) -> pa.Table:
        """Read the matches of a part with evaluation texts."""
        from pipeline.dedup.decontamination import SCHEMA

        if not self.contamination:
            return SCHEMA.empty_table()
        return parquet.read(storage.join(self.contamination[part.source], part.file))


def reached(matches: pa.Table, limits: DecontaminationConfig) -> Flags:
    """Return which matches with evaluation texts (matches,) reach a threshold."""
    ratio, ngrams = matches["share"].to_numpy(), matches["runs"].to_numpy()
    found: Flags = (ratio >= np.float32(limits.min_ngram_ratio)) | (ngrams >= limits.min_matching_ngrams)
    return found


@dataclass(frozen=True)
class ReadRows:
    """Map: the rows by which the documents of a part are compared with others (see clusters.py and short_pairs.py)."""

    decision: Decision
    buckets: int
    anchors: Anchors | None = None
    """Those of short documents; their rows are in buckets after the first `buckets`."""

    def __call__(self, part: Part) -> Iterator[steps.Mapped]:
        decided = self.decision.on(part)
        withdrawn = decided.reasons == "withdrawn"
        chosen = np.flatnonzero((decided.reasons == "") | withdrawn)
        level = np.where(withdrawn, WITHDRAWN, self.decision.levels[part.source])[chosen]
        ids, ranks = decided.ids[chosen], clusters.ranks(level, decided.characters[chosen])
        fingerprints = decided.fingerprints if self.decision.dedup.exact or self.decision.withdrawn else None
        bands, sketches = self._signatures(part) if self.decision.dedup.near else (None, None)
        columns = (None if column is None else column[chosen] for column in (fingerprints, bands, sketches))
        table = clusters.rows(ids, ranks, *columns)
        yield steps.Mapped(table, clusters.bucket_of(table["hash"].to_numpy(), self.buckets), {})
        if self.anchors is not None:
            yield from self._short(part, self.anchors, ids, ranks, decided.fingerprints[chosen, 0])

    def _signatures(self, part: Part) -> tuple[Hashes, Hashes]:
        table = parquet.read(storage.join(self.decision.signatures[part.source], part.file), ["bands", "sketch"])
        return binary_rows(table["bands"]), binary_rows(table["sketch"])

    def _short(self, part: Part, anchors: Anchors, ids: Hashes, ranks: Hashes, fingerprints: Hashes) -> Iterator[steps.Mapped]:
        """Yield the rows at anchors of short documents.

        Args:
            ids, ranks, fingerprints: (documents,) of the documents to compare, sorted by id.
        """
        file = storage.join(self.decision.signatures[part.source], short_texts.short_file(part.file))
        table = parquet.read(file, ["id", "codes"])
        table = table.filter(pa.array(np.isin(table["id"].to_numpy(), ids)))
        place = np.searchsorted(ids, table["id"].to_numpy())
        longest = self.decision.dedup.short_characters
        for rows in short_texts.rows(table, ranks[place], fingerprints[place], longest, anchors):
            buckets = self.buckets + clusters.bucket_of(rows["hash"].to_numpy(), anchors.buckets)
            yield steps.Mapped(rows, buckets, {})
