"""Wiring: everything that the training loop works with is opened, checked and built here.

    with open_session(run, on_commit) as session:     inputs checked, folder claimed, state read from the newest checkpoint
        build(session)                                network, optimizer, the next attempt
        enter_phase(session)                          trainer, data and validation of the phase that the next step is in

A first reader may skip this file: model/training/loop.py can be read without it.
"""

import bisect
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from model.checkpoints import checkpoint
from model.checkpoints.checkpoint import Attempt
from model.config import PretrainConfig
from model.heads import PretrainingModel
from model.optimization import optimizers
from model.optimization.loss_scale import LossScale
from model.samples.batches import MaskedRows
from model.samples.order import Order
from model.training import workers
from model.training.compiling import compile_network
from model.training.metrics import Metrics
from model.training.phase import Phase
from model.training.run import Inputs, PretrainRun, claim
from model.training.state import State
from model.training.trainer import Trainer
from model.training.validation import Validation
from pipeline import storage

log = logging.getLogger(__name__)

OnCommit = Callable[[dict[str, Any], str | None], None]
"""Called with metrics and the URL of the checkpoint, which is None after a validation without one."""


@dataclass
class Session:
    """One attempt at a run in one worker. Everything that changes in training is in here."""

    output: str
    config: PretrainConfig
    inputs: Inputs
    orders: list[Order]
    """The order of samples of each phase."""
    phase_ends: list[int]
    """Steps of all phases up to the end of each."""
    on_commit: OnCommit
    checkpoint: str | None
    """URL of the newest checkpoint; None before the first."""
    state: State
    metrics: Metrics
    phase: Phase | None = None
    """The phase that is being trained; None at the start and after a rollback."""
    network: PretrainingModel = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    attempt: Attempt = field(init=False)

    @property
    def total_steps(self) -> int:
        """Steps of all phases."""
        return self.phase_ends[-1]

    @property
    def finished(self) -> bool:
        return self.state.step >= self.total_steps


@contextlib.contextmanager
def open_session(run: PretrainRun, on_commit: OnCommit | None = None) -> Iterator[Session]:
    """Check the inputs of a run, claim its folder, and read the state to resume from. Nothing large is built.

    Raises: `CorpusError` and `RecipeError` when shards do not fit the recipe, before anything is written; `CheckpointError`
    when the folder belongs to another recipe.
    """
    inputs, config = Inputs.of(run), run.config
    orders = [_order(inputs, config, number) for number in range(len(config.phases))]  # of all, to find all mistakes now
    output = storage.absolute(run.output)
    newest = workers.broadcast_from_rank0(lambda: _claim(output, inputs.identity(config)))
    ends = list(itertools.accumulate(phase.steps for phase in config.phases))
    metrics = Metrics(ends[-1], config.encoder, len(inputs.vocab))
    state = saved_state(newest, config)
    session = Session(output, config, inputs, orders, ends, on_commit or _ignore, newest, state, metrics)
    try:
        yield session
    finally:
        leave_phase(session)


def _ignore(metrics: dict[str, Any], url: str | None) -> None:
    """Nobody wants to hear of commits."""


def _claim(output: str, identity: dict[str, Any]) -> str | None:
    """Make sure that the folder belongs to this recipe; returns the checkpoint to resume from."""
    claim(output, identity, started=any(checkpoint.committed(output)))
    return checkpoint.newest_valid(output)


def _order(inputs: Inputs, config: PretrainConfig, number: int) -> Order:
    phase = config.phases[number]
    rows = {name: _train_rows(stage.manifest) for name, stage in inputs.sources(phase).items()}
    return Order(rows, phase.weights, _phase_seed(config, number))


def _train_rows(manifest: dict[str, Any]) -> int:
    return sum(entry["rows"] for entry in manifest["files"] if entry["name"].startswith("train-"))


def _phase_seed(config: PretrainConfig, number: int) -> int:
    """Two phases of the same length differ in the order of their rows and in their masks."""
    return config.seed + number


def saved_state(url: str | None, config: PretrainConfig) -> State:
    """The state in a checkpoint; without one, that of a new run."""
    if url:
        return State.from_json(storage.read_json(storage.join(url, "state.json")))
    return State(skipped_ranges=[list(part) for part in config.training.skipped_ranges])


def build(session: Session) -> None:
    """Build network and optimizer, with the weights to resume or start from, and begin an attempt."""
    build_network(session)
    begin_attempt(session)


def build_network(session: Session) -> None:
    """Network and optimizer. Fresh weights are a function of the seed alone; otherwise they come from a checkpoint."""
    config, device = session.config, workers.device()
    torch.manual_seed(config.seed)
    session.network = PretrainingModel(config.encoder, len(session.inputs.vocab)).to(device)
    session.network.nezha.use_attention(config.training.attention)
    session.network.nezha.checkpoint_activations(config.training.activation_checkpointing)
    session.optimizer = optimizers.make(session.network, config.optimizer)
    load_weights(session)
    compile_network(session.network, config.training.compile, device)


def load_weights(session: Session) -> None:
    """Load weights and moments of the newest checkpoint; without one, the weights that the recipe starts from, if any."""
    start_from = session.config.training.start_from
    if session.checkpoint:
        loaded = checkpoint.load(session.checkpoint)
        session.network.load_state_dict(loaded.model)
        checkpoint.restore_optimizer(session.network, session.optimizer, loaded.optimizer)
        log.info("resuming from %s", session.checkpoint)
    elif start_from:
        from model.conversion.reading import start  # reads checkpoints, so it imports this package

        session.network.load_state_dict(start(start_from, session.config.encoder, session.inputs.vocab))
        log.info("starting from %s", start_from)


def begin_attempt(session: Session, rolled_back_from: int | None = None) -> None:
    """Take the next attempt's number; from now on older attempts cannot write."""
    step = session.state.step
    session.attempt = workers.broadcast_from_rank0(lambda: Attempt.begin(session.output, step, rolled_back_from))
    if workers.rank() == 0:
        session.attempt.point_at_best(session.state.best)


def enter_phase(session: Session) -> Phase:
    """The phase of the next step. It is built when another phase begins, and again after a rollback."""
    number = bisect.bisect_right(session.phase_ends, session.state.step)
    if session.phase is None or session.phase.number != number:
        leave_phase(session)
        if session.state.phase != number:
            session.state.begin_phase(number)
        session.phase = _build_phase(session, number)
    return session.phase


def leave_phase(session: Session) -> None:
    """Stop reading batches ahead, and free the gradients."""
    if session.phase is not None:
        session.phase.reread()
        session.phase = None


def _build_phase(session: Session, number: int) -> Phase:
    config, training, vocab = session.config, session.config.training, session.inputs.vocab
    phase, order, sources = config.phases[number], session.orders[number], session.inputs.sources(config.phases[number])
    used = {name: sources[name] for name in order.sources}
    _train_pair_head(session.network, any(stage.manifest["pairs"]["task"] != "none" for stage in used.values()))
    trainer = Trainer(session.network, session.optimizer, training, config.optimizer.max_grad_norm, config.seed)
    # fp16 has a loss scale: that of the checkpoint, or a new one.
    scale = session.state.loss_scale or LossScale.of(training.loss_scale)
    session.state.loss_scale = scale if trainer.precision == "fp16" else None
    return Phase(
        number=number,
        config=phase,
        first_step=session.phase_ends[number] - phase.steps,
        rows=MaskedRows(list(used.values()), "train", vocab, _phase_seed(config, number)),
        order=order,
        micro_batch_tokens=training.micro_batch_tokens,
        trainer=trainer,
        validation=Validation(used, vocab, training, config.seed),
    )


def _train_pair_head(network: PretrainingModel, wanted: bool) -> None:
    """Train pooler and pair head, or not: without pairs they have no gradient, and weight decay alone would shrink them."""
    for module in (network.nezha.pooler, network.cls.seq_relationship):
        for parameter in module.parameters():
            parameter.requires_grad_(wanted)
            parameter.grad = None
