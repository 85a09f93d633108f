"""Pretraining: the loop, the same in one process, under torchrun and under Ray; killed and started again it goes on by itself.

    python -m model.training.loop run.json
    torchrun --nproc-per-node 8 -m model.training.loop run.json

`run.json` is a `PretrainRun` (model/training/run.py). State is a few numbers (phase, step, consumed samples, skipped ranges): samples,
masks and dropout follow from them and the seed. Weights are bitwise equal at a fixed number of workers and threads on one
machine, and within 1e-3 (relative, loss) of each other at another number of workers.

A step that is not finite, or a spike, makes no update and does not count; its samples are passed by. After `rollback_after` of
them in a row the run goes back to its last checkpoint, as a new attempt, and passes by all samples from there on. What was
passed by is in `skipped_ranges`: a run that is given these from the start computes the same (in fp16: on the same samples, but
with a loss scale that begins anew).
"""

import bisect
import contextlib
import itertools
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from model.heads import PretrainingModel
from model.optimization import optimizers, spikes
from model.optimization.loss_scale import LossScale
from model.optimization.schedule import batch_size, learning_rate
from model.training import checkpoint, workers
from model.training.batches import Rows, Step, steps
from model.training.checkpoint import Attempt, Checkpoint
from model.training.compiling import compiled
from model.training.learner import Learner, Limits, Outcome
from model.training.metrics import Metrics
from model.training.order import Order
from model.training.run import Inputs, PretrainRun, claim
from model.training.state import State
from model.training.validation import ALL, Validation
from pipeline import storage
from pipeline.errors import CheckpointError, UserError

__all__ = ["PretrainRun", "TrainResult", "train"]

MOST_ROLLBACKS = 3
"""Times that training goes back without as many good steps in a row as `rollback_after` between: it is no matter of samples."""
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

    Raises `CheckpointError` when the folder belongs to another recipe, when a later attempt has taken over, or when going back
    three times has not helped against bad steps; `CorpusError` and `RecipeError` when shards do not fit the recipe.
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
        self.checkpoint: str | None = workers.broadcast_from_rank0(self._claim)
        self.state = self._saved_state()
        self.metrics = Metrics(self.ends[-1], run.config.encoder, len(self.inputs.vocab))

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

    def _saved_state(self) -> State:
        """Of the checkpoint to go on from; else that of a run that begins."""
        if self.checkpoint:
            return State.from_json(storage.read_json(storage.join(self.checkpoint, "state.json")))
        return State(skipped_ranges=[list(part) for part in self.config.training.skipped_ranges])

    def run_all(self) -> TrainResult:
        """All phases, from where the newest checkpoint stands."""
        if self.checkpoint and self.state.step >= self.ends[-1]:
            return self._result(max(checkpoint.attempts(self.output)))
        self._build()
        self._begin_attempt()
        while self.state.step < self.ends[-1] and self._phase(bisect.bisect_right(self.ends, self.state.step)):
            pass
        return self._result(self.attempt.number)

    def _begin_attempt(self, rolled_back_from: int | None = None) -> None:
        self.attempt = workers.broadcast_from_rank0(lambda: Attempt.begin(self.output, self.state.step, rolled_back_from))
        if workers.rank() == 0:
            self.attempt.point_at_best(self.state.best)

    def _result(self, attempt: int) -> TrainResult:
        assert self.checkpoint is not None
        done = (self.state.step, self.ends[-1], attempt, self.checkpoint)
        if best := self.state.best:
            return TrainResult(*done, storage.join(self.output, best["checkpoint"]), best["validation_loss"])
        return TrainResult(*done, None, None)

    def _build(self) -> None:
        """Network and optimizer: fresh ones are a function of the seed only, the others come from the checkpoint."""
        training = self.config.training
        torch.manual_seed(self.config.seed)
        self.network = PretrainingModel(self.config.encoder, len(self.inputs.vocab)).to(workers.device())
        self.network.nezha.use_attention(training.attention)
        self.network.nezha.checkpoint_activations(training.activation_checkpointing)
        self.optimizer = optimizers.make(self.network, self.config.optimizer)
        self._load()
        compiled(self.network, training.compile, workers.device())

    def _load(self) -> None:
        """Put weights and moments of the checkpoint into network and optimizer; where there is none, weights to begin with."""
        start_from = self.config.training.start_from
        if self.checkpoint:
            loaded = checkpoint.load(self.checkpoint)
            self.network.load_state_dict(loaded.model)
            checkpoint.restore_optimizer(self.network, self.optimizer, loaded.optimizer)
            log.info("going on from %s", self.checkpoint)
        elif start_from:
            from model.conversion.reading import start  # which knows checkpoints, and so imports what a run is

            self.network.load_state_dict(start(start_from, self.config.encoder, self.inputs.vocab))
            log.info("starting from %s", start_from)

    def _phase(self, number: int) -> bool:
        """Train one phase to its end, or until it has gone back to a checkpoint; False when asked to stop before."""
        if number != self.state.phase:
            self.state.begin(number)
        phase, training = self.config.phases[number], self.config.training
        order, sources = self.orders[number], self.inputs.sources(phase)
        used = {name: sources[name] for name in order.sources}
        self._train_pairs(any(stage.manifest["pairs"]["task"] != "none" for stage in used.values()))
        learner = Learner(self.network, self.optimizer, training, self.config.optimizer.max_grad_norm, self.config.seed)
        self._scale_losses(learner.precision == "fp16")
        validation = Validation(used, self.inputs.vocab, training, self.config.seed)
        rows = Rows(list(used.values()), "train", self.inputs.vocab, self._seed(number))
        first = self.ends[number] - phase.steps
        while self.state.step < self.ends[number]:
            sizes = (batch_size(step - first, phase) for step in range(self.state.step, self.ends[number]))
            samples = self.state.ranges(sizes)
            reader = steps(rows, order, samples, training.micro_batch_tokens, workers.rank(), workers.world(), learner.device)
            with contextlib.closing(reader):
                going = self._train(learner, validation, reader, lambda: learning_rate(self.state.step - first, phase))
            if not going:
                return False
            if self.state.streak <= -training.rollback_after:
                self._roll_back()
                return True
        return True

    def _train(self, learner: Learner, validation: Validation, reader: Iterator[Step], rate: Callable[[], float]) -> bool:
        """Take steps until there are no more, or one is bad: then others follow than were read. False when asked to stop."""
        while True:
            now = rate()
            with self.metrics.timed():
                step = next(reader, None)
                if step is None:
                    return True
                scale = self.state.loss_scale.scale if self.state.loss_scale else 1.0
                stop = self.asked()
                outcome = learner.step(self.state.step, step.micro_batches, now, stop, self._limits(), scale)
            self._count(step, outcome, now)
            if outcome.updated:
                self._measure_and_commit(learner, validation, outcome)
            elif outcome.stop and not (self.checkpoint or "").endswith(checkpoint.checkpoint_name(self.state.step)):
                self._write({"step": self.state.step, "phase": self.state.phase, "loss": None})
            if outcome.stop and self.state.step < self.ends[-1]:
                log.info("asked to stop: stopped after step %d, with a checkpoint", self.state.step)
                return False
            if not outcome.updated:
                return True

    def _scale_losses(self, wanted: bool) -> None:
        """A loss scale for fp16: that of the checkpoint, else a new one; none for other precisions."""
        if wanted:
            self.state.loss_scale = self.state.loss_scale or LossScale.of(self.config.training.loss_scale)
        else:
            self.state.loss_scale = None

    def _limits(self) -> Limits:
        length, sigma = self.config.training.spike_window, self.config.training.spike_sigma
        return Limits(*(spikes.limit(window, length, sigma) for window in (self.state.losses, self.state.grad_norms)))

    def _train_pairs(self, wanted: bool) -> None:
        """Without pairs, their head and the pooler have no gradient: left in, weight decay alone would shrink them."""
        for module in (self.network.nezha.pooler, self.network.cls.seq_relationship):
            for parameter in module.parameters():
                parameter.requires_grad_(wanted)
                parameter.grad = None

    def _count(self, step: Step, outcome: Outcome, rate: float) -> None:
        """Move the state past the samples of a step; only an update counts as a step."""
        state, training = self.state, self.config.training
        state.consumed_samples = step.end
        if state.loss_scale and outcome.verdict in ("updated", "overflow"):
            state.loss_scale.count(outcome.verdict == "overflow", training.loss_scale)
        if outcome.updated:
            state.step, state.streak = state.step + 1, max(state.streak, 0) + 1
            state.rollbacks = 0 if state.streak >= training.rollback_after else state.rollbacks
            loss = outcome.figures["loss"]
            assert loss is not None
            spikes.add(state.losses, loss, training.spike_window)
            spikes.add(state.grad_norms, outcome.grad_norm, training.spike_window)
        else:
            state.skip(state.phase, step.start, step.end)
            if outcome.verdict != "overflow":  # which mends itself: the scale falls
                state.streak = min(state.streak, 0) - 1
        if workers.rank() == 0:
            self._tell(step, outcome, rate)

    def _tell(self, step: Step, outcome: Outcome, rate: float) -> None:
        self.metrics.count(outcome)
        if not outcome.updated:
            self.metrics.skipped(self.state, outcome, (step.start, step.end))
        elif self.metrics.due(self.state.step, self.config.training.log_every):
            ratios = optimizers.trust_ratios(self.network, self.optimizer)
            self.metrics.step(self.state, outcome, rate, ratios)
        self.metrics.progress(self.attempt, self.state.step, self.state.phase, outcome.figures["loss"])

    def _roll_back(self) -> None:
        """Return to the last checkpoint, as a new attempt, and pass by all samples since; `CheckpointError` if that is no help.

        To go on from here would not do: bad steps have changed nothing, so the weights that met them would meet the next.
        """
        failed = self.state
        self.checkpoint = workers.broadcast_from_rank0(lambda: checkpoint.newest_valid(self.output))
        if failed.rollbacks >= MOST_ROLLBACKS:
            raise CheckpointError(
                f"{-failed.streak} bad steps in a row after step {failed.step}, and going back {failed.rollbacks} times was no "
                f"help: lower learning_rate, raise spike_sigma if these were spikes, or set precision = "
                f'"fp32"; the last checkpoint is {self.checkpoint or "not written yet"}'
            )
        self.state = self._saved_state()
        start = self.state.consumed_samples if self.state.phase == failed.phase else 0
        self.state.skip(failed.phase, start, failed.consumed_samples)
        self.state.streak, self.state.rollbacks, self.state.loss_scale = 0, failed.rollbacks + 1, failed.loss_scale
        if self.checkpoint:
            self._load()
        else:
            self._build()
        self._begin_attempt(failed.step)
        if workers.rank() == 0:
            self.metrics.rollback(self.state, failed.step, (start, failed.consumed_samples))
        # At once, so that a run that is killed now need not find out again.
        self._write({"step": self.state.step, "phase": self.state.phase, "loss": None})

    def _write(self, figures: dict[str, Any]) -> None:
        self.checkpoint = workers.broadcast_from_rank0(self._commit)
        self.metrics.rows.clear()
        self.on_commit(figures, self.checkpoint)

    def _measure_and_commit(self, learner: Learner, validation: Validation, outcome: Outcome) -> None:
        """Validation and checkpoint, where they are due; what has a new best validation loss is always kept."""
        step, training = self.state.step, self.config.training
        end = step in self.ends
        figures: dict[str, Any] = {"step": step, "phase": self.state.phase, "loss": outcome.figures["loss"]}
        better = False
        if end or step % training.validate_every == 0:
            rows = validation.measure(self.network, learner.device, learner.dtype)
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
            self._write(figures)
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
    """`python -m model.training.loop RUN.json`; returns the exit code."""
    if len(arguments) != 1:
        print("Error: usage: python -m model.training.loop RUN.json", file=sys.stderr)
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
