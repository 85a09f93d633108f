"""How long each stage took, and its throughput.

    timings(...)["kinds"][0]    {"kind": "documents", "stages": 2, "seconds": 1.8, "text_bytes": 18_100_000,
                               "text_rate": 10_055_555, "input_bytes": 7_775_654, "input_rate": 4_319_807, "fraction": 1.0}

Text is counted as 3 bytes per character, as in UTF-8. These are the only figures that differ between runs of the same recipe.
"""

from collections.abc import Sequence
from typing import Any

from pipeline import storage
from pipeline.engine.stages import Finished
from workflows.kinds import kind_of
from workflows.report.funnel import Row

CHARACTER_BYTES = 3


def timings(stages: Sequence[Finished], funnel: Sequence[Row]) -> dict[str, Any]:
    """Return the time of each stage in starting order, of each kind of stage, and of all data stages together."""
    characters = {row["source"]: row["characters"] for row in funnel}
    started = []
    for stage in stages:
        if storage.exists(url := stage.file("run.json")):
            run = storage.read_json(url)
            started.append((run["started"], _row(stage, run["seconds"], characters)))
    rows = [row for _, row in sorted(started, key=lambda item: item[0])]
    kinds = [_sum(kind, [row for row in rows if row["kind"] == kind]) for kind in dict.fromkeys(row["kind"] for row in rows)]
    data = _sum("data", [row for row in rows if row["text_bytes"] or row["kind"] == "vocabulary"])
    # All stages process the same text, so count it once.
    data["text_bytes"] = CHARACTER_BYTES * sum(row["documents"] for row in characters.values())
    longest = max((kind["seconds"] for kind in kinds), default=0)
    return {
        "stages": [_with_rates(row, longest) for row in rows],
        "kinds": [_with_rates(kind, longest) for kind in kinds],
        "data": _with_rates(data, data["seconds"]),
        "seconds": sum(row["seconds"] for row in rows),
    }


def _row(stage: Finished, seconds: float, characters: dict[str, Row]) -> Row:
    source, kind, text = stage.source, stage.kind, kind_of(stage).text
    texts = [row for name, row in characters.items() if name == source or not source]
    return {
        "stage": stage.name,
        "kind": kind,
        "stages": 1,
        "seconds": seconds,
        "text_bytes": CHARACTER_BYTES * sum(row[text] for row in texts) if text else 0,
        "input_bytes": stage.manifest.get("counts", {}).get("bytes_in", 0) if kind == "documents" else 0,
    }


def _sum(kind: str, rows: Sequence[Row]) -> Row:
    return {
        "kind": kind,
        **{name: sum(row[name] for row in rows) for name in ("stages", "seconds", "text_bytes", "input_bytes")},
    }


def _with_rates(row: Row, longest: float) -> Row:
    seconds = row["seconds"]
    rates = {f"{what}_rate": row[f"{what}_bytes"] / seconds if seconds else 0 for what in ("text", "input")}
    return {**row, **rates, "fraction": seconds / longest if longest else 0}
