"""Machine-hours of a run by kind of stage, and their price.

costs(time, training, {"price_per_hour": 2.5, "currency": "CNY"})
->  {"rows": [{"kind": "documents", "seconds": 310.0, "machines": 1, "hours": 0.09, "money": 0.22}, ...], "hours": 3.1, ...}

The hours of a stage are those of the run that finished it. Training also counts those of commands that were killed.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def costs(time: Mapping[str, Any], training: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hours and the price of each kind of stage, and of all.

    Args:
        time: the figures of timings.py.
        training: `seconds` and `machines` of pretraining, if its events say them.
        settings: `[report]` of the recipe.
    """
    price = float(settings.get("price_per_hour", 0.0))
    rows = []
    for kind in time["kinds"]:
        pretraining = kind["kind"] == "checkpoint"
        seconds = (training.get("seconds") or kind["seconds"]) if pretraining else kind["seconds"]
        machines = training.get("machines", 1) if pretraining else 1
        hours = seconds * machines / 3_600
        rows.append(
            {"kind": kind["kind"], "stages": kind["stages"], "seconds": seconds, "machines": machines, "hours": hours}
            | {"money": hours * price if price else None}
        )
    hours = sum(row["hours"] for row in rows)
    longest = max((row["hours"] for row in rows), default=0)
    return {
        "rows": [{**row, "fraction": row["hours"] / longest if longest else 0.0} for row in rows],
        "hours": hours,
        "money": hours * price if price else None,
        "price_per_hour": price,
        "currency": str(settings.get("currency", "")),
    }


def machines(events: Sequence[Mapping[str, Any]]) -> int:
    """Return on how many machines training ran last; 1 if nothing says so."""
    workers = [event["hosts"] for event in events if event.get("kind") == "workers" and event.get("hosts")]
    return len(set(workers[-1])) if workers else 1
