"""One phase of a run in one worker: its part of the schedule, its data, its validation, and the trainer.

    phases   steps 1000, length 128          steps 200, length 512
             first_step 0, end_step 1000     first_step 1000, end_step 1200

Network and optimizer outlive a phase; a `Phase` is what changes with it.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

from model.config import PhaseConfig
from model.optimization.schedule import batch_size, learning_rate
from model.samples import batches
from model.samples.batches import MaskedRows, Step
from model.samples.order import Order
from model.training import workers
from model.training.state import State
from model.training.trainer import Trainer
from model.training.validation import Validation


@dataclass
class Phase:
    """What the training loop needs during one phase."""

    number: int
    """Index of the phase, from 0."""
    config: PhaseConfig
    first_step: int
    """Steps of all phases before this one."""
    rows: MaskedRows
    order: Order
    micro_batch_tokens: int
    trainer: Trainer
    validation: Validation
    _reader: Generator[Step, None, None] | None = field(default=None, init=False)

    @property
    def end_step(self) -> int:
        """Steps of all phases up to the end of this one."""
        return self.first_step + self.config.steps

    def next_step(self, state: State) -> Step:
        """This worker's micro-batches of the next step, from the step and sample that `state` is at; read one step ahead."""
        if self._reader is None:
            sizes = (batch_size(step - self.first_step, self.config) for step in range(state.step, self.end_step))
            samples = state.sample_ranges(sizes)
            where = (workers.rank(), workers.world_size(), self.trainer.device)
            self._reader = batches.steps(self.rows, self.order, samples, self.micro_batch_tokens, *where)
        return next(self._reader)

    def reread(self) -> None:
        """Discard what was read ahead: the next step is planned anew from the state."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step of the run."""
        return learning_rate(step - self.first_step, self.config)
