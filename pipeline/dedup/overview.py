"""What a person should see of the documents of a source: some that are kept, what is frequent in them, what thresholds do.

    samples       documents chosen by a hash of their id and the recipe's seed, without their repeated lines
    lines         short lines that many kept documents have: boilerplate that is left
    titles        titles that several kept documents have
    thresholds    {"min_characters": [-120, 310]}: how many more documents are dropped at half and at twice the value
                  {"similarity": [-40, 250]}: the same at half and at twice its distance from 1, because 2 x 0.75 is above 1

Nothing here depends on the order of work: documents are added part by part, and memory is bounded by `Frequent`.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.arrays import Flags, Hashes, mix
from pipeline.cleaning import quality
from pipeline.config import DecontaminationConfig, FilterConfig
from pipeline.dedup.decisions import Decided, reached
from pipeline.dedup.short_pairs import Limits
from pipeline.dedup.signatures import lines_file
from pipeline.documents.table import Part
from pipeline.engine import parquet

SAMPLES = 5
"""Kept documents shown of a source."""
SHOWN = 12
"""Lines and titles shown of a source."""
MIN_DOCUMENTS = 3
"""Documents that a line is shown from."""
MOST_ENTRIES = 1 << 17
"""Different titles or lines that are counted; with more, counts are too low by `Frequent.missed` at most."""
FACTORS = (0.5, 2)
SIMILARITIES = ("similarity", "containment")
"""Thresholds of `[dedup]` that are counted."""

Key = TypeVar("Key", bound=Hashable)


class Frequent(Generic[Key]):
    """Counts of the most frequent keys in bounded memory (Misra and Gries, 1982; merged as in Agarwal et al., 2012).

    Exact while there are at most `entries` different keys.
    """

    def __init__(self, entries: int = MOST_ENTRIES) -> None:
        self.counts: dict[Key, int] = {}
        self.missed = 0
        """Largest amount by which a count may be too low."""
        self._entries = entries

    def add(self, numbers: Iterable[tuple[Key, int]]) -> None:
        """Add the counts of distinct keys."""
        for key, number in numbers:
            self.counts[key] = self.counts.get(key, 0) + number
        if len(self.counts) > self._entries:
            # What is subtracted from all is the largest count that does not fit, so at most `entries` remain.
            excess = sorted(self.counts.values(), reverse=True)[self._entries]
            self.counts = {key: number - excess for key, number in self.counts.items() if number > excess}
            self.missed += excess

    def top(self, number: int, least: int) -> list[tuple[Key, int]]:
        """Return the most frequent keys with their counts, from `least` on; equal counts by key."""
        chosen = [(key, count) for key, count in self.counts.items() if count >= least]
        return sorted(chosen, key=lambda item: (-item[1], item[0]))[:number]


@dataclass
class Overview:
    """The documents of one source so far."""

    seed: int
    samples: list[tuple[int, int]] = field(default_factory=list)
    """The kept documents with the smallest keys: key, id."""
    titles: Frequent[str] = field(default_factory=Frequent)
    lines: Frequent[int] = field(default_factory=Frequent)
    """By the hash of the line."""
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By the hash of a line: a document that has it, and the number of the line there."""
    parts: int = 0
    thresholds: dict[str, list[int]] = field(default_factory=dict)
    removed_lines_below_twice: int = 0
    """Removed lines that have less than twice `min_paragraph_characters`; a few more may have, as punctuation is counted."""

    def add(self, part: Part, signatures: str, decided: Decided, kept: Flags) -> None:
        """Add the documents of a part.

        Args:
            signatures: URL of the stage with its lines; empty if there is none.
            kept: (documents,)
        """
        self.parts += 1
        self._sample(decided.ids[kept])
        titles = parquet.read(part.url, ["title"])["title"].filter(pa.array(kept))
        self.titles.add((row["values"], row["counts"]) for row in pc.value_counts(titles).to_pylist() if row["values"])
        if signatures:
            self._add_lines(parquet.read(storage.join(signatures, lines_file(part.file))), decided.ids[kept])

    def add_thresholds(self, decided: Decided, filters: FilterConfig, decontamination: DecontaminationConfig) -> None:
        """Count what the documents of a part would become at other thresholds."""
        found = quality.dropped_at(decided.measures, filters, FACTORS) | _contaminated_at(decided, decontamination)
        for name, numbers in found.items():
            before = self.thresholds.setdefault(name, [0] * len(FACTORS))
            self.thresholds[name] = [one + other for one, other in zip(before, numbers, strict=True)]

    def _sample(self, ids: Hashes) -> None:
        keys = mix(ids ^ mix(np.array([self.seed], np.uint64)))
        order = np.argsort(keys, kind="stable")[:SAMPLES]
        self.samples = sorted([*self.samples, *zip(keys[order].tolist(), ids[order].tolist(), strict=True)])[:SAMPLES]

    def _add_lines(self, table: pa.Table, kept: Hashes) -> None:
        table = table.filter(pa.array(np.isin(table["id"].to_numpy(), kept)))
        hashes, first, numbers = np.unique(table["hash"].to_numpy(), return_index=True, return_counts=True)
        ids, ordinals = (table[name].to_numpy()[first] for name in ("id", "ordinal"))
        for key, document, ordinal in zip(hashes.tolist(), ids.tolist(), ordinals.tolist(), strict=True):
            self.places.setdefault(key, (document, ordinal))
        self.lines.add(zip(hashes.tolist(), numbers.tolist(), strict=True))
        if len(self.places) > len(self.lines.counts):
            self.places = {key: place for key, place in self.places.items() if key in self.lines.counts}

    def shown_lines(self) -> list[tuple[int, int, int]]:
        """Return the most frequent lines: a document, the number of the line in it, and the number of documents."""
        return [(*self.places[key], number) for key, number in self.lines.top(SHOWN, MIN_DOCUMENTS)]

    def facts(self) -> dict[str, Any]:
        """Return what the manifest records besides texts."""
        repeated = [number for number in self.titles.counts.values() if number > 1]
        return {
            "titles": [{"title": title, "documents": number} for title, number in self.titles.top(SHOWN, 2)],
            "repeated_titles": {"titles": len(repeated), "documents": sum(repeated), "missed": self.titles.missed},
            # The stage `signatures` lists a line if two documents of a part have it, so one a part may be missing.
            "lines_missed": self.lines.missed + self.parts,
            "thresholds": {
                name: dict(zip(("half", "twice"), numbers, strict=True)) for name, numbers in self.thresholds.items()
            },
            "removed_lines_below_twice": self.removed_lines_below_twice,
        }


def at_distances(value: float) -> tuple[float, float]:
    """Return the ratios at half and at twice the distance of a ratio from 1; not below half the ratio, as 0 is another rule."""
    return round((1 + value) / 2, 6), round(max(2 * value - 1, value / 2), 6)


def other_limits(limits: Limits) -> tuple[Limits, ...]:
    """Return the limits at which duplicates are counted besides: for each of SIMILARITIES, at half and at twice its distance.

    Candidates and their order are the same at all of them, so the counts are those of a run with that threshold.
    """
    similarities, containments = (
        at_distances(value) if value else (value, value) for value in (limits.similarity, limits.containment)
    )
    return (
        *(replace(limits, similarity=value) for value in similarities),
        *(replace(limits, containment=value) for value in containments),
    )


def duplicates_at(dropped: Sequence[int]) -> dict[str, list[int]]:
    """Return how many more documents are dropped as duplicates at half and at twice the distance of each of SIMILARITIES.

    Args:
        dropped: documents dropped at the limits of the recipe, then at each of `other_limits`, if any.
    """
    both = {name: dropped[1 + 2 * place : 3 + 2 * place] for place, name in enumerate(SIMILARITIES)}
    return {name: [number - dropped[0] for number in numbers] for name, numbers in both.items() if numbers}


def _contaminated_at(decided: Decided, limits: DecontaminationConfig) -> dict[str, list[int]]:
    """Return `quality.dropped_at` for the thresholds of `[decontamination]`; empty if nothing was compared."""
    if not len(decided.matches):
        return {}
    others = ~np.isin(decided.reasons, ("", "contaminated"))
    ids = decided.matches["id"].to_numpy()
    judged = ~np.isin(ids, decided.ids[others])

    def number(changed: DecontaminationConfig) -> int:
        return len(np.unique(ids[judged & reached(decided.matches, changed)]))

    ratios = [replace(limits, min_ngram_ratio=min(limits.min_ngram_ratio * factor, 1.0)) for factor in FACTORS]
    ngrams = [replace(limits, min_matching_ngrams=max(int(limits.min_matching_ngrams * factor), 1)) for factor in FACTORS]
    return {
        name: [number(limit) - number(limits) for limit in changed]
        for name, changed in (("min_ngram_ratio", ratios), ("min_matching_ngrams", ngrams))
    }
