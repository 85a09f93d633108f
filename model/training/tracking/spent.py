"""Where the time of a training went, over all its attempts, and what each failure cost.

    spent = where_time_went("runs/encoder")
    spent.seconds      {"computing": 81203.1, "data": 310.4, ..., "recovering": 412.0, "waiting for machines": 95.5, ...}
    spent.failures     (Failure(time=1796043822.7, host="h3", what="rank 1: its process was killed", steps=47, seconds=33.1),)

The time of commands is cut into pieces, each of which is one thing, so the pieces add up to it:

    command      |start                                                                            end|
    attempts               |attempt 1                 x killed            |attempt 2                |
    pieces       starting   its own account (clock.py)  recovering, or      repeating is recovering,   ending
                                                        waiting, where      the rest as it says
                                                        that was recorded

What a killed command left counts up to its last sign of life; time without a command counts for nothing. An attempt that no
command started (`python -m model.training`) is one by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from model.checkpoints.listing import attempts
from model.training.tracking import accounts, clock, events
from model.training.tracking.accounts import Account
from model.training.tracking.events import Event

STARTING, RECOVERING, WAITING = "starting and ending", "recovering", "waiting for machines"
KINDS = (clock.COMPUTING, clock.DATA, clock.CHECKPOINTS, clock.VALIDATION, RECOVERING, WAITING, STARTING)
"""What time can go into."""
UNKNOWN = "its process was killed, or its machine was lost"
TOLERANCE = 2.0
"""Seconds by which the clocks of machines may differ."""


@dataclass(frozen=True)
class Failure:
    """Something that failed, and what it cost."""

    time: float
    host: str
    what: str
    steps: int = 0
    """Steps that were repeated."""
    seconds: float = 0.0
    """From the last sign of life until training was where it had been, with the wait for machines."""


@dataclass(frozen=True)
class Spent:
    """Where the time went."""

    started: float
    updated: float
    """The end, or the last sign of life."""
    ended: str
    """How the last command, or attempt, ended; empty if it still runs, or was killed."""
    attempts: int
    step: int
    workers: int
    """Workers of the last attempt."""
    seconds: dict[str, float]
    """By `KINDS`; together the wall clock of all commands."""
    failures: tuple[Failure, ...]

    @property
    def total(self) -> float:
        """Wall clock of all commands."""
        return sum(self.seconds.values())

    @property
    def goodput(self) -> float:
        """The part of the wall clock in which steps were computed that count."""
        return self.seconds[clock.COMPUTING] / self.total if self.total else 0.0


@dataclass
class _Command:
    """A time in which a command, or an attempt by itself, ran."""

    start: float
    end: float
    ended: str
    attempts: list[Account] = field(default_factory=list)


@dataclass(frozen=True)
class _Piece:
    """A time in which an attempt ran, or one before, between or after them."""

    start: float
    end: float
    kind: str
    """One of `KINDS`: what it is, or what the start of its attempt is."""
    account: Account | None = None
    failure: int | None = None
    """The failure that it follows."""


def where_time_went(output: str) -> Spent | None:
    """Return where the time of the training in a folder went; None if nothing is recorded there.

    Raises: StorageError for a file that cannot be read now.
    """
    happened = events.read(output)
    found = [account for number in attempts(output) if (account := accounts.read(output, number))]
    commands = _commands(happened, found)
    if not commands:
        return None
    failures = _failures(happened, found)
    waits = [(float(event["since"]), float(event["time"])) for event in happened if event["kind"] == "waited"]
    seconds = dict.fromkeys(KINDS, 0.0)
    cost, steps = [0.0] * len(failures), [0] * len(failures)
    for piece in _pieces(commands, failures):
        for kind, amount in _amounts(piece, waits):
            seconds[kind] += amount
            if piece.failure is not None and kind in (RECOVERING, WAITING):
                cost[piece.failure] += amount
        if piece.failure is not None and piece.account:
            steps[piece.failure] += piece.account.repeated
    last = max(commands, key=lambda command: command.end)
    return Spent(
        started=min(command.start for command in commands),
        updated=last.end,
        ended=last.ended,
        attempts=len(found),
        step=found[-1].step if found else 0,
        workers=found[-1].workers if found else 0,
        seconds=seconds,
        failures=tuple(replace(one, steps=steps[i], seconds=cost[i]) for i, one in enumerate(failures)),
    )


def _commands(happened: Sequence[Event], found: Sequence[Account]) -> list[_Command]:
    """Return the commands by their start, each with its attempts."""
    starts = [event for event in happened if event["kind"] == "start"]
    ends = {event["command"]: event for event in happened if event["kind"] == "end"}
    signs = sorted([float(event["time"]) for event in happened] + [account.updated for account in found])
    commands = []
    for event, following in zip(starts, [*starts[1:], None], strict=False):
        limit = float(following["time"]) if following else float("inf")
        end = ends.get(event["command"])
        last = max(sign for sign in signs if sign < limit) if end is None else float(end["time"])
        commands.append(_Command(float(event["time"]), last, str(end["how"]) if end else ""))
    own: list[_Command] = []
    for account in found:
        inside = [one for one in commands if one.start - TOLERANCE <= account.opened <= one.end]
        if inside:
            inside[-1].attempts.append(account)
        else:
            own.append(_Command(account.opened, account.updated, account.ended, [account]))
    return sorted([*commands, *own], key=lambda command: command.start)


def _pieces(commands: Sequence[_Command], failures: Sequence[Failure]) -> Iterator[_Piece]:
    """Cut the time of commands at the attempts, and between these at the failures."""
    before: Account | None = None
    for command in commands:
        now = command.start
        for number, account in enumerate(command.attempts):
            opened = min(max(now, account.opened), command.end)
            following = [other.opened for other in command.attempts[number + 1 :]]
            end = max(opened, min([account.updated, command.end, *following]))
            # One that stopped in order within a command made way for other machines.
            kind = RECOVERING if before is not None and (number > 0 or not before.in_order) else STARTING
            yield from _between(now, opened, kind, before, failures)
            failed = _failed_before(opened, failures) if account.repeated or not (before is None or before.in_order) else None
            yield _Piece(opened, end, kind, account, failed)
            now, before = end, account
        failed_last = bool(command.attempts) and not command.attempts[-1].in_order and command.ended != ""
        yield from _between(now, command.end, RECOVERING if failed_last else STARTING, before, failures)


def _between(start: float, end: float, kind: str, before: Account | None, failures: Sequence[Failure]) -> Iterator[_Piece]:
    """Cut a time without an attempt at the failures in it: from each of them on it is recovering."""
    inside = [number for number, failure in enumerate(failures) if start - TOLERANCE <= failure.time < end]
    now, cause = start, None
    if before is not None and not before.in_order:  # what happened first is known only later
        cause = inside.pop(0) if inside else _failed_before(start, failures)
    for number in inside:
        at = min(max(now, failures[number].time), end)
        yield _Piece(now, at, kind, failure=cause)
        now, kind, cause = at, RECOVERING, number
    yield _Piece(now, max(now, end), kind, failure=cause)


def _failed_before(time: float, failures: Sequence[Failure]) -> int | None:
    """Return the number of the last failure before a time."""
    return max((number for number, failure in enumerate(failures) if failure.time <= time + TOLERANCE), default=None)


def _amounts(piece: _Piece, waits: Sequence[tuple[float, float]]) -> Iterator[tuple[str, float]]:
    """Split a piece by what its time went into."""
    length = piece.end - piece.start
    if piece.account is not None:
        recorded = piece.account.seconds
        names = {clock.STARTING: piece.kind, clock.REPEATING: RECOVERING}
        scale = length / total if (total := sum(recorded.values())) else 0.0
        yield from ((names.get(kind, kind), amount * scale) for kind, amount in recorded.items())
        yield piece.kind, 0.0 if total else length
        return
    waiting, now = 0.0, piece.start
    for since, until in sorted(waits):
        since, until = max(since, now), min(until, piece.end)
        if until > since:
            waiting, now = waiting + until - since, until
    yield WAITING, waiting
    yield piece.kind, length - waiting


def _failures(happened: Sequence[Event], found: Sequence[Account]) -> list[Failure]:
    """Return the failures by time: those that were recorded, and attempts that ended without a word."""
    recorded = []
    hosts: list[str] = []
    for event in happened:
        if event["kind"] == "workers":
            hosts = [str(host) for host in event["hosts"]]
        elif event["kind"] == "failure":
            rank = event.get("rank")
            what = str(event["what"]) if rank is None else f"rank {rank}: {event['what']}"
            host = hosts[rank] if isinstance(rank, int) and rank < len(hosts) else str(event["host"])
            recorded.append(Failure(float(event["time"]), host, what))
    silent = []
    for account, following in zip(found, [*found[1:], None], strict=False):
        limit = following.opened if following else float("inf")
        told = any(account.opened - TOLERANCE <= failure.time <= limit + TOLERANCE for failure in recorded)
        if not account.in_order and not told and (account.ended or following):
            silent.append(Failure(account.updated, account.host, account.ended or UNKNOWN))
    return sorted([*recorded, *silent], key=lambda failure: failure.time)
