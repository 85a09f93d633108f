"""What a training step did (`Verdict`, `Outcome`), and what the training loop does about it (`Event`).

    verdict                                what was computed                        event
    updated                                finite, no spike: the weights changed    UPDATED
    overflow, not finite, spike            no update; the samples are skipped       SKIPPED
    the same, `rollback_after` in a row    no update                                ROLL_BACK
    any                                    a worker was asked to stop               STOP

All workers agree on both: they follow from numbers that are summed over the workers.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class Verdict(StrEnum):
    """The judgement of a step. Everything but `UPDATED` leaves weights and moments as they were.

    The values are the `reason` in metrics rows.
    """

    UPDATED = "updated"
    OVERFLOW = "overflow"
    """A gradient was too large for fp16 at this loss scale. Cures itself: the scale falls."""
    NOT_FINITE = "not finite"
    """The loss or the gradient norm is NaN or infinite, and no loss scale is to blame."""
    SPIKE = "spike"
    """Loss or gradient norm is far above those of recent steps (model/optimization/spikes.py)."""


class Event(Enum):
    """What the training loop does after a step."""

    UPDATED = auto()
    """Validate and checkpoint where due, and continue."""
    SKIPPED = auto()
    """Discard the batches read ahead: the bad step took samples of its own, so those after it move to other steps."""
    ROLL_BACK = auto()
    """Return to the last checkpoint, and skip every sample seen since."""
    STOP = auto()
    """Make sure that a checkpoint holds the state, and return."""


@dataclass(frozen=True)
class Outcome:
    """The result of one step: the same on all workers, except for the seconds."""

    figures: dict[str, float | None]
    """Losses and accuracies of the whole batch, from `trainer.figures`."""
    grad_norm: float
    """Global norm before clipping, without the loss scale."""
    tokens: int
    """Tokens of all workers, without padding."""
    squares: int
    """Sum of the squared lengths of all sequences, which the cost of attention is proportional to."""
    masked: int
    """Masked tokens of all workers."""
    verdict: Verdict
    stop_requested: bool
    """At least one worker was asked to stop."""
    learning_rate: float = 0.0
    """The rate of the update; of a step without one, the rate it would have had."""
    examples: int = 0
    """Digest of the examples of all workers (model/samples/taken.py)."""
    idle_workers: int = 0
    """Workers without a micro-batch in this step."""
    compute_seconds: float = 0.0
    """Forward, backward, and the all-reduce."""
    optimizer_seconds: float = 0.0
    own_seconds: float = 0.0
    """Forward and backward of this worker, without the wait for the others."""
    token_spread: float = 1.0
    """Tokens of the worker that has most, in those of the mean: 1 is even."""

    @property
    def updated(self) -> bool:
        return self.verdict is Verdict.UPDATED
