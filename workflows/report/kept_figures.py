"""The report's figures on kept documents: samples, what is frequent in them, and what other thresholds would do.

    samples(...)[0]       {"source": "news", "documents": [{"id": "4861b1ad1bfa9128", "text": "...", "characters": 412}]}
    frequent(...)         {"lines": [{"text": "点击查看更多", "by_source": [31, 0], "all": 31}], "titles": [...], ...}
    thresholds(...)       {"rows": [{"name": "min_characters", "values": [10], "half": -120, "twice": 310}], "unchanged": [...]}

All figures come from the manifest of `dedup` (pipeline/dedup/overview.py).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.dedup.overview import SIMILARITIES, at_distances
from pipeline.engine.stages import Finished
from workflows.report.funnel import Row

MOST_SHOWN = 12
"""Lines and titles shown."""


def _overview(dedup: Finished | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = dedup.manifest.get("overview", {}) if dedup else {}
    return found


def samples(dedup: Finished | None) -> list[Row]:
    """Return random kept documents of each source."""
    return [{"source": source, "documents": found["samples"]} for source, found in _overview(dedup).items() if found["samples"]]


def frequent(dedup: Finished | None) -> Row:
    """Return the most frequent short lines and titles of kept documents, and how exact their counts are."""
    overview = _overview(dedup)
    titles = [found["repeated_titles"] for found in overview.values()]
    return {
        "sources": list(overview),
        "lines": _most(
            {source: {row["text"]: row["documents"] for row in found["lines"]} for source, found in overview.items()}
        ),
        "lines_missed": sum(found["lines_missed"] for found in overview.values()),
        "titles": _most(
            {source: {row["title"]: row["documents"] for row in found["titles"]} for source, found in overview.items()}
        ),
        "repeated_titles": sum(found["titles"] for found in titles),
        "documents_with_repeated_titles": sum(found["documents"] for found in titles),
        "titles_missed": sum(found["missed"] for found in titles),
    }


def _most(by_source: Mapping[str, Mapping[str, int]]) -> list[Row]:
    """Return the most frequent texts with the number of documents in each source."""
    sums: Counter[str] = Counter()
    for numbers in by_source.values():
        sums.update(numbers)
    ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:MOST_SHOWN]
    return [
        {"text": text, "by_source": [numbers.get(text, 0) for numbers in by_source.values()], "all": number}
        for text, number in ordered
    ]


def thresholds(dedup: Finished | None) -> Row:
    """Return how many more documents are dropped at half and at twice each threshold, and which thresholds change nothing."""
    overview = _overview(dedup)
    values = _values(dedup.manifest.get("settings", {})) if dedup else {}
    rows: list[Row] = []
    unchanged: list[str] = []
    for name in dict.fromkeys(name for found in overview.values() for name in found["thresholds"]):
        changes = [found["thresholds"].get(name, {"half": 0, "twice": 0}) for found in overview.values()]
        half, twice = (sum(change[place] for change in changes) for place in ("half", "twice"))
        if any(change["half"] or change["twice"] for change in changes):
            known = dict.fromkeys(values[source][name] for source in overview if name in values.get(source, {}))
            row = {"name": name, "values": list(known), "half": half, "twice": twice, "by_source": changes}
            rows.append(row | ({"at": [at_distances(value) for value in known]} if name in SIMILARITIES else {}))
        else:
            unchanged.append(name)
    rows.sort(key=lambda row: (-max(abs(row["half"]), abs(row["twice"])), row["name"]))
    below = sum(found.get("removed_lines_below_twice", 0) for found in overview.values())
    return {"sources": list(overview), "rows": rows, "unchanged": unchanged, "removed_lines_below_twice": below}


def _values(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the thresholds of each source."""
    leaks = dict(zip(("min_ngram_ratio", "min_matching_ngrams"), settings.get("contaminated", ()), strict=False))
    duplicates = {name: value for name, value in settings.get("dedup", {}).items() if name in SIMILARITIES}
    return {source: {**filters, **leaks, **duplicates} for source, filters in settings.get("filters", {}).items()}
