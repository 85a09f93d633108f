"""`[checks]` of a recipe: what the results of a step are held to before the steps after it run."""

import math
from dataclasses import dataclass

from pipeline.validation import check_ranges


@dataclass(frozen=True, kw_only=True)
class ChecksConfig:
    """`[checks]`: limits. A run ends at a step that does not meet them, and the steps after it are not done."""

    min_kept_ratio: float = 0.05
    """Lowest ratio of the documents of a source that cleaning rules and deduplication may keep."""
    max_unknown_ratio: float = 0.05
    """Highest ratio of tokens of a source that may be `[UNK]`."""
    allow_leak: bool = False
    """Whether a network may be scored on texts that its documents were not compared with (`[decontamination] enabled`)."""
    loss_falls: bool = True
    """Whether the last validation loss has to be below the first. Not asked of training with `start_from`."""
    max_forgetting_ratio: float = 0.05
    """Highest ratio by which training that starts from a network may raise the loss on held-out old text (`[replay]`)."""
    max_export_difference: float = 1e-4
    """Largest accepted difference between the outputs of the export and of its checkpoint."""
    registry: str = ""
    """URL of a registry: no task may be worse than its champion's by the rules of `[gate]`. Empty: not compared."""

    def __post_init__(self) -> None:
        check_ranges(self, min_kept_ratio=(0, 1), max_unknown_ratio=(0, 1), max_export_difference=(0, 1))
        check_ranges(self, max_forgetting_ratio=(0, math.inf))
