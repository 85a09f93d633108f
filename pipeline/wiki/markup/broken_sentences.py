"""Sentences that lost a formula, a number or a template: mended where nothing is missing, otherwise dropped and counted.

    柏林（德语：□，1237年建城）是首都。      柏林（1237年建城）是首都。      a part in brackets goes as a whole
    他会德语、□、法语。                      他会德语、、法语。              an item; mending.py does the punctuation
    面积为□，人口众多。                      (dropped)                       the sentence says nothing without it

□ is the mark of a hole (findings.py). What an unknown template showed cannot be known: one that was given text is taken to have
shown it, one that was given none is missed only by a word that needs another, as 在□ or □是. Runs after conversion, before
mending.py; linear.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.wiki.markup.findings import HOLES, Certainty, Hole, without_holes

_HOLE = re.compile(HOLES)
_RUN = re.compile(rf"{HOLES}(?:[ \t]*+{HOLES})*+")
_SENTENCE = re.compile(r"[^。！？!?]*+(?:[。！？!?]++[”’」』）)》〉】\]]*+|$)")
_BRACKETS = re.compile(r"（[^（）]*+）|(?<![A-Za-z0-9_])\([^()]*+\)|〔[^〔〕]*+〕|［[^［］]*+］")
_MAX_DEPTH = 3
_BETWEEN = re.compile(r"([，、；,;])")
_OPENERS = " \t“‘「『《〈【"
_CLOSERS = " \t”’」』》〉】"
_BOUNDARIES = frozenset("，、；,;。！？!?…（(）)\u3000")
_NEEDS_MORE = re.compile(
    "(?:[是为為约約在于於有与與和及或的由从從被把向对對至到第叫称稱即如以用达達共：:=＝]|[读讀念唸写寫]作|[发發读讀]音)$"
)
"""Ends of a clause that is not complete."""
_CONTINUES = frozenset("是为為在于於有与與和及或的由被曾位乃即則则也以")
"""First characters of a clause whose subject is missing."""
_LEADING = " \t，、；：,;:"


@dataclass
class Closed:
    """A text without holes, and what that took."""

    text: str
    repairs: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    """Sentences broken by each kind of hole, by its name."""
    sentences: int = 0
    """Broken sentences."""
    characters: int = 0
    """Characters of broken sentences, if they were dropped."""


def close_holes(text: str, holes: Mapping[Hole, str], *, drop: bool) -> Closed:
    """Return a text without the marks of holes. `drop`: whether broken sentences go; otherwise they stay as they are."""
    closed = Closed(text)
    if holes:
        known = {mark: hole for hole, mark in holes.items()}
        lines = [_line(line, known, closed, drop) if _HOLE.search(line) else line for line in text.split("\n")]
        closed.text = "\n".join(lines)
    return closed


def _line(line: str, known: Mapping[str, Hole], closed: Closed, drop: bool) -> str:
    for _ in range(_MAX_DEPTH):
        before = closed.repairs
        line = _BRACKETS.sub(lambda match: _bracket(match[0], known, closed), line)
        if closed.repairs == before:
            break
    kept = []
    for match in _SENTENCE.finditer(line):
        sentence = match[0]
        if not _HOLE.search(sentence):
            kept.append(sentence)
            continue
        names = _missing(sentence, known)
        whole = without_holes(sentence)
        if names:
            closed.sentences += 1
            closed.broken.update(names)
            if drop:
                closed.characters += len(whole)
                continue
        else:
            closed.repairs += 1
        if _HOLE.match(sentence.lstrip()):
            whole = whole.lstrip(_LEADING)
        kept.append(whole if any(map(str.isalnum, whole)) else "")
    return "".join(kept)


def _bracket(text: str, known: Mapping[str, Hole], closed: Closed) -> str:
    """Return a bracket without those of its parts that cannot do without what was dropped; "" if none is left."""
    if not _HOLE.search(text):
        return text
    closed.repairs += 1
    inside = ""
    pieces = _BETWEEN.split(text[1:-1])
    for separator, part in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        whole = without_holes(part)
        if whole.strip() and not _missing(part, known, bracketed=True):
            inside += (separator if inside else "") + whole
    return f"{text[0]}{inside}{text[-1]}" if inside else ""


def _missing(sentence: str, known: Mapping[str, Hole], bracketed: bool = False) -> set[str]:
    """Return the names of what a sentence, or a part of a bracket, cannot do without."""
    names = set()
    for match in _RUN.finditer(sentence):
        holes = [known[mark] for mark in match[0] if mark in known]
        left = sentence[max(0, match.start() - 20) : match.start()].rstrip(_OPENERS)[-2:]
        right = sentence[match.end() : match.end() + 20].lstrip(_CLOSERS)[:1]
        names |= {hole.name for hole in holes if _is_missed(hole.certainty, left, right, bracketed)}
    return names


def _is_missed(certainty: Certainty, left: str, right: str, bracketed: bool) -> bool:
    """Return whether something between these characters is missed; "" is the beginning or the end of a sentence.

    After a word in brackets, an unknown template is one more form of it: （德语：Berlin□）.
    """
    after_boundary = not left or left[-1] in _BOUNDARIES
    before_boundary = not right or right in _BOUNDARIES
    if _NEEDS_MORE.search(left):
        return True
    if after_boundary and before_boundary:
        return False
    if certainty == Certainty.VALUE or (after_boundary and right in _CONTINUES):
        return True
    return certainty == Certainty.TEXT and not (bracketed and before_boundary)
