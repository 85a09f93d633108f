"""Cleaning: what is removed, and that nothing else is."""

import importlib
import json
import lzma
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from pipeline.cleaning.boilerplate import _FIRST, FORMS, without_boilerplate
from pipeline.cleaning.cleaning import (
    chinese,
    clean,
    fingerprint,
    fingerprints,
    folded,
    strip_markup,
    visible,
)
from tests import corpus


@pytest.mark.parametrize(
    "text",
    [
        "他说：“你好，世界！”（笑）……《红楼梦》——ＡＢＣ１２３，１９９８年。",
        "价格￥１００～２００，约５０％；温度−5℃。",
        "①②③ ㎏ № ™ ½ ﹏ ￣",
        "家庭👨👩👧，好👍🏻。",
        "第一行\n第二行",
    ],
)
def test_what_a_reader_sees_stays(text: str) -> None:
    assert clean(text) == (text, set())
    assert clean(text, markup=True) == (text, set())


@pytest.mark.parametrize(
    ("text", "cleaned", "rules"),
    [
        ("\ufeff中\u200b文\u00ad\x00\x07", "中文", {"invisible"}),
        ("中\u202e文\u2066好\ufffd", "中文好", {"invisible"}),
        ("e\u0301te\u0301", "été", {"composed"}),
        ("e\u200b\u0301", "é", {"composed", "invisible"}),
        ("一\r\n二\r三\u2028四\x85五\u2029六", "一\n二\n三\n四\n五\n六", set()),
        ("　　段首　空格\u00a0\t二  \n\n \n　三 ", "段首 空格 二\n三", set()),
        (" \n\u3000\u200b\n", "", {"invisible"}),
        ("☎\ufe0f\ue004中\ud800文\ufffc", "☎中文", {"invisible"}),
        ("一\n\n\n  \n二", "一\n二", set()),
        ("一 " + " " * 1_000 + "二", "一 二", set()),
    ],
)
def test_what_no_reader_sees_goes(text: str, cleaned: str, rules: set[str]) -> None:
    assert clean(text) == (cleaned, rules)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>一</p><p>二<br>三<br/>四</p>", "一\n二\n三\n四"),
        ("<div>一</div>二", "一\n二"),
        ("《<b>粗</b><i>斜</i>》<a href='x?a=1&b=2'>链接</a>", "《粗斜》链接"),
        ("<table><tr><td>年份</td><td>事件</td></tr></table>", "年份\n事件"),
        ("ＡＢＣ&nbsp;&lt;好&gt;&amp;", "ＡＢＣ <好>&"),
        ("<script>if (a<b) {}</script><style>p {}</style>正文<!-- 注释 -->", "正文"),
        ("<!DOCTYPE html><html><head><title>题</title></head><body><p class=a>正文", "正文"),
        ("<o:p></o:p>正文<P ALIGN=center>大写</P>", "正文\n大写"),
        ("<p>没有关上的", "没有关上的"),
    ],
)
def test_markup_goes_and_its_text_stays(html: str, text: str) -> None:
    assert clean(html, markup=True) == (text, {"html"})


@pytest.mark.parametrize(
    "text",
    [
        "若a<b且c>d则<35，对",
        "当a<b and c>d时",
        "<中国人民政治协商会议章程>的决定",
        "AT&T与R&D，a & b",
        "<3 <_< 5 < 6 > 4",
        "#include <stdio> 和 List<String>",
    ],
)
def test_signs_that_are_no_markup_stay(text: str) -> None:
    assert clean(text, markup=True) == (text, set())
    assert clean(f"<p>{text}</p>", markup=True) == (text, {"html"})


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<P class="a b" data-x=1>一</P><br clear=all />二', "一\n二"),
        ("<img alt='a>b' src=x>图", "图"),
        ("<<b>p>", "<p>"),
        ("<p>一<!-- <p>注</p> -->二</p>", "一二"),
        ("<p>一</p><script>document.write('<p>二</p>')</script>", "一"),
    ],
)
def test_plain_tags_go_as_the_parser_would_have_it(html: str, text: str) -> None:
    assert clean(html, markup=True) == (text, {"html"})


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("用<style>标签写<b>样式</b>。还有正文。", "用<style>标签写样式。还有正文。"),
        ("<script>标签放在末尾。<br>正文。", "<script>标签放在末尾。\n正文。"),
        ("<p>注释以<!--开始。</p><p>第二段。</p>", "注释以<!--开始。\n第二段。"),
        ("<SCRIPT src=x>a</SCRIPT >一<style>二<script>b</script>三", "一<style>二三"),
        ("一<!-->二<!--->三<!-- 注 --!>四", "一二三四"),
        ('<a href="x>链接</a>后面的正文', "链接后面的正文"),
        ("<!doctype后面的正文<br>二", "<!doctype后面的正文\n二"),
        ("<head><title>题<p>正文", "题\n正文"),
        ("<head>标签里放标题，</head>后面是正文。", "标签里放标题，后面是正文。"),
        ('<table border="1"><tr class="a">一<td>二</td>三</tr>四</table>五', "一\n二\n三\n四\n五"),
        ("<select><option>一<p class=a>二<textarea>三<b>四</select>五", "一\n二三四五"),
    ],
)
def test_what_is_never_closed_takes_no_text_along(html: str, text: str) -> None:
    assert clean(html, markup=True)[0] == text


OPENINGS = (
    "script style !-- textarea title xmp noembed noframes iframe plaintext template noscript select option optgroup svg math "
    "head body html table tr td caption colgroup frameset object video canvas button form p br ruby rp a area map !doctype"
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["中文", "网页", "，", "\n", " ", "a<b"]),
            st.builds(
                "<{}{}".format, st.sampled_from(OPENINGS.split()), st.sampled_from([">", " class='a'>", ' id="a>', " ", "/>"])
            ),
            st.builds(
                "</{}>".format, st.sampled_from(["p", "table", "td", "tr", "select", "svg", "a", "body", "html", "b", "head"])
            ),
        ),
        max_size=12,
    )
)
def test_text_among_unclosed_tags_is_kept_in_its_order(parts: list[str]) -> None:
    text = "".join(parts)
    assume(not re.search("<!--(?!>).*-->", text, re.DOTALL))  # <!--> closes a comment
    cleaned = strip_markup(text)
    assert re.findall("中文|网页", cleaned) == re.findall("中文|网页", text)


@pytest.mark.parametrize(
    "html", ["<script>" * 30_000, "<style>" * 30_000, "<!--" * 60_000, "<p '" * 60_000, "<a b=\"'" * 30_000]
)
def test_many_unclosed_tags_take_time_in_proportion(html: str) -> None:
    """A search to the end for each of them would hang."""
    assert clean(html + "中文", markup=True)[0].endswith("中文")


@corpus.needs_real_data
def test_real_pages_give_the_text_that_a_parser_of_html_gives() -> None:
    with lzma.open(corpus.REAL / "corpora/text/weekly.jsonl.xz") as file:
        pages = [json.loads(file.readline())["text"] for _ in range(100)]
    pages = [page for page in pages if "<" in page and not re.search("<(?:script|style|!--)", page)]
    assert len(pages) > 20
    for page in pages:
        body = LexborHTMLParser(re.sub("<(?![a-zA-Z/])", "&lt;", page)).body
        assert body is not None
        assert chinese(strip_markup(page)) == chinese(body.text(separator=""))


def test_markup_in_plain_text_is_text() -> None:
    assert clean("<p>写成这样&nbsp;</p>") == ("<p>写成这样&nbsp;</p>", set())


@settings(max_examples=400, deadline=None)
@given(
    st.text(
        st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n\r\t\u200b\u0301\u3000\u2028é<p>&;")),
        max_size=60,
    )
)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once, _ = clean(text)
    assert clean(once) == (once, set())
    from_markup, _ = clean(text, markup=True)
    assert clean(from_markup) == (from_markup, set())
    assert fingerprint(once) == fingerprint(clean(once)[0])


def test_counts_of_characters() -> None:
    text = "他 说\nNEZHA，㐀𠀀\uf900"
    assert visible(text) == 11
    assert chinese(text) == 5
    assert chinese("한국어 ꀀ \ue000 カナ") == 0


def test_texts_alike_but_for_width_case_and_signs_share_a_fingerprint() -> None:
    same = ["“ＡＢＣ”，好的！", "abc好的", "A b C\n好，的。"]
    assert len({fingerprint(text) for text in same}) == 1
    assert folded(same[0]) == "abc好的"
    assert fingerprint("abc好") != fingerprint("abc好的")
    assert len(fingerprint("")) == 16


@pytest.mark.parametrize("line", [line for line, _ in FORMS])
def test_boilerplate_lines_go(line: str) -> None:
    assert clean(f"第一段。\n{line}\n第二段。\n{line}") == ("第一段。\n第二段。", {"boilerplate"})
    assert clean(f"　　{line}　\r\n正文") == ("正文", {"boilerplate"})


def first_signs(parsed: Any) -> tuple[set[str], bool]:
    """The characters that a match of a parsed regular expression can start with, and whether it can be empty."""
    signs: set[str] = set()
    for operation, argument in parsed:
        name, empty = str(operation), False
        if name == "LITERAL":
            signs.add(chr(argument))
        elif name == "IN":
            for kind, value in argument:
                ranges = {"CATEGORY": (48, 57), "LITERAL": (value, value), "RANGE": value}
                first, last = ranges[str(kind)]
                signs |= set(map(chr, range(first, last + 1)))
        elif name == "ASSERT":
            empty = True
        else:
            parts = argument[1] if name == "BRANCH" else [argument[-1]]
            found = [first_signs(part) for part in parts]
            signs |= {sign for first, _ in found for sign in first}
            empty = any(empty for _, empty in found) or (name == "MAX_REPEAT" and argument[0] == 0)
        if not empty:
            return signs, False
    return signs, True


def test_lines_are_tried_that_begin_as_a_form_can() -> None:
    """A character missing from the list of first characters would keep a form from ever matching."""
    parse = importlib.import_module("re._parser").parse
    for line, form in FORMS:
        signs, empty = first_signs(parse(form))
        assert not empty and signs, line
        assert all(re.match(f"[{_FIRST}]", sign) for sign in signs - {" "}), line


@pytest.mark.parametrize(
    "text",
    [
        "责任编辑制度是出版业的基本制度。",
        "编辑：你觉得这部小说怎么样？",
        "版权所有者应当在三十日内提出异议。",
        "未经许可，任何单位不得进入。",
        "乘客扫描二维码即可进站。",
        "市民扫描二维码可查疫苗信息",
        "扫描",
        "分享到的快乐才是真正的快乐",
        "来源：本品为豆科植物甘草的干燥根。",
        "上一篇文章我们介绍了分词。",
        "下一章将讨论这个问题",
        "相关报道引起了广泛关注",
        "评论",
        "阅读是一种习惯",
        "点击率 3%",
        "首页设计",
        "第二十条 互联网新闻信息服务许可证由国家互联网信息办公室颁发。",
        "京剧是国粹",
        "声明：我不参加比赛了。",
        "……",
        "^_^",
        "——",
        "A - B - C",
        "1-1-1",
    ],
)
def test_prose_that_looks_like_boilerplate_stays(text: str) -> None:
    assert clean(text) == (text, set())


@pytest.mark.parametrize("line", ["-----", "* * *", "======", "━━━★━━━", "＊＊＊", "|-----|-----|", "~~~~", "———————"])
def test_rulers_go(line: str) -> None:
    assert clean(f"上\n{line}\n下") == ("上\n下", {"separators"})


@pytest.mark.parametrize(
    "line",
    [
        "关于" * 3_000,
        "首页 " * 3_000 + "。",
        "- " * 50_000 + "中",
        "—" * 50_000 + "。",
        "QQ空间" * 3_000 + "。",
        "打印 " * 3_000 + "。",
    ],
)
def test_long_lines_take_time_in_proportion(line: str) -> None:
    """A form that backtracks would hang."""
    assert clean(line)[0] == line.strip()


FOLDED = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("中文，。“”ＡＢａ１か\u3099ｶﾞﾊﾟ각\u1100\u1161\u11a8ㄱㅏé\u0301¨①㎏Σİ\uf900ﬁ\U00020000\n "),
    ),
    max_size=30,
)


@settings(max_examples=500, deadline=None)
@given(st.lists(FOLDED, max_size=6))
def test_fingerprints_of_many_are_those_of_each(texts: list[str]) -> None:
    assert fingerprints(texts) == [fingerprint(text) for text in texts]


@corpus.needs_real_data
def test_html_of_real_news_goes_and_its_characters_stay() -> None:
    with lzma.open(corpus.REAL / "corpora/news/xinwenlianbo.jsonl.xz") as file:
        contents = [json.loads(file.readline())["content"] for _ in range(300)]
    for content in contents:
        text, _ = clean(content, markup=True)
        assert "<p>" not in text and "</" not in text and "&nbsp;" not in text
        assert chinese(text) == chinese(content), "a Chinese character was lost or added"
        assert text.count("\n") + 1 >= len([part for part in content.split("</p>") if strip_markup(part).strip()])


@corpus.needs_real_data
def test_real_text_has_the_same_fingerprints_one_by_one_and_together() -> None:
    text = (corpus.REAL / "corpora/text/cluecorpussmall_bert_sample.txt").read_text(encoding="utf-8")
    documents = text.split("\n\n")[:1_000]
    assert fingerprints(documents) == [fingerprint(document) for document in documents]


@corpus.needs_real_data
def test_boilerplate_of_real_text() -> None:
    text = (corpus.REAL / "corpora/text/cluecorpussmall_bert_sample.txt").read_text(encoding="utf-8")
    kept = without_boilerplate(text)[0]
    gone = set(text.split("\n")) - set(kept.split("\n"))
    assert {"文章来源：现代快报", "【编辑:王忠会】", "如需转载请注明作者及出处。"} <= gone
    assert len(gone) < 12, "prose was removed"
