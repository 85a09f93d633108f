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
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from model.checkpoints import checkpoint
from model.checkpoints.checkpoint import Attempt, Checkpoint
from model.checkpoints.writer import Retention, Writer
from model.compiling import compile_network
from model.config import PretrainConfig, TrainingConfig
from model.heads import PretrainingModel
from model.optimization import optimizers
from model.optimization.loss_scale import LossScale
from model.samples.batches import MaskedRows
from model.samples.order import Order
from model.training import restoring, workers
from model.training.health import watchdog
from model.training.health.slow_workers import SlowWorkers
from model.training.metrics import Metrics
from model.training.phase import Phase
from model.training.restoring import Restored
from model.training.run import Inputs, PretrainRun, claim, inputs_seen
from model.training.state import State
from model.training.stopping import StopReason
from model.training.tracking import events
from model.training.tracking.live import Live
from model.training.trainer import Trainer
from model.training.validation import Validation
from pipeline import storage
from pipeline.engine import places
from pipeline.engine.integrity import BackgroundCheck
from pipeline.errors import ClusterError, StorageError
from pipeline.redaction import redact

log = logging.getLogger(__name__)

WAIT_SECONDS = 30.0
"""Longest time that the first step waits until all shards are compared (about 20 GB); the rest is compared during training."""

LAST_SECONDS = 10.0
"""Longest time that a run which ends with an error waits for the checkpoint that is being written."""

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
    """URL of the newest checkpoint that is known to be committed; None before the first."""
    restored: Restored
    """The checkpoint to resume from."""
    state: State
    metrics: Metrics
    check: BackgroundCheck
    """Compares this worker's share of all shards with their manifests, those of later phases too. Shards that a step reads are
    compared before that, whoever's share they are."""
    writer: Writer
    """Writes checkpoints while training goes on; of rank 0."""
    slow_workers: SlowWorkers
    stopped_by: StopReason | None = None
    """Why training stopped before its last step."""
    phase: Phase | None = None
    """The phase that is being trained; None at the start and after a rollback."""
    network: PretrainingModel = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    attempt: Attempt = field(init=False)

    @property
    def live(self) -> Live:
        """What a person sees of the run."""
        return self.metrics.live

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
    output = storage.absolute(run.output)
    live = Live(output, run.config.training, workers.rank() == 0)
    _check_places(run, output)
    inputs, config = Inputs.of(run), run.config
    orders = [_order(inputs, config, number) for number in range(len(config.phases))]  # of all, to find all mistakes now
    restored = restoring.newest(lambda: _claim(output, inputs.identity(config)))
    ends = list(itertools.accumulate(phase.steps for phase in config.phases))
    writer = Writer(retention(config.training))
    metrics = Metrics(ends[-1], config.encoder, len(inputs.vocab), writer.fail, live)
    state = restored_state(restored, config)
    check = BackgroundCheck(_share(inputs) if state.step < ends[-1] else [])
    known = (output, config, inputs, orders, ends, on_commit or _ignore)
    session = Session(*known, restored.url, restored, state, metrics, check, writer, SlowWorkers())
    try:
        yield session
    except BaseException as error:
        live.end(": ".join([type(error).__name__, *str(error).splitlines()[:1]]))
        raise
    else:
        live.end(events.FINISHED if session.finished else f"{events.STOPPED}: {session.stopped_by}")
    finally:
        check.stop()
        leave_phase(session)
        metrics.close()
        writer.close(LAST_SECONDS)


def _check_places(run: PretrainRun, output: str) -> None:
    """Make sure that all workers see the output folder, the shards and the vocabulary of rank 0.

    Raises: `ClusterError` with the hosts of those that do not, on every worker.
    """
    if workers.world_size() == 1:
        return
    with contextlib.ExitStack() as stack:
        mark, files = workers.broadcast_from_rank0(lambda: (stack.enter_context(places.marked(output)), inputs_seen(run)))
        try:
            problem = places.unseen(mark, files)
        except StorageError as error:
            problem = str(error)
        problems = workers.gather((platform.node(), problem))
    for rank, (host, problem) in enumerate(problems):
        if problem:
            raise ClusterError(f"the worker of rank {rank} on {host} does not see what rank 0 sees: {problem}; {places.WAY_ON}")


def _share(inputs: Inputs) -> list[tuple[str, dict[str, Any]]]:
    """The files of all shards that this worker compares. Those of a store are compared when they are fetched."""
    files = [(stage.file(entry["name"]), entry) for stage in inputs.shards.values() for entry in stage.manifest["files"]]
    return [file for file in files[workers.rank() :: workers.world_size()] if storage.is_local(file[0])]


def _ignore(metrics: dict[str, Any], url: str | None) -> None:
    """Nobody wants to hear of commits."""


def retention(training: TrainingConfig) -> Retention:
    """Which checkpoints are kept."""
    averaged = training.checkpoint_every if training.average_checkpoints > 1 else 0
    return Retention(training.keep_checkpoints, training.keep_every, averaged)


def _claim(output: str, identity: dict[str, Any]) -> tuple[str, Checkpoint] | None:
    """Make sure that the folder belongs to this recipe; returns the checkpoint to resume from."""
    claim(output, identity, started=any(checkpoint.committed(output)))
    return checkpoint.load_newest(output)


def _order(inputs: Inputs, config: PretrainConfig, number: int) -> Order:
    phase = config.phases[number]
    rows = {name: _train_rows(stage.manifest) for name, stage in inputs.sources(phase).items()}
    return Order(rows, phase.weights, _phase_seed(config, number))


def _train_rows(manifest: dict[str, Any]) -> int:
    return sum(entry["rows"] for entry in manifest["files"] if entry["name"].startswith("train-"))


def _phase_seed(config: PretrainConfig, number: int) -> int:
    """Two phases of the same length differ in the order of their rows and in their masks."""
    return config.seed + number


def restored_state(restored: Restored, config: PretrainConfig) -> State:
    """The state in a checkpoint; without one, that of a new run."""
    if restored.state is not None:
        return State.from_json(restored.state)
    return State(skipped_ranges=[list(part) for part in config.training.skipped_ranges])


def build(session: Session) -> None:
    """Build network and optimizer, with the weights to resume or start from, and begin an attempt."""
    build_network(session)
    with watchdog.busy("comparing shards"):
        session.check.wait(WAIT_SECONDS)
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
    if session.restored.url:
        with watchdog.busy("reading a checkpoint"):
            model, optimizer = session.restored.tensors()
        session.network.load_state_dict(model)
        checkpoint.restore_optimizer(session.network, session.optimizer, optimizer)
        log.info("resuming from %s", redact(session.restored.url))
    elif start_from:
        from model.conversion.reading import start  # reads checkpoints, so it imports this package

        session.network.load_state_dict(start(start_from, session.config.encoder, session.inputs.vocab))
        log.info("starting from %s", redact(start_from))


def begin_attempt(session: Session, rolled_back_from: int | None = None) -> None:
    """Take the next attempt's number; from now on older attempts cannot write."""
    step, size = session.state.step, workers.world_size()
    session.metrics.begin(session.state)
    session.attempt = workers.broadcast_from_rank0(lambda: Attempt.begin(session.output, step, rolled_back_from, size))
    if workers.rank() == 0:
        with watchdog.busy("removing metrics of repeated steps"):
            session.live.begin(session.attempt, step, rolled_back_from is not None, size)
        session.attempt.point_at_best(session.state.best)


def enter_phase(session: Session) -> Phase:
    """The phase of the next step. It is built when another phase begins, and again after a rollback.

    Raises: `DamagedError` for a shard that is not as its manifest says.
    """
    session.check.raise_error()
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
        session.network.zero_grad()  # views, of which each one keeps all gradients in memory


def _build_phase(session: Session, number: int) -> Phase:
    config, training, vocab = session.config, session.config.training, session.inputs.vocab
    phase, order, sources = config.phases[number], session.orders[number], session.inputs.sources(config.phases[number])
    used = {name: sources[name] for name in order.sources}
    _train_pair_head(session.network, any(stage.manifest["pairs"]["task"] != "none" for stage in used.values()))
    watchdog.warm_up()
    session.slow_workers.restart()
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
    for parameter in network.pair_parameters():
        parameter.requires_grad_(wanted)
        parameter.grad = None
