"""Pretraining: the loop, the same in one process, under torchrun and under Ray; killed and started again it goes on by itself.

    python -m model.training run.json
    torchrun --nproc-per-node 8 -m model.training run.json

`run.json` is a `PretrainRun` (model/run.py). State is a few numbers (phase, step, consumed samples, skipped ranges): samples,
masks and dropout follow from them and the seed. Weights are bitwise equal at a fixed number of workers and threads on one
machine, and within 1e-3 (relative, loss) of each other at another number of workers.
"""

import contextlib
import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from model import checkpoint, workers
from model.batches import Rows, Step, steps
from model.checkpoint import Attempt, Checkpoint
from model.heads import PretrainingModel
from model.lamb import Lamb, parameter_groups
from model.metrics import Metrics
from model.order import Order
from model.run import Inputs, PretrainRun, claim
from model.schedule import learning_rate
from model.state import State
from model.steps import Learner, Outcome
from model.validation import ALL, Validation
from pipeline import storage
from pipeline.errors import CheckpointError, UserError

__all__ = ["PretrainRun", "TrainResult", "train"]

MOST_BAD_STEPS = 10
"""Steps in a row without a finite loss after which training gives up: one is a spike, ten are a broken run."""
STOPPED = 143
"""Exit code of the command after SIGTERM (128 + 15): in order, but not done."""
log = logging.getLogger(__name__)

OnCommit = Callable[[dict[str, Any], str | None], None]


@dataclass(frozen=True)
class TrainResult:
    """Where training stands when `train` returns."""

    step: int
    steps: int
    """Of all phases; `step` is less when training was asked to stop."""
    attempt: int
    last_checkpoint: str
    best_checkpoint: str | None
    """None when there are no validation rows."""
    best_validation_loss: float | None

    @property
    def finished(self) -> bool:
        return self.step >= self.steps


def train(run: PretrainRun, *, on_commit: OnCommit | None = None, should_stop: Callable[[], bool] | None = None) -> TrainResult:
    """Train until all steps are done, going on from the newest valid checkpoint of `run.output`.

    Every worker of the process group calls it. `on_commit(metrics, checkpoint)` is called by every worker, at the same step,
    after each checkpoint and each validation; `checkpoint` is None when none was written. SIGTERM (where this is the main
    thread), or `should_stop` in any worker, makes all finish the step, commit and return.

    Raises `CheckpointError` when the folder belongs to another recipe, when a later attempt has taken over, or after 10
    steps in a row without a finite loss; `CorpusError` and `RecipeError` when shards do not fit the recipe.
    """
    with workers.stop_signal() as signalled, workers.deterministic():
        attempt = _Training(
            replace(run, output=storage.absolute(run.output)),
            on_commit or (lambda metrics, url: None),
            lambda: signalled.is_set() or (should_stop is not None and should_stop()),
        )
        return attempt.run_all()


class _Training:
    """One attempt at a run, in one worker."""

    def __init__(self, run: PretrainRun, on_commit: OnCommit, asked: Callable[[], bool]) -> None:
        self.output, self.config, self.on_commit, self.asked = run.output, run.config, on_commit, asked
        self.inputs = Inputs.of(run)
        self.ends = list(itertools.accumulate(phase.steps for phase in run.config.phases))
        self.orders = [self._order(number) for number in range(len(self.ends))]  # all now: the last may have a mistake too
        self.checkpoint: str | None = workers.first_says(self._claim)
        self.state = State(**storage.read_json(storage.join(self.checkpoint, "state.json"))) if self.checkpoint else State()
        self.metrics = Metrics(self.ends[-1])

    def _claim(self) -> str | None:
        """Make sure that the output folder is this recipe's; returns the checkpoint to go on from."""
        begun = any(checkpoint.committed(self.output))
        claim(self.output, self.inputs.identity(self.config), begun)
        return checkpoint.newest_valid(self.output)

    def _order(self, number: int) -> Order:
        phase = self.config.phases[number]
        rows = {name: _train_rows(stage.manifest) for name, stage in self.inputs.sources(phase).items()}
        return Order(rows, phase.weights, self._seed(number))

    def _seed(self, number: int) -> int:
        """Of a phase: two phases of one length do not go through their rows alike, nor draw the same masks."""
        return self.config.seed + number

    def run_all(self) -> TrainResult:
        """All phases, from where the newest checkpoint stands."""
        if self.checkpoint and self.state.step >= self.ends[-1]:
            return self._result(max(checkpoint.attempts(self.output)))
        self._build()
        self.attempt = workers.first_says(lambda: Attempt.begin(self.output, self.state.step))
        if workers.rank() == 0:
            self.attempt.point_at_best(self.state.best)
        for number in range(self.state.phase, len(self.ends)):
            if self.state.step < self.ends[number] and not self._phase(number):
                break
        return self._result(self.attempt.number)

    def _result(self, attempt: int) -> TrainResult:
        assert self.checkpoint is not None
        done = (self.state.step, self.ends[-1], attempt, self.checkpoint)
        if best := self.state.best:
            return TrainResult(*done, storage.join(self.output, best["checkpoint"]), best["validation_loss"])
        return TrainResult(*done, None, None)

    def _build(self) -> None:
        """Network and optimizer: fresh ones are a function of the seed only, the others come from the checkpoint."""
        optimizer = self.config.optimizer
        torch.manual_seed(self.config.seed)
        self.network = PretrainingModel(self.config.encoder, len(self.inputs.vocab)).to(workers.device())
        self.optimizer = Lamb(
            parameter_groups(self.network, optimizer.weight_decay),
            lr=0.0,  # set before each step
            betas=(optimizer.beta1, optimizer.beta2),
            epsilon=optimizer.epsilon,
            weight_decay=optimizer.weight_decay,
        )
        if self.checkpoint:
            loaded = checkpoint.load(self.checkpoint)
            self.network.load_state_dict(loaded.model)
            checkpoint.restore_optimizer(self.network, self.optimizer, loaded.optimizer)
            log.info("going on from %s", self.checkpoint)

    def _phase(self, number: int) -> bool:
        """Train one phase to its end; False when asked to stop before."""
        if number != self.state.phase:
            self.state.phase, self.state.consumed_samples = number, 0
        phase, training = self.config.phases[number], self.config.training
        order, sources = self.orders[number], self.inputs.sources(phase)
        used = {name: sources[name] for name in order.sources}
        self._train_pairs(any(stage.manifest["pairs"]["task"] != "none" for stage in used.values()))
        learner = Learner(self.network, self.optimizer, training, self.config.optimizer.max_grad_norm, self.config.seed)
        validation = Validation(used, self.inputs.vocab, training, self.config.seed)
        rows = Rows(list(used.values()), "train", self.inputs.vocab, self._seed(number))
        first, size, left = self.state.consumed_samples, phase.batch_size, self.ends[number] - self.state.step
        samples = [(first + i * size, first + (i + 1) * size) for i in range(left)]
        batches = steps(rows, order, samples, training.micro_batch_tokens, workers.rank(), workers.world(), learner.device)
        with contextlib.closing(batches):
            for _ in range(left):
                rate = learning_rate(self.state.step - self.ends[number] + phase.steps, phase)
                with self.metrics.timed():
                    step = next(batches)
                    outcome = learner.step(self.state.step, step.micro_batches, rate, self.asked())
                self._count(step, outcome, rate)
                self._measure_and_commit(learner, validation, outcome)
                if outcome.stop and self.state.step < self.ends[-1]:
                    log.info("asked to stop: stopped after step %d, with a checkpoint", self.state.step)
                    return False
        return True

    def _train_pairs(self, wanted: bool) -> None:
        """Without pairs, their head and the pooler have no gradient: left in, weight decay alone would shrink them."""
        for module in (self.network.nezha.pooler, self.network.cls.seq_relationship):
            for parameter in module.parameters():
                parameter.requires_grad_(wanted)
                parameter.grad = None

    def _count(self, step: Step, outcome: Outcome, rate: float) -> None:
        """Move the state past a step; `CheckpointError` after too many that had no effect."""
        state = self.state
        state.step, state.consumed_samples = state.step + 1, step.end
        if workers.rank() == 0:
            self.metrics.step(state.step, state.phase, outcome, rate, self.config.training.log_every)
            self.metrics.progress(self.attempt, state.step, state.phase, outcome.figures["loss"])
        if outcome.updated:
            return
        in_a_row = state.skip(step.start, step.end) // (step.end - step.start)
        log.warning("step %d: loss or gradient is not finite, no update (%d in a row)", state.step, in_a_row)
        if in_a_row >= MOST_BAD_STEPS:
            raise CheckpointError(
                f"{in_a_row} steps in a row, up to step {state.step}, without a finite loss: lower learning_rate, or set "
                f'precision = "fp32"; the last checkpoint is {self.checkpoint or "not written yet"}'
            )

    def _measure_and_commit(self, learner: Learner, validation: Validation, outcome: Outcome) -> None:
        """Validation and checkpoint, where they are due; what has a new best validation loss is always kept."""
        step, training = self.state.step, self.config.training
        end = step in self.ends
        figures: dict[str, Any] = {"step": step, "phase": self.state.phase, "loss": outcome.figures["loss"]}
        better = False
        if end or step % training.validate_every == 0:
            rows = validation.measure(self.network, learner.device, learner.bf16)
            if rows and workers.rank() == 0:
                self.metrics.validation(step, self.state.phase, rows)
            loss = next((row["loss"] for row in rows if row["source"] == ALL), None)
            figures["validation_loss"] = loss
            better = loss is not None and (self.state.best is None or loss < self.state.best["validation_loss"])
        if better:
            self.state.best = {
                "checkpoint": f"{checkpoint.attempt_name(self.attempt.number)}/{checkpoint.checkpoint_name(step)}",
                "step": step,
                "validation_loss": loss,
            }
        if end or better or outcome.stop or step % training.checkpoint_every == 0:
            self.checkpoint = workers.first_says(self._commit)
            self.metrics.rows.clear()
            self.on_commit(figures, self.checkpoint)
        elif "validation_loss" in figures:
            self.on_commit(figures, None)

    def _commit(self) -> str:
        saved = Checkpoint(
            {name: tensor.cpu() for name, tensor in self.network.state_dict().items()},
            {name: tensor.cpu() for name, tensor in checkpoint.optimizer_tensors(self.network, self.optimizer).items()},
            asdict(self.state),
            self.inputs.identity(self.config),
            self.inputs.vocab.to_bytes(),
        )
        url = self.attempt.commit(saved, self.metrics.rows)
        self.attempt.point_at_best(self.state.best)
        self.attempt.retain(self.config.training.keep_checkpoints, self.state.best)
        return url


def _train_rows(manifest: dict[str, Any]) -> int:
    return sum(entry["rows"] for entry in manifest["files"] if entry["name"].startswith("train-"))


def main(arguments: Sequence[str]) -> int:
    """`python -m model.training RUN.json`; returns the exit code."""
    if len(arguments) != 1:
        print("Error: usage: python -m model.training RUN.json", file=sys.stderr)
        return 2
    try:
        run = PretrainRun.from_json(storage.read_json(arguments[0]))
        with workers.joined():
            first = workers.rank() == 0
            logging.basicConfig(level=logging.INFO if first else logging.ERROR, format="%(message)s", stream=sys.stdout)
            result = train(run)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if first:
        print(f"{'done' if result.finished else 'stopped'} at step {result.step} of {result.steps}: {result.last_checkpoint}")
    return 0 if result.finished else STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
