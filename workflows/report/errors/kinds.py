"""Kinds of errors: how many of what are wrong, and where more are than elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from workflows.report.errors.cases import Case


@dataclass(frozen=True)
class Kind:
    """A kind of examples, entities or errors."""

    number: int
    """On the page; cases refer to it."""
    cut: str
    name: str
    wrong: int
    n: int | None
    """How many there are, right ones included; None for kinds of errors."""
    other_wrong: int | None
    """How many the other model has wrong, of those it was asked; None for kinds of errors, and without another model."""
    excess: float
    """Errors beyond those that there would be at the mean rate of the cut; of kinds of errors, their number."""


def kinds(cases: Sequence[Case], first: int = 0) -> list[Kind]:
    """Return kinds of errors and then kinds of examples, each cut with the most informative kind first.

    Args:
        first: number of the first.
    """
    errors: dict[tuple[str, str], int] = {}
    for case in cases:
        for key in case.mistakes:
            errors[key] = errors.get(key, 0) + 1
    counted: dict[tuple[str, str], list[int]] = {}
    asked = False
    for case in cases:
        for unit in case.units:
            count = counted.setdefault((unit.cut, unit.kind), [0, 0, 0])
            count[0] += 1
            count[1] += unit.wrong
            count[2] += bool(unit.other_wrong)
            asked |= unit.other_wrong is not None
    cuts = list(dict.fromkeys(cut for cut, _ in (*errors, *counted)))
    rates = {
        cut: sum(c[1] for (name, _), c in counted.items() if name == cut)
        / max(1, sum(c[0] for (name, _), c in counted.items() if name == cut))
        for cut in cuts
    }
    found = [Kind(0, cut, name, wrong, None, None, float(wrong)) for (cut, name), wrong in errors.items()]
    found += [
        Kind(0, cut, name, wrong, n, other if asked else None, wrong - n * rates[cut])
        for (cut, name), (n, wrong, other) in counted.items()
        if wrong or other
    ]
    found.sort(key=lambda kind: (cuts.index(kind.cut), -kind.excess, kind.name))
    return [Kind(**{**vars(kind), "number": number}) for number, kind in enumerate(found, start=first)]


def numbers_of(case: Case, found: Sequence[Kind]) -> list[int]:
    """Return the numbers of the kinds that a case is of: of its errors, and of what is wrong in it."""
    names = {*case.mistakes, *((unit.cut, unit.kind) for unit in case.units if unit.wrong)}
    return [kind.number for kind in found if (kind.cut, kind.name) in names]
