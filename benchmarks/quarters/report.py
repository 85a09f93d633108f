"""The table of the quarters, and its rows of JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.measurement import Measurement
from benchmarks.quarters.proof import Work

NONE = Work(0, 0)


@dataclass
class Quarter:
    """What one quarter came to."""

    name: str
    outcome: str = ""
    message: str = ""
    seconds: float = 0.0
    """From its new files to its outcome."""
    to_shards: float = 0.0
    documents: Work = NONE
    tokens: Work = NONE
    starts: int = 1
    verdict: str = ""
    start: str = ""
    """The model that training started from."""


@dataclass
class Result:
    """All of it."""

    pages: int
    seed: int
    new: int = 0
    """Documents of the second quarter that were not there in the first, among those made anew."""
    quiet: list[Quarter] = field(default_factory=list)
    disturbed: list[Quarter] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    withdrawn: int = 0
    withdrawn_found: int = 0
    withdrawn_before: int = 0
    """The same rows in the first quarter's shards and tokens: that the search finds anything."""
    compared: int = 0
    different: list[str] = field(default_factory=list)


def lines(result: Result) -> Iterator[str]:
    """Yield the table."""
    yield (
        f"{'quarter':<22}{'outcome':<11}{'starts':>6}{'s':>7}{'to shards':>11}{'cleaned anew':>18}{'tokenised anew':>18}"
        "  started from"
    )
    for name, quarters in (("quiet", result.quiet), ("disturbed", result.disturbed)):
        for one in quarters:
            yield (
                f"{name + ', ' + one.name:<22}{one.outcome:<11}{one.starts:>6}{one.seconds:>7.0f}{one.to_shards:>11.1f}"
                f"{_work(one.documents):>18}{_work(one.tokens):>18}  {one.start or 'fresh weights'}"
            )
    yield ""
    yield from (f"fault {number}: {fault}" for number, fault in enumerate(result.faults, 1))
    for one in result.disturbed:
        yield f"{one.name}: {one.verdict or one.message}"
    yield (
        f"withdrawn: {result.withdrawn} documents; rows with their id or text: {result.withdrawn_before:,} in the tokens and "
        f"shards of the first quarter, {result.withdrawn_found:,} in those of the second"
    )
    yield f"same bytes: {result.compared - len(result.different):,} of {result.compared:,} files of both quarters"
    yield from (f"    differs: {name}" for name in result.different[:20])


def measurements(result: Result) -> Iterator[Measurement]:
    """Yield the rows of JSON."""
    (first, second), third = result.quiet, result.disturbed
    about = f"{result.pages:,} pages, seed {result.seed}"
    again = 100 * (second.documents.anew - result.new) / (second.documents.anew - result.new + second.documents.reused)
    yield Measurement(name="quarters/documents-again", value=again, unit="%", note=f"without {result.new:,} new ones; {about}")
    yield Measurement(name="quarters/documents-anew", value=100 * second.documents.ratio, unit="%", note="of all, new ones too")
    yield Measurement(name="quarters/tokens-anew", value=100 * second.tokens.ratio, unit="%", note="of all documents kept")
    ratio = 100 * second.to_shards / first.to_shards
    yield Measurement(
        name="quarters/to-shards",
        value=ratio,
        unit="%",
        note=f"{second.to_shards:.1f} s after {first.to_shards:.1f} s, undisturbed",
    )
    ended = all(one.outcome == "succeeded" for one in third[:2])
    for kind, name in (("kills", "kills-survived"), ("store", "store-failures-survived")):
        number = sum((each == "store") == (kind == "store") for each in result.kinds)
        yield Measurement(name=f"quarters/{name}", value=100.0 * ended, unit="%", note=f"{number} in the second quarter")
    same = 100 * (1 - len(result.different) / max(1, result.compared))
    yield Measurement(name="quarters/same-bytes", value=same, unit="%", note=f"{result.compared:,} files")
    clean = 100.0 * (result.withdrawn_found == 0 and result.withdrawn_before > 0)
    yield Measurement(name="quarters/without-withdrawn", value=clean, unit="%", note=f"{result.withdrawn} documents")


def _work(one: Work) -> str:
    return f"{one.anew:,} of {one.reused + one.anew:,}"
