"""What is found out about a page while it is rendered, and the budget of steps for rendering it.

findings = Findings.of("'''柏林'''（{{lang-de|Berlin}}）{{citation|...}}")
findings.kept      {"lang-de": 1}
findings.dropped   {"ref": 210, "table": 1800}
"""

from dataclasses import dataclass, field

STEPS_PER_CHARACTER = 40
"""Text is copied once for every template, link or rule around it. Real pages nest four or five deep."""
STEPS_AT_LEAST = 100_000


class MarkupError(Exception):
    """A page whose markup cannot be resolved within its budget of steps. Only this page is lost."""


@dataclass(kw_only=True)
class Findings:
    """Counts of one page."""

    steps: int
    """Remaining budget of copied characters and parts. Steps, not seconds, so that every machine decides alike."""
    note_ta: list[dict[str, str]] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
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
