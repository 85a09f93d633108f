"""Run the cells of an ablation: what they share once, then the pretrainings and what follows from them, some at a time.

    run(cells, "runs/ablation", at_once=2, shared=..., alone=...)

Each of several at a time is a process of its own with a Ray of its own, so one that is killed is repeated alone, and resumes at
its last checkpoint.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from pipeline.engine import slots, stages
from pipeline.engine.execution import Execution, News, Report, cpus
from pipeline.errors import ClusterError
from workflows.ablation.variants import Cell
from workflows.chain import DRY_RUN, Chain

TRAINED = ("checkpoint", "export", "scores", "report")
"""Kinds of stages that follow from a pretraining; those before are shared by all pretrainings of a variant."""
BASE_BYTES = 1_000_000_000
"""Memory of Ray and of the process that drives a pretraining."""
WORKER_BYTES = 600_000_000
"""Memory of a worker besides weights and activations: Python, torch, Ray."""


def shared_names(chain: Chain) -> list[str]:
    """Return the names of the steps before pretraining, in order."""
    return [name for name in chain.names() if chain.steps[name].kind not in TRAINED]


def own_names(chain: Chain) -> list[str]:
    """Return the names of the steps from pretraining on, in order."""
    return [name for name in chain.names() if chain.steps[name].kind in TRAINED]


def run(
    cells: Sequence[Cell],
    at_once: int | None,
    *,
    shared: Callable[[Cell, Chain], None],
    alone: Callable[[Cell, Chain], None],
    several: Callable[[], AbstractContextManager[Report]],
) -> list[tuple[Cell, Chain]]:
    """Run the chains of cells.

    Args:
        at_once: pretrainings at a time; None = as many as cores and memory allow.
        shared: runs the steps before pretraining of a chain, here.
        alone: runs the steps from pretraining on, here.
        several: called if several run at a time; what it yields is told their progress.

    Raises: UserError if any of them lacks something, before the first runs.
    """
    chains = [(one, one.chain()) for one in cells]
    for cell, chain in chains:
        if not cell.pretraining:
            chain.check()
    for cell, chain in chains:
        if not cell.pretraining:
            shared(cell, chain)
    groups = _groups(chains)
    most = min(at_once or most_at_once([chain for _, chain in chains]), len(groups))
    if most < 2:
        for cell, chain in chains:
            alone(cell, chain)
        return chains
    with several() as report:
        _run_in_processes(groups, most, report)
    return [(one, one.chain()) for one in cells]


def _groups(chains: Sequence[tuple[Cell, Chain]]) -> list[list[Cell]]:
    """Return the cells that are not finished, those that share a pretraining together: two at once would be in its way."""
    groups: dict[str, list[Cell]] = {}
    for cell, chain in chains:
        if chain.find("report"):
            continue
        try:
            key = chain.run("checkpoint", DRY_RUN).url
        except stages.NotFinished as missing:
            key = str(missing)
        groups.setdefault(key.rpartition("/")[2], []).append(cell)
    return list(groups.values())


def _run_in_processes(groups: Sequence[list[Cell]], at_once: int, report: Report) -> None:
    """Run groups of cells, `at_once` at a time.

    Raises: ClusterError when their processes are killed again and again.
    """
    finished = 0
    report(0, len(groups), f"pretraining {at_once} at a time")

    def done(group: list[Cell], seconds: float) -> None:
        nonlocal finished
        finished += 1
        names = "; ".join(cell.name for cell in group)
        report(finished, len(groups), News(f"{names}: pretrained and scored in {seconds:,.0f} s"))
        report(finished, len(groups), f"{finished} of {len(groups)} pretrainings, {at_once} at a time")

    def killed(group: list[Cell]) -> None:
        report(finished, len(groups), News(f"{group[0].name}: its process was killed; it is resumed"))

    try:
        slots.run_each(groups, run_group, at_once, done, killed)
    except slots.WorkersKilled:
        raise ClusterError(
            f"the process of a pretraining was killed {slots.ATTEMPTS} times (out of memory?); run again with a lower"
            " --at-once, what is finished is kept"
        ) from None


def run_group(group: Sequence[Cell]) -> float:
    """Run the remaining steps of cells, one cell after the other; return the seconds that took."""
    started = time.monotonic()
    for cell in group:
        cell.chain().run("report", Execution(min(cell.variant.recipe.cluster.max_workers, cpus())))
    return time.monotonic() - started


def most_at_once(chains: Sequence[Chain]) -> int:
    """Return how many pretrainings may run here at a time: cores over those of one, and free memory over what one needs.

    On a cluster, where the workers are elsewhere, one at a time.
    """
    import psutil  # type: ignore[import-untyped]

    if any(chain.recipe.cluster.address for chain in chains):
        return 1
    cores = max(chain.recipe.cluster.max_workers * chain.recipe.cluster.cpus_per_worker for chain in chains)
    memory = max(map(memory_needed, chains))
    return max(1, min(int(cpus() // cores), int(psutil.virtual_memory().available // memory)))


def memory_needed(chain: Chain) -> float:
    """Return about how many bytes a pretraining needs on this machine, all its processes together."""
    from model.sizes import training_memory
    from workflows.planning import vocabulary_size

    recipe = chain.recipe
    tokens = min(
        recipe.training.micro_batch_tokens,
        max(phase.batch_size * phase.sequence_length for phase in recipe.phase),
    )
    one = training_memory(
        recipe.encoder,
        vocabulary_size(chain),
        tokens,
        recipe.masking.masked_lm_prob,
        half=False,
        activation_checkpointing=recipe.training.activation_checkpointing,
    )
    return BASE_BYTES + recipe.cluster.max_workers * (WORKER_BYTES + one.total)
