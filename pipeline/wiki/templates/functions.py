"""Parser functions and magic words: `{{formatnum:77006}}`, `{{#if:x|a|b}}`, `{{PAGENAME}}`.

    find_function("formatnum:77006", "柏林")([])            "77,006"
    find_function("#if: x ", "柏林")(["有", "无"])          "有"
    find_function("PAGENAME", "柏林")([])                   "柏林"
    find_function("#expr: 3 * 4", "柏林")([])               "12"
    find_function("#time:Y", "柏林")([])                    UNKNOWN
    find_function("DEFAULTSORT:Berlin", "柏林")([])         "": it shows nothing
    find_function("lang", "柏林")                           None: it is a template

What depends on the wiki's data or the current day (`{{NUMBEROFARTICLES}}`, `{{#time:Y}}`, `{{#invoke:...}}`) is UNKNOWN, and
so is an expression that cannot be evaluated.
Semantics: https://www.mediawiki.org/wiki/Help:Magic_words and Help:Extension:ParserFunctions.
"""

import re
from collections.abc import Callable, Sequence

from pipeline.wiki.markup.findings import without_holes
from pipeline.wiki.markup.languages import language_name
from pipeline.wiki.templates.expressions import evaluate
from pipeline.wiki.templates.quantities import grouped

Function = Callable[[Sequence[str]], str]
_Body = Callable[[str, Sequence[str]], str]
"""Called with the text after the colon, and the other arguments."""

UNKNOWN = "\ufde4"
"""The result of a function that shows something that only the wiki knows. Unicode reserves it, see opaque.BREAK."""

_PAGE_WORDS = frozenset(
    [
        "pagename",
        "fullpagename",
        "basepagename",
        "subpagename",
        "rootpagename",
        "subjectpagename",
        "articlepagename",
        "titleparts",
    ]
)
_WIKI_OR_DATE_WORDS = """
    pagenamee fullpagenamee namespace namespacee namespacenumber talkpagename talkspace subjectspace sitename server
    servername scriptpath stylepath currentyear currentmonth currentmonth1 currentmonthname currentmonthabbrev currentday
    currentday2 currentdayname currentdow currenttime currenthour currentweek currenttimestamp currentversion localyear
    localmonth localmonth1 localmonthname localday localday2 localdayname localdow localtime localhour localweek
    localtimestamp numberofarticles numberoffiles numberofedits numberofpages numberofusers numberofactiveusers numberofadmins
    revisionid revisionday revisionday2 revisionmonth revisionmonth1 revisionyear revisiontimestamp revisionuser revisionsize
    pageid pagesize contentlanguage pagelanguage
"""
_WITH_COLON = "pagesincategory numberingroup protectionlevel int ns nse special speciale grammar bidi"
_UNKNOWN_FUNCTIONS = frozenset(_WITH_COLON.split())
"""Words that are functions with a colon, and templates without one. All functions with a `#` that are not below are unknown."""
_SILENT = """
    noexternallanglinks directionmark displaytitle defaultsort defaultsortkey defaultcategorysort
"""
_URLS = "urlencode anchorencode localurl localurle fullurl fullurle canonicalurl filepath #coordinates #related #vardefine"
_SILENT_FUNCTIONS = frozenset(_URLS.split())
"""Parts of URLs, and what is shown elsewhere on the page."""
_NAME = re.compile(r"\s*+(?:(?:safe)?subst:)?+\s*+(#?[\w ]++)\s*+(?:[:：]|$)")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_MAX_WIDTH = 100
"""Characters that a text is padded to at most."""


def find_function(name: str, title: str) -> Function | None:
    """Return the function that the first part of a call names, or None if it names a template."""
    if ":" not in name and "：" not in name:
        word = name.strip().lower()
        return (lambda arguments: title) if word in _PAGE_WORDS else _WORDS.get(word)
    match = _NAME.match(name)
    if match is None:
        return None
    word = match[1].strip().lower()
    first = name[match.end() :]
    if not match[0].rstrip().endswith((":", "：")):  # {{subst:PAGENAME}}
        return find_function(word, title)
    if body := _FUNCTIONS.get(word):
        return lambda arguments: body(first.strip(), arguments)
    if word in _SILENT_FUNCTIONS:
        return _nothing
    return _unknown if word.startswith("#") or word in _UNKNOWN_FUNCTIONS else _WORDS.get(word)


def _nothing(arguments: Sequence[str]) -> str:
    return ""


def _unknown(arguments: Sequence[str]) -> str:
    return UNKNOWN


_WORDS: dict[str, Function] = {
    **dict.fromkeys(_WIKI_OR_DATE_WORDS.split(), _unknown),
    **dict.fromkeys(_SILENT.split(), _nothing),
}
"""Words that are the same with and without a colon: what only the wiki knows, and what shows nothing where it is."""


def _at(arguments: Sequence[str], place: int) -> str:
    return arguments[place].strip() if place < len(arguments) else ""


def _if(condition: str, arguments: Sequence[str]) -> str:
    return _at(arguments, 0 if without_holes(condition) else 1)


def _expr(expression: str, arguments: Sequence[str]) -> str:
    value = evaluate(expression)
    return UNKNOWN if value is None else value


def _ifexpr(expression: str, arguments: Sequence[str]) -> str:
    value = evaluate(expression)
    return _at(arguments, 0 if value is None or value not in ("", "0") else 1)


def _ifeq(left: str, arguments: Sequence[str]) -> str:
    right = _at(arguments, 0)
    numbers = _NUMBER.fullmatch(left) and _NUMBER.fullmatch(right)
    equal = float(left) == float(right) if numbers else left == right
    return _at(arguments, 1 if equal else 2)


def _iferror(value: str, arguments: Sequence[str]) -> str:
    if 'class="error"' in value:
        return _at(arguments, 0)
    return value if len(arguments) < 2 else _at(arguments, 1)


def _ifexist(title: str, arguments: Sequence[str]) -> str:
    return _at(arguments, 0)


def _switch(value: str, arguments: Sequence[str]) -> str:
    """`|a|b=x` returns x for a and b; `#default`, or a last part without `=`, is the result for all other values."""
    found = False
    default = ""
    for argument in arguments:
        case, equals, result = argument.partition("=")
        found = found or case.strip() == value
        if equals and found:
            return result.strip()
        if equals and case.strip() == "#default":
            default = result.strip()
    if arguments and "=" not in arguments[-1]:
        default = arguments[-1].strip()
    return default


def _tag(name: str, arguments: Sequence[str]) -> str:
    """{{#tag:ref|...}} is a footnote; the text of prose tags stays."""
    return _at(arguments, 0) if name.lower() in ("poem", "nowiki", "span", "div", "ruby", "rb", "small", "big") else ""


def _formatnum(number: str, arguments: Sequence[str]) -> str:
    return number.replace(",", "") if _at(arguments, 0).upper() in ("R", "NOSEP") else grouped(number)


def _pad(text: str, arguments: Sequence[str]) -> tuple[str, str]:
    width = _at(arguments, 0)
    missing = min(int(width), _MAX_WIDTH) - len(text) if width.isascii() and width.isdigit() and len(width) < 4 else 0
    padding = _at(arguments, 1)[:_MAX_WIDTH] or "0"
    return text, (padding * max(0, missing))[: max(0, missing)]


_FUNCTIONS: dict[str, _Body] = {
    "#if": _if,
    "#ifeq": _ifeq,
    "#iferror": _iferror,
    "#ifexist": _ifexist,
    "#expr": _expr,
    "#ifexpr": _ifexpr,
    "#switch": _switch,
    "#tag": _tag,
    "#language": lambda code, arguments: language_name(code),
    "formatnum": _formatnum,
    "lc": lambda text, arguments: text.lower(),
    "uc": lambda text, arguments: text.upper(),
    "lcfirst": lambda text, arguments: text[:1].lower() + text[1:],
    "ucfirst": lambda text, arguments: text[:1].upper() + text[1:],
    "padleft": lambda text, arguments: "".join(reversed(_pad(text, arguments))),
    "padright": lambda text, arguments: "".join(_pad(text, arguments)),
    "plural": lambda number, arguments: _at(arguments, 0),
    "gender": lambda name, arguments: _at(arguments, 0),
    "#titleparts": lambda title, arguments: title,
}
