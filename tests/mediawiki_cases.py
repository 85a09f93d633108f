"""Read MediaWiki's parser tests (parserTests.txt) and make the visible text of their HTML comparable with ours.

    case = Case(name="Nested using of manual convert syntax", options={"language": "zh", "variant": "zh-hk"},
                wikitext="Nested: -{zh-hans:Hi ...}-!", html="<p>Nested: Hello Hong Kong!\n</p>")
    visible(case.html)  ->  "Nested: Hello Hong Kong!"

The file is GPL-2.0+ and stays outside of the project.
"""

import html
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "oracle" / "mediawiki"
needs_parser_tests = pytest.mark.skipif(
    not (FOLDER / "parserTests.txt").exists(), reason="MediaWiki's parser tests are not here"
)

_SECTION = re.compile(r"^!!\s*(\S+)[ \t]*\n", re.MULTILINE)
_OPTION = re.compile(r"(\w+)(?:=(\[\[.*?\]\]|\S+))?")
_EXPECTED = ("html/php", "html/php+tidy", "html", "html/*")


@dataclass(frozen=True)
class Case:
    """One test: what MediaWiki's PHP parser makes of a wikitext, or None where only other parsers are tested."""

    name: str
    options: dict[str, str]
    wikitext: str
    html: str | None


def cases(path: Path) -> list[Case]:
    """All tests of a file in its order; articles, hooks and comments are skipped."""
    result = []
    sections: dict[str, str] = {}
    parts = _SECTION.split(path.read_text(encoding="utf-8"))
    for kind, body in zip(parts[1::2], parts[2::2], strict=True):
        kind = kind.lower()
        if kind == "test":
            sections = {}
        sections[kind] = body.removesuffix("\n")
        if kind == "end" and "test" in sections and "wikitext" in sections:
            expected = next((sections[each] for each in _EXPECTED if each in sections), None)
            options = {match[1].lower(): match[2] or "" for match in _OPTION.finditer(sections.get("options", ""))}
            result.append(Case(sections["test"].strip(), options, sections["wikitext"], expected))
            sections = {}
    return result


def visible(markup: str) -> str:
    """The text of HTML without tags, entities decoded, each run of white space one space: spacing is not compared."""
    text = re.sub(r"<(style|script)\b.*?</\1>|<span class=\"mw-editsection\">.*?</span></span>", "", markup, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split())
