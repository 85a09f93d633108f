"""A row of metrics as numbers with names, as TensorBoard and MLflow group them.

{"kind": "train", "loss": 7.2, "learning_rate": 1e-4, "trust_ratios": {"encoder.0": [0.4, 9.8]}, "goodput": 0.97, ...}
{"train/loss": 7.2, "optimizer/learning_rate": 1e-4, "trust_ratios/encoder.0/min": 0.4, "run/goodput": 0.97, ...}
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

GROUPS = {
    "train": ("loss", "mlm_loss", "pair_loss", "masked_accuracy", "pair_accuracy"),
    "optimizer": ("learning_rate", "grad_norm", "loss_scale"),
    "speed": (
        *("tokens_per_second", "mfu", "mfu_without_relative", "memory_bytes"),
        *("data_seconds", "compute_seconds", "optimizer_seconds", "checkpoint_seconds", "token_spread"),
    ),
    "run": ("workers", "failures", "goodput", "skipped_samples", "phase"),
}
"""Names of the fields of a training row, by group."""
VALIDATION = GROUPS["train"]


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a row; empty for a kind of row that has none."""
    return {name: float(value) for name, value in _named(row) if _is_number(value)}


def _named(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    match row["kind"]:
        case "train":
            for group, names in GROUPS.items():
                yield from ((f"{group}/{name}", row.get(name)) for name in names)
            for layer, (low, high) in row.get("trust_ratios", {}).items():
                yield f"trust_ratios/{layer}/min", low
                yield f"trust_ratios/{layer}/max", high
        case "validation":
            yield from ((f"validation/{row['source']}/{name}", row.get(name)) for name in VALIDATION)
        case "slow":
            yield f"slow/rank_{row['rank']}", row["ratio"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
