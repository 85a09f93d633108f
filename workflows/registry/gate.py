"""Verdicts: is a model better than the champion, no worse than the margin, worse, or can nobody tell?

    margin 0.01          -0.01      0
    better                 |        |  [-----]       the interval is above 0
    no worse               |   [----|--]             above minus the margin
    worse             [----|----]   |                below 0, and not above minus the margin
    cannot tell         [--|--------|---]            neither

A model passes if no task is worse or unclear, and at least one is better (`require`). All tasks must hold, so no correction is
needed for that. But one better task of several is enough, so by chance alone one would be found more often: with k scores,
better needs the interval of confidence 1 - (1 - confidence) / k (Bonferroni). A model that is no better than the champion
passes in at most 2.5 % of cases at a confidence of 95 %, whatever the number of tasks.

Scores that were made on other examples or with other settings say nothing, and pass nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workflows.registry import licences
from workflows.registry.comparison import Comparison, compared
from workflows.registry.config import GateConfig
from workflows.registry.entries import Entry

Word = Literal["better", "no worse", "worse", "cannot tell"]


@dataclass(frozen=True, eq=False)
class TaskVerdict:
    """The verdict on one task by one metric."""

    verdict: Word
    margin: float
    comparison: Comparison
    seeds_to_tell: int | None = None
    """If nobody can tell: how many seeds of each model would, if difference and spread are what they seem to be."""
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "margin": self.margin,
            **self.comparison.to_json(),
            "seeds_to_tell": self.seeds_to_tell,
            "why": self.why,
        }


@dataclass(frozen=True, eq=False)
class Verdict:
    """The verdict on a model."""

    verdict: Word
    passes: bool
    reasons: tuple[str, ...]
    """Why it does not pass; empty if it does."""
    tasks: tuple[TaskVerdict, ...]
    licences: tuple[Mapping[str, Any], ...]
    """Those that forbid the use, and those that say nothing; see licences.py."""
    champion: str
    """Name of the champion that it was compared with; "" if there was none."""
    config: GateConfig

    def to_json(self) -> dict[str, Any]:
        from pipeline.engine.stages import plain

        return {
            "licences": list(self.licences),
            "verdict": self.verdict,
            "passes": self.passes,
            "reasons": list(self.reasons),
            "champion": self.champion,
            "tasks": [task.to_json() for task in self.tasks],
            "gate": plain(self.config),
        }


def judge(model: Entry, champion: Entry | None, config: GateConfig) -> Verdict:
    """Compare a model with the champion. Without a champion it passes, unless licences forbid the use.

    Raises: TaskError, DamagedError for scores that cannot be used.
    """
    found = tuple(licences.judged(model.content["licences"], config.use))
    reasons = [f"the licence of {one['source']} forbids {config.use} use" for one in found if one["forbids"]]
    if champion is None:
        return Verdict("better", not reasons, tuple(reasons), (), found, "", config)
    rows = compared(model, champion, config)
    tasks = tuple(_judged(row, config, len(rows)) for row in rows)
    reasons += [_reason(task, config) for task in tasks if task.verdict in ("worse", "cannot tell")]
    word = _overall([task.verdict for task in tasks])
    if word == "no worse" and config.require == "better":
        reasons.append("better on no task")
    return Verdict(word, not reasons, tuple(reasons), tasks, found, champion.name, config)


def _overall(words: Sequence[Word]) -> Word:
    """Return the worst verdict; `better` if one is better and the others are no worse."""
    order: tuple[Word, ...] = ("worse", "cannot tell", "better", "no worse")
    return next((word for word in order if word in words), "cannot tell")


def _judged(row: Comparison, config: GateConfig, scores: int) -> TaskVerdict:
    margin = config.margin_of(row.task)
    if row.difference is None or row.interval is None or row.differs:
        return TaskVerdict("cannot tell", margin, row, why="; ".join(row.differs))
    low, high = row.interval
    surely_better = row.difference.interval(1 - (1 - config.confidence) / scores)[0] > 0
    if surely_better:
        return TaskVerdict("better", margin, row)
    if low > -margin or low == high == 0:
        return TaskVerdict("no worse", margin, row)
    if high < 0:
        return TaskVerdict("worse", margin, row)
    needed = row.difference.seeds_to_tell(margin, config.confidence)
    if needed is None:
        why = f"{row.examples[0]:,} examples are too few for a margin of {margin:g}, whatever the number of seeds"
    else:
        why = f"{needed} seeds of each model would tell, {needed - min(row.seeds)} more"
    return TaskVerdict("cannot tell", margin, row, needed, why)


def _reason(task: TaskVerdict, config: GateConfig) -> str:
    row = task.comparison
    name = f"{row.task} {row.metric}"
    if task.verdict == "worse" and row.interval:
        low, high = row.interval
        return f"{name}: worse by {-high:.3f} to {-low:.3f}, the margin is {task.margin:g}"
    return f"{name}: cannot tell: {task.why}"
