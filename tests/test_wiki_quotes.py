"""Bold and italics: paired line by line as MediaWiki does, with tags, footnotes, links and templates in their places."""

import re

import pytest

from pipeline.wiki.markup.findings import without_holes
from pipeline.wiki.markup.quotes import without_quotes
from pipeline.wiki.rendering import render
from tests.mediawiki_cases import FOLDER, cases, needs_parser_tests, visible


def prose(text: str) -> str:
    return without_holes(render(text, title="柏林", list_items=True, redirects={}).text)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("'''''甲'''乙''丙''", "甲乙丙"),
        ("L'''Osservatore''", "L'Osservatore"),
        ("''''甲''''", "'甲'"),
        ("''''''甲''''''", "'甲'"),
        ("''甲'''乙'''''丙''", "甲乙丙"),
        ("that l'''amour d'''amour", "that lamour damour"),
        ("plain '''gras d'''amour ''l'''ami''", "plain gras damour lami"),
        ("''un '''gras d'''amour, l'''ami'' de ''a", "un gras d'amour, lami de a"),
        ("a'' b '''c d e'' '''f'' g", "a b c d e f g"),
        ("'''甲''乙", "'甲乙"),
        ("甲 '''乙''丙", "甲 '乙丙"),
        ("rock 'n' roll", "rock 'n' roll"),
    ],
)
def test_a_line_as_doquotes_reads_it(line: str, text: str) -> None:
    assert without_quotes(line) == text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("设样本''x''<sub>''i''</sub>，均值''μ''<sub>''n''</sub>", "设样本xi，均值μn"),
        ("'''甲'''<sup>'''①'''</sup>是", "甲①是"),
        ("''甲''<b></b>''乙''", "甲乙"),
        ("''Salix''[[柳属|''babylonica'']]", "Salixbabylonica"),
        ("''[[柳属|''S.'' alba]]''与[[L'Oréal|L'Oréal'']]''甲", "S. alba与L'Oréal甲"),
        ("[[Lista d''e paise d''o munno]]", "Lista d''e paise d''o munno"),
        ("''早市''<ref>注</ref>''夜桥''", "早市夜桥"),
        ("''早市''<ref name=a />''夜桥''", "早市夜桥"),
        ("''远山''{{lang|en|''Far Hill''}}、''{{lang|en|''A''}}''", "远山Far Hill、A"),
        ("''甲''<!-- 注 -->''乙'' '", "甲'乙 '"),
        ("[http://x.org ''标签'']''甲''", "标签甲"),
        ("[http://x.org/a''标签'' 乙]，http://x.org''甲''", "标签 乙，甲"),
        ("''x''<math>+</math>''y''", "x+y"),
        ("'''未完\n'''乙'''的''墙''", "未完乙的墙"),
        ("他说''a\n''b'''c", "他说a b'c"),
        ("* ''甲''\n== ''参考文献'' ==\n乙", "甲"),
    ],
)
def test_runs_are_counted_where_they_are(wikitext: str, text: str) -> None:
    assert prose(wikitext) == text


@needs_parser_tests
def test_pages_of_mediawikis_own_tests_about_quotes() -> None:
    """Tests whose name says that they are about bold, italics or quotes, without what we drop on purpose."""
    words = ("italic", "bold", "quote", "apostrophe")
    dropped = re.compile(r"^ |[{<&=]|//|File:", re.MULTILINE)
    found = [
        case
        for case in cases(FOLDER / "parserTests.txt")
        if case.html and any(word in case.name.lower() for word in words) and not dropped.search(case.wikitext)
    ]
    assert len(found) > 20
    for case in found:
        assert "".join(prose(case.wikitext).split()) == "".join(visible(case.html or "").split()), case.name
