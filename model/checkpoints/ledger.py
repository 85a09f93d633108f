"""What a run was trained on: a row of its metrics with every checkpoint, and the check that these leave no gap.

    {"kind": "samples", "step": 200, "phase": 0, "after": 100, "start": 25600, "end": 51456, "skipped": [[30464, 30720]],
     "examples": "9f3a0c1b2d4e5f60"}                    steps 101 to 200, and the digest of all updates up to step 200

A digest (model/samples/taken.py) tells whether two runs have seen the same examples in the same steps, on any number of workers
and over any number of attempts. With `log_examples` the examples themselves are listed:

    attempt-0001/examples-00000200-001.jsonl            of rank 1, up to the checkpoint of step 200:
    {"step": 101, "phase": 0, "examples": [9811232155, ...]}
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from model.checkpoints.checkpoint import Attempt, read_metrics
from model.checkpoints.listing import committed
from model.config import PhaseConfig, PretrainConfig
from model.optimization.schedule import batch_size
from model.samples import taken
from pipeline import storage

KIND = "samples"
"""`kind` of these rows of metrics."""
CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples that some steps of a phase took."""

    step: int
    """The last step."""
    phase: int
    after: int
    """The step before the first."""
    start: int
    """The first sample."""
    end: int
    """The sample after the last."""
    skipped: list[list[int]]
    """[first sample, end] of those among them that were not trained on."""
    examples: str | None
    """Digest of the examples of all updates up to `step`; None if an older version began the run."""

    def row(self) -> dict[str, Any]:
        """Return the row of metrics."""
        return {"kind": KIND, **asdict(self)}

    @staticmethod
    def of(row: Mapping[str, Any]) -> "Samples":
        """Return what a row of metrics says."""
        return Samples(**{name: value for name, value in row.items() if name != "kind"})


def inside(skipped: Iterable[Sequence[int]], phase: int, start: int, end: int) -> list[list[int]]:
    """Return the parts of `skipped`, each [phase, first sample, end], that are in a range of samples."""
    parts = ([max(first, start), min(last, end)] for number, first, last in skipped if number == phase)
    return sorted(part for part in parts if part[0] < part[1])


def problems(output: str) -> list[str]:
    """Return what is wrong with the samples of a training folder: gaps, overlaps, a checkpoint that says otherwise.

    What an older version trained is not checked: it wrote no such rows.
    """
    rows = [Samples.of(row) for row in read_metrics(output) if row.get("kind") == KIND]
    if not rows:
        return []
    phases = PretrainConfig.from_json(storage.read_json(storage.join(output, CONFIG))).phases
    return [f"{output}: {problem}" for problem in (*_breaks(rows, phases), *_contradictions(output, rows))]


def _breaks(rows: Sequence[Samples], phases: Sequence[PhaseConfig]) -> Iterator[str]:
    """Yield the places where a row does not begin where the one before ended, or its steps do not take its samples."""
    first_steps = [0, *itertools.accumulate(phase.steps for phase in phases)]
    phase, step, end = 0, 0, 0
    if rows[0].after:  # an older version began the run
        phase, step, end = rows[0].phase, rows[0].after, rows[0].start
    for row in rows:
        if row.phase != phase:
            phase, end = row.phase, 0
        steps, of_phase = f"steps {row.after + 1:,} to {row.step:,}", f" of phase {phase + 1}"
        sizes = [batch_size(number - first_steps[phase], phases[phase]) for number in range(row.after, row.step)]
        if row.after != step:
            yield f"nothing says what steps {step + 1:,} to {row.after:,} were trained on"
        elif row.start > end:
            yield f"samples {end:,} to {row.start:,}{of_phase} are missing before {steps}"
        elif row.start < end:
            yield f"samples {row.start:,} to {end:,}{of_phase} were taken again by {steps}"
        elif row.end != (expected := _end(row.start, sizes, row.skipped)):
            yield f"{steps} took the samples {row.start:,} to {row.end:,}{of_phase}; their batches end at {expected:,}"
        step, end = row.step, row.end


def _end(start: int, sizes: Sequence[int], skipped: Iterable[Sequence[int]]) -> int:
    """Return where steps end that begin at a sample, with what was skipped right after the last of them."""
    ranges = sorted((first, end) for first, end in skipped)
    ends = [start, *(end for _, end in taken.sample_ranges(start, sizes, ranges))]
    last = ends[-1]
    for first, end in ranges:
        last = end if first <= last < end else last
    return last


def _contradictions(output: str, rows: Sequence[Samples]) -> Iterator[str]:
    """Yield the checkpoints whose state is not what the rows say of their step."""
    by_step = {row.step: row for row in rows}
    for url in committed(output):
        state = storage.read_json(storage.join(url, "state.json"))
        row = by_step.get(state["step"])
        if row is None:
            continue
        if row.end != state["consumed_samples"]:
            yield f"{storage.base_name(url)} goes on at sample {state['consumed_samples']:,}, the metrics end at {row.end:,}"
        elif row.examples != state.get("examples"):
            yield f"{storage.base_name(url)} was trained on other examples than the metrics say"


def write_listed(attempt: Attempt, step: int, rank: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the examples that a worker was trained on since the last checkpoint."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    storage.write_bytes(storage.join(attempt.url, f"examples-{step:08d}-{rank:03d}.jsonl"), lines.encode())
