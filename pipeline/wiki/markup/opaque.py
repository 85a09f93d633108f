"""Comments and extension tags: whatever the parser must not look into is handled first, from left to right, as in MediaWiki.

    without_opaque("柏林<ref name=a>{{cite web|url=x}}</ref>有<!-- 约 -->340万人<ref name=a />。", findings)
        -> "柏林有340万人。"                    findings.dropped == {"ref": 29, ...}

Kept: `<nowiki>` as typed (its markup is hidden in noncharacters, see `revealed`), poems line by line, short code inside a
sentence, formulas that plain text can express (formulas.py); others leave a hole (findings.py). Of an unclosed tag only the tag
is dropped; an unclosed `<ref>` ends at the next `<ref>` or line end.
"""

import re

from pipeline.wiki.markup.findings import HOLES, Certainty, Findings
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
"""Tags whose content is dropped and counted under this name; the content of _OTHERS is counted as `tag`."""
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
_CODE = ("source", "syntaxhighlight")
_MAX_CODE = 60
"""Characters of code that is kept if it is `inline`."""
_SHOWN = frozenset([*_FORMULAS, *_CODE, "hiero", "score"])
"""Tags whose content may be part of a sentence; code only if it is `inline`."""
_NAMES = "|".join([*_DROPPED, *_OTHERS, *_FORMULAS, "nowiki", "ref", "poem"])
_OPEN = re.compile(rf"<(?:!--|({_NAMES})(?![A-Za-z0-9])([^<>]{{0,400}}+)(>)?)", re.IGNORECASE)
_CLOSINGS = {name: re.compile(rf"</{name}\s*+>", re.IGNORECASE) for name in _NAMES.split("|")}
_INDENT = re.compile("^ +", re.MULTILINE)
_REF = re.compile(r"</ref\s*+>|<ref(?![A-Za-z0-9])", re.IGNORECASE)

BREAK = "\ufdd0"
"""An explicit line break (`<br>`), until paragraphs are made. Unicode reserves U+FDD0..U+FDEF for internal use."""
NOTHING = "\ufdd1"
"""Keeps apart what is before and behind something that was removed, so that apostrophes are not counted together."""
INDENT = "\ufde5"
"""The space before a preformatted line of the page, until paragraphs are made."""
_HIDDEN = {mark: chr(0xFDD2 + place) for place, mark in enumerate("{}[]|=<>'*#:;-_&!/")}
_HIDE = str.maketrans(_HIDDEN)
_REVEAL = str.maketrans({hidden: mark for mark, hidden in _HIDDEN.items()} | {NOTHING: None, INDENT: None, BREAK: "\n"})
_NONCHARACTERS = re.compile("[\ufdd0-\ufdef]+")
_RESERVED = re.compile(f"[\ufdd0-\ufdef]|{HOLES}")


def without_opaque(text: str, findings: Findings) -> str:
    """Return the text without comments and extension tags. Linear: no closing tag is searched for twice."""
    if text.isascii() or not _RESERVED.search(text):
        return _scan(text, findings)
    cleaned = _RESERVED.sub("", text)
    findings.drop("reserved", len(text) - len(cleaned))
    return _scan(cleaned, findings)


def hidden(text: str) -> str:
    """Return a text whose apostrophes no longer are markup."""
    return text.replace("'", _HIDDEN["'"]) if "'" in text else text


def apart(match: re.Match[str]) -> str:
    """Return what replaces a removed tag: nothing, but visibly so if an apostrophe is before it."""
    return NOTHING if match.string[match.start() - 1 : match.start()] == "'" else ""


def revealed(text: str) -> str:
    """Restore what `<nowiki>` hid, and explicit line breaks. Runs last of all."""
    return _NONCHARACTERS.sub(lambda match: match[0].translate(_REVEAL), text)


def _scan(text: str, findings: Findings) -> str:
    parts: list[str] = []
    never_closed: set[str] = set()
    position = 0
    while match := _OPEN.search(text, position):
        parts.append(text[position : match.start()])
        name = (match[1] or "").lower()
        if name and text[match.start() - 1 : match.start()] == "'":
            parts.append(NOTHING)
        if not name:
            position = _after_comment(text, match, findings)
        elif match[3] is None:  # no > and so no tag: what looks like its attributes is dropped too
            position = match.start(2) + len(match[2].partition("\n")[0])
        elif match[2].endswith("/") or name in never_closed:
            parts.append(NOTHING if name == "nowiki" else "")
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
            parts.append(_content(name, match[2], text[start : closing.start()], findings))
            position = closing.end()
    parts.append(text[position:])
    return "".join(parts)


def _content(name: str, attributes: str, content: str, findings: Findings) -> str:
    """Return what remains of a tag that was closed."""
    inline_code = name in _CODE and "inline" in attributes.lower()
    if name == "nowiki":
        return content.translate(_HIDE) + NOTHING
    if name == "poem":
        return _INDENT.sub("", _scan(content.strip("\n"), findings)).replace("\n", BREAK + "\n")
    if inline_code and len(content) <= _MAX_CODE and "\n" not in content:
        return content.translate(_HIDE)
    kept = plain(content) if name in _FORMULAS else ""
    if not kept:
        findings.drop("math" if name in _FORMULAS else _DROPPED.get(name, "tag"), len(content))
        if inline_code or (name in _SHOWN and name not in _CODE and "\n" not in content.strip()):
            return findings.hole(f"<{name}>", Certainty.VALUE)
    return kept


def _after_comment(text: str, match: re.Match[str], findings: Findings) -> int:
    """Return where the text continues after a comment.

    A comment alone on its line includes the line end; an unclosed one extends to the end of the page, as in MediaWiki.
    """
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
