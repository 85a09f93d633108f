"""One rule of MediaWiki's LanguageConverter: the text between -{ and }-.

    parse("zh-cn:计算机;zh-tw:電腦")               two-way: readers of zh-cn see 计算机
    parse("A|电脑=>zh-tw:電腦")                    one-way, for the rest of the page too
    parse("T|zh-cn:大仲马;zh-tw:大仲馬")           the title of the page
    parse("zh-hans;zh-hant|XXX")                  converted for these variants only
    parse("三個火槍手"), parse("R|三個火槍手")      raw

Without flags the text of the variant is shown. A adds the rule to the page and shows it; H adds it without showing it; T is for
the title (alone it shows and adds nothing); `-` removes a rule; R is raw; N is the name of a variant; D describes the rule. R,
N and `-` each disable all other flags. See MediaWiki's includes/language, ConverterRule.php and LanguageConverter.php.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.wiki.conversion.variants import FALLBACKS, VARIANTS

NAMES = {
    "zh": "原文",
    "zh-hans": "简体",
    "zh-hant": "繁體",
    "zh-cn": "大陆",
    "zh-tw": "台灣",
    "zh-hk": "香港",
    "zh-mo": "澳門",
    "zh-sg": "新加坡",
    "zh-my": "大马",
}
"""Names of the variants, for flags N and D."""
_FLAGS = frozenset("AHTRND-")
_BCP47 = {
    "zh-hans-cn": "zh-cn",
    "zh-hans-sg": "zh-sg",
    "zh-hans-my": "zh-my",
    "zh-hant-tw": "zh-tw",
    "zh-hant-hk": "zh-hk",
    "zh-hant-mo": "zh-mo",
}
_CODES = "|".join([*VARIANTS, "zh-Hans-(?:CN|SG|MY)", "zh-Hant-(?:TW|HK|MO)", "zh-Hans", "zh-Hant"])
# A semicolon only separates two rules if a rule or the end follows: texts may contain semicolons.
_BETWEEN = re.compile(rf";\s*+(?=(?:[^;]*?=>\s*+)?(?:{_CODES})\s*+:|$)")
_ENTITY = re.compile(r"(&[#a-zA-Z0-9]+);")
_ONE_WAY_ONLY = ("zh-hans", "zh-hant")


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed rule. `flags` are those in force, with `+` for "adds to the page" and `S` for "shows"."""

    flags: frozenset[str]
    text: str
    """Everything after the first bar, or the whole."""
    only: frozenset[str] = frozenset()
    """Variants for which a text without rules is converted."""
    both: dict[str, str] = field(default_factory=dict)
    """Variant -> text."""
    one_way: dict[str, dict[str, str]] = field(default_factory=dict)
    """Variant -> {from: to}."""

    def choose(self, variants: Iterable[str]) -> str | None:
        """Return the text of the first of these variants that has one; then the first variant's one-way rule; else None."""
        variants = tuple(variants)
        for variant in variants:
            if variant in self.both:
                return self.both[variant]
        return next(iter(self.one_way.get(variants[0], {}).values()), None)

    def first(self) -> str:
        """Return the text that the writer put first, for a variant without a text of its own."""
        for text in self.both.values():
            return text
        for pairs in self.one_way.values():
            for text in pairs.values():
                return text
        return self.text

    def table(self, variant: str) -> dict[str, str]:
        """Return what the rule replaces in the rest of a page: {written text: text shown for the variant}.

        The texts of all variants become the variant's own text. `zh-hans` and `zh-hant` only use one-way rules.
        """
        if variant == "zh":
            return {}
        table: dict[str, str] = {}
        if variant not in _ONE_WAY_ONLY:
            text = next((self.both[each] for each in (variant, *FALLBACKS[variant]) if each in self.both), None)
            table = {} if text is None else dict.fromkeys(self.both.values(), text)
        return table | self.one_way.get(variant, {})

    def describe(self) -> str:
        """`大陆：计算机；台灣：電腦；`"""
        both = [f"{NAMES[variant]}：{text}；" for variant, text in self.both.items()]
        one_way = [f"{a}⇒{NAMES[variant]}：{b}；" for variant, pairs in self.one_way.items() for a, b in pairs.items()]
        return "".join(both + one_way)


@functools.lru_cache(maxsize=4096)
def parse(inner: str) -> Rule:
    """Parse the text between -{ and }-, with inner rules already resolved. Never fails: what is not a rule is raw text.

    The same rules occur again and again in a page, so results are cached; do not change their tables.
    """
    head, bar, text = inner.partition("|")
    named = {flag.strip() for flag in head.split(";")} if bar else set()
    if not bar:
        text = inner
    only = named.intersection(VARIANTS)
    flags = named & _FLAGS
    if only and not flags & set("RN-H"):
        return Rule(frozenset("R"), text, frozenset(only))
    in_force = _in_force(flags)
    if in_force & {"R", "N"}:
        return Rule(in_force, text)
    text = text.replace("=&gt;", "=>")
    both, one_way = _split(text)
    if not both and not one_way:
        if in_force & {"+", "-"}:
            both = dict.fromkeys(VARIANTS, text) if text else {}
        elif "T" not in in_force:
            in_force = frozenset("R")
    return Rule(in_force, text, frozenset(), both, one_way)


def _in_force(flags: set[str]) -> frozenset[str]:
    for alone in "RN-":
        if alone in flags:
            return frozenset(alone)
    if "H" in flags:
        return frozenset("H+") | flags & {"T", "D"}
    if "A" in flags:
        flags = flags - {"A"} | {"+", "S"}
    return frozenset(flags - {"S"} if "D" in flags else flags or {"S"})


def _split(text: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return two-way and one-way rules. An unknown variant voids all of them; a part without a colon is ignored."""
    both: dict[str, str] = {}
    one_way: dict[str, dict[str, str]] = {}
    for part in _BETWEEN.split(_ENTITY.sub("\\1\x01", text) if "&" in text else text):
        code, colon, to = part.replace("\x01", ";").partition(":")
        if not colon:
            continue
        written, arrow, after = code.partition("=>")
        written, to = written.strip(), to.strip()
        code = (after if arrow else code).strip().lower()
        variant = code if code in VARIANTS else _BCP47.get(code)
        if variant is None:
            return {}, {}
        if arrow and written:
            one_way.setdefault(variant, {})[written] = to
        elif not arrow and to:
            both[variant] = to
    return both, one_way
