"""Comments and extension tags: what the parser must not look into goes first, from left to right, as MediaWiki has it.

    without_opaque("柏林<ref name=a>{{cite web|url=x}}</ref>有<!-- 约 -->340万人<ref name=a />。", findings)
        -> "柏林有340万人。"                    findings.dropped == {"ref": 29, ...}

Kept: `<nowiki>` as it was typed (its markup is hidden in noncharacters, see `revealed`), poems line by line, formulas where
plain text can say them (formulas.py). A tag that is never closed goes alone; an open `<ref>` ends at the next `<ref>` or
line.
"""

import re

from pipeline.wiki.markup.findings import Findings
from pipeline.wiki.markup.formulas import plain

_DROPPED = {
    "gallery": "gallery",
    "imagemap": "gallery",
    "pre": "code",
    "source": "code",
    "syntaxhighlight": "code",
    "references": "ref",
    "includeonly": "includeonly",
}
"""Their content goes, and is counted under this name; all that are not named here under `tag`."""
_OTHERS = [
    "categorytree",
    "charinsert",
    "graph",
    "hiero",
    "indicator",
    "inputbox",
    "mapframe",
    "maplink",
    "phonos",
    "quiz",
    "rss",
    "score",
    "script",
    "section",
    "style",
    "templatedata",
    "templatestyles",
    "timeline",
]
_FORMULAS = ("math", "ce", "chem")
_NAMES = "|".join([*_DROPPED, *_OTHERS, *_FORMULAS, "nowiki", "ref", "poem"])
_OPEN = re.compile(rf"<(?:!--|({_NAMES})(?![A-Za-z0-9])([^<>]{{0,400}}+)(>)?)", re.IGNORECASE)
_CLOSINGS = {name: re.compile(rf"</{name}\s*+>", re.IGNORECASE) for name in _NAMES.split("|")}
_REF = re.compile(r"</ref\s*+>|<ref(?![A-Za-z0-9])", re.IGNORECASE)

BREAK = "\ufdd0"
"""A line break that was asked for (`<br>`), until paragraphs are made. Unicode keeps U+FDD0..U+FDEF out of texts."""
_NOTHING = "\ufdd1"
_HIDDEN = {mark: chr(0xFDD2 + place) for place, mark in enumerate("{}[]|=<>'*#:;-_&!/")}
_HIDE = str.maketrans(_HIDDEN)
_REVEAL = str.maketrans({hidden: mark for mark, hidden in _HIDDEN.items()} | {_NOTHING: None, BREAK: "\n"})
_NONCHARACTERS = re.compile("[\ufdd0-\ufdef]+")


def without_opaque(text: str, findings: Findings) -> str:
    """The text without them. Linear: no closing tag is looked for twice."""
    if text.isascii() or not _NONCHARACTERS.search(text):
        return _scan(text, findings)
    return _scan(_NONCHARACTERS.sub("", text), findings)


def revealed(text: str) -> str:
    """Last of all: what `<nowiki>` hid, and line breaks."""
    return text.translate(_REVEAL) if _NONCHARACTERS.search(text) else text


def _scan(text: str, findings: Findings) -> str:
    parts: list[str] = []
    never_closed: set[str] = set()
    position = 0
    while match := _OPEN.search(text, position):
        parts.append(text[position : match.start()])
        name = (match[1] or "").lower()
        if not name:
            position = _after_comment(text, match, findings)
        elif match[3] is None:  # it has no >, so it is no tag: what looks like its attributes goes with it
            position = match.start(2) + len(match[2].partition("\n")[0])
        elif match[2].endswith("/") or name in never_closed:
            parts.append(_NOTHING if name == "nowiki" else "")
            position = match.end()
        elif name == "ref":
            position = _after_ref(text, match, findings)
        else:
            start = match.end()
            closing = _CLOSINGS[name].search(text, start)
            if closing is None:
                never_closed.add(name)
                position = start
                continue
            parts.append(_content(name, text[start : closing.start()], findings))
            position = closing.end()
    parts.append(text[position:])
    return "".join(parts)


def _content(name: str, content: str, findings: Findings) -> str:
    """What stays of a tag that was closed."""
    if name == "nowiki":
        return content.translate(_HIDE) + _NOTHING
    if name == "poem":
        return _scan(content.strip("\n"), findings).replace("\n", BREAK + "\n")
    kept = plain(content) if name in _FORMULAS else ""
    if not kept:
        findings.drop("math" if name in _FORMULAS else _DROPPED.get(name, "tag"), len(content))
    return kept


def _after_comment(text: str, match: re.Match[str], findings: Findings) -> int:
    """Where text goes on. A comment alone on its line takes the line with it; an open one takes the rest, as in MediaWiki."""
    end = text.find("-->", match.end())
    findings.drop("comment", (len(text) if end < 0 else end) - match.end())
    if end < 0:
        return len(text)
    alone = match.start() == 0 or text[match.start() - 1] == "\n"
    return end + 4 if alone and text.startswith("\n", end + 3) else end + 3


def _after_ref(text: str, match: re.Match[str], findings: Findings) -> int:
    start = match.end()
    found = _REF.search(text, start)
    if found and found[0].startswith("</"):
        findings.drop("ref", found.start() - start)
        return found.end()
    limit = found.start() if found else len(text)
    line = text.find("\n", start, limit)
    end = limit if line < 0 else line
    findings.repairs += 1
    findings.drop("ref", end - start)
    return end
