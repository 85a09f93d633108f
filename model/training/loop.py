"""The training loop: the same in one process, under torchrun and under Ray; killed and started again, it resumes.

State is a few numbers (phase, step, consumed samples, skipped ranges): samples, masks and dropout follow from these and the
seed. Weights are bitwise equal at a fixed number of workers and threads on one machine; at another number of workers, losses
agree within 1e-3 (relative).

A step that is a spike, or not finite, makes no update and does not count; its samples are skipped. After `rollback_after` of
them in a row the run returns to its last checkpoint, as a new attempt, and skips all samples from there on. What was skipped
is in `skipped_ranges`: a run that is given these from the start computes the same (in fp16: on the same samples, but with a
fresh loss scale).
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from model.checkpoints import checkpoint
from model.optimization import optimizers
from model.samples.batches import Step
from model.training import setup, workers
from model.training.commits import commit_before_stop, validate_and_commit
from model.training.health import watchdog
from model.training.health.watchdog import OnHang
from model.training.outcome import Event, Outcome
from model.training.rollback import roll_back
from model.training.run import PretrainRun, TrainResult
from model.training.setup import OnCommit, Session
from model.training.stopping import StopReason, StopRequests, stop_requests, withdraw
from model.training.tracking import clock
from pipeline import storage

__all__ = ["PretrainRun", "TrainResult", "train"]

log = logging.getLogger(__name__)


def train(
    run: PretrainRun,
    *,
    on_commit: OnCommit | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_hang: OnHang = watchdog.log_hang,
    step_timeout_seconds: float = watchdog.STEP_SECONDS,
) -> TrainResult:
    """Train until all steps are done, resuming from the newest valid checkpoint in `run.output`.

    Every worker of the process group calls this. `on_commit(metrics, checkpoint)` is called by every worker, at the same step,
    when a checkpoint is due and after each validation; `checkpoint` is the newest that is committed, None if that is the same
    as before. SIGTERM (if this is the main thread) or `should_stop` in any worker, or a request in the folder
    (model/training/stopping.py), makes all of them finish the step, write a checkpoint and return. `on_hang(reason)` is called
    in a thread when no worker makes progress for `step_timeout_seconds` (model/training/health/watchdog.py).

    Raises: `CheckpointError` when the folder belongs to another recipe, a later attempt has taken over, or three rollbacks did
    not help against bad steps; `CorpusError` and `RecipeError` when shards do not fit the recipe.
    """
    with (
        storage.patience(run.config.training.store_timeout_seconds),
        stop_requests(storage.absolute(run.output), workers.rank() == 0, should_stop) as stop,
        workers.deterministic(),
        watchdog.watching(step_timeout_seconds, on_hang),
        setup.open_session(run, on_commit) as session,
    ):
        if not session.finished:
            setup.build(session)
        while not session.finished:
            phase, state = setup.enter_phase(session), session.state
            # Forward and backward passes over the micro-batches, and an update unless the step is bad.
            with session.metrics.timed():
                with watchdog.busy("reading samples"), session.live.clock.doing(clock.DATA):
                    step = phase.next_step(state)
                    stopping = stop.reason(session.attempt.number) is not None or session.writer.failed
                outcome = phase.trainer.step(
                    state.step,
                    step.micro_batches,
                    phase.learning_rate(state.step),
                    stopping,
                    state.spike_limits(session.config.training),
                    state.loss_factor,
                )
            watchdog.progress()
            # Count the step, then do what it calls for.
            match record(session, step, outcome):
                case Event.UPDATED:
                    validate_and_commit(session, phase, outcome)
                case Event.SKIPPED:
                    phase.reread()
                case Event.ROLL_BACK:
                    with session.live.clock.doing(clock.REPEATING):
                        roll_back(session)
                case Event.STOP:
                    commit_before_stop(session, phase, outcome)
                    return _stopped(session, stop)
        return _result(session)


def record(session: Session, step: Step, outcome: Outcome) -> Event:
    """Advance the state past a step and log it; returns what the loop has to do."""
    state, training = session.state, session.config.training
    state.advance((step.start, step.end), outcome, training)
    session.live.clock.stepped(state.step)
    slow = session.slow_workers.add(outcome.own_seconds, sum(batch.tokens for batch in step.micro_batches))
    if training.log_examples and outcome.updated:
        ids = [one for batch in step.micro_batches for one in batch.example_ids.tolist()]
        session.metrics.listed.append({"step": state.step, "phase": state.phase, "examples": ids})
    if workers.rank() == 0:
        with watchdog.busy("writing progress.json"):
            log_step(session, step, outcome)
        session.metrics.log_slow(state, slow)
    if outcome.stop_requested and not session.finished:
        return Event.STOP
    if outcome.updated:
        return Event.UPDATED
    return Event.ROLL_BACK if state.streak <= -training.rollback_after else Event.SKIPPED


def log_step(session: Session, step: Step, outcome: Outcome) -> None:
    """Metrics row and log line, where due, and progress.json."""
    state, metrics = session.state, session.metrics
    metrics.count(outcome)
    metrics.log_idle(outcome)
    if not outcome.updated:
        metrics.log_skipped(state, outcome, (step.start, step.end))
    elif metrics.due(state.step, session.config.training.log_every):
        metrics.log_update(state, outcome, optimizers.trust_ratios(session.network, session.optimizer))
    metrics.write_progress(session.attempt, state.step, state.phase, outcome.figures["loss"])


def _stopped(session: Session, stop: StopRequests) -> TrainResult:
    """The result of a run that stops here as it was asked to; the request is removed."""

    def obey() -> StopReason:
        withdraw(session.output)
        return stop.reason(session.attempt.number) or StopReason.SIGTERM  # only of another worker

    reason = session.stopped_by = workers.broadcast_from_rank0(obey)
    log.info("stop requested (%s): stopped after step %d, with a checkpoint", reason, session.state.step)
    return replace(_result(session), stopped_by=reason)


def _result(session: Session) -> TrainResult:
    assert session.checkpoint is not None
    # A run that was finished already began no attempt.
    attempt = session.attempt.number if session.phase else max(checkpoint.attempts(session.output))
    done = (session.state.step, session.total_steps, attempt, session.checkpoint)
    if best := session.state.best:
        return TrainResult(*done, storage.join(session.output, best["checkpoint"]), best["validation_loss"])
    return TrainResult(*done, None, None)
