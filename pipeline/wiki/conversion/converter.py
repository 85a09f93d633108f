"""MediaWiki's LanguageConverter for Chinese: -{ }- rules, NoteTA and its groups, then tables for text without a rule.

    converter = Converter("zh-cn", {"IT": [("zh-cn:软件;zh-tw:軟體", "")]})
    note_ta = [{"G1": "IT", "1": "zh-cn:计算机;zh-tw:電腦"}]
    converter.convert("電腦的軟體，-{zh-cn:线;zh-tw:線}-與-{三個火槍手}-", title="電腦", note_ta=note_ta)
    ->  text "计算机的软件，线与三個火槍手", title "计算机", counts {"rules": 2, "note_ta": 1, "replaced": 3, "groups": {..}}

As in MediaWiki, a rule in the text (flags A, H, -) takes effect from its position on; NoteTA applies to the whole text and the
title. Phrases of the page take precedence over these tables, longer phrases over shorter ones. The output of a rule and raw
text are never converted again, and no phrase extends across a rule: `-{}-` separates two words.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.engine.counting import Counts, count
from pipeline.wiki.conversion import groups, rules
from pipeline.wiki.conversion.characters import traditional
from pipeline.wiki.conversion.phrases import Phrases, around, split
from pipeline.wiki.conversion.rules import Rule
from pipeline.wiki.conversion.variants import FALLBACKS, to_variant

__all__ = ["Converted", "Converter", "to_variant"]

_BRACKET = re.compile(r"-\{|\}-")
_RULE = re.compile(r"-\{(?:(?!-\{|\}-).)*+\}-", re.DOTALL)
_BREAK = "\x1f"
"""Replaces finished text in what is converted. XML does not allow this character, so dumps do not contain it."""
_CONTEXT = 500
"""Characters of a text that are enough to tell the script of its title."""
_MAX_DEPTH = 10
"""Nesting of rules that MediaWiki follows."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A page in one variant, and what was done to it."""

    text: str
    title: str
    counts: Counts


class Converter:
    """Converts pages to one variant. `none` resolves rules to what the writer wrote and converts nothing else.

    `groups` are those of groups.parse, by name. The phrases of a group are prepared when a page first uses it, and cached.
    """

    def __init__(self, variant: str, groups: Mapping[str, Sequence[groups.Entry]], tables: str = "opencc") -> None:
        self.variant = "zh" if variant == "none" else variant
        self._plain = partial(to_variant, variant=self.variant, tables=tables)
        self._groups = groups
        self._tables: dict[str, Phrases | None] = {}

    def convert(self, text: str, *, title: str = "", note_ta: Iterable[Mapping[str, str]] = ()) -> Converted:
        """Return text and title without -{ }-. Counts: rules, unclosed, unknown, note_ta, groups, missing_groups, replaced."""
        page = _Page(self.variant, text, self._plain)
        for arguments in note_ta:
            self._note(arguments, page)
        if not page.counts and "-{" not in text:
            return Converted(self._plain(text), page.named(title), {})
        page.read(text)
        return Converted(page.text(), page.title if page.title is not None else page.named(title), page.counts)

    def _note(self, arguments: Mapping[str, str], page: "_Page") -> None:
        """Apply {{NoteTA}}: groups by number, then the title, then the page's own rules, which take precedence."""
        values = {key.strip(): value.strip() for key, value in arguments.items()}
        for key in _numbered(values, "G"):
            self._group(values[key].replace("_", " "), page)
        inline = [f"T|{values['T']}"] if values.get("T") else []
        for rule in inline + [f"H|{values[key]}" for key in _numbered(values, "")]:
            count(page.counts, "note_ta")
            page.apply(rules.parse(rule))

    def _group(self, name: str, page: "_Page") -> None:
        if name not in self._tables:
            members = groups.collect(name, self._groups)
            table: dict[str, str] = {}
            for rule in members or ():
                table |= rules.parse(f"H|{rule}").table(self.variant)
            self._tables[name] = None if members is None else Phrases(table)
        phrases = self._tables[name]
        if phrases is None:
            count(page.counts, "missing_groups", name)
        else:
            count(page.counts, "groups", name)
            page.groups.append(phrases)


class _Page:
    """The state of one page: the rules in force at the current position, and the text so far."""

    def __init__(self, variant: str, text: str, plain: Callable[[str], str]) -> None:
        """`plain` converts text without rules."""
        self.variant = variant
        self._plain = plain
        self._beginning = text[:_CONTEXT]
        self.chain = (variant, *FALLBACKS[variant])
        if variant == "zh" and "-{" in text:
            written = "zh-hant" if traditional(_RULE.sub("", text[:4000])) else "zh-hans"
            self.chain = ("zh", written, *FALLBACKS[written], *FALLBACKS["zh"])
        self.title: str | None = None
        self.counts: Counts = {}
        self.groups: list[Phrases] = []
        self._own = Phrases({})
        self._removed: set[str] = set()
        self._open: list[str] = [""]
        self._done: list[str] = []

    def read(self, text: str) -> None:
        """Resolve the rules of a text from left to right, inner rules before the rule around them."""
        stack: list[list[str]] = []
        place = 0
        for match in _BRACKET.finditer(text):
            if match[0] == "-{" and len(stack) < _MAX_DEPTH:
                self._literal(text[place : match.start()], stack)
                stack.append([])
            elif match[0] == "}-" and stack:
                stack[-1].append(text[place : match.start()])
                shown = self.apply(rules.parse("".join(stack.pop())))
                count(self.counts, "rules")
                if stack:
                    stack[-1].append(shown)
                else:
                    self._done.append(shown)
                    self._open.append("")
            else:
                continue
            place = match.end()
        self._literal(text[place:], stack)
        if stack:
            count(self.counts, "unclosed", number=len(stack))
            self._literal("".join("-{" + "".join(parts) for parts in stack), [])

    def text(self) -> str:
        """Return everything read so far, converted."""
        return around(self._open, self._done, self._plain, _BREAK)

    def converted(self, text: str) -> str:
        """Convert another text by the rules in force now."""
        if self.variant == "zh":
            return text
        between, become = self._split(text)
        return around(between, become, self._plain, _BREAK)

    def named(self, title: str) -> str:
        """Convert the page's title by the rules in force now."""
        if self.variant == "zh":
            return title
        between, become = self._split(title)
        # Few titles tell their script; the text below them does.
        return around(between, become, lambda title: self._plain(f"{title}\n{self._beginning}").split("\n")[0], _BREAK)

    def apply(self, rule: Rule) -> str:
        """Put a rule in force for the following text; return what it shows."""
        if rule.flags & {"+", "-"}:
            self._change(rule.table(self.variant), remove="-" in rule.flags)
        if "T" in rule.flags:
            title = self._chosen(rule) if self.variant != "zh" else rule.choose(["zh"]) if rule.both or rule.one_way else None
            self.title = self.title if title is None else title
        return self._shown(rule)

    def _shown(self, rule: Rule) -> str:
        flags = rule.flags
        if rule.only:
            return self.converted(rule.text) if rule.only.intersection(self.chain) else rule.text
        if "R" in flags:
            return rule.text
        if "N" in flags:
            return rules.NAMES.get(rule.text.strip(), "")
        if "D" in flags and ("H" in flags or not flags & {"+", "T"}):
            return rule.describe()
        return self._chosen(rule) if "S" in flags and "H" not in flags else ""

    def _chosen(self, rule: Rule) -> str:
        """Return the rule's text for this variant.

        If it has none, MediaWiki shows an error; we convert the writer's first text.
        """
        text = rule.choose(self.chain)
        if text is None:
            if rule.both or rule.one_way:
                count(self.counts, "unknown")
            text = self._plain(rule.first()) if rule.both or rule.one_way else rule.text
        return text

    def _change(self, table: Mapping[str, str], remove: bool) -> None:
        if remove:
            self._removed |= table.keys()
            self._own.remove(table)
        else:
            self._own.update(table)

    def _literal(self, text: str, stack: list[list[str]]) -> None:
        """Add text between rules to the rule around it, or to the page."""
        if stack:
            stack[-1].append(text)
        elif text.isspace():
            self._open[-1] += text
        elif text:
            between, become = self._split(text)
            self._open[-1] += between[0]
            self._open += between[1:]
            self._done += become

    def _split(self, text: str) -> tuple[list[str], list[str]]:
        if not self._own.table and not self.groups:
            return [text], []
        between, become = split(text, [*self.groups, self._own], self._removed)
        if become:
            count(self.counts, "replaced", number=len(become))
        return between, become


def _numbered(arguments: Mapping[str, str], letter: str) -> list[str]:
    """Return keys such as G1, G2 or 1, 2 that have a value, by number."""
    keys = [
        key for key, value in arguments.items() if value and key.startswith(letter) and key.removeprefix(letter).isdecimal()
    ]
    return sorted(keys, key=lambda key: int(key.removeprefix(letter)))
