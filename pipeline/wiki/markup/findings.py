"""What is found out about a page while it is rendered, and the budget of steps for rendering it.

findings = Findings.of("'''柏林'''（{{lang-de|Berlin}}）{{citation|...}}")
findings.kept      {"lang-de": 1}
findings.dropped   {"ref": 210, "table": 1800}
findings.hole("<math>", Certainty.TEXT)     one character, which stands where a formula was until broken_sentences.py
"""

import re
from dataclasses import dataclass, field
from enum import IntEnum

STEPS_PER_CHARACTER = 40
"""Text is copied once for every template, link or rule around it. Real pages nest four or five deep."""
STEPS_AT_LEAST = 100_000

FIRST_HOLE = "\U00100000"
_MAX_HOLES = 0xFFFE
HOLES = "[\U00100000-\U0010fffd]"
"""Characters that mark holes: private use, plane 16, which pages do not use. A regular expression."""
_HOLES = re.compile(HOLES)


class MarkupError(Exception):
    """A page whose markup cannot be resolved within its budget of steps. Only this page is lost."""


class Certainty(IntEnum):
    """How certain it is that a reader would see text where something was dropped."""

    MARK = 0
    """An unknown template that is given no text: a sign, a note, a box; and a pronunciation."""
    TEXT = 1
    """An unknown template that is given text."""
    VALUE = 2
    """A formula, a number that templates compute."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Something inside a sentence that was dropped."""

    name: str
    """What it was: a template's name, `#invoke`, `<math>`."""
    certainty: Certainty


@dataclass(kw_only=True)
class Findings:
    """Counts of one page."""

    steps: int
    """Remaining budget of copied characters and parts. Steps, not seconds, so that every machine decides alike."""
    note_ta: list[dict[str, str]] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    holes: dict[Hole, str] = field(default_factory=dict)
    """Kinds of holes on the page, each with its mark."""
    disambiguation: bool = False
    repairs: int = 0

    @classmethod
    def of(cls, text: str) -> "Findings":
        """Return the empty findings of a page with this wikitext."""
        return cls(steps=STEPS_AT_LEAST + STEPS_PER_CHARACTER * len(text))

    def spend(self, steps: int) -> None:
        """Subtract from the budget.

        Raises: MarkupError when it is used up.
        """
        self.steps -= steps
        if self.steps < 0:
            raise MarkupError("its markup is nested too deep: the text would be copied more often than the budget allows")

    def drop(self, kind: str, characters: int) -> None:
        """Count text that is dropped on purpose, by kind: ref, table, list, ..."""
        self.dropped[kind] = self.dropped.get(kind, 0) + characters

    def hole(self, name: str, certainty: Certainty) -> str:
        """Return the mark to leave in the text for something that is dropped: one character."""
        number = min(len(self.holes), _MAX_HOLES - 1)
        return self.holes.setdefault(Hole(name, certainty), chr(ord(FIRST_HOLE) + number))


def without_holes(text: str) -> str:
    """Return a text without marks of holes."""
    return text if text.isascii() else _HOLES.sub("", text)
