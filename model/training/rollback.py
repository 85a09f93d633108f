"""Rollback: after too many bad steps in a row, training returns to its last checkpoint and skips what it has seen since.

    step        ... 10 (checkpoint)  11 12 13 14  bad bad bad      rollback_after 3
    resumes at      10, as a new attempt; the samples of steps 11 to 14 and of the bad steps are skipped

The skipped samples are in `skipped_ranges`, so a run that is given these from the start needs no rollback.
"""

from model.checkpoints import checkpoint
from model.training import restoring, workers
from model.training.commits import commit_state
from model.training.setup import Session, begin_attempt, build_network, leave_phase, load_weights, restored_state
from pipeline.errors import CheckpointError

MAX_ROLLBACKS = 3
"""Most rollbacks without `rollback_after` good steps in a row between them. After these, the samples are not the cause."""


def roll_back(session: Session) -> None:
    """Return to the last checkpoint (without one, to fresh weights), as a new attempt that skips all samples since.

    Skipping the bad samples alone would not help: bad steps change nothing, so the same weights would meet the next ones.

    Raises: `CheckpointError` after `MAX_ROLLBACKS`.
    """
    failed = session.state
    leave_phase(session)
    session.live.roll_back()
    workers.broadcast_from_rank0(session.writer.finish)
    session.restored = restoring.newest(lambda: checkpoint.load_newest(session.output))
    session.checkpoint = session.restored.url
    if failed.rollbacks >= MAX_ROLLBACKS:
        raise CheckpointError(
            f"{-failed.streak} bad steps in a row after step {failed.step}, and {failed.rollbacks} rollbacks did not help: "
            'lower learning_rate, raise spike_sigma if these were spikes, or set precision = "fp32"; '
            f"the last checkpoint is {session.checkpoint or 'not written yet'}"
        )
    # The state of the checkpoint, with the samples since then skipped.
    state = session.state = restored_state(session.restored, session.config)
    first = state.consumed_samples if state.phase == failed.phase else 0
    state.skip(failed.phase, first, failed.consumed_samples)
    state.streak, state.rollbacks, state.loss_scale = 0, failed.rollbacks + 1, failed.loss_scale
    # Its weights and moments.
    if session.checkpoint:
        load_weights(session)
    else:
        build_network(session)
    begin_attempt(session, rolled_back_from=failed.step)
    if workers.rank() == 0:
        session.metrics.log_rollback(state, failed.step, (first, failed.consumed_samples))
    # Commit at once: a run that is killed now need not meet the bad steps again.
    commit_state(session)
