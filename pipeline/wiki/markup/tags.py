"""HTML in wikitext: tags are removed, their text stays, and block elements start a paragraph.

    without_tags("10<sup>6</sup>个<br>H<sub>2</sub>O<div>图</div>", findings)     "10^6个⏎H2O\n\n图\n\n"     (⏎ is opaque.BREAK)
    without_tags("<ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>", findings)  "漢字"

Of ruby only the base text stays: readings between its characters would split words. `<table>` is dropped with its content, like
`{| |}`, and so is what a style hides. Tags that neither HTML nor MediaWiki knows, as in `#include <stdio.h>`, are text.
"""

import re

from pipeline.wiki.markup.findings import Findings
from pipeline.wiki.markup.hidden_rules import hidden_rules
from pipeline.wiki.markup.opaque import BREAK, NOTHING, apart

_INLINE = """
    a abbr b bdi bdo big cite code data del dfn em font i img ins kbd langconvert mark noinclude nowiki onlyinclude poem q
    rb rbc rtc ruby s samp section small span strike strong sub sup time tt u var wbr ref references includeonly math
    gallery pre source syntaxhighlight templatestyles ce chem score timeline indicator imagemap hiero graph maplink mapframe
    style script rt rp
"""
_BLOCKS = """
    address article aside blockquote caption center dd details div dl dt figcaption figure footer header
    hr main nav ol p summary table tbody td tfoot th thead tr ul
"""
_BECOMES = {name: "" for name in _INLINE.split()} | {name: "\n\n" for name in _BLOCKS.split()} | {"br": BREAK, "li": "\n*"}
_HEADINGS = {f"h{level}": "=" * level for level in range(1, 7)}
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*+)(?![A-Za-z0-9])[^<>]*+>")
_READING = re.compile(r"<(rt|rp)(?![A-Za-z0-9])[^<>]*+>[^<]*+(?:</\1\s*+>)?+", re.IGNORECASE)
_POWER = re.compile(r"(?<=\d)<sup>\s*+([+\-−]?\d{1,3})\s*+</sup>", re.IGNORECASE)
_TABLE = re.compile(r"<(/?)table(?![A-Za-z0-9])[^<>]*+>", re.IGNORECASE)
_HIDES = re.compile(r"(?:display\s*+:\s*+none|visibility\s*+:\s*+hidden)", re.IGNORECASE)
_VOID = frozenset(["br", "hr", "img", "wbr"])


def without_tags(text: str, findings: Findings) -> str:
    """Return the text without HTML tags."""
    if "<" not in text:
        return text
    if "display" in text or "visibility" in text:
        text = _without_hidden(text, findings)
    if _TABLE.search(text):
        text = _without_tables(text, findings)
    text = _POWER.sub(r"^\1", _READING.sub(apart, text))
    return _TAG.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    name = match[2].lower()
    if match[1] and name == "li":
        return "\n"
    if name in _HEADINGS:
        return _HEADINGS[name] + "\n\n" if match[1] else "\n\n" + _HEADINGS[name]
    return _BECOMES.get(name, match[0]) or apart(match)


def _without_hidden(text: str, findings: Findings) -> str:
    """Drop elements whose style hides them; one that is never closed ends with its line."""
    ranges: list[tuple[int, int]] = []
    waiting: dict[str, list[tuple[int, bool]]] = {}
    for match in _TAG.finditer(text):
        name = match[2].lower()
        if not match[1] and name not in _VOID and not match[0].endswith("/>"):
            waiting.setdefault(name, []).append((match.start(), _HIDES.search(match[0]) is not None))
        elif match[1] and waiting.get(name):
            start, hides = waiting[name].pop()
            if hides:
                ranges.append((start, match.end()))
    covered = 0
    for start in sorted(start for tags in waiting.values() for start, hides in tags if hides):
        if start >= covered:
            end = text.find("\n", start)
            covered = end if end >= 0 else len(text)
            ranges.append((start, covered))
    parts = []
    kept_from = 0
    for start, end in sorted(ranges):
        if start >= kept_from:
            parts += [text[kept_from:start], NOTHING, hidden_rules(text[start:end])]
            findings.drop("hidden", end - start)
        kept_from = max(kept_from, end)
    return "".join([*parts, text[kept_from:]])


def _without_tables(text: str, findings: Findings) -> str:
    """Drop tables; an unclosed one ends at the next empty line."""
    parts = []
    start = depth = kept_from = 0
    for match in _TABLE.finditer(text):
        if not match[1]:
            if depth == 0:
                start = match.start()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                parts.append(text[kept_from:start])
                kept_from = match.end()
                findings.drop("table", kept_from - start)
    if depth:
        findings.repairs += depth
        end = text.find("\n\n", start)
        parts.append(text[kept_from:start])
        kept_from = len(text) if end < 0 else end
        findings.drop("table", kept_from - start)
    return "".join([*parts, text[kept_from:]])
