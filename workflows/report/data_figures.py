"""The report's figures on documents: sources and their mixture, samples, changes, duplicates, lengths, wikitext.

    mixture(...)["characters"]                    {"news": 1_436_680, "laws": 889_445}
    changes(...)["rows"][0]                       {"name": "html", "by_source": [3_073, 0], "all": 3_073}
    document_lengths(...)                         {"bins": [64, 128], "panels": {"news": [0.25, 0.75]}}
    wikis(...)[0]["templates_lost"][0]            {"name": "cite web", "number": 48_211}

All figures come from manifests. What a manifest does not contain is left out.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.engine.stages import Finished
from workflows.report.funnel import DUPLICATES, GROUPS, Row, group_of

MOST_SAMPLES = 5
"""Samples shown per reason or rule."""
LONGEST_SAMPLE = 300
"""Characters shown of a sample."""
Table = dict[str, Any]


def matrix(sources: Sequence[str], tables: Sequence[Mapping[str, int]]) -> Table:
    """Return a row for each name with its number in each source, largest sums first."""
    rows: list[Row] = []
    for name in dict.fromkeys(name for table in tables for name in table):
        by_source = [table.get(name, 0) for table in tables]
        if any(by_source):
            rows.append({"name": name, "by_source": by_source, "all": sum(by_source)})
    return {"sources": list(sources), "rows": sorted(rows, key=lambda row: (-row["all"], row["name"]))}


def stacks(bars: Mapping[str, Mapping[str, float]], names: Iterable[str] = ()) -> Table:
    """Return stacked bars: the names of the parts, and for each bar its numbers and fractions. Empty bars are left out."""
    sums: Counter[str] = Counter()
    for parts in bars.values():
        sums.update(parts)
    ordered = list(names) or [name for name, _ in sorted(sums.items(), key=lambda item: (-item[1], item[0]))]
    ordered = [name for name in ordered if sums[name]]
    rows = []
    for label, parts in bars.items():
        numbers = [parts.get(name, 0) for name in ordered]
        if whole := sum(numbers):
            rows.append({"label": label, "numbers": numbers, "fractions": [number / whole for number in numbers]})
    return {"names": ordered, "rows": rows}


def most(table: Mapping[str, int]) -> list[Row]:
    """Return `{"ref": 3, "table": 9}` as rows of name and number, largest first."""
    ordered = sorted(table.items(), key=lambda item: (-item[1], item[0]))
    return [{"name": name, "number": number} for name, number in ordered if number]


def outcomes(funnel: Sequence[Row]) -> Table:
    """Return the records of each source by outcome."""
    bars: dict[str, Mapping[str, float]] = {}
    for row in funnel:
        parts = {"kept": row["kept"], **dict.fromkeys(GROUPS, 0)}
        for reason, number in row["dropped"].items():
            parts[group_of(reason)] += number
        read = {"skipped": sum(row["skipped"].values()), "unreadable": sum(row["bad"].values()), "empty": row["empty"]}
        bars[row["source"]] = {**parts, **read}
    return stacks(bars, ("kept", "skipped", "unreadable", "empty", *GROUPS))


def sources(
    documents: Sequence[Finished], tokens: Sequence[Finished], funnel: Sequence[Row], recipe: Mapping[str, Any]
) -> list[Row]:
    """Return for each source what was read, its licence, and what was kept. Input paths come from the recipe."""
    inputs = {source["name"]: source.get("input", []) for source in recipe.get("source", [])}
    in_tokens = {stage.manifest["source"]: stage.manifest.get("counts", {}).get("tokens", 0) for stage in tokens}
    characters, all_tokens = sum(row["characters"]["kept"] for row in funnel), sum(in_tokens.values())
    rows = []
    for stage, row in zip(documents, funnel, strict=True):
        manifest, name = stage.manifest, row["source"]
        rows.append(
            {
                "source": name,
                "kind": manifest.get("kind", ""),
                "licence": manifest.get("licence", "unknown"),
                "input": inputs.get(name, []),
                "input_files": dict(manifest.get("input_files", {})),
                "bytes_in": manifest.get("counts", {}).get("bytes_in", 0),
                "documents": row["kept"],
                "characters": row["characters"]["kept"],
                "fraction": _ratio(row["characters"]["kept"], characters),
                "tokens": in_tokens.get(name, 0),
                "tokens_ratio": _ratio(in_tokens.get(name, 0), all_tokens),
            }
        )
    return rows


def mixture(rows: Sequence[Row], recipe: Mapping[str, Any]) -> Table:
    """Return the fraction of each source in documents, characters and tokens, and in the sampling weights of each phase."""
    bars: dict[str, Mapping[str, float]] = {
        name: {row["source"]: row[name] for row in rows} for name in ("documents", "characters", "tokens")
    }
    for number, phase in enumerate(recipe.get("phase", []), start=1):
        if phase.get("weights"):
            bars[f"phase {number}"] = phase["weights"]
    return stacks(bars, [row["source"] for row in rows])


def left_out(documents: Sequence[Finished], dedup: Finished | None, total: Row) -> dict[str, list[Row]]:
    """Return samples of dropped documents and lines by reason, most frequent first, and of unreadable records."""
    bad = [
        {"source": stage.manifest["source"], **{name: str(sample.get(name, "")) for name in ("origin", "reason", "text")}}
        for stage in documents
        for sample in stage.manifest.get("samples", {}).get("bad", [])
    ]
    dropped: dict[str, list[dict[str, str]]] = {}
    for sample in dedup.manifest.get("samples", []) if dedup else []:
        dropped.setdefault(str(sample.get("reason", "")), []).append({name: str(value) for name, value in sample.items()})
    numbers = {**total["dropped"], "repeated_paragraph": total["lines_removed"]}
    rows: list[Row] = [
        {"reason": reason, "number": numbers.get(reason, len(samples)), "samples": _some(samples)}
        for reason, samples in dropped.items()
    ]
    return {"dropped": sorted(rows, key=lambda row: (-row["number"], row["reason"])), "bad": _some(bad)}


def _some(samples: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return a few samples, from each source in turn, cut to a length that fits the page."""
    by_source: dict[str, list[Mapping[str, str]]] = {}
    for sample in samples:
        by_source.setdefault(sample.get("source", ""), []).append(sample)
    in_turn = [sample for turn in itertools.zip_longest(*by_source.values()) for sample in turn if sample is not None]
    return [{name: value[:LONGEST_SAMPLE] for name, value in sample.items()} for sample in in_turn[:MOST_SAMPLES]]


def changes(documents: Sequence[Finished]) -> Table:
    """Return how many documents each cleaning rule changed, with samples of before and after."""
    table = _counted(documents, "changed")
    for row in table["rows"]:
        found = [
            {"source": stage.manifest["source"], **{name: str(one.get(name, "")) for name in ("before", "after")}}
            for stage in documents
            for one in stage.manifest.get("samples", {}).get(f"changed_{row['name']}", [])
        ]
        row["samples"] = _some(found)
    return {**table, "personal_data": _counted(documents, "personal_data")}


def _counted(documents: Sequence[Finished], name: str) -> Table:
    """Return a table of numbers from the manifests, by source."""
    return matrix([stage.manifest["source"] for stage in documents], [stage.manifest.get(name, {}) for stage in documents])


def writing(documents: Sequence[Finished]) -> dict[str, Table]:
    """Return documents by language and by script, a bar for each source."""
    return {
        name: stacks({stage.manifest["source"]: stage.manifest.get(name, {}) for stage in documents})
        for name in ("languages", "scripts")
    }


def document_lengths(documents: Sequence[Finished]) -> Table:
    """Return the distribution of document lengths in characters, by source. Bins start at powers of two."""
    histograms = {stage.manifest["source"]: stage.manifest.get("characters_histogram", {}) for stage in documents}
    found = [int(bound) for histogram in histograms.values() for bound, number in histogram.items() if number]
    bins = [1 << power for power in range(min(found).bit_length() - 1, max(found).bit_length())] if found else []
    panels = {}
    for source, histogram in histograms.items():
        if number := sum(histogram.values()):
            panels[source] = [histogram.get(str(bound), 0) / number for bound in bins]
    return {"bins": bins, "panels": panels}


_MARKUP = ("templates_lost", "templates_breaking", "templates_kept", "left_out")


def wikis(documents: Sequence[Finished]) -> list[Row]:
    """Return what became of the markup of each wiki."""
    rows = []
    for stage in documents:
        manifest = stage.manifest
        row = {
            "source": manifest["source"],
            **{name: most(manifest.get(name, {})) for name in _MARKUP},
            "repairs": manifest.get("counts", {}).get("repairs", 0),
            "broken_sentences": manifest.get("counts", {}).get("broken_sentences", 0),
            "characters": manifest.get("counts", {}).get("characters", 0),
            **_conversions(manifest.get("conversions", {})),
        }
        if any(row[name] for name in (*_MARKUP, "conversions")):
            rows.append(row)
    return rows


def _conversions(counts: Mapping[str, Any]) -> Row:
    """Separate plain counts from the tables of conversion groups."""
    numbers = {name: number for name, number in counts.items() if not isinstance(number, Mapping)}
    return {
        "conversions": most(numbers),
        "groups": most(counts.get("groups", {})),
        "missing_groups": most(counts.get("missing_groups", {})),
    }


def duplicates(dedup: Finished | None, funnel: Sequence[Row]) -> Table:
    """Return clusters of duplicates, dropped documents, removed lines, and evaluation files found in documents."""
    decided = dedup.manifest.get("counts", {}) if dedup else {}
    tables = [decided.get(row["source"], {}) for row in funnel]
    dropped: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for table in tables:
        dropped.update(table.get("dropped", {}))
        sizes.update(table.get("cluster_sizes", {}))
        files.update(table.get("contaminated_by", {}))
    return {
        "dropped": {reason: dropped[reason] for reason in DUPLICATES if dropped[reason]},
        "clusters": sum(table.get("clusters", 0) for table in tables),
        "cluster_sizes": {size: sizes[size] for size in sorted(sizes, key=int)},
        "lines_removed": sum(row["lines_removed"] for row in funnel),
        "characters_removed": sum(row["characters"]["lines_removed"] for row in funnel),
        "contaminated_by": most(files),
        "comparison": dict(dedup.manifest.get("comparison", {})) if dedup else {},
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
