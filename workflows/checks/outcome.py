"""What a check finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """The result of one check of one stage."""

    passed: bool
    message: str
    """What was found; if it did not pass, also the limit and the way on."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What was compared with the limit."""
