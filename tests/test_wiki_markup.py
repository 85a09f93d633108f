"""Wikitext to prose: structure, links, tables, sections, lists, tags; no text can make it run long."""

import bz2
import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from pipeline.wiki.markup import findings
from pipeline.wiki.markup.findings import without_holes
from pipeline.wiki.markup.links import link_text
from pipeline.wiki.markup.sections import is_cut
from pipeline.wiki.rendering import (
    MarkupError,
    Rendered,
    close_holes,
    mend,
    render,
)

DATA = Path(__file__).parents[2] / "shared" / "data"
LEFTOVER = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||^\||'''|</?(?:ref|div|span|sup|br)\b|__[A-Z]{3,}__", re.MULTILINE)


def rendered(text: str, *, list_items: bool = True) -> Rendered:
    return render(text, title="柏林", list_items=list_items, redirects={})


def prose(text: str) -> str:
    return without_holes(rendered(text).text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("[[柏林]]是[[德意志聯邦共和國|德國]]首都", "柏林是德國首都"),
        ("[[联邦州 (德国)|-{zh-hans:联邦州; zh-hant:邦}-]]之一", "-{zh-hans:联邦州; zh-hant:邦}-之一"),
        ("[[:Category:柏林]]和[[:Category:柏林|柏林的页面]]", "Category:柏林和柏林的页面"),
        ("城市[[Category:柏林| ]][[分類:德國]][[en:Berlin]][[zh-min-nan:Berlin]]", "城市"),
        ("见[[:en:Berlin|英文页]]、[[wikt:柏林]]", "见英文页、wikt:柏林"),
        ("[[Re:从零开始的异世界生活]]和[[AC/DC]]", "Re:从零开始的异世界生活和AC/DC"),
        ("[[Help:编辑 (柏林)|]]与[[柏林 (城市)|]]", "编辑与柏林"),
        ("[[#历史|历史一节]]与[[/子页/]]", "历史一节与子页"),
        ("[[柏林{{!}}德国首都]]", "德国首都"),
        ("[[甲|乙[[丙|丁]]戊]]", "乙丁戊"),
    ],
)
def test_links_show_their_text(wikitext: str, text: str) -> None:
    assert prose(wikitext) == text


@pytest.mark.parametrize("space", ["File", "image", "文件", "檔案", "档案", "图像", "圖像", "媒体", "媒體"])
def test_files_go_with_links_inside_their_captions(space: str) -> None:
    page = f"前[[{space}:Berlin.jpg|thumb|right|220px|[[柏林]]的[http://x.org 墙]，-{{zh-hans:墙;zh-hant:牆}}-]]后"
    assert prose(page) == "前后"


def test_a_caption_that_ends_with_an_external_link_ends_where_it_should() -> None:
    assert prose("前[[File:a.jpg|thumb|见[http://x.org 网站]]]后") == "前后"
    assert prose("前[[文件:a<b>.jpg\n|thumb|墙]]后") == "前后"


def test_rules_stay_and_a_pipe_inside_them_parts_nothing() -> None:
    assert prose("{{lang|de|-{A|zh-hans:甲;zh-hant:乙}-}}丙") == "-{A|zh-hans:甲;zh-hant:乙}-丙"
    assert prose("-{zh-hans:[[计算机|電腦]];zh-hant:{{lang|en|PC}}}-") == "-{zh-hans:電腦;zh-hant:PC}-"
    assert prose("-{三個火槍手}-、德国联-{}-邦") == "-{三個火槍手}-、德国联-{}-邦"
    assert prose("-{ {{lang|en|PC}}}-") == "-{ PC}-"


def test_rules_for_the_whole_page_stay_when_their_place_goes() -> None:
    rule = "zh-cn:大仲马;zh-tw:大仲馬"
    assert prose(f"{{{{Infobox person|name=-{{A|{rule}}}-|n=-{{zh-cn:甲;zh-tw:乙}}-}}}}丙") == f"-{{H|{rule}}}-丙"
    assert prose(f"{{|\n| -{{H|{rule}}}- || -{{T|{rule}}}-\n|}}\n丙") == f"-{{H|{rule}}}--{{T|{rule}}}- 丙"
    assert prose("{{Infobox person|name=-{-|zh-cn:甲;zh-tw:乙}-}}丙") == "-{-|zh-cn:甲;zh-tw:乙}-丙"


def test_a_rule_over_several_lines_is_not_cut() -> None:
    assert prose("-{zh-hans:操作系统;\nzh-hant:作業系统}-是") == "-{zh-hans:操作系统; zh-hant:作業系统}-是"
    assert prose("-{學而時習之。\n\n不亦說乎。}-") == "-{學而時習之。}-\n-{不亦說乎。}-"


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("甲<!-- 約 [[乙 -->丙", "甲丙"),
        ("甲<ref>{{cite web|url=http://x|title=[[乙}}</ref>丙<ref name=a />丁<ref name='b' group=注>戊</ref>。", "甲丙丁。"),
        ("甲。<ref>没有完。\n乙<REF>丙</REF>。", "甲。\n乙。"),
        ("甲<nowiki>[[乙]]''{{丙}}</nowiki>''丁''", "甲[[乙]]''{{丙}}丁"),
        ("'<nowiki/>''甲'''", "'甲'"),
        ("设<math>n+1</math>为素数，<math>\\sum_n a_n</math>不是", "设n+1为素数，不是"),
        ("角<math>\\alpha \\le 2\\pi</math>", "角α ≤ 2π"),
        ("<ce>H2O</ce>是水", "H2O是水"),
        ("甲<syntaxhighlight lang=c>int i[2];{{</syntaxhighlight>乙<code>i++</code>", "甲乙i++"),
        ("甲\n<gallery>\nA.jpg|[[乙]]\n</gallery>\n丙", "甲\n丙"),
        ("<poem>床前明月光\n疑是地上霜</poem>", "床前明月光\n疑是地上霜"),
        ("甲<math>未完", "甲未完"),
        ("{{nobr|甲<!-- }} -->乙}}", "甲乙"),
    ],
)
def test_what_the_parser_must_not_look_into(wikitext: str, text: str) -> None:
    assert prose(wikitext) == text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("甲<br>乙<br/>丙", "甲\n乙\n丙"),
        ("10<sup>6</sup>个H<sub>2</sub>O，E=mc<sup>2</sup>", "10^6个H2O，E=mc2"),
        ("<span style='color:red'>红</span><div>蓝</div>", "红\n蓝"),
        ("<ruby>東京<rp>(</rp><rt>とうきょう</rt><rp>)</rp></ruby>", "東京"),
        ("前<table><tr><td>甲<table><tr><td>乙</table></table>后", "前后"),
        ("#include <stdio.h> 是 a < b", "include <stdio.h> 是 a < b"),
        ("&lt;ref&gt;&nbsp;是&#x0000006807;签&amp;nbsp;", "<ref> 是标签&nbsp;"),
        ("<ul><li>甲</li><li>乙</li></ul>", "甲\n乙"),
        (
            "第<span style=\"display:none\">005</span>五名<div style='color:red; DISPLAY : none'>a<div>b\n\nc</div>d</div>",
            "第五名",
        ),
        ("甲<span style='visibility:hidden'>-{A|zh-cn:乙;zh-tw:丙}-丁\n戊", "甲-{H|zh-cn:乙;zh-tw:丙}- 戊"),
        ("甲<span style=display:none />乙<br style=display:none>丙", "甲乙\n丙"),
        ("甲。<h2>历史</h2>乙。<h3 class=a>参考文献</h3>丙", "甲。\n乙。"),
    ],
)
def test_tags_and_entities(wikitext: str, text: str) -> None:
    assert prose(wikitext) == text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''''甲'''乙''丙''", "甲乙丙"),
        ("L'''Osservatore''", "L'Osservatore"),
        ("[http://berlin.de 官方网站]和[//x.org/a?b=c [[标签]]]，[http://x.org]，[mailto:a@b.c 信]", "官方网站和标签，，信"),
        ("见https://zh.wikipedia.org/wiki/A_(B)。然后", "见。然后"),
        ("（见http://x.org）", "（见）"),
        ("__NOTOC__甲__不转换内容__", "甲"),
    ],
)
def test_inline_markup(wikitext: str, text: str) -> None:
    assert prose(wikitext) == text


def test_tables_go_with_tables_inside_them() -> None:
    assert prose("前\n{| class=a\n|-\n| 甲\n{|\n| 乙\n|}\n| 丙\n|}\n后") == "前\n后"
    assert prose(":{|\n| 甲\n|}\n后") == "后"


def test_a_table_that_is_never_closed_ends_at_an_empty_line_or_heading() -> None:
    page = rendered("前\n{|\n| 甲\n乙\n\n后\n{|\n! 丙\n== 丁 ==\n戊")
    assert page.text == "前\n后\n戊"
    assert page.repairs == 2


def test_a_template_that_is_never_closed_costs_its_lines_alone() -> None:
    page = rendered("{{Infobox city\n| name = 甲\n| area = [[乙]]\n\n'''柏林'''是首都。\n[[德国|德")
    assert page.text == "柏林是首都。\n德国|德"
    assert page.repairs == 2


def test_headings_go_and_so_do_sections_that_are_no_prose() -> None:
    page = rendered("甲。\n== 历史 ==\n乙。\n== 參考文獻與外部連結 ==\n丙\n=== 丁 ===\n* 戊\n== 文化 ==\n己。\n==参见==\n庚")
    assert page.text == "甲。\n乙。\n己。"
    assert page.dropped["section"] == len("丙戊庚")


CUT = """
    参考文献 參考資料 注释 外部链接 外部連結 延伸阅读 參見 相关条目 脚注 資料來源 '''注释'''及參考 參考文獻：
    注释、引用與外部連結 -{zh-hans:参考资料;zh-hant:參考資料}- References
"""


@pytest.mark.parametrize("title", [*CUT.split(), "External links", "注释 和 引用"])
def test_titles_of_cut_sections(title: str) -> None:
    assert is_cut(title)


@pytest.mark.parametrize("title", ["历史", "来源国", "参见者", "文献记载", "与", ""])
def test_titles_of_sections_that_stay(title: str) -> None:
    assert not is_cut(title)


def test_list_items_stay_or_go() -> None:
    page = "甲：\n* 乙\n** 丙\n# 丁\n;戊 : 己\n:庚\n\n:辛"
    assert rendered(page).text.split("\n") == ["甲：", *"乙丙丁戊己庚辛"]
    without = rendered(page, list_items=False)
    assert without.text == "甲：\n辛", "an indented paragraph is not an item, unless it follows a term"
    assert without.dropped["list"] == len("乙丙丁戊 : 己庚")


def test_preformatted_lines_are_kept_apart_or_dropped_as_code() -> None:
    page = rendered("程序如下\n int main() {\n   return 0; // 完\n }\n其中有\n 一行缩进的话，\n  又一行。\n再见")
    assert page.text == "程序如下\n其中有\n一行缩进的话，\n又一行。\n再见"
    assert page.dropped == {"code": len("int main() {return 0; // 完}")}
    assert (
        prose("前<div>foo</div> a\n{{cleanup}} Berlin is\n[[Foo|  bar]]\n [[a|b]]\n {|\n| c\n |}\n \n|}\n x")
        == "前\nfoo\na Berlin is bar"
    )
    assert prose("甲\n * 乙\n<poem>\n  Tyger Tyger\n</poem>") == "甲\n乙\nTyger Tyger"


def test_a_line_that_breaks_off_goes_on_in_the_next() -> None:
    assert prose("柏林是\n首都。\n它位于\nthe north\nof Germany") == "柏林是首都。\n它位于 the north of Germany"


def test_hatnotes_and_rules_go() -> None:
    assert prose(":''本条目介绍的是城市。关于其他用法，请见[[柏林 (消歧义)]]。''\n----\n甲\n:''诗一行''") == "甲\n诗一行"


def test_disambiguation_and_conversion_switches_are_reported() -> None:
    assert rendered("'''柏林'''可以指：\n* [[甲]]\n{{消歧义}}").disambiguation
    assert rendered("甲__DISAMBIG__").disambiguation
    assert not rendered("{{消歧义链接|甲}}乙").disambiguation
    assert not rendered("__NOCC__甲").converts
    assert rendered("甲").converts


def test_every_note_ta_is_given_with_its_arguments() -> None:
    page = rendered(
        "{{noteTA\n|G1=IT\n|T=zh-hans:任务管理器; zh-hant:工作管理員;\n|1=zh-hans:块;zh-hant:網段\n|甲=>zh-cn:乙\n}}"
    )
    assert page.text == ""
    assert page.note_ta == [
        {"G1": "IT", "T": "zh-hans:任务管理器; zh-hant:工作管理員;", "1": "zh-hans:块;zh-hant:網段", "甲": ">zh-cn:乙"}
    ]


@pytest.mark.parametrize(
    ("broken", "text", "repairs"),
    [
        ("柏林（，Berlin）", "柏林（Berlin）", 1),
        ("柏林（）是《》首都「，」", "柏林是首都", 3),
        ("柏林（（）），首都", "柏林，首都", 2),
        ("首都，，城市、、州。。", "首都，城市、州。", 3),
        ("首都，。城市；。", "首都。城市。", 2),
        ("首都 ，城市 。", "首都，城市。", 2),
        ("首都（Berlin，）", "首都（Berlin）", 1),
        ("他说。。。走了", "他说。。。走了", 0),
        ("main()和f(x)，(, x)", "main()和f(x)，(x)", 1),
        ("甲  乙", "甲 乙", 1),
        ("柏林。\n（）\n首都。", "柏林。\n首都。", 1),
        ("柏林（德语：Berlin），“首都”！", "柏林（德语：Berlin），“首都”！", 0),
    ],
)
def test_what_removal_leaves_is_mended(broken: str, text: str, repairs: int) -> None:
    assert mend(broken) == (text, repairs)


def test_nesting_beyond_the_budget_costs_the_page() -> None:
    with pytest.raises(MarkupError, match="nested"):
        prose("{{nobr|" * 150 + "柏" * 300_000 + "}}" * 150)


def test_the_budget_is_in_steps_and_proportional_to_the_page() -> None:
    small, large = (findings.Findings.of("柏" * number).steps for number in (1000, 2000))
    assert large - small == 1000 * findings.STEPS_PER_CHARACTER


MARKS = """
    {{ }} {{{ }}} [[ ]] -{ }- | = {| |} |- ''' '' <ref> </ref> <!-- --> <nowiki> </nowiki> <math> <poem> </poem> <table>
    </table> <br> == * ; : ] http://a &# &lt; #if: NoteTA lang convert 文件: 柏林 。 （ ） ，
"""
garbage = st.lists(
    st.sampled_from([*MARKS.split(), "\n", " ", "<ref name=a", "[http://x ", "9" * 5000]) | st.text(max_size=5), max_size=60
).map("".join)


def test_braces_on_both_sides_of_a_removed_tag_are_no_mark() -> None:
    assert prose("柏林}}}</poem>}}}市") == "柏林市"


@settings(max_examples=400, deadline=None)
@given(garbage)
def test_no_text_stops_it_and_no_mark_is_left(text: str) -> None:
    page = render(text, title="柏林", list_items=True, redirects={})
    mend(page.text)
    if "nowiki" not in text and "&" not in text:
        assert not re.search(r"\{\{|\}\}|\[\[|\]\]|<ref|<br>", page.text)
        if not re.search(r"''''|\[\[|(?<!')'(?!')", text):  # MediaWiki leaves some of four, and those of a title
            assert "''" not in page.text


inside = st.recursive(
    st.sampled_from(["柏林", "Berlin", "首都。", "1237年"]),
    lambda part: st.one_of(
        st.tuples(part, part).map("".join),
        part.map("[[目标|{}]]".format),
        part.map("{{{{nobr|{}}}}}".format),
        part.map("<b>{}</b>".format),
        part.map("<span class=a>{}</span>".format),
        part.map("<small>{}</small>".format),
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(inside)
def test_well_formed_markup_leaves_exactly_its_text(text: str) -> None:
    words = re.findall("柏林|Berlin|首都。|1237年", text)
    assert prose(text) == "".join(words)


UNITS = """
    {{ {{a [[ -{ {{a|[[b|-{ <ref> <!-- <math> <poem> ''' ''x http:// （ ， &#9 {{#if: {{{ }} ]] <table> [[File:a| | __A {{a}}
    [[a]] {{lang|de|x}}
"""


@pytest.mark.timeout(60)  # each takes well under a second; quadratic ones would take minutes
@pytest.mark.parametrize(
    "unit", [*UNITS.split(), " ", "<div ", "<ref name=a ", "{|\n", "[http://a ", "（ ，", "== a ==\n", ":''参见", ";a:b\n"]
)
def test_time_is_proportional_to_length(unit: str) -> None:
    page = rendered("柏" + unit * 100_000 + "林")
    mend(page.text)
    mend("柏" + unit * 100_000 + "林")


LONG = """
    = ' ` [ ] { } | < > - _ * # : ; ! & / \\ . ， （ ） 。 「 ~ ？ {| |} || |- <a <!- <s> </s> <b><i> <span <sub>''i''</sub>
    ''a'' '''b'' [[a| [[a|'' [[''b]] [[:: {{a|b= {{{a| {{{{ {{lang|ja|漢 {{fact|a {{未知|a}} {{未知}} {{#expr:1+ {{#if:|
    -{A|a:b;}- -{zh-cn:a;zh-tw:b}- -{R|a <math>x</math> <math>\\sum</math> <code> <nowiki/> <poem> //a https:// __ &a;
    <p>,</p> （{{未知}} {{未知}}） （（{{未知}}））
"""
HIDDEN = "<span style=display:none>"
RUNS = [*LONG.split(), " ", "\t", "\n", "\n ", "\n:", "\n*", "\n;", "\u3000", "a :", HIDDEN, "</span>", "a\n b\n"]


@pytest.mark.timeout(120)  # all take a few seconds; quadratic ones would take minutes each
@pytest.mark.parametrize("opening", ["", "\n;", "\n ", "{{a|", "[[a|", "<a ", "-{\n", HIDDEN])
def test_a_long_run_of_anything_costs_steps_and_not_minutes(opening: str) -> None:
    """40 KB of one mark behind an opening that is never closed."""
    for unit in RUNS:
        try:
            page = rendered("柏" + opening + unit * (40_000 // len(unit)) + "林\n甲")
        except MarkupError:
            continue
        mend(close_holes(page.text, page.holes, drop=True).text)


def test_what_opens_and_closes_deeply_is_resolved() -> None:
    assert prose("{{nobr|" * 90 + "柏林" + "}}" * 90) == "柏林"
    assert prose("[[甲|" * 90 + "柏林" + "]]" * 90) == "柏林"


def test_a_link_of_many_parts_shows_the_last_ones() -> None:
    assert link_text(["柏林", "甲", "乙"], findings.Findings.of("")) == "甲|乙"


def pages(path: Path) -> Iterator[tuple[str, str]]:
    """Titles and wikitext of a small dump."""
    data = path.read_bytes()
    root = ElementTree.fromstring(bz2.decompress(data) if path.suffix == ".bz2" else data)
    space = root.tag.partition("}")[0] + "}"
    for page in root.iter(f"{space}page"):
        yield page.findtext(f"{space}title", ""), page.findtext(f"{space}revision/{space}text", "")


needs_dumps = pytest.mark.skipif(
    not (DATA / "corpora/wiki").exists(), reason="real pages are not there: ../shared/data/corpora/wiki"
)


@needs_dumps
def test_the_real_page_of_zhwiki() -> None:
    title, text = next(pages(DATA / "corpora/wiki/dbpedia_minidumps/zhwiki.xml"))
    page = render(text, title=title, list_items=True, redirects={})
    lines = page.text.split("\n")
    assert lines[0].startswith("柏林（德语：Berlin\U00100000）是德意志聯邦共和國首都，也是德国最大的城市，现有居民约340万人。")
    assert "柏林也是德国十六个-{zh-hans:联邦州; zh-hant:邦}-之一" in lines[0]
    assert "家族的腓特烈出任边境总督（Markgraf），平定该地区的战乱" in page.text
    assert "从1999年开始它是德国联-{}-邦议院的会址" in page.text
    assert "演说" in page.text and "“Ich bin ein Berliner”" in page.text
    assert "米特（Mitte）" in lines and lines[-1].startswith("高等教育方面")
    assert page.note_ta == [{"G1": "德国地名", "G2": "地名"}]
    assert page.kept["lang"] == 59 and set(page.lost) >= {"Infobox German state", "Weather box"}
    assert not LEFTOVER.search(page.text) and page.repairs == 0
    assert not page.disambiguation
    assert mend(page.text)[1] == 1, "nothing was torn: one space before a bracket"


@needs_dumps
def test_real_passages() -> None:
    lines = (DATA / "corpora/wiki/real_wikitext_snippets.jsonl").read_text().splitlines()
    texts = {one["page_guess"]: one["text"] for one in map(json.loads, lines)}
    assert prose(texts["QUIC"]) == "快速UDP網路連-{zh-hans:接;zh-hant:線}-（英语：Quick UDP Internet Connections，缩写：QUIC"
    assert rendered(texts["保留IP地址"]).note_ta == [{"G1": "IT", "1": "zh-hans:块;zh-hant:網段"}]
    assert prose(texts["保留IP地址"]).startswith("在互联网寻址结构中，互联网工程任务组（IETF）")
    assert prose(texts["PostgreSQL (pandoc-markdown copy)"]) == "我們正關注-{zh-hans: 着; zh-hant:著;}-PostgreSQL"
    assert all(not LEFTOVER.search(prose(text)) for name, text in texts.items() if "template" not in name)


@needs_dumps
@pytest.mark.parametrize(
    "name", ["dbpedia_minidumps/jawiki.xml.bz2", "dbpedia_minidumps/kowiki.xml.bz2", "dbpedia_minidumps/dewiki.xml.bz2"]
)
def test_pages_in_other_languages_leave_no_markup(name: str) -> None:
    for title, text in pages(DATA / "corpora/wiki" / name):
        page = render(text, title=title, list_items=True, redirects={})
        assert not LEFTOVER.search(page.text), title


def parser_tests() -> Iterator[dict[str, str]]:
    """MediaWiki's parser tests: sections by name, with the text before the first as `name`."""
    text = (DATA / "oracle/mediawiki/parserTests.txt").read_text()
    for block in re.findall(r"^!! ?test\n(.*?)^!! ?end", text, re.DOTALL | re.MULTILINE):
        name, *parts = re.split(r"^!! ?(\S.*?)\s*\n", block, flags=re.MULTILINE)
        yield {"name": name.strip(), **dict(zip(reversed(parts[::2]), reversed(parts[1::2]), strict=True))}


needs_tests = pytest.mark.skipif(
    not (DATA / "oracle/mediawiki").exists(), reason="MediaWiki's tests are not there: ../shared/data/oracle/mediawiki"
)


@needs_tests
def test_nothing_in_mediawikis_own_tests_stops_it() -> None:
    cases = [case["wikitext"] for case in parser_tests() if "wikitext" in case]
    assert len(cases) > 1500
    for case in cases:
        page = rendered(case)
        mend(page.text)
        if "nowiki" not in case.lower() and "[2345" not in case:
            assert not re.search(r"\{\{|\[\[|'''|<ref", page.text), case


_BEYOND = re.compile(r"\{\{|\{\||nowiki|<table|<pre|^ |REDIRECT", re.MULTILINE | re.IGNORECASE)


@needs_tests
def test_text_is_that_of_mediawiki_in_most_of_its_own_tests() -> None:
    """Tests of one page without settings, templates, tables, nowiki and indented code. Others differ where we drop on purpose
    (readings of ruby, addresses, media), where MediaWiki shows raw markup, and for extensions that only its tests have."""
    equal = number = 0
    for case in parser_tests():
        wikitext = case.get("wikitext", "")
        page = next((case[name] for name in ("html", "html/php", "html+tidy", "html/php+tidy") if name in case), "")
        apart = re.search(r"pst|msg|=|comment|preload|cat\b|ill\b|showflags", case.get("options", ""))
        if apart or not page or _BEYOND.search(wikitext):
            continue
        tree = LexborHTMLParser(page)
        for node in tree.css(
            "#toc, .reference, .references, .thumb, .gallery, figure, h1, h2, h3, h4, h5, h6, pre, .free, .autonumber"
        ):
            node.decompose()
        shown = tree.body.text() if tree.body else ""
        number += 1
        equal += "".join(shown.split()) == "".join(mend(prose(wikitext))[0].split())
    assert number > 450
    assert equal / number > 0.74
