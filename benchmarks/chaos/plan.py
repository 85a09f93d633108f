"""Which fault happens when: the same plan for the same minutes, mean time between faults, and seed.

    plan(minutes=60, mtbf=60, seed=1)      [Fault(moment=41.3, kind="kill", seconds=0, choice=0.27), ...] 60 of them

Three faults in four are kills of a worker; the others take turns. In each span of `mtbf` seconds there is one, at a random
moment. With `more`, some kills are of the driver or the head, and a store that fails may also refuse, or be slow; all else is
as without.
"""

import itertools
import random
from dataclasses import dataclass, replace

KILL, MACHINE, CUT, BLIP, FREEZE, STORE, DAMAGE = "kill", "machine", "cut", "blip", "freeze", "store", "damage"
WHAT = {
    KILL: "a worker is killed",
    MACHINE: "a machine is lost, and is back later",
    CUT: "a machine's link is down for longer than Ray waits",
    BLIP: "a machine's link is down for 2 s",
    FREEZE: "a worker is stopped",
    STORE: "the store does not answer",
    DAMAGE: "the newest checkpoint is damaged, and a worker killed",
}
DRIVER, HEAD, REFUSE, SLOW = "driver", "head", "refuse", "slow"
MORE = {
    DRIVER: "the driver is killed",
    HEAD: "the head is lost, and is started again at once",
    REFUSE: "the store answers every request by 503",
    SLOW: "the link of the store is slow",
}
SECONDS = {
    **{KILL: 0.0, MACHINE: 20.0, CUT: 30.0, BLIP: 2.0, FREEZE: 100.0, STORE: 20.0, DAMAGE: 0.0},
    **{DRIVER: 0.0, HEAD: 0.0, REFUSE: 30.0, SLOW: 40.0},
}
"""How long each lasts; 0: it cannot be undone."""
TURNS = {KILL: [*[KILL] * 4, DRIVER, *[KILL] * 4, HEAD], STORE: [REFUSE, SLOW, STORE]}
"""With `more`, what takes turns in the place of a kind."""


@dataclass(frozen=True)
class Fault:
    """A fault that is planned."""

    moment: float
    """Seconds after the first step."""
    kind: str
    seconds: float
    """How long it lasts."""
    choice: float
    """From 0 to 1: which of the workers, or machines, there are then."""


def plan(minutes: float, mtbf: float, seed: int, more: bool = False) -> list[Fault]:
    """Return the faults of a run of so many minutes, one in `mtbf` seconds."""
    number = round(minutes * 60 / mtbf)
    random_numbers = random.Random(seed)
    others = [kind for kind in WHAT if kind != KILL]
    random_numbers.shuffle(others)
    kinds = [others[i % len(others)] for i in range(number // 4)]
    kinds += [KILL] * (number - len(kinds))
    random_numbers.shuffle(kinds)
    faults = [
        Fault(round((i + random_numbers.random()) * mtbf, 1), kind, SECONDS[kind], round(random_numbers.random(), 3))
        for i, kind in enumerate(kinds)
    ]
    return with_more(faults) if more else faults


def with_more(faults: list[Fault]) -> list[Fault]:
    """Return a plan in which other kinds take turns with some of its own."""
    turns = {kind: itertools.cycle(others) for kind, others in TURNS.items()}
    kinds = [next(turns[fault.kind]) if fault.kind in turns else fault.kind for fault in faults]
    return [replace(fault, kind=kind, seconds=SECONDS[kind]) for fault, kind in zip(faults, kinds, strict=True)]


def what(fault: Fault) -> str:
    """What happens, in words."""
    return {**WHAT, **MORE}[fault.kind]


def show(faults: list[Fault]) -> str:
    """Return the plan as a text of one line for each fault."""
    lines = [
        f"{fault.moment:8.1f} s  {fault.kind:<8} {what(fault)}{f' ({fault.seconds:g} s)' if fault.seconds else ''}"
        for fault in faults
    ]
    return "\n".join(lines)
