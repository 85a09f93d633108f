"""From the notes of all steps: what was lost, how long it took to recover, and whether each sample was used exactly once.

- A step is *repeated* if a step with its number was done before; steps lost to a fault are the steps repeated after it.
- A fault is *felt* if a pause follows it that begins within 60 s: no new step (with a number above all before) for as long as 5
  undisturbed steps, and at least 2 s. It is recovered from when the pause ends; a fault that is not felt, at the next new step.
- *Goodput* is (steps without repeated ones) x (seconds of an undisturbed step) / (seconds from the first step to the last).
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FELT_WITHIN = 60.0


@dataclass(frozen=True)
class Recovery:
    """What followed a fault."""

    kind: str
    seconds: float | None
    """None: no new step followed."""
    lost: int
    """Steps repeated between it and the next fault."""


class Ledger:
    """The notes of a run, in the order of time."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = sorted(rows, key=lambda row: row["time"])
        self.new: list[Row] = []
        """The first note of each step, whoever's."""
        self.repeats: list[Row] = []
        """The first note of each step that a later attempt did again."""
        highest, seen = 0, set()
        for row in self.rows:
            if (row["attempt"], row["step"]) not in seen:
                (self.new if row["step"] > highest else self.repeats).append(row)
            seen.add((row["attempt"], row["step"]))
            highest = max(highest, row["step"])

    @classmethod
    def read(cls, folder: Path, name: str) -> "Ledger":
        """Read what the workers of a run have noted so far. The last line of one that was killed may be cut."""
        rows = []
        for path in folder.glob(f"{name}-*.jsonl"):
            for line in path.read_text().splitlines():
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    continue
        return cls(rows)

    @property
    def steps(self) -> int:
        """The number of the last step."""
        return self.new[-1]["step"] if self.new else 0

    @property
    def seconds(self) -> float:
        """Seconds from the first step to the last new one."""
        return float(self.new[-1]["time"] - self.new[0]["time"])

    def step_seconds(self) -> float:
        """Mean seconds of a step, pauses included: of an undisturbed run."""
        return self.seconds / max(1, len(self.new) - 1)

    def goodput(self, step_seconds: float) -> float:
        return (len(self.new) - 1) * step_seconds / self.seconds

    def samples(self) -> dict[int, tuple[int, int, int, list[int]]]:
        """Return what each step used when it was done last: (phase, first sample, end, example ids of all workers)."""
        parts: dict[int, dict[int, Row]] = {}
        for row in self.rows:
            before = parts.setdefault(row["step"], {})
            if before and next(iter(before.values()))["attempt"] < row["attempt"]:
                before.clear()
            before[row["rank"]] = row
        result = {}
        for step, ranks in sorted(parts.items()):
            first = next(iter(ranks.values()))
            ids = sorted(itertools.chain.from_iterable(row["ids"] for row in ranks.values()))
            result[step] = (first["phase"], first["start"], first["end"], ids)
        return result

    def losses(self) -> dict[int, float]:
        """The loss of each step when it was done last."""
        return {row["step"]: row["loss"] for row in self.rows if row["rank"] == 0}

    def recoveries(self, faults: Sequence[tuple[float, str]], step_seconds: float) -> list[Recovery]:
        """Return what followed each fault (its time and kind)."""
        times = [row["time"] for row in self.new]
        pause = max(2.0, 5 * step_seconds)
        result = []
        for number, (moment, kind) in enumerate(faults):
            until = faults[number + 1][0] if number + 1 < len(faults) else float("inf")
            lost = sum(moment <= row["time"] < until for row in self.repeats)
            felt = (
                end
                for begin, end in itertools.pairwise(times)
                if end - begin > pause and end > moment and begin < min(moment + FELT_WITHIN, until)
            )
            end = next(felt, None) or next((time for time in times if time > moment), None)
            result.append(Recovery(kind, None if end is None else end - moment, lost))
        return result


def compare(ours: Ledger, undisturbed: Ledger) -> dict[str, int]:
    """Return how many steps used other examples than in an undisturbed run, and examples dropped and repeated in total."""
    mine, theirs = ours.samples(), undisturbed.samples()
    steps = range(1, min(ours.steps, undisturbed.steps) + 1)
    got, wanted = Counter[int](), Counter[int]()
    differing = 0
    for step in steps:
        differing += mine.get(step) != theirs.get(step)
        got.update(mine[step][3] if step in mine else [])
        wanted.update(theirs[step][3] if step in theirs else [])
    return {
        "steps": len(steps),
        "differing": differing,
        "dropped": (wanted - got).total(),
        "repeated": (got - wanted).total(),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a share of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
