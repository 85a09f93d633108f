"""Marks in the texts of tasks, for those who score them and for those who look for them in documents. Imports nothing."""

from collections.abc import Iterable

BLANK_CONTEXT = 56
"""Characters before a blank of CHID, and after it, that belong to its text. CLUE reads 64 tokens in all."""
SPAN_MARKS = ((1, "__"), (2, "[]"))
"""Marks around the spans of CLUEWSC2020 by their numbers: the noun, the pronoun."""


def with_marks(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Return a text with marks around spans, each from a place up to another: 床, (0, 1, "__") -> _床_."""
    for start, end, marks in sorted(spans, reverse=True):
        text = f"{text[:start]}{marks[0]}{text[start:end]}{marks[1]}{text[end:]}"
    return text
