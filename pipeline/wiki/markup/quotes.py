"""Marks of bold and italics, paired line by line as in MediaWiki's Parser::doQuotes.

    without_quotes("'''柏林'''的''墙''")       "柏林的墙"
    without_quotes("L'''Osservatore''")        "L'Osservatore"      both odd: one ''' is an apostrophe and ''
    without_quotes("''''甲''''")               "'甲'"               of four, the first is text

Runs are counted where they are on the page: a tag, footnote or template between two runs keeps them apart, and the label of a
link is paired by itself. So other modules put `opaque.NOTHING` where they remove something after an apostrophe.
"""

import re
from collections.abc import Sequence

_RUN = re.compile(r"('{2,})")
_BOTH = 5
"""Apostrophes of a mark that is bold and italic."""


def without_quotes(line: str, between: str = "") -> str:
    """Return a line without marks of bold and italics; `between` replaces them."""
    if "''''" not in line:  # nearly always: nothing to decide, and string methods are fast
        bold = line.count("'''")
        if bold % 2 == 0 or (line.count("''") - bold) % 2 == 0:
            return line.replace("'''", between).replace("''", between)
    parts = _RUN.split(line)
    marks = [_mark(len(run)) for run in parts[1::2]]
    texts = [text + "'" * (len(run) - mark) for text, run, mark in zip(parts[::2], parts[1::2], marks, strict=False)]
    if sum(mark != 2 for mark in marks) % 2 and sum(mark != 3 for mark in marks) % 2:
        place = _apostrophe(texts, marks)
        if place is not None:
            texts[place] += "'"
    return between.join([*texts, parts[-1]])


def _mark(run: int) -> int:
    """Return how many apostrophes of a run are the mark; those before it are text."""
    return 3 if run == 4 else min(run, _BOTH)


def _apostrophe(texts: Sequence[str], marks: Sequence[int]) -> int | None:
    """Return which bold mark is an apostrophe and an italic one: after a word of one letter, of more, or after a space."""
    after_word = after_space = None
    for place, (text, mark) in enumerate(zip(texts, marks, strict=True)):
        if mark != 3:
            continue
        if text.endswith(" "):
            after_space = place if after_space is None else after_space
        elif text[-2:-1] == " " and text[-1].isascii():  # MediaWiki looks at bytes
            return place
        elif after_word is None:
            after_word = place
    return after_space if after_word is None else after_word
