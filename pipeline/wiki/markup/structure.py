"""Braces and brackets: `{{ }}`, `{{{ }}}`, `[[ ]]` and `-{ }-` become text, innermost first.

    resolve("[[联邦州 (德国)|-{zh-hans:联邦州; zh-hant:邦}-]]，{{lang|de|Berlin}}。", templates, findings)
        -> "-{zh-hans:联邦州; zh-hant:邦}-，Berlin。"

One regular expression splits the text into tokens; a stack of frames keeps what is open, as in MediaWiki's Preprocessor_Hash. A
`|` belongs to the innermost frame, so one inside `-{ }-` or a link never splits a template's argument. Where MediaWiki would
show raw markup (an unclosed frame), only the marks are removed and the text stays. Rules are left to wiki/conversion.

Linear: a frame is opened and closed once; the search for the frame that a mark closes considers a bounded number of frames;
copies of text are paid for from the budget of `findings`.
"""

import re
from collections.abc import Iterator
from typing import Protocol

from pipeline.wiki.markup.findings import Findings
from pipeline.wiki.markup.links import leaves_no_text, link_text
from pipeline.wiki.markup.opaque import INDENT, NOTHING, apart

_TOKEN = re.compile(r"(\{{2,}|\}{2,}|\[\[|\]{2,}|-\{(?!\{)|\}-|\|)")
# Nine links in ten have neither a namespace nor markup; a plain regex substitution resolves them.
_PLAIN_LINK = re.compile(r"\[\[(?:[^\[\]{}|:<>\n/]++\| *+)?+([^\[\]{}|:<>\n/']++)\]\]")
# A line of the page itself, not of an argument, that begins with a space and with no other mark.
_INDENTED = re.compile(r"\n (?=[ \t]*+(?:[^\s|!{*#:;=-]|\Z))")
_CUT = re.compile(r"[^{}\[\]|-]")
_CHUNK = 1 << 16
_MAX_DEPTH = 200
"""Frames open at once. Deeper nesting comes from stray braces: everything open is then taken as text."""
_REACH = 4
"""Number of unclosed frames that `]]` and `}-` may skip to reach theirs."""
_MAX_NAME = 80
_STRAY = re.compile(r"\{\{|\}\}|\[\[|\]\]")
_STRAYS = re.compile(r"(?<!-)\{|\}(?!-)|[\[\]]")
_BROKEN_RULE = re.compile(r"(?<![^\S\n])[^\S\n]*+\n\s*+")

Argument = list[str]
"""Parts of text. The first is raw: a `=` in it separates a name from a value."""


class Expander(Protocol):
    """Expands templates (implemented in wiki/templates/expansion.py)."""

    def expand(self, name: str, arguments: list[Argument]) -> str: ...


class Frame:
    """An open mark: `kind` is `{`, `[`, `-`, or "" for the page itself."""

    __slots__ = ("arguments", "braces", "kind")

    def __init__(self, kind: str, braces: int = 0) -> None:
        self.kind = kind
        self.braces = braces
        self.arguments: list[Argument] = [[]]


def resolve(text: str, templates: Expander, findings: Findings) -> str:
    """Resolve all braces and brackets of a text, except rules.

    Raises: MarkupError when the budget of `findings` is used up.
    """
    stack = _Stack(templates, findings)
    for chunk in _chunks(_PLAIN_LINK.sub(r"\1", text)):
        parts = _TOKEN.split(chunk)
        findings.spend(len(parts))
        for place in range(1, len(parts), 2):
            if raw := parts[place - 1]:
                stack.write(raw)
            token = parts[place]
            kind = token[0]
            if kind == "|":
                stack.separate()
            elif kind == "{":
                stack.open("{", len(token))
            elif kind == "[":
                stack.open("[")
            elif kind == "]":
                stack.close_links(len(token))
            elif token == "-{":
                stack.open("-")
            elif token == "}-":
                stack.close_rule()
            else:
                left = stack.close_templates(len(token))
                if left and parts[place + 1].startswith("-") and stack.top.kind == "-":
                    stack.close_rule()  # `-{ {{t}}}-`
                    parts[place + 1] = parts[place + 1][1:]
                elif left:
                    stack.write_stray("}" * (left % 2))
        stack.write(parts[-1])
    return without_strays(stack.text())


def _chunks(text: str) -> Iterator[str]:
    """Yield bounded chunks, so that the tokens of a 50 MB page never exist all at once; a token is never split."""
    start = 0
    while len(text) - start > _CHUNK:
        found = _CUT.search(text, start + _CHUNK)
        if not found:
            break
        yield text[start : found.end()]
        start = found.end()
    yield text[start:]


def without_strays(text: str) -> str:
    """Remove all marks from lines on which some are left, as `{` + `{`."""
    if not _STRAY.search(text):
        return text
    return "\n".join(_STRAYS.sub(apart, line) if _STRAY.search(line) else line for line in text.split("\n"))


class _Stack:
    def __init__(self, templates: Expander, findings: Findings) -> None:
        self._templates = templates
        self._findings = findings
        self._frames = [Frame("")]
        self._open_templates = 0
        self.top = self._frames[0]
        self._out = self.top.arguments[0]

    def write(self, text: str) -> None:
        if "\n " in text and len(self._frames) == 1:
            text = _INDENTED.sub(f"\n{INDENT}", text)
        self._out.append(text)

    def write_stray(self, text: str = "") -> None:
        """Write what is left of marks that are removed, which keep apart the apostrophes on both sides."""
        if text or (self._out and self._out[-1].endswith("'")):
            self._out.append(text or NOTHING)

    def separate(self) -> None:
        """Handle a pipe."""
        if self.top.kind in ("{", "["):
            self._out = []
            self.top.arguments.append(self._out)
        else:
            self._out.append("|")

    def open(self, kind: str, braces: int = 0) -> None:
        if len(self._frames) == _MAX_DEPTH:
            self._abandon(1)
        self.top = Frame(kind, braces)
        self._frames.append(self.top)
        self._out = self.top.arguments[0]
        self._open_templates += kind == "{"

    def close_links(self, brackets: int) -> None:
        """Handle `]]`, or `]]]` when a link's text ends with an external link."""
        if brackets == 3 and self._out and self._out[-1].rfind("[") > self._out[-1].rfind("]"):
            self._out.append("]")
            brackets -= 1
        while brackets >= 2 and self._reach("["):
            parts = ["".join(argument) for argument in self._pop().arguments]
            self._replace(link_text(parts, self._findings))
            brackets -= 2
        self.write_stray("]" * (brackets % 2))

    def close_rule(self) -> None:
        if not self._reach("-"):
            self._out.append("}-")
            return
        content = "".join(self._pop().arguments[0])
        if "\n" in content:  # rules are joined across lines; braces without rules become one paragraph a line
            content = _BROKEN_RULE.sub(" " if ":" in content or "|" in content else "}-\n\n-{", content)
        self._replace("-{" + content + "}-")

    def close_templates(self, braces: int) -> int:
        """Handle `}}`, `}}}`, or more; return the number of unused braces."""
        while braces >= 2 and self._open_templates:
            while self.top.kind != "{":
                self._abandon(len(self._frames) - 1)
            frame = self._pop()
            matched = 3 if frame.braces >= 3 and braces >= 3 else 2
            text = self._argument_text(frame) if matched == 3 else self._template_text(frame)
            braces -= matched
            if frame.braces - matched >= 2:
                self.open("{", frame.braces - matched)
            elif frame.braces - matched == 1:
                self._out.append("{")
            self._replace(text)
        return braces

    def text(self) -> str:
        """Return the whole text; whatever is still open is taken as text."""
        self._abandon(1)
        return "".join(self._out)

    def _template_text(self, frame: Frame) -> str:
        return self._templates.expand("".join(frame.arguments[0]), frame.arguments[1:])

    @staticmethod
    def _argument_text(frame: Frame) -> str:
        """Return the default of `{{{1|默认}}}`, which is what it shows outside a template."""
        return "".join(frame.arguments[1]) if len(frame.arguments) > 1 else ""

    def _pop(self) -> Frame:
        frame = self._frames.pop()
        self._open_templates -= frame.kind == "{"
        self.top = self._frames[-1]
        self._out = self.top.arguments[-1]
        return frame

    def _replace(self, text: str) -> None:
        self._findings.spend(len(text) + 1)
        if not self._out:
            self._out.append("")  # the first part of an argument must be raw
        self._out.append(text)

    def _reach(self, kind: str) -> bool:
        """Return whether a frame of this kind can be closed now; unclosed frames above it are abandoned."""
        lowest = max(0, len(self._frames) - 1 - _REACH)
        for place in range(len(self._frames) - 1, lowest, -1):
            if self._frames[place].kind == kind:
                self._abandon(place + 1)
                return True
            if self._frames[place].kind == "{":
                return False
        return False

    def _abandon(self, first: int) -> None:
        """Give up the unclosed frames from index `first` on: drop their marks, keep their text in the frame below."""
        if first >= len(self._frames):
            return
        given_up = self._frames[first:]
        del self._frames[first:]
        self.top = self._frames[-1]
        self._out = self.top.arguments[-1]
        for frame in given_up:
            self._findings.repairs += 1
            self._open_templates -= frame.kind == "{"
            self._findings.spend(sum(map(len, frame.arguments)))
            self.write_stray()
            self._out += _salvage(frame)


def _salvage(frame: Frame) -> Argument:
    """Return what remains of an unclosed frame.

    Arguments that are not prose are put on lines that start with a pipe, which paragraphs.py drops.
    """
    first = frame.arguments[0]
    separator = "|"
    start = first[0] if first else ""
    if frame.kind == "{":
        separator = "\n|"
        name, line_end, rest = start.partition("\n")
        if (line_end or len(frame.arguments) > 1) and len(name) < _MAX_NAME:
            first = [rest, *first[1:]]
    elif frame.kind == "[" and leaves_no_text(start):
        first = ["\n|", *first]
    return [*first, *(part for argument in frame.arguments[1:] for part in (separator, *argument))]
