"""Cases: an example, what was right, what two models said, and of which kind that is.

What kind of task it is shows in the rows of its predictions:

    gold        predicted
    "1"         "0"                          a label; with `choices`, one of those
    ["B-PER"]   ["O"]                        tags, one for each item
    ["sport"]   ["sport", "money"]           several labels
    ["1963年"]  "1963"                       an answer to a question
    3.4         2.9                          a number
    "1"         0.83                         a candidate's score: of a question, the candidate that is ranked first counts
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflows.evaluation import metrics

Row = Mapping[str, Any]
_TAG = re.compile(r"O|[BIESM]-\S+")
_NUMBER = re.compile(r"[0-9０-９一二三四五六七八九十百千万亿两零〇%％.,，年月日时分秒世纪-]+")
_QUESTIONS = (
    ("who", "谁|何人|哪位|誰"),
    ("when", "何时|什么时候|哪一年|哪年|几月|何年|哪天|何時|什麼時候"),
    ("where", "哪里|何处|何地|什么地方|哪个国家|哪裡|哪兒|位于"),
    ("how many", "多少|几|幾|多长|多大|多高|多久"),
    ("why", "为什么|为何|原因|為何|為什麼"),
    ("how", "怎么|如何|怎样|怎麼"),
    ("which", "哪"),
    ("what", "什么|何|什麼"),
)
"""Questions by their words; the first that fits."""


@dataclass(frozen=True)
class Unit:
    """What is counted in a rate: an example, or an entity."""

    cut: str
    kind: str
    wrong: bool
    other_wrong: bool | None
    """None: the other model was not asked."""


@dataclass(frozen=True)
class Case:
    """An example with what two models said."""

    texts: tuple[str, ...]
    gold: str
    guess: str
    other: str | None
    wrong: bool
    other_wrong: bool | None
    units: tuple[Unit, ...]
    mistakes: tuple[tuple[str, str], ...]
    """(cut, kind) of what is wrong with the guess."""


def cases(items: Sequence[tuple[str, ...]], rows: Sequence[Row], others: Sequence[Row | None]) -> list[Case]:
    """Return a case for each example, or for each question whose candidates are ranked.

    Args:
        items: the texts of each example.
        rows: what the model said; `others`: what the other model said, None where it was not asked.
    """
    if not rows:
        return []
    first = rows[0]
    if isinstance(first["gold"], str) and isinstance(first["predicted"], int | float):
        return _ranked(items, rows, others)
    make = _maker(items, rows)
    return [make(texts, row, other) for texts, row, other in zip(items, rows, others, strict=True)]


def _maker(items: Sequence[tuple[str, ...]], rows: Sequence[Row]) -> Callable[[tuple[str, ...], Row, Row | None], Case]:
    first = rows[0]
    if isinstance(first["gold"], list):
        if isinstance(first["predicted"], str):
            return _answered
        tagged = all(
            len(row["gold"]) == len(texts) and all(_TAG.fullmatch(tag) for tag in row["gold"])
            for texts, row in zip(items, rows, strict=True)
        )
        return _tagged if tagged else _labelled
    if isinstance(first["gold"], str):
        return _labelled
    gold = [float(row["gold"]) for row in rows]
    return functools.partial(_measured, (max(gold) - min(gold)) / 5 or 1.0)


def length_kind(length: int) -> str:
    """`40` -> `33 to 64 characters`."""
    high = max(8, 1 << max(0, length - 1).bit_length())
    return f"up to {high:,} characters" if high == 8 else f"{high // 2 + 1:,} to {high:,} characters"


def _length(texts: Sequence[str], wrong: bool, other: bool | None) -> Unit:
    return Unit("length", length_kind(sum(map(len, texts))), wrong, other)


def _labelled(texts: tuple[str, ...], row: Row, other: Row | None) -> Case:
    """One label, several, or a choice."""
    gold, guess, others = (None if one is None else _label(one) for one in (row["gold"], row["predicted"], _said(other)))
    wrong = gold != guess
    other_wrong = None if others is None else gold != others
    assert gold is not None and guess is not None
    if choices := row.get("choices"):
        texts = texts[: len(texts) - len(choices)] or texts
        names = [choice["text"] for choice in choices]
        kinds = [Unit("place of the right choice", str(names.index(row["gold"]) + 1), wrong, other_wrong)]
        mistakes = [("length of the choice", "longer than gold" if len(guess) > len(gold) else "not longer than gold")]
        texts = (*texts, " / ".join(names))
    else:
        kinds = [Unit("gold label", gold or "none", wrong, other_wrong)]
        mistakes = [("gold → guess", f"{gold or 'none'} → {guess or 'none'}")]
    units = (*kinds, _length(texts, wrong, other_wrong))
    return Case(texts, gold, guess, others, wrong, other_wrong, units, tuple(mistakes) if wrong else ())


def _label(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _said(row: Row | None) -> Any:
    return None if row is None else row["predicted"]


def _measured(unit: float, texts: tuple[str, ...], row: Row, other: Row | None) -> Case:
    """A number: wrong if it is off by `unit`, a fifth of the range of gold, or more."""
    gold, guess, others = float(row["gold"]), float(row["predicted"]), _said(other)
    off = int(abs(guess - gold) / unit)
    wrong, other_wrong = off >= 1, None if others is None else abs(others - gold) >= unit
    size = f"{off * unit:g} to {(off + 1) * unit:g}" if off < 3 else f"{3 * unit:g} or more"
    mistakes = (("difference", f"{'too high' if guess > gold else 'too low'} by {size}"),) if wrong else ()
    near = f"about {round(gold / unit) * unit:g}"
    units = (Unit("gold", near, wrong, other_wrong), _length(texts, wrong, other_wrong))
    shown = None if others is None else f"{others:g}"
    return Case(texts, f"{gold:g}", f"{guess:g}", shown, wrong, other_wrong, units, mistakes)


def _ranked(items: Sequence[tuple[str, ...]], rows: Sequence[Row], others: Sequence[Row | None]) -> list[Case]:
    """The candidates of each question, in the order of the model's scores."""
    questions: dict[str, list[int]] = {}
    for number, (texts, row) in enumerate(zip(items, rows, strict=True)):
        questions.setdefault(str(row.get("id") or texts[0]), []).append(number)
    found = []
    for numbers in questions.values():
        best = max(numbers, key=lambda number: rows[number]["predicted"])
        asked = all(others[number] is not None for number in numbers)
        other = max(numbers, key=lambda number: _said(others[number])) if asked else None
        right = [number for number in numbers if rows[number]["gold"] == "1"]
        wrong, other_wrong = best not in right, None if other is None else other not in right
        question = items[best][:1]
        place = 1 + sum(rows[n]["predicted"] > max((rows[r]["predicted"] for r in right), default=0) for n in numbers)
        mistakes = (("place of the first right candidate", f"{place}" if place < 5 else "5 or later"),) if wrong else ()
        units = (
            Unit("candidates", length_kind(len(numbers)).replace("characters", "candidates"), wrong, other_wrong),
            Unit("question", _question_kind(question[0]), wrong, other_wrong),
        )
        gold = " / ".join(items[number][-1] for number in right) or "none"
        said = None if other is None else items[other][-1]
        found.append(Case(question, gold, items[best][-1], said, wrong, other_wrong, units, mistakes))
    return found


def _answered(texts: tuple[str, ...], row: Row, other: Row | None) -> Case:
    """An answer to a question about a passage; any of the gold answers is right."""
    gold, guess, others = list(row["gold"]), str(row["predicted"]), _said(other)
    wrong = not metrics.exact_match([gold], [guess])
    other_wrong = None if others is None else not metrics.exact_match([gold], [others])
    units = (
        Unit("answer", answer_kind(gold[0]), wrong, other_wrong),
        Unit("question", _question_kind(texts[-1]), wrong, other_wrong),
        Unit("passage", length_kind(len(texts[0])), wrong, other_wrong),
    )
    mistakes = (("overlap", _overlap(gold, guess)),) if wrong else ()
    shown = " / ".join(dict.fromkeys(gold))
    return Case((texts[-1], texts[0]), shown, guess, others, wrong, other_wrong, units, mistakes)


def answer_kind(answer: str) -> str:
    """Return what an answer is: a number or a date, Latin, a name or a word, a phrase, a clause."""
    if _NUMBER.match(answer) and len(re.sub(_NUMBER, "", answer)) <= 2:
        return "number or date"
    if re.search("[A-Za-z]", answer) and not re.search("[一-鿿]", answer):
        return "Latin letters"
    return (
        "up to 4 characters" if len(answer) <= 4 else "5 to 15 characters" if len(answer) <= 15 else "more than 15 characters"
    )


def _question_kind(question: str) -> str:
    return next((kind for kind, words in _QUESTIONS if re.search(words, question)), "another")


def _overlap(gold: Sequence[str], guess: str) -> str:
    if not guess:
        return "no answer"
    if any(guess in answer for answer in gold):
        return "a part of gold"
    if any(answer in guess for answer in gold):
        return "gold and more"
    return "overlaps" if metrics.answer_f1([gold], [guess]) > 0 else "elsewhere"


Entity = tuple[str, int, int]


def _tagged(texts: tuple[str, ...], row: Row, other: Row | None) -> Case:
    """Tags of the items of a sentence: entities with their types."""
    gold, guess = set(entities(row["gold"])), set(entities(row["predicted"]))
    others = None if other is None else set(entities(other["predicted"]))
    wrong, other_wrong = gold != guess, None if others is None else gold != others

    def shown(found: set[Entity]) -> str:
        return "  ".join(f"{''.join(texts[a:b])} {kind}" for kind, a, b in sorted(found, key=lambda one: one[1:])) or "none"

    units = [
        Unit(cut, name, one not in guess, None if others is None else one not in others)
        for one in sorted(gold, key=lambda one: one[1:])
        for cut, name in (("type of the entity", one[0]), ("length of the entity", length_kind(one[2] - one[1])))
    ]
    units.append(_length(["".join(texts)], wrong, other_wrong))
    mistakes = tuple(("entity", kind) for kind in _entity_mistakes(gold, guess))
    said = None if others is None else shown(others)
    return Case(("".join(texts),), shown(gold), shown(guess), said, wrong, other_wrong, tuple(units), mistakes)


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """Yield (type, start, end) of each entity; an I- without a B- before it begins one, as in conlleval."""
    start, kind = 0, ""
    for place, tag in enumerate((*tags, "O")):
        prefix, _, name = tag.partition("-")
        if kind and (prefix in "OBS" or name != kind):
            yield kind, start, place
            kind = ""
        if prefix != "O" and not kind:
            start, kind = place, name


def _entity_mistakes(gold: set[Entity], guess: set[Entity]) -> Iterator[str]:
    """Yield what is wrong with each entity that is not right: missed, made up, of another type, with other ends."""
    touched: set[Entity] = set()
    for kind, a, b in sorted(gold - guess, key=lambda one: one[1:]):
        near = [one for one in guess - gold if one[1] < b and a < one[2]]
        touched.update(near)
        if not near:
            yield f"{kind} missed"
        elif same := [one for one in near if one[1:] == (a, b)]:
            yield f"{kind} → {same[0][0]}"
        else:
            yield f"{kind} with other ends" if near[0][0] == kind else f"{kind} → {near[0][0]}, with other ends"
    for kind, _, _ in sorted(guess - gold - touched, key=lambda one: one[1:]):
        yield f"{kind} made up"
