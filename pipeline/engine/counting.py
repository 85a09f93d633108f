"""Counts that add up: every task counts for itself, the manifest holds the sum.

total([{"read": 3, "bad": {"not JSON": 1}}, {"read": 2, "bad": {"not UTF-8": 1}}])
-> {"read": 5, "bad": {"not JSON": 1, "not UTF-8": 1}}
"""

from collections.abc import Callable, Iterable
from typing import Any

Counts = dict[str, Any]

MOST_SAMPLES = 10
"""Samples kept of each kind."""


def add(to: Counts, counts: Counts) -> None:
    """Add to a sum in place: numbers are added, tables merged, lists of samples joined (the first ones kept).

    What is added stays as it is, and shares nothing with the sum. A sum is never copied: with thousands of parts and a table
    of hundreds of thousands of words, copies would take most of the time.
    """
    for key, value in counts.items():
        if isinstance(value, dict):
            add(to.setdefault(key, {}), value)
        elif isinstance(value, list):
            to[key] = [*to.get(key, ()), *value][:MOST_SAMPLES]
        else:
            to[key] = to[key] + value if key in to else value


def total(tallies: Iterable[Counts]) -> Counts:
    """The sum, in the order given; give them in an order that does not depend on who finished first."""
    result: Counts = {}
    for tally in tallies:
        add(result, tally)
    return result


def most_common(counts: dict[str, int], number: int) -> dict[str, int]:
    """The largest counts, ties by key, so that the same counts always give the same table."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number])


def count(tally: Counts, *path: str, number: int = 1) -> None:
    """Add to a number: `count(t, "dropped", "too_short")`."""
    *tables, key = path
    for name in tables:
        tally = tally.setdefault(name, {})
    tally[key] = tally.get(key, 0) + number


def sample(tally: Counts, kind: str, what: Callable[[], Any]) -> None:
    """Keep one of the first samples of a kind: as many as `add` keeps, so that the sum holds the first ones of all.

    `what` makes the sample; it is called for those alone that are kept.
    """
    samples = tally.setdefault("samples", {}).setdefault(kind, [])
    if len(samples) < MOST_SAMPLES:
        samples.append(what())
