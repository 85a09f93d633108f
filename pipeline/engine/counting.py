"""Counts: each task makes its own, and the manifest holds the sum.

total([{"read": 3, "bad": {"not JSON": 1}}, {"read": 2, "bad": {"not UTF-8": 1}}])
-> {"read": 5, "bad": {"not JSON": 1, "not UTF-8": 1}}
"""

from collections.abc import Callable, Iterable
from typing import Any

Counts = dict[str, Any]

MOST_SAMPLES = 10
"""Samples kept per kind."""


def add(to: Counts, counts: Counts) -> None:
    """Add `counts` to a sum in place: numbers are added, tables merged, lists of samples joined up to MOST_SAMPLES.

    `counts` is not changed and shares nothing with the sum. The sum is not copied: with thousands of parts and tables of
    hundreds of thousands of words, copies would take most of the time.
    """
    for key, value in counts.items():
        if isinstance(value, dict):
            add(to.setdefault(key, {}), value)
        elif isinstance(value, list):
            to[key] = [*to.get(key, ()), *value][:MOST_SAMPLES]
        else:
            to[key] = to[key] + value if key in to else value


def total(parts: Iterable[Counts]) -> Counts:
    """Return the sum. Which samples are kept depends on the order of the parts, so it must not depend on timing."""
    result: Counts = {}
    for counts in parts:
        add(result, counts)
    return result


def most_common(counts: dict[str, int], number: int) -> dict[str, int]:
    """Return the largest counts; ties are ordered by key, so that equal counts give equal tables."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number])


def count(counts: Counts, *path: str, number: int = 1) -> None:
    """Add to one number: `count(counts, "dropped", "too_short")`."""
    *tables, key = path
    for name in tables:
        counts = counts.setdefault(name, {})
    counts[key] = counts.get(key, 0) + number


def sample(counts: Counts, kind: str, make: Callable[[], Any]) -> None:
    """Keep a sample of a kind, up to MOST_SAMPLES per task; `make` is called only for samples that are kept."""
    samples = counts.setdefault("samples", {}).setdefault(kind, [])
    if len(samples) < MOST_SAMPLES:
        samples.append(make())
