"""Where the time of a training went, as lines of text.

where the time went: 2:03:11 in 3 attempts, up to step 4,000
  computing                 1:58:02   95.8 %
  data                         0:41    0.6 %
  ...
2 failures:
  2026-11-29 16:45:03  h3  rank 1: its process was killed: 47 steps repeated, 33 s
"""

import time

from model.training.tracking.spent import KINDS, Failure, Spent

SHOWN = 10
"""Most failures that are listed: the newest."""


def lines(spent: Spent) -> list[str]:
    """Return the lines: what time went into, by kind, then the newest failures."""
    attempts = "1 attempt" if spent.attempts == 1 else f"{spent.attempts:,} attempts"
    shown = [f"where the time went: {duration(spent.total)} in {attempts}, up to step {spent.step:,}"]
    for kind in KINDS:
        seconds = spent.seconds[kind]
        ratio = seconds / spent.total if spent.total else 0.0
        shown.append(f"  {kind:<22} {duration(seconds):>10} {ratio:>7.1%}".replace("%", " %"))
    if spent.failures:
        count = len(spent.failures)
        newest = "" if count <= SHOWN else f", the newest {SHOWN}"
        shown.append(f"{count:,} failure{'' if count == 1 else 's'}{newest}:")
        shown += [f"  {_line(failure)}" for failure in spent.failures[-SHOWN:]]
    return shown


def _line(failure: Failure) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(failure.time))
    steps = f"{failure.steps:,} step{'' if failure.steps == 1 else 's'} repeated, " if failure.steps else ""
    return f"{when}  {failure.host}  {failure.what}: {steps}{duration(failure.seconds)}"


def duration(seconds: float) -> str:
    """Return a duration in words of a clock: `4.2 s`, `2:10`, `1:02:03`, `3 d 4:05:06`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02d}:{rest:02d}" if hours or days else f"{minutes}:{rest:02d}"
    return f"{days} d {clock}" if days else clock
