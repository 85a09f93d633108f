"""The tables of `python -m benchmarks resume`, and its rows of JSON."""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.chaos.ledger import Ledger, Recovery, compare, quantile
from benchmarks.chaos.plan import FREEZE, HEAD
from benchmarks.chaos.training import Result
from benchmarks.measurement import Measurement

HALF_AN_HOUR = 1800


def survived(result: Result, recoveries: Sequence[Recovery]) -> list[bool]:
    """Whether training went on by itself after each fault: not if a driver ended before the next one."""
    moments = [moment for moment, _ in result.injected] + [float("inf")]
    return [
        each.seconds is not None and not any(moments[i] <= when < moments[i + 1] for when, _ in result.driver_ends)
        for i, each in enumerate(recoveries)
    ]


def by_kind(recoveries: Sequence[Recovery], lived: Sequence[bool]) -> str:
    """A table: each kind of fault with its seconds to recover."""
    lines = [f"{'fault':<10}{'number':>8}{'survived':>10}{'steps lost':>12}{'median s':>10}{'p95 s':>8}{'worst s':>9}"]
    for kind in [*dict.fromkeys(each.kind for each in recoveries), "all"]:
        chosen = [(each, alive) for each, alive in zip(recoveries, lived, strict=True) if kind in (each.kind, "all")]
        seconds = [each.seconds for each, _ in chosen if each.seconds is not None]
        numbers = (
            f"{statistics.median(seconds):10.1f}{quantile(seconds, 0.95):8.1f}{max(seconds):9.1f}" if seconds else f"{'-':>10}"
        )
        lost = sum(each.lost for each, _ in chosen)
        lines.append(f"{kind:<10}{len(chosen):8}{sum(alive for _, alive in chosen):10}{lost:12}{numbers}")
    return "\n".join(lines)


def summary(result: Result, peaceful: Ledger, same: tuple[int, bool] | None) -> Iterator[str]:
    """The report of a run of ours beside an undisturbed one."""
    step, ours = peaceful.step_seconds(), result.ledger
    recoveries = ours.recoveries([(moment, fault.kind) for moment, fault in result.injected], step)
    lived = survived(result, recoveries)
    yield by_kind(recoveries, lived)
    yield ""
    yield f"steps             {ours.steps:,} in {ours.seconds:,.0f} s; one takes {step:.3f} s undisturbed"
    yield (
        f"goodput           {ours.goodput(step):.3f}; {goodput_at(HALF_AN_HOUR, ours, step, len(recoveries)):.3f} at a fault"
        + (" every 30 minutes")
    )
    for when, what in result.driver_ends:
        yield f"driver ended      {when - ours.new[0]['time']:,.0f} s after the start: {what}"
    yield f"stopped           {'by itself, when asked to' if result.stopped else 'only when it was killed'}"
    facts = compare(ours, peaceful)
    yield (
        f"ledger            {facts['steps']:,} steps compared: {facts['differing']} with other examples than undisturbed,"
        f" {facts['dropped']} examples dropped, {facts['repeated']} repeated"
    )
    mine, theirs = ours.losses(), peaceful.losses()
    last = min(ours.steps, peaceful.steps)
    worst = max(abs(mine[n] - theirs[n]) / abs(theirs[n]) for n in range(1, last + 1) if n in mine and n in theirs)
    yield f"loss              {mine[last]:.6f} at step {last:,}, {theirs[last]:.6f} undisturbed; largest difference {worst:.1e}"
    if same is None:
        yield "weights           not compared: the runs have no checkpoint of the same step"
    else:
        yield f"weights           at step {same[0]:,} {'bitwise equal' if same[1] else 'DIFFERENT'}"


def goodput_at(mtbf: float, ledger: Ledger, step: float, faults: int) -> float:
    """The goodput if faults came this many seconds apart: what a fault costs stays the same."""
    wasted = ledger.seconds - (len(ledger.new) - 1) * step
    return 1 - wasted / max(1, faults) / mtbf


def measurements(result: Result, peaceful: Ledger) -> Iterator[Measurement]:
    """The rows of JSON."""
    step, ours = peaceful.step_seconds(), result.ledger
    recoveries = ours.recoveries([(moment, fault.kind) for moment, fault in result.injected], step)
    lived = survived(result, recoveries)
    yield Measurement(name="resume/chaos/goodput", value=100 * ours.goodput(step), unit="%", workers=2)
    yield Measurement(name="resume/chaos/survived", value=100 * sum(lived) / max(1, len(lived)), unit="%", workers=2)
    seconds = [each.seconds for each in recoveries if each.seconds is not None and each.kind not in (FREEZE, HEAD)]
    if seconds:
        yield Measurement(
            name="resume/chaos/recovery-p95",
            value=quantile(seconds, 0.95),
            unit="s",
            workers=2,
            note="but for freezes and heads",
        )
