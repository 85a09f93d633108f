"""What failed in training and was recovered, and what that cost.

recoveries(metrics, spent)  ->  {"failures": [{"time": 1796043822.7, "host": "h3", "what": "rank 1: its process was killed",
                                               "steps": 47, "seconds": 33.1}],
                                 "skipped": [{"reason": "spike", "times": 2, "samples": 512}],
                                 "rollbacks": [{"step": 50, "from_step": 57, "samples": 4352}], ...}

Failures come from the events of the training folder, what training did about bad steps from its metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.training.tracking.spent import Spent

Row = Mapping[str, Any]


def recoveries(metrics: Sequence[Row], spent: "Spent | None") -> dict[str, Any]:
    """Return failures, skipped steps, rollbacks and slow workers of a training, and where its time went."""
    return {
        "failures": [asdict(failure) for failure in spent.failures] if spent else [],
        "skipped": _skipped([row for row in metrics if row["kind"] == "skipped"]),
        "rollbacks": [
            {"step": row["step"], "from_step": row["from_step"], "samples": row["samples"][1] - row["samples"][0]}
            for row in metrics
            if row["kind"] == "rollback"
        ],
        "slow": _slow([row for row in metrics if row["kind"] == "slow"]),
        "lost": sum(row["kind"] == "lost" for row in metrics),
        "seconds": {name: value for name, value in spent.seconds.items() if value >= 0.05} if spent else {},
        "goodput": spent.goodput if spent else None,
        "attempts": spent.attempts if spent else 0,
        "started": spent.started if spent else None,
        "updated": spent.updated if spent else None,
    }


def _skipped(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return how often steps were skipped, and how many samples that left out, by reason."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(str(row["reason"]), {"reason": str(row["reason"]), "times": 0, "samples": 0})
        one["times"] += 1
        one["samples"] += row["samples"][1] - row["samples"][0]
    return list(found.values())


def _slow(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the slow workers: how often each was noticed, and how slow it was at most."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault((row["rank"], row["host"]), {"rank": row["rank"], "host": row["host"], "times": 0, "ratio": 0.0})
        one["times"] += 1
        one["ratio"] = max(one["ratio"], row["ratio"])
    return list(found.values())
