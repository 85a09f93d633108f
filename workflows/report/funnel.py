"""From raw records to kept documents: what became of every record, by source and in total, in documents and characters.

    funnel(...)[0]     {"source": "news", "read": 21_005, "skipped": {"split_off": 1_985}, "bad": {"not JSON": 15}, "empty": 5,
                        "documents": 19_000, "dropped": {"too_short": 400, "duplicate": 100}, "kept": 18_500, ...}
    ledger(...)        the same as a list of totals and losses:
        level  read         21,005
        loss   split_off     1,985   leaves 19,020
        loss   not JSON         15   leaves 19,005
        ...
        level  kept         18,500

Every record is counted exactly once. If the counts of a manifest do not add up, the ledger has a line "unaccounted".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.engine import counting
from pipeline.engine.stages import Finished

Row = dict[str, Any]

WITHHELD = ("withdrawn", "contaminated", "withdrawn_copy")
"""Reasons unrelated to the quality of the document."""
DUPLICATES = ("duplicate", "near_duplicate", "contained", "duplicate_paragraphs")
GROUPS = ("filter", "withheld", "duplicates")
"""Groups of reasons, in the order of the ledger."""
UNACCOUNTED = "unaccounted"


def funnel(documents: Sequence[Finished], dedup: Finished | None) -> list[Row]:
    """Return what became of the records of each source. Without the stage `dedup` all documents are kept."""
    decided = dedup.manifest.get("counts", {}) if dedup else {}
    return [_row(stage.manifest, decided.get(stage.manifest["source"], {})) for stage in documents]


def total(funnel: Sequence[Row]) -> Row:
    """Return the sum over all sources."""
    numbers = [{name: value for name, value in row.items() if name not in ("source", "kept_ratio")} for row in funnel]
    return _with_ratio(counting.total([_row({}, {}), *numbers]))


def _row(read: Mapping[str, Any], decided: Mapping[str, Any]) -> Row:
    counts = read.get("counts", {})
    documents, characters = counts.get("kept", 0), counts.get("characters", 0)
    dropped, lines = dict(decided.get("dropped", {})), decided.get("paragraph_characters", 0)
    row: Row = {
        "read": counts.get("read", 0),
        "skipped": dict(read.get("skipped", {})),
        "bad": _by_reason(read.get("bad", {}), counts.get("bad", 0)),
        "empty": counts.get("empty", 0),
        "documents": documents,
        "dropped": dropped,
        "kept": decided.get("kept", documents - sum(dropped.values())),
        "lines_removed": decided.get("paragraphs", 0),
        "characters": {
            "documents": characters,
            "lines_removed": lines,
            "kept": decided.get("characters_kept", characters - lines),
        },
    }
    row["characters"]["dropped"] = characters - lines - row["characters"]["kept"]
    entered = sum(row["skipped"].values()) + sum(row["bad"].values()) + row["empty"] + documents
    row["unaccounted"] = {
        "reading": row["read"] - entered,
        "deciding": documents - sum(dropped.values()) - row["kept"],
    }
    return _with_ratio({"source": read["source"], **row} if "source" in read else row)


def _by_reason(reasons: Mapping[str, int], number: int) -> dict[str, int]:
    """Return bad records by reason; those without a recorded reason are counted as "bad"."""
    rest = number - sum(reasons.values())
    return {**reasons, **({"bad": rest} if rest > 0 else {})}


def _with_ratio(row: Row) -> Row:
    return {**row, "kept_ratio": row["kept"] / row["read"] if row["read"] else None}


def ledger(funnel: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the ledgers of documents and of characters: totals ("level") and the losses between them, also by source."""
    if not funnel or not any(row["read"] for row in funnel):
        return {"documents": [], "characters": []}
    return {"documents": _left_after(_documents(funnel)), "characters": _left_after(_characters(funnel))}


def _documents(funnel: Sequence[Row]) -> Iterable[Row]:
    yield _level("read", [row["read"] for row in funnel])
    yield from _losses("skipped", [row["skipped"] for row in funnel])
    yield from _losses("bad", [row["bad"] for row in funnel])
    yield from _losses("empty", [{"empty": row["empty"]} for row in funnel])
    yield from _losses(UNACCOUNTED, [{UNACCOUNTED: row["unaccounted"]["reading"]} for row in funnel])
    yield _level("documents", [row["documents"] for row in funnel])
    for group in GROUPS:
        yield from _losses(group, [{r: n for r, n in row["dropped"].items() if group_of(r) == group} for row in funnel])
    yield from _losses(UNACCOUNTED, [{UNACCOUNTED: row["unaccounted"]["deciding"]} for row in funnel])
    yield _level("kept", [row["kept"] for row in funnel])


def _characters(funnel: Sequence[Row]) -> Iterable[Row]:
    numbers = [row["characters"] for row in funnel]
    yield _level("documents", [row["documents"] for row in numbers])
    for name in ("dropped", "lines_removed"):
        yield from _losses(name, [{name: row[name]} for row in numbers])
    yield _level("kept", [row["kept"] for row in numbers])


def group_of(reason: str) -> str:
    """Return the group of a reason: `too_short` -> `filter`, `contaminated` -> `withheld`, `near_duplicate` -> `duplicates`."""
    return "withheld" if reason in WITHHELD else "duplicates" if reason in DUPLICATES else "filter"


def _level(name: str, by_source: list[int]) -> Row:
    return {"kind": "level", "group": "", "name": name, "by_source": by_source, "all": sum(by_source)}


def _losses(group: str, tables: Sequence[Mapping[str, int]]) -> list[Row]:
    """Return the losses of a group, largest first. `tables` has the numbers by reason for each source; zeros are left out."""
    losses = []
    for reason in dict.fromkeys(reason for table in tables for reason in table):
        by_source = [table.get(reason, 0) for table in tables]
        if any(by_source):
            losses.append({"kind": "loss", "group": group, "name": reason, "by_source": by_source, "all": sum(by_source)})
    return sorted(losses, key=lambda loss: (-loss["all"], loss["name"]))


def _left_after(entries: Iterable[Row]) -> list[Row]:
    """Add to each entry what is left after it."""
    result, left = [], 0
    for entry in entries:
        left = entry["all"] if entry["kind"] == "level" else left - entry["all"]
        result.append({**entry, "left": left})
    return result
