"""What is decided on each document by itself, before it is compared with others: withdrawn, filtered, contaminated or neither.

    Decision(...).on(part)   ->   ids [17, 35, 80]   reasons ["", "too_short", "contaminated"]

It takes a few columns of a part of documents, so it is made anew wherever it is needed, instead of being kept.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.cleaning import quality
from pipeline.config import DecontaminationConfig, DedupConfig, FilterConfig, SourceConfig
from pipeline.dedup import clusters
from pipeline.dedup.clusters import WITHDRAWN
from pipeline.dedup.ngrams import Hashes
from pipeline.dedup.signatures import binary_rows
from pipeline.documents.table import Part
from pipeline.engine import parquet, steps
from pipeline.errors import CorpusError


def levels(sources: Sequence[SourceConfig]) -> tuple[int, ...]:
    """The place of each source when copies are decided on, from 1: by priority, then by the recipe's order."""
    order = sorted(range(len(sources)), key=lambda index: (-sources[index].priority, index))
    return tuple(order.index(index) + 1 for index in range(len(sources)))


def read_withdrawn(url: str) -> list[int]:
    """The ids of a list of withdrawn documents: one a line, 16 hexadecimal digits (as `inspect` prints them) or decimal.

    Sixteen digits are hexadecimal even where there is no letter among them: a decimal number of 16 digits needs a zero before
    it. Empty lines and what follows a # do not count.

    Raises: StorageError when it cannot be read; CorpusError for a line that is no id.
    """
    ids = []
    for number, line in enumerate(storage.read_bytes(url).decode("utf-8-sig", "replace").splitlines(), 1):
        if text := line.partition("#")[0].strip():
            value = parse_id(text)
            if value is None:
                raise CorpusError(
                    f"{url}: line {number}: {text[:40]!r} is no id of a document: 16 hexadecimal digits, or decimal"
                )
            ids.append(value)
    return ids


def parse_id(text: str) -> int | None:
    """An id as a person writes it: 16 hexadecimal digits, or a decimal number; None for anything else.

    Sixteen digits are hexadecimal, for so ids are printed: one id in 1,800 has no letter among them. A decimal number of 16
    digits, which one id in 2,000 is, needs a zero before it.
    """
    if re.fullmatch(r"[0-9a-fA-F]{16}", text):
        return int(text, 16)
    value = int(text) if re.fullmatch(r"[0-9]{1,20}", text) else 1 << 64
    return value if value < 1 << 64 else None


@dataclass(frozen=True)
class Decided:
    """The documents of one part; arrays of one row a document."""

    ids: Hashes
    characters: npt.NDArray[np.int64]
    fingerprints: Hashes
    """(documents, 2)"""
    reasons: npt.NDArray[np.str_]
    """Why each is dropped, "" for those that are compared with others."""
    overlaps: pa.Table
    """What the contaminated ones hold (see pipeline/dedup/decontamination.py)."""


@dataclass(frozen=True)
class Decision:
    """All that decides; tuples are by source."""

    names: tuple[str, ...]
    levels: tuple[int, ...]
    signatures: tuple[str, ...]
    """URLs of the stages; empty where nothing is compared by signatures."""
    overlaps: tuple[str, ...]
    """URLs of the stages; empty where nothing is compared with evaluation texts."""
    filters: tuple[FilterConfig, ...]
    dedup: DedupConfig
    decontamination: DecontaminationConfig
    withdrawn: tuple[int, ...]

    def settings(self) -> dict[str, Any]:
        """What enters the key of the stage; where the lists lie does not."""
        ids = np.array(self.withdrawn, np.uint64)
        return {
            "filters": dict(zip(self.names, self.filters, strict=True)),
            "levels": dict(zip(self.names, self.levels, strict=True)),
            "dedup": {name: value for name, value in vars(self.dedup).items() if name != "withdrawn"},
            "contaminated": [self.decontamination.min_ngram_ratio, self.decontamination.min_matching_ngrams]
            if self.overlaps
            else [],
            "withdrawn": hashlib.blake2b(ids.tobytes(), digest_size=16).hexdigest() if len(ids) else "",
        }

    @cached_property
    def withdrawn_ids(self) -> Hashes:
        return np.array(self.withdrawn, np.uint64)

    def on(self, part: Part) -> Decided:
        """What becomes of the documents of a part by themselves."""
        filters = self.filters[part.source]
        measures = [name for name, _ in quality.COLUMNS] + (["language"] if filters.languages else [])
        table = parquet.read(part.url, ["id", "fingerprint", *measures])
        ids = table["id"].to_numpy()
        reasons = quality.decide({name: table[name].to_numpy() for name in measures}, filters)
        overlaps = self._overlaps(part)
        reasons = np.where((reasons == "") & np.isin(ids, overlaps["id"].to_numpy()), "contaminated", reasons)
        reasons = np.where(np.isin(ids, self.withdrawn_ids), "withdrawn", reasons)
        contaminated = pa.array(ids[reasons == "contaminated"])
        overlaps = overlaps.filter(pc.is_in(overlaps["id"], contaminated))
        characters = table["characters"].to_numpy().astype(np.int64)
        return Decided(ids, characters, binary_rows(table["fingerprint"]), reasons, overlaps)

    def _overlaps(self, part: Part) -> pa.Table:
        """The overlaps of a part that are too large."""
        from pipeline.dedup.decontamination import SCHEMA

        if not self.overlaps:
            return SCHEMA.empty_table()
        table = parquet.read(storage.join(self.overlaps[part.source], part.file))
        share, runs = table["share"].to_numpy(), table["runs"].to_numpy()
        large = (share >= np.float32(self.decontamination.min_ngram_ratio)) | (runs >= self.decontamination.min_matching_ngrams)
        return table.filter(pa.array(large))


@dataclass(frozen=True)
class ReadRows:
    """Map: the rows by which the documents of a part are compared with others."""

    decision: Decision
    buckets: int

    def __call__(self, part: Part) -> steps.Mapped:
        decided = self.decision.on(part)
        withdrawn = decided.reasons == "withdrawn"
        chosen = np.flatnonzero((decided.reasons == "") | withdrawn)
        level = np.where(withdrawn, WITHDRAWN, self.decision.levels[part.source])[chosen]
        fingerprints = decided.fingerprints if self.decision.dedup.exact or self.decision.withdrawn else None
        bands, sketches = self._signatures(part) if self.decision.dedup.near else (None, None)
        table = clusters.rows(
            decided.ids[chosen],
            clusters.ranks(level, decided.characters[chosen]),
            *(None if column is None else column[chosen] for column in (fingerprints, bands, sketches)),
        )
        return steps.Mapped(table, clusters.bucket_of(table["hash"].to_numpy(), self.buckets), {})

    def _signatures(self, part: Part) -> tuple[Hashes, Hashes]:
        table = parquet.read(storage.join(self.decision.signatures[part.source], part.file), ["bands", "sketch"])
        return binary_rows(table["bands"]), binary_rows(table["sketch"])
