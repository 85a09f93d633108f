"""How far apart clocks are, measured over a network of any speed.

A machine says its time between two looks at the clock here. If the way there took as long as the way back, it said it in the
middle; at worst the error is half the time for both. Of several questions the fastest counts, so this is near half the round
trip of an idle network, as in NTP, and is never taken for a difference between the clocks.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cluster.checking.findings import Finding, Level

QUESTIONS = 8
FAR = 1.0
"""Seconds beyond which the times in logs, metrics and manifests of several machines are not in order."""
TOO_FAR = 900.0
"""Seconds beyond which object stores refuse a request: their signatures have a time."""


@dataclass(frozen=True)
class Offset:
    """A clock beside the one here."""

    seconds: float
    """Positive if it is ahead."""
    error: float
    """The largest error of that."""


def offset(ask: Callable[[], float], here: Callable[[], float] = time.time) -> Offset:
    """Compare a clock with the one here. `ask`: what the other clock says."""
    found = []
    for _ in range(QUESTIONS):
        sent = here()
        there = ask()
        received = here()
        found.append(Offset(there - (sent + received) / 2, (received - sent) / 2))
    return min(found, key=lambda one: one.error)


def judge(offsets: Mapping[str, Offset]) -> Iterator[Finding]:
    """Judge the clocks of hosts by the time of most of them: the one here may be wrong too."""
    if not offsets:
        return
    values = [one.seconds for one in offsets.values()]
    usual = min(values, key=lambda one: (sum(abs(one - other) for other in values), abs(one)))
    problems: dict[str, tuple[Level, str]] = {}
    for host, one in offsets.items():
        apart = one.seconds - usual
        if abs(apart) - one.error > FAR:
            fatal = abs(apart) > TOO_FAR
            behind = f"its clock is {abs(apart):,.1f} s {'ahead' if apart > 0 else 'behind'}, give or take {one.error:.1g} s"
            why = "stores refuse its requests" if fatal else "times in logs and metrics are out of order"
            problems[host] = ("error" if fatal else "warning", f"{behind}: {why}; have it follow a time server (NTP)")
    if not problems:
        farthest = max(abs(value - usual) for value in values)
        error = max(one.error for one in offsets.values())
        yield Finding("ok", "clocks", f"clocks are at most {farthest:.1g} s apart, give or take {error:.1g} s")
    for host, (level, text) in problems.items():
        yield Finding(level, "clocks", text, (host,))
