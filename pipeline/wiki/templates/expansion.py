"""Template calls -> text: the name is looked up, and the argument that carries text is taken.

    templates = Templates(title="柏林", redirects={"Ld": "Link-de"}, findings=findings)
    templates.expand("lang", [["de"], ["Berlin"]])                      "Berlin"
    templates.expand("ld", [["边境总督"], ["Markgraf"]])                "边境总督"
    templates.expand("NoteTA", [["G1=IT"], ["1=zh-cn:块;zh-tw:網段"]])  ""    in findings.note_ta: {"G1": "IT", "1": "..."}
    templates.expand("val", [["{{..}}"]])                               one character: a hole, named Val
    templates.expand("Navbox country", [["\ntext"]])                    ""    findings.lost == {"Navbox country": 4}

Names match regardless of case, spaces and underscores, in both scripts, with or without `Template:`; an unknown name is looked
up in the redirects of the dump. Unknown templates are dropped, and their characters counted by name; those on one line leave a
hole, which broken_sentences.py judges.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from pipeline.wiki.markup.findings import Certainty, Findings, without_holes
from pipeline.wiki.markup.hidden_rules import hidden_rules
from pipeline.wiki.markup.languages import is_language_prefix, language_name, protected
from pipeline.wiki.markup.opaque import NOTHING
from pipeline.wiki.templates.countries import COUNTRIES
from pipeline.wiki.templates.functions import UNKNOWN, find_function
from pipeline.wiki.templates.quiet_templates import SHOWN, is_disambiguation, is_quiet, quiet_kind
from pipeline.wiki.templates.text_templates import COMPUTED, CONSTANTS, TEXT, Arguments, first_of

_NAMESPACE = re.compile(r"\s*+(?:(?:template|t|模板|样板|樣板|msg|raw|subst|safesubst)\s*+[:：]\s*+)*+", re.IGNORECASE)
_SPACES = re.compile(r"[\s_]+")
# {{link-en}}, {{en-link}}, {{ilh/en}}, {{internal link helper/en}}: a local name, a foreign one, and what to show.
_GREEN_LINK = re.compile(r"(?:link-|ilh/|internallinkhelper/)([a-z-]+)|([a-z-]+)-link")
_LABELLED = re.compile(r"lang-([a-z-]+)")
_PARAMETER = re.compile(r"\s*+[^=\n]{0,60}=")
_NO_NAME = re.compile(r"[<\[]|//")
"""Before a `=`, these are part of a tag or URL and not of a name. MediaWiki takes them as a name, and loses the text."""
_RAW = re.compile(r"-\{R\|([^{}]*+)\}-")
_MAX_NAME = 200
_NOTE_TA = "noteta"


def template_name(written: str) -> str:
    """Return the name as in titles, without its namespace: `模板:lang_ en` -> `Lang en`."""
    prefix = _NAMESPACE.match(written)
    name = _SPACES.sub(" ", written[prefix.end() if prefix else 0 :]).strip()
    return name[:1].upper() + name[1:]


class Templates:
    """The templates of one page."""

    def __init__(self, *, title: str, redirects: Mapping[str, str], findings: Findings) -> None:
        self._title = title
        self._redirects = redirects
        self._findings = findings

    def expand(self, name: str, arguments: list[list[str]]) -> str:
        """Return the text of a template, given its resolved arguments in parts; "" or a hole if it is dropped."""
        if function := find_function(name, self._title):
            text = function(["".join(argument) for argument in arguments])
            if UNKNOWN in text:
                word = name.partition(":")[0].strip()[:_MAX_NAME]
                text = text.replace(UNKNOWN, self._findings.hole(word, Certainty.VALUE))
            return text
        if country := COUNTRIES.get(name.strip()):  # {{JPN}}, but not {{jpn}}
            return country
        key = _key(name) if len(name) < _MAX_NAME else ""
        handler = _handler(key)
        if handler is None and not _is_known(key):
            key = self._redirected(name)
            handler = _handler(key)
        if handler:
            return self._text(key, name, _named(arguments), handler)
        if key == _NOTE_TA:
            note = {place: _RAW.sub(r"\1", without_holes(text)) for place, text in _named(arguments).items()}
            self._findings.note_ta.append(note)
        elif is_disambiguation(key):
            self._findings.disambiguation = True
        elif kind := quiet_kind(key):
            return self._quiet(kind, name, arguments)
        else:
            return self._lose(name, arguments)
        return ""

    def _text(self, key: str, name: str, arguments: Arguments, handler: Callable[[Arguments], str]) -> str:
        """Return the text of a template that carries text; a hole if it computes a number that we cannot."""
        self._findings.kept[key] = self._findings.kept.get(key, 0) + 1
        text = handler(arguments)
        if not text and key in COMPUTED and arguments.get("1", "").strip():
            return self._findings.hole(template_name(name[:_MAX_NAME]), Certainty.VALUE)
        return f"{NOTHING}{text}{NOTHING}" if text.startswith("'") or text.endswith("'") else text

    def _quiet(self, kind: str, name: str, arguments: list[list[str]]) -> str:
        """Drop a template without prose, and count its text by kind."""
        if arguments:
            number, rules = _measured(arguments)
            self._findings.drop(kind, number)
        else:
            rules = ""
        return rules + (self._findings.hole(template_name(name[:_MAX_NAME]), SHOWN[kind]) if kind in SHOWN else "")

    def _redirected(self, name: str) -> str:
        """Return the key of the template that this one redirects to."""
        target = self._redirects.get(template_name(name[:_MAX_NAME]))
        return _key(target) if target else ""

    def _lose(self, name: str, arguments: list[list[str]]) -> str:
        """Drop an unknown template and count its text; unless it is a block of several lines, it leaves a hole."""
        named = template_name(name[:_MAX_NAME])
        number, rules = _measured(arguments)
        self._findings.lost[named] = self._findings.lost.get(named, 0) + number
        if "\n" in name or any("\n" in part for argument in arguments for part in argument):
            return rules
        given = any(argument and "=" not in argument[0] for argument in arguments)
        return rules + self._findings.hole(named, Certainty.TEXT if given else Certainty.MARK)


def _measured(arguments: list[list[str]]) -> tuple[int, str]:
    """Return the length of the text of arguments except URLs, and the conversion rules for the page that are in them."""
    number = 0
    rules = ""
    for argument in arguments:
        text = argument[0] if len(argument) == 1 else without_holes("".join(argument))
        if "://" not in text:
            parameter = _PARAMETER.match(text) if "=" in text else None
            number += len(text[parameter.end() :].strip() if parameter else text.strip())
        if "-{" in text:
            rules += hidden_rules(text)
    return number, rules


def _named(arguments: list[list[str]]) -> Arguments:
    """Return arguments by name or number. Only a `=` in an argument's first, raw part counts; named values are stripped."""
    found: Arguments = {}
    number = 0
    for argument in arguments:
        text = argument[0] if len(argument) == 1 else "".join(argument)
        name, equals, value = text.partition("=") if argument and "=" in argument[0] else (text, "", "")
        if equals and not _NO_NAME.search(name):
            found[name.strip()] = value.strip()
        else:
            number += 1
            found[str(number)] = text
    return found


@lru_cache(maxsize=1 << 14)
def _key(name: str) -> str:
    """Return the form in which names are compared."""
    return template_name(name).replace(" ", "").lower()


def _is_known(key: str) -> bool:
    return key == _NOTE_TA or is_quiet(key) or is_disambiguation(key)


@lru_cache(maxsize=1 << 14)
def _handler(key: str) -> Callable[[Arguments], str] | None:
    """Return the function that makes the text of the template with this key."""
    if handler := TEXT.get(key):
        return handler
    if key in CONSTANTS:
        constant = CONSTANTS[key]
        return lambda arguments: constant
    if green := _GREEN_LINK.fullmatch(key):
        return first_of("3", "d", "1") if is_language_prefix(green[1] or green[2]) else None
    if labelled := _LABELLED.fullmatch(key):
        return _with_language(labelled[1])
    return None


def _with_language(code: str) -> Callable[[Arguments], str]:
    """Return a handler that puts the language before the text, like {{lang-de|Berlin}}: 德语：Berlin."""
    label = language_name(code)
    text = first_of("1", "text", "s", "t")

    def shown(arguments: Arguments) -> str:
        found = protected(code, text(arguments))
        return f"{label}：{found}" if label and found else found

    return shown
