"""`python -m benchmarks kills`: `prepare` is killed at random moments and must still write the same bytes (tests/kills.py)."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measurement import Measurement
from tests import kills


def measurements(number: int, seed: int) -> Iterator[Measurement]:
    """Kill so many times; print what happened, and all problems."""
    with tempfile.TemporaryDirectory(prefix="nezha-kills-") as folder:
        outcome = kills.killed(Path(folder), number, seed, say=lambda line: print(line, file=sys.stderr, flush=True))
    for kind in kills.KINDS:
        codes = {code: count for (each, code), count in sorted(outcome.codes.items()) if each == kind}
        print(f"{kind:<8} {outcome.kills[kind]:4} kills; exit codes {codes}")
    print(f"{outcome.finished} runs ended with their work done; {len(outcome.problems)} problems", *outcome.problems, sep="\n")
    whole = 100 * (1 - min(1, len(outcome.problems) / number))
    yield Measurement(name="prepare/kills/survived", value=whole, unit="%", workers=2, note=f"{number} kills, seed {seed}")
