"""Validations and checkpoints: when they are due, what they hold, and who is told.

Every worker calls these functions at the same step: the weights are measured by all, written by rank 0, and `on_commit` may
be a barrier. Checkpoints are written while training goes on (model/checkpoints/writer.py); which is committed by then, or what
went wrong, all workers learn where the next one is due. The last one is waited for.
"""

from dataclasses import asdict
from typing import Any

import torch

from model.checkpoints import checkpoint, ledger
from model.checkpoints.checkpoint import Checkpoint
from model.training import workers
from model.training.health import watchdog
from model.training.outcome import Outcome
from model.training.phase import Phase
from model.training.setup import Session
from model.training.tracking import clock
from model.training.validation import ALL


def validate_and_commit(session: Session, phase: Phase, outcome: Outcome) -> None:
    """Validate and write a checkpoint after an update, each where it is due.

    A checkpoint is due every `checkpoint_every` steps, at the end of a phase, when training stops, and when its validation
    loss is the best so far.
    """
    step, training = session.state.step, session.config.training
    metrics = _metrics(session, outcome.figures["loss"])
    due = step == phase.end_step or outcome.stop_requested or step % training.checkpoint_every == 0
    if step == phase.end_step or step % training.validate_every == 0:
        metrics["validation_loss"] = loss = _validate(session, phase)
        due |= _update_best(session, loss)
    if due:
        commit(session, metrics, wait=outcome.stop_requested or session.finished)
    elif "validation_loss" in metrics:
        session.on_commit(metrics, None)


def commit_before_stop(session: Session, phase: Phase, outcome: Outcome) -> None:
    """Make sure that a checkpoint holds the step that training stops at."""
    name = checkpoint.checkpoint_name(session.state.step)
    if outcome.updated:
        validate_and_commit(session, phase, outcome)
        return
    with session.live.clock.doing(clock.CHECKPOINTS):
        session.checkpoint = workers.broadcast_from_rank0(session.writer.finish) or session.checkpoint
    if session.checkpoint is None or not session.checkpoint.endswith(name):
        commit_state(session)


def commit_state(session: Session) -> None:
    """Write a checkpoint without a step of its own: there is no loss to report."""
    commit(session, _metrics(session, loss=None), wait=True)


def commit(session: Session, metrics: dict[str, Any], wait: bool) -> None:
    """Submit a checkpoint and the metrics rows since the last one to be written, then call `on_commit` on every worker.

    Raises: on every worker, what went wrong with an earlier one, or with `wait` with this one.
    """
    with session.live.clock.doing(clock.CHECKPOINTS):
        _commit(session, metrics, wait)


def _commit(session: Session, metrics: dict[str, Any], wait: bool) -> None:
    if session.config.training.log_examples:
        with watchdog.busy("writing the examples"):
            ledger.write_listed(session.attempt, session.state.step, workers.rank(), session.metrics.listed)
        session.metrics.listed.clear()
        workers.all_reduce_sum(torch.zeros(1, device=workers.device()))  # all have written
    if workers.rank() == 0:
        session.metrics.log_samples(session.state)
    before = session.checkpoint
    session.checkpoint = workers.broadcast_from_rank0(lambda: _submit(session, wait)) or before
    session.metrics.rows.clear()
    session.on_commit(metrics, session.checkpoint if session.checkpoint != before else None)


def _metrics(session: Session, loss: float | None) -> dict[str, Any]:
    return {"step": session.state.step, "phase": session.state.phase, "loss": loss}


def _validate(session: Session, phase: Phase) -> float | None:
    """The validation loss over all sources; None without validation rows, or if it is not finite."""
    trainer = phase.trainer
    with session.live.clock.doing(clock.VALIDATION):
        rows = phase.validation.measure(session.network, trainer.device, trainer.dtype)
    if rows and workers.rank() == 0:
        session.metrics.log_validation(session.state.step, session.state.phase, rows)
    return next((row["loss"] for row in rows if row["source"] == ALL), None)


def _update_best(session: Session, loss: float | None) -> bool:
    """Remember the checkpoint of this step, which is still to be written, if its loss is the best; returns whether it is."""
    state = session.state
    if loss is None or (state.best is not None and loss >= state.best["validation_loss"]):
        return False
    name = f"{checkpoint.attempt_name(session.attempt.number)}/{checkpoint.checkpoint_name(state.step)}"
    state.best = {"checkpoint": name, "step": state.step, "validation_loss": loss}
    return True


def _submit(session: Session, wait: bool) -> str | None:
    """Submit the state as it is; returns the URL of the newest checkpoint that is committed. On rank 0 only."""
    network, optimizer = session.network, session.optimizer
    now = Checkpoint(
        dict(network.state_dict()),
        checkpoint.optimizer_tensors(network, optimizer),
        asdict(session.state),
        session.inputs.identity(session.config),
        session.inputs.vocab.to_bytes(),
    )
    committed = session.writer.submit(session.attempt, now, session.metrics.rows, session.state.best)
    return session.writer.finish() if wait else committed
