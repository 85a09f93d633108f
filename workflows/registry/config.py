"""`[gate]` of a recipe: what a model is held to before it becomes the champion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.validation import check_ranges

Use = Literal["", "research", "commercial", "redistribution"]


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """`[gate]`: what `nezha-pipe promote` asks of a model, beside the champion."""

    margin: float = 0.01
    """How much worse than the champion a model may be on any task: 0.01 is one point of accuracy or F1."""
    margins: Mapping[str, float] = field(default_factory=dict)
    """Margins of single tasks: { chnsenticorp = 0.005 }."""
    require: Literal["better", "no worse"] = "better"
    """`better`: on at least one task, and no worse than the margin on all others. `no worse`: on all tasks; for models that are
    smaller, or whose data is cleaner."""
    confidence: float = 0.95
    """Confidence of the intervals."""
    resamples: int = 10_000
    """Resamples of the bootstrap."""
    promote_to: str = ""
    """URL of a registry: `run` ends with the step `promotion`, which registers the scored model there and makes it the champion
    if it passes. Empty: only `nezha-pipe promote` does that."""
    use: Use = ""
    """What the model is for; licences that forbid it are shown first, and refuse the model. Empty: licences are not judged."""

    def __post_init__(self) -> None:
        check_ranges(self, resamples=(1_000, math.inf))
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence {self.confidence} is not between 0.5 and 1")
        for name, margin in (("margin", self.margin), *self.margins.items()):
            if not 0 <= margin < 1:
                raise ValueError(f"margin {margin} of {name} is not between 0 and 1: 0.01 is one point")

    def margin_of(self, task: str) -> float:
        return self.margins.get(task, self.margin)


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """`[gate]` without the rest of a recipe."""

    gate: GateConfig = field(default_factory=GateConfig)
